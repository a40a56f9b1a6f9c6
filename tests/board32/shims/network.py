"""A station that is on its network as soon as it has asked and the network is there."""

air = [True, "127.0.0.1"]  # what tests change: whether the router has power, our address

STA_IF = 0
AP_IF = 1


def hostname(name=None):
    return name


class WLAN:
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2
    _wanted = False

    def __init__(self, interface=0):
        pass

    def active(self, on=None):
        return True

    def connect(self, ssid=None, key=None):
        WLAN._wanted = True

    def disconnect(self):
        WLAN._wanted = False

    def isconnected(self):
        return WLAN._wanted and air[0]

    def ifconfig(self):
        return (air[1], "255.255.255.0", "127.0.0.1", "127.0.0.1")

    def config(self, *what, **options):
        return None

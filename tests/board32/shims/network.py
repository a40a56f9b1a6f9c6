"""A station that is on its network as soon as it asks; `air` is what tests change: [router has power, own address]."""

air = [True, "127.0.0.1"]

STA_IF = 0
AP_IF = 1


def hostname(name=None):
    return name


class WLAN:
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2
    _joined = False

    def __init__(self, interface=0):
        pass

    def active(self, on=None):
        return True

    def connect(self, ssid=None, key=None):
        WLAN._joined = air[0]

    def disconnect(self):
        WLAN._joined = False

    def isconnected(self):
        WLAN._joined = WLAN._joined and air[0]
        return WLAN._joined

    def ifconfig(self):
        return (air[1], "255.255.255.0", "127.0.0.1", "127.0.0.1")

    def config(self, *what, **options):
        return None

"""The rest of the module `network`: constants, scanning, options. Loaded when somebody asks; methods take the WLAN
first.
"""

import machine
import network

STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_BEACON_TIMEOUT = 200
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202
STAT_ASSOC_FAIL = 203
STAT_HANDSHAKE_TIMEOUT = 204
AUTH_OPEN = 0
AUTH_WPA2_PSK = 3
AUTH_WPA_WPA2_PSK = 4
MODE_11B = 1
MODE_11G = 2
MODE_11N = 4
PM_NONE = 0
PM_PERFORMANCE = 1
PM_POWERSAVE = 2

_DEFAULTS = {"channel": 6, "hidden": False, "security": 0, "ssid": "", "pm": 1, "txpower": 20, "reconnects": -1}
_NAMES = {"essid": "ssid", "authmode": "security", "key": "password"}


def country(code=None):
    return code or "XX"


def status(wlan, what=None):
    if what == "rssi":
        return -50
    if what == "stations":
        return []
    wlan.isconnected()
    return wlan._status


def ipconfig(wlan, what):
    config = wlan.ifconfig()
    return {"addr4": config[:2], "gw4": config[2], "has_dhcp4": True, "dhcp4": True}[what]


def scan(wlan):
    if not wlan._active:
        raise OSError("STA must be active")
    aps = network._look().get("aps") or [["upeer", "", -50]]
    if not network._look().get("up", True):
        return []
    return [(ssid.encode(), b"\x02\0\0\0\0\x01", 6, rssi, 3 if key else 0, False) for ssid, key, rssi in aps]


def config(wlan, what=None, **options):
    if what is None:
        for name, value in options.items():
            wlan._options[_NAMES.get(name, name)] = value
        return None
    is_station = wlan._interface == network.STA_IF
    mac = machine.unique_id()
    mac = mac[:5] + bytes((mac[5] ^ wlan._interface,))
    if what == "mac":
        return mac
    if what == "hostname" or what == "dhcp_hostname":
        return network.hostname()
    name = _NAMES.get(what, what)
    if name == "ssid" and is_station and wlan._target:
        return wlan._target[0]
    if name not in _DEFAULTS:
        raise ValueError("unknown config param")
    if name == "ssid" and not is_station and name not in wlan._options:
        return "ESP_" + "".join("%02X" % b for b in mac[3:])
    return wlan._options.get(name, _DEFAULTS[name])

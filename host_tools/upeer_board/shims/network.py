"""The network module: a station and an access point whose air is the host.

state/air.json, read at most every 100 ms, is the air: {"up": bool, "aps": [[ssid, password, rssi], ...], "ip": text}.
Without the file, or without "aps", every network is there and takes every password. "up": false is a router without
power.
"""

import json
import os
import socket
import time

import _host

STA_IF = 0
AP_IF = 1
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

_hostname = "mpy-esp32"
_air = {}
_read_at = None


def _look():
    """Return the air as it is now."""
    global _air, _read_at
    now = time.ticks_ms()
    if _read_at is None or time.ticks_diff(now, _read_at) >= 100:
        _read_at = now
        _air = json.loads(_host.read("air.json") or b"{}")
    return _air


def hostname(name=None):
    global _hostname
    if name is not None:
        _hostname = name
    return _hostname


def country(code=None):
    return code or "XX"


class WLAN:
    """One of the two interfaces; a second object of the same kind is the first."""

    IF_STA = 0
    IF_AP = 1
    SEC_OPEN = 0
    SEC_WPA2 = 3
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2
    _made = {}

    def __new__(cls, interface=0):
        made = cls._made.get(interface)
        if made is None:
            made = cls._made[interface] = object.__new__(cls)
            made._start(interface)
        return made

    def __init__(self, interface=0):
        pass

    def _start(self, interface):
        self._interface = interface
        self._active = False
        self._target = None
        self._status = STAT_IDLE
        self._begun = 0
        self._options = {"channel": 6, "hidden": False, "security": 0, "ssid": "", "pm": 1, "txpower": 20}
        self._options["reconnects"] = -1
        if interface == AP_IF:
            self._options["ssid"] = "ESP_" + "".join("%02X" % b for b in self.config("mac")[3:])

    def active(self, on=None):
        if on is None:
            return self._active
        self._active = bool(on)
        if not on:
            self._target = None
            self._status = STAT_IDLE
            self._set_link()
        return self._active

    def connect(self, ssid=None, key=None, *, bssid=None):
        if not self._active:
            raise OSError("Wifi Not Started")
        if ssid is not None:
            self._target = (ssid, key or "")
        if self._target is None:
            raise OSError("Wifi Internal Error")
        self._status = STAT_CONNECTING
        self._begun = time.ticks_ms()

    def disconnect(self):
        self._target = None
        self._status = STAT_IDLE
        self._set_link()

    def _update(self):
        """Let the air act on the station."""
        if self._interface == AP_IF or self._target is None:
            return
        air = _look()
        if not air.get("up", True):
            self._status = STAT_BEACON_TIMEOUT if self._status == STAT_GOT_IP else STAT_NO_AP_FOUND
        elif self._status != STAT_CONNECTING or time.ticks_diff(time.ticks_ms(), self._begun) >= 20:
            self._status = self._join(air.get("aps"))
        self._set_link()

    def _join(self, aps):
        if aps is None:
            return STAT_GOT_IP
        for ssid, password, _ in aps:
            if ssid == self._target[0]:
                return STAT_GOT_IP if password == self._target[1] else STAT_WRONG_PASSWORD
        return STAT_NO_AP_FOUND

    def _set_link(self):
        if self._interface == STA_IF:
            socket._down = self._status != STAT_GOT_IP

    def isconnected(self):
        self._update()
        return self._active and self._status == STAT_GOT_IP

    def status(self, what=None):
        if what == "rssi":
            return -50
        if what == "stations":
            return []
        self._update()
        return self._status

    def ifconfig(self, config=None):
        if self._interface == AP_IF:
            return ("192.168.4.1", "255.255.255.0", "192.168.4.1", "0.0.0.0")
        if not self.isconnected():
            return ("0.0.0.0", "0.0.0.0", "0.0.0.0", "0.0.0.0")
        ip = _look().get("ip") or os.getenv("UPEER_IP") or "127.0.0.1"
        return (ip, "255.255.255.0", ip[: ip.rfind(".")] + ".1", "127.0.0.1")

    def ipconfig(self, what):
        config = self.ifconfig()
        return {"addr4": config[:2], "gw4": config[2], "has_dhcp4": True, "dhcp4": True}[what]

    def scan(self):
        if not self._active:
            raise OSError("STA must be active")
        aps = _look().get("aps") or [["upeer", "", -50]]
        if not _look().get("up", True):
            return []
        return [(ssid.encode(), b"\x02\0\0\0\0\x01", 6, rssi, 3 if key else 0, False) for ssid, key, rssi in aps]

    def config(self, what=None, **options):
        if what is None:
            for name, value in options.items():
                name = {"essid": "ssid", "authmode": "security", "key": "password"}.get(name, name)
                self._options[name] = value
            return None
        if what == "mac":
            import machine

            mac = machine.unique_id()
            return mac[:5] + bytes((mac[5] ^ self._interface,))
        if what == "hostname" or what == "dhcp_hostname":
            return _hostname
        name = {"essid": "ssid", "authmode": "security"}.get(what, what)
        if name == "ssid" and self._interface == STA_IF and self._target:
            return self._target[0]
        if name not in self._options or name == "password":
            raise ValueError("unknown config param")
        return self._options[name]


PM_NONE = WLAN.PM_NONE
PM_PERFORMANCE = WLAN.PM_PERFORMANCE
PM_POWERSAVE = WLAN.PM_POWERSAVE

"""The network module: a station and an access point whose air is the host.

state/air.json, read at most every 100 ms, is the air: {"up": bool, "aps": [[ssid, password, rssi], ...], "ip": text}.
Without the file, or without "aps", every network is there and takes every password. "up": false is a router without
power. What few programs use is in `_network`.
"""

import json
import os
import socket
import time

import _heap
import _host
from micropython import const

_IDLE = const(1000)
_CONNECTING = const(1001)
_GOT_IP = const(1010)
_BEACON_TIMEOUT = const(200)
_NO_AP_FOUND = const(201)
_WRONG_PASSWORD = const(202)

STA_IF = 0
AP_IF = 1
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
        _heap.drivers = _heap.DRIVERS
        self._interface = interface
        self._active = False
        self._target = None
        self._status = _IDLE
        self._begun = 0
        self._options = {}  # beside the ones of `_network`

    def active(self, on=None):
        if on is None:
            return self._active
        self._active = bool(on)
        if self._interface == STA_IF:
            _heap.wifi = _heap.WIFI if on else 0
        if not on:
            self._target = None
            self._status = _IDLE
            self._set_link()
        return self._active

    def connect(self, ssid=None, key=None, *, bssid=None):
        if not self._active:
            raise OSError("Wifi Not Started")
        if ssid is not None:
            self._target = (ssid, key or "")
        if self._target is None:
            raise OSError("Wifi Internal Error")
        self._status = _CONNECTING
        self._begun = time.ticks_ms()

    def disconnect(self):
        self._target = None
        self._status = _IDLE
        self._set_link()

    def _update(self):
        """Let the air act on the station."""
        if self._interface == AP_IF or self._target is None:
            return
        air = _look()
        if not air.get("up", True) or _heap.lacks(_heap.STATION_NEEDS):
            self._status = _BEACON_TIMEOUT if self._status == _GOT_IP else _NO_AP_FOUND
        elif self._status != _CONNECTING or time.ticks_diff(time.ticks_ms(), self._begun) >= 20:
            self._status = self._join(air.get("aps"))
        self._set_link()

    def _join(self, aps):
        if aps is None:
            return _GOT_IP
        for ssid, password, _ in aps:
            if ssid == self._target[0]:
                return _GOT_IP if password == self._target[1] else _WRONG_PASSWORD
        return _NO_AP_FOUND

    def _set_link(self):
        if self._interface == STA_IF:
            socket._down = self._status != _GOT_IP

    def isconnected(self):
        self._update()
        return self._active and self._status == _GOT_IP

    def ifconfig(self, config=None):
        if self._interface == AP_IF:
            return ("192.168.4.1", "255.255.255.0", "192.168.4.1", "0.0.0.0")
        if not self.isconnected():
            return ("0.0.0.0", "0.0.0.0", "0.0.0.0", "0.0.0.0")
        ip = _look().get("ip") or os.getenv("UPEER_IP") or "127.0.0.1"
        return (ip, "255.255.255.0", ip[: ip.rfind(".")] + ".1", "127.0.0.1")

    def config(self, *what, **options):
        if "pm" not in options:
            return _host.load("_network").config(self, *what, **options)
        self._options.update(options)

    def __getattr__(self, name):
        """Load what few programs use when it is asked for."""
        method = getattr(_host.load("_network"), name)
        return lambda *arguments: method(self, *arguments)


def __getattr__(name):
    """Load what few programs use when it is asked for."""
    return getattr(_host.load("_network"), name)

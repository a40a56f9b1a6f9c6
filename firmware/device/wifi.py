"""Keeps the station on its network: joins it, and joins it again after it was lost, with back-off and jitter."""

import asyncio
import network
from random import getrandbits

from upeer.compat import const

_JOIN_S = const(15)
_LONGEST_PAUSE_S = const(60)


class Wifi:
    """A station. `join` returns once it is on the network; `is_up` and `address` tell the state."""

    def __init__(self, ssid: str, password: str, hostname: str = ""):
        self._ssid = ssid
        self._password = password
        self._hostname = hostname
        self.wlan = network.WLAN(network.STA_IF)
        self.joins = 0

    def is_up(self) -> bool:
        """Tell whether the station is connected and has an address."""
        return self.wlan.isconnected()

    def address(self) -> str:
        """Return the station's IPv4 address in text."""
        return self.wlan.ifconfig()[0]

    def full_power(self, on: bool) -> None:
        """Turn power save off while a session runs: it adds bursts of 100 ms."""
        try:
            self.wlan.config(pm=network.WLAN.PM_NONE if on else network.WLAN.PM_PERFORMANCE)
        except (AttributeError, OSError, ValueError):
            pass  # a build without this setting

    async def join(self) -> None:
        """Wait until the station is on the network, trying for as long as it takes."""
        pause_s = 1
        while not self.wlan.isconnected():
            await self._try()
            if self.wlan.isconnected():
                break
            await asyncio.sleep_ms(pause_s * 1000 + getrandbits(9))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        self.joins += 1

    async def _try(self) -> None:
        try:
            self.wlan.active(True)
            if self._hostname:
                network.hostname(self._hostname)
            self.wlan.connect(self._ssid, self._password)
            for _ in range(_JOIN_S * 10):
                if self.wlan.isconnected():
                    return
                await asyncio.sleep_ms(100)
            self.wlan.disconnect()
        except OSError:
            self.wlan.active(False)  # the driver refuses while it is confused; start from cold


def credentials(store) -> tuple:
    """Return (ssid, password), sealed in `store`; a development network in /wifi.json moves there first."""
    import json
    import os

    try:
        with open("/wifi.json") as file:
            network = json.load(file)
        store.set("wifi", json.dumps([network["ssid"], network["password"] or ""]).encode())
        os.remove("/wifi.json")
    except OSError:
        pass  # none there
    saved = store.get("wifi")
    if not saved:
        raise ValueError("no network stored: build the image with --wifi, or provision the device")
    return tuple(json.loads(saved))

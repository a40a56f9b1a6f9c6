"""Joins the station to its network, for as long as it takes, with back-off and jitter. Transient, group "login"."""

import asyncio
from random import getrandbits

import network

from upeer.base.compat import const

_JOIN_S = const(15)
_LONGEST_PAUSE_S = const(60)


async def join(wlan, network_key: tuple, hostname: str) -> None:
    """Wait until the station is on the network; network_key: (ssid, password)."""
    pause_s = 1
    while not wlan.isconnected():
        await _try(wlan, network_key, hostname)
        if wlan.isconnected():
            return
        await asyncio.sleep_ms(pause_s * 1000 + getrandbits(9))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


async def _try(wlan, network_key: tuple, hostname: str) -> None:
    try:
        wlan.active(True)
        network.hostname(hostname)
        wlan.connect(network_key[0], network_key[1])
        for _ in range(_JOIN_S * 10):
            if wlan.isconnected():
                return
            await asyncio.sleep_ms(100)
        wlan.disconnect()
    except OSError:
        wlan.active(False)  # the driver refuses while it is confused; start from cold

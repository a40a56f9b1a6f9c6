"""Joins the station to its network, for as long as it takes, with back-off and jitter. Transient, group "login"; needs
group "storage" as well.
"""

import asyncio
from random import getrandbits

import network

from upeer.base.compat import const

_JOIN_S = const(15)
_LONGEST_PAUSE_S = const(60)


def credentials(identity) -> tuple:
    """Return (ssid, password) as they are stored; a development network in /wifi.json is stored first.

    ValueError, one line that says what to do, when there is none.
    """
    import json
    import os

    from device.memory import open_store

    store = open_store(identity)
    try:
        with open("/wifi.json") as file:
            found = json.load(file)
        store.set("wifi", json.dumps([found["ssid"], found["password"] or ""]).encode())
        os.remove("/wifi.json")
    except OSError:
        pass  # none there
    saved = store.get("wifi")
    if not saved:
        raise ValueError("no network stored: build the image with --wifi, or provision the device")
    return tuple(json.loads(saved))


async def check_credentials(identity) -> None:
    """Raise ValueError when no network is stored."""
    credentials(identity)


async def join(wlan, identity) -> None:
    """Wait until the station is on the network."""
    network_key = credentials(identity)
    pause_s = 1
    while not wlan.isconnected():
        await _try(wlan, network_key, identity.did)
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

"""A 32-bit device (tests/board32) that runs in its caller's time and network, in lock-step with `virtual_time`."""

import math
from collections import deque
from pathlib import Path
from typing import Any

from board32 import Board32
from virtual_time import Address, Network

from upeer.base.wire import LAN_PORT
from upeer_board import fctry

_FIRST_TICKS = (1 << 30) - 60_000  # it starts a minute before its ticks wrap
_APP = """
from device.api import Device
device = Device()
async def main():
    await device.start()
asyncio.create_task(main())
"""


class LockstepBoard(Board32):
    """A device that sleeps until something comes or is due. `set_air` takes its network away, or gives another IP."""

    def __init__(self, folder: Path, record: fctry.Record, network: Network, ip: str) -> None:
        self.wake_ms: float | None = 0
        self._network = network
        self._ip = ip
        self._now_ms = 0
        self._places: dict[int, tuple[Address, deque[tuple[bytes, Address]]]] = {}
        super().__init__(folder, record, begin_ms=0)
        self._ask({"at": _FIRST_TICKS, "datagrams": []})
        self.set_air(True, ip)
        self.run(_APP)

    @property
    def wraps(self) -> int:
        """How often its ticks wrapped, if it runs at this moment of the program's clock."""
        return (_FIRST_TICKS + self._now_ms) >> 30

    def logins(self) -> int:
        """Return how many masters and p2p servers it is logged in to."""
        registrar, control = self.attribute("registrar"), self.attribute("control")
        servers = f"device.agent.{registrar}.{self.attribute('servers')}"
        return int(self.run(f"print(sum([s.{control} is not None for s in {servers}]) if device.agent else 0)"))

    def set_air(self, is_up: bool, ip: str = "") -> None:
        """Switch the router off or on; the device gets this address then."""
        self._ip = ip or self._ip
        self.run(f"network.air[:] = [{is_up}, {self._ip!r}]")

    def advance(self, now_ms: int) -> None:
        """Let it run if something has come or is due."""
        self._now_ms = now_ms
        datagrams = []
        for number, (_, inbox) in self._places.items():
            while inbox:
                data, source = inbox.popleft()
                datagrams.append([number, data.hex(), *source])
        if not datagrams and (self.wake_ms is None or self.wake_ms > now_ms):
            return
        answer: Any = self._ask({"at": _FIRST_TICKS + now_ms, "datagrams": datagrams})
        for number, port, is_shared in answer["opened"]:
            self._open(number, port, is_shared)
        for number, data, ip, port in answer["sent"]:
            self._network.send(bytes.fromhex(data), self._places[number][0], (ip, port))
        self.wake_ms = None if answer["wake"] < 0 else now_ms + math.ceil(answer["wake"])

    def _open(self, number: int, port: int, is_shared: bool) -> None:
        """Place a socket; nobody else is in the local network, so that broadcasts reach no one."""
        address = (self._ip, LAN_PORT if is_shared else port)
        for old, (known, _) in list(self._places.items()):
            if known[1] == port:
                self._network.close(known)
                del self._places[old]
        self._places[number] = (address, self._network.open(address))

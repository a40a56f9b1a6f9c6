"""A world in virtual time for one device: three masters with their p2p servers and relays, clients, a router.

All but the clock and the network is the product: the image on 32 bits, the servers' nodes, the client library. What
happens in it stands in soak.py.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import board_lab
from lockstep import LockstepBoard
from office_tools import make_office
from virtual_time import Address, Network, VirtualLoop

import upeer_client
from upeer.base.clock import ticks_ms
from upeer_client import client as client_module
from upeer_client.addresses import Interface
from upeer_office import bundle, names
from upeer_office.platforms import client_config
from upeer_server.node import Node
from upeer_server.pump import Pump

SERVERS = 6  # three masters and their p2p servers

_CLIENT_IP = "192.0.2.7"
_MASTERS = tuple(f"203.0.113.{number}:7000" for number in (1, 2, 3))
_TOKENS_S = 5  # until its servers have the tokens by which clients find it
_SIZE = 8192


class World:
    """Servers, a device and clients. `transfers` counts what arrived unchanged, `nodes` are the servers that run."""

    def __init__(
        self, folder: Path, loop: VirtualLoop, network: Network, seed: int, make_board: Any = LockstepBoard
    ) -> None:
        self.clock = network.clock
        self.transfers = 0
        self.nodes: dict[int, Node] = {}
        self._pumps: dict[int, Pump] = {}
        self._folder = folder
        self._loop = loop
        self._random = random.Random(seed)
        self._is_air_up = True
        self._ips = iter(f"198.51.100.{number % 250 + 1}" for number in range(1 << 20))
        self._ip = next(self._ips)
        self._client_ports = iter(range(40_000, 65_000))
        network.is_lost = self._is_lost
        with contextlib.closing(make_office(folder / "platform", _MASTERS)) as office:
            self.did = names.parse_id(office.issue(1)[0])[0]
            self._setup_code = names.encode_setup_code(office.show(self.did).setup_code)
            self.board = make_board(folder / "board", office.device_record(self.did), network, self._ip)
            document = client_config(office.platform)
        self._config = upeer_client.Config.open(
            document["key_id"], bytes.fromhex(document["p2p_key"]), document["init_string"]
        )
        loop.machines.append(self.board)

    def _is_lost(self, source: Address, target: Address) -> bool:
        return not self._is_air_up and self._ip in (source[0], target[0])

    # the servers

    def serve(self, number: int) -> None:
        """Start a master with its p2p server and relay; it knows of nobody who was logged in."""
        config = bundle.load_nodes(self._folder / "platform", None, number)[0]
        udp = self._loop.udp((config.host, config.port))
        node = Node(config, ticks_ms(), self._random.randbytes, time.time)
        self.nodes[number] = node
        self._pumps[number] = Pump(udp, node, lambda *_what, **_more: None)
        self._pumps[number].start()

    def kill(self, number: int) -> None:
        """Stop one without a word."""
        del self.nodes[number]
        self._pumps.pop(number).stop()

    def is_logged_in(self) -> bool:
        """Tell whether the device says that it is logged in everywhere, and every server too."""
        roles = [role for node in self.nodes.values() for role in (node.master, node.p2p)]
        return sum(len(role.online()) for role in roles if role) == self.board.logins() == SERVERS

    # the router

    async def lose_air(self, seconds: float) -> None:
        """Switch the router off for a while; the device has another address afterwards."""
        self._is_air_up = False
        self.board.set_air(False)
        await asyncio.sleep(seconds)
        self._ip = next(self._ips)
        self.board.set_air(True, self._ip)
        self._is_air_up = True

    # clients

    @contextlib.asynccontextmanager
    async def client(self, home: str = "home") -> AsyncIterator[upeer_client.Client]:
        """Open a client in this network; its pairs are kept from one to the next of that home."""
        client_module.open_socket = lambda: self._loop.udp((_CLIENT_IP, next(self._client_ports)))
        client_module.interfaces = lambda: [Interface("up0", _CLIENT_IP, None)]
        async with upeer_client.Client(self._config, self._folder / home, board_lab.LIMITS) as client:
            yield client

    async def pair(self) -> None:
        """Pair the clients with the device."""
        await asyncio.sleep(_TOKENS_S)
        async with self.client() as client:
            await client.pair(self.did, self._setup_code)
        await asyncio.sleep(_TOKENS_S)

    async def pair_another(self, home: str) -> None:
        """Pair a client of another home, which the first one as the owner lets in."""
        async with self.client() as owner, await owner.connect(self.did) as connection:
            assert (await connection.command("pair-open"))[0] == 0
        async with self.client(home) as client:
            await client.pair(self.did, self._setup_code)
        await asyncio.sleep(_TOKENS_S)

    async def transfer(self, is_air_lost: bool) -> None:
        """Connect two clients, see data come back through both unchanged, the Wi-Fi away for 3 s in between perhaps."""
        data = self._random.randbytes(_SIZE)
        async with self.client() as one, self.client() as two:
            async with await one.connect(self.did) as first, await two.connect(self.did) as second:
                pending = asyncio.gather(self._echo(first, data), self._echo(second, data))
                if is_air_lost:
                    await asyncio.sleep(0.1)
                    await self.lose_air(3)
                assert await pending == [data, data]
                assert (await first.command("status"))[0] == 0
        self.transfers += 2

    @staticmethod
    async def _echo(connection: Any, data: bytes) -> bytes:
        return await board_lab.echo(await connection.open("echo", 1), data)

"""Real boards on a served platform: three masters as a process, virtual boards, a client. For tests and benchmarks."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from office_tools import make_office
from ports import free_port
from server_tools import Server, serving

import upeer_client
from upeer_board import fctry, image
from upeer_board.boards import load_board
from upeer_board.virtual import VirtualBoard
from upeer_office import names
from upeer_office.platforms import client_config, load_platform

BOOT_S = 60
_CONSOLE_END = 4000  # characters
WIFI = ("lab", "")
# What a small board's peer may have on its way; the library's own windows are for large ones.
LIMITS = upeer_client.Limits(65536, 16384)


class Lab:
    """A platform in a folder: `ports` of its masters, `dids` of its licences. `serve` before boards and clients."""

    def __init__(self, folder: Path, masters: int = 3, licences: int = 1) -> None:
        self.folder = folder
        self.platform = folder / "platform"
        self.ports = [free_port() for _ in range(masters)]
        self._running: list[VirtualBoard] = []
        self._shown: BaseException | None = None
        with make_office(self.platform, tuple(f"127.0.0.1:{port}" for port in self.ports)) as office:
            self.dids = [names.parse_id(text)[0] for text in office.issue(licences)]
            self.codes = [names.encode_setup_code(office.show(did).setup_code) for did in self.dids]
            self.records: list[fctry.Record] = [office.device_record(did) for did in self.dids]

    def serve(self, *options: str) -> Any:
        """Serve the platform, all of it or one master, as a context."""
        return serving(self.platform, *options)

    @contextmanager
    def serve_each(self) -> Iterator[list[Server]]:
        """Serve every master as a process of its own."""
        with serving(self.platform, "--master-id", "1") as first, serving(self.platform, "--master-id", "2") as second:
            with serving(self.platform, "--master-id", "3") as third:
                yield [first, second, third]

    def build(
        self, device: int | None = 0, app: Path | None = None, name: str = "board", wifi: tuple[str, str] | None = WIFI
    ) -> Path:
        """Build the flash image of a virtual board, with the licence of a device or None."""
        out = self.folder / name
        record = None if device is None else self.records[device]
        image.build(load_board("UNIX"), out, image.Options(wifi=wifi, licence=record, app=app))
        return out

    @contextmanager
    def board(
        self, folder: Path | None = None, online: int | None = None, boot_s: float = BOOT_S, **settings: Any
    ) -> Iterator[VirtualBoard]:
        """Run a board; returns once it is logged in to `online` masters (all that there are)."""
        with VirtualBoard.start(folder or self.build(), **settings) as board:
            for number in range(1, (len(self.ports) if online is None else online) + 1):
                board.wait_for(f"online master {number}", boot_s)
            if online != 0:
                board.wait_for("online p2p", boot_s)
            self._running.append(board)
            try:
                yield board
            except BaseException as error:
                self._show_consoles(error)
                raise
            finally:
                self._running.remove(board)

    def config(self) -> upeer_client.Config:
        """Return what a client of this platform ships with."""
        document = client_config(load_platform(self.platform))
        return upeer_client.Config.open(document["key_id"], bytes.fromhex(document["p2p_key"]), document["init_string"])

    def client(self, name: str = "client", limits: upeer_client.Limits = LIMITS) -> upeer_client.Client:
        """Return a client with pairs of its own."""
        return upeer_client.Client(self.config(), self.folder / name, limits)

    def run(self, work: Callable[[upeer_client.Client], Awaitable[Any]], timeout_s: float = 60, **options: Any) -> Any:
        """Run work(client) to its end and return its result."""

        async def main() -> Any:
            async with asyncio.timeout(timeout_s), self.client(**options) as client:
                return await work(client)

        try:
            return asyncio.run(main())
        except BaseException as error:
            self._show_consoles(error)
            raise

    def _show_consoles(self, error: BaseException) -> None:
        """Print, once, how the consoles of running boards end: pytest shows it beside the failure of the test."""
        if error is self._shown:
            return
        self._shown = error
        for board in self._running:
            print(f"The console of {board.name} ends:\n{board.output[-_CONSOLE_END:]}")

    async def pair(self, client: upeer_client.Client, device: int = 0) -> upeer_client.Pair:
        """Pair a client with a device by its setup code, as soon as its servers have its tokens."""
        for _ in range(30):
            try:
                return await client.pair(self.dids[device], self.codes[device])
            except upeer_client.errors.CannotReach:
                await asyncio.sleep(0.1)
        return await client.pair(self.dids[device], self.codes[device])


async def echo(channel: Any, data: bytes) -> bytes:
    """Send data through a channel with the echo service, end it, and return what comes back."""

    async def send() -> None:
        await channel.write(data)
        channel.close()

    sending = asyncio.create_task(send())
    received = bytearray()
    try:
        while part := await channel.read(65536):
            received += part
        await sending
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    return bytes(received)


def run_echo(lab: Lab, data: bytes, timeout_s: float = 60) -> None:
    """Pair a fresh client with the first device, connect, and see data come back unchanged through the echo service."""

    async def work(client: upeer_client.Client) -> None:
        if not client.pairs.all():
            await lab.pair(client)
        async with await client.connect(lab.dids[0]) as connection:
            assert await echo(await connection.open("echo", 1), data) == data

    name = f"client-{len(list(lab.folder.glob('client-*')))}"
    lab.run(work, timeout_s, name=name)

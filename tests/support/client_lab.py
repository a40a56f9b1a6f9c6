"""Servers, one device and a client's configuration in one process, on loopback: what client tests stand on.

with Lab(tmp_path) as lab:                  # everything runs in a thread of its own
    lab.run(lab.pair())
    upeer("ping", lab.did, *lab.options)
"""

import asyncio
import json
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import office_tools
from ports import free_port
from python_device import PythonDevice

import upeer_client
from upeer_client.client import Client
from upeer_client.store import Pair
from upeer_office import bundle, names, platforms
from upeer_server.serve import Service

_Result = TypeVar("_Result")
_TIME_OUT_S = 60


class Lab:
    """`service(n)` is master n with its p2p server and relay; `device` is paired with nobody at first."""

    def __init__(self, folder: Path, masters: int = 3, **device_options: Any) -> None:
        self.folder = folder
        self.files = folder / "device-files"
        self.files.mkdir()
        self.home = folder / "home"
        self.office = office_tools.make_office(folder / "platform", tuple(free_addresses(masters)))
        self.did = self.office.issue(1)[0].partition(",")[0]
        self.record = self.office.device_record(self.did)
        self.setup_code = names.encode_setup_code(self.record["setup_code"])
        self.client_json = folder / "client.json"
        self.write_client_json()
        self.state: dict[str, Any] = {}
        self.services: dict[int, Service] = {}
        self.logs: list[str] = []
        self.device: PythonDevice = self._new_device(**device_options)
        self._device_options = device_options
        self._masters = masters
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def options(self) -> list[str]:
        """The options that bring the command line here."""
        return ["--config", str(self.client_json), "--home", str(self.home)]

    def __enter__(self) -> "Lab":
        self._thread.start()
        self.run(self._start())
        return self

    def __exit__(self, *_error: object) -> None:
        self.run(self._stop())
        self.office.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, call: Coroutine[Any, Any, _Result]) -> _Result:
        """Run a coroutine in the lab's loop."""
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(call, _TIME_OUT_S), self._loop).result()

    def client(self, **options: Any) -> Client:
        """Return a client of this platform."""
        return Client(options.pop("config", self.client_json), self.home, **options)

    async def pair(self) -> Pair:
        """Pair a client with the device; it becomes the owner."""
        async with self.client() as client:
            return await client.pair(self.did, self.setup_code, "lamp")

    async def connected(self, mode: str = "all") -> tuple[Client, upeer_client.Connection]:
        """Return an open client and its connection to the device; close the client."""
        client = self.client()
        await client.__aenter__()
        return client, await client.connect(self.did, mode)

    async def stop_master(self, number: int) -> None:
        """Stop one master, its p2p server and relay."""
        await self.services.pop(number).stop()

    async def reboot(self, is_polite: bool = True) -> None:
        """Replace the device by one with the same state."""
        self.device.stop(is_polite)
        self.device = self._new_device(**self._device_options)
        await self.device.start()
        await self.device.online(len(self.services))

    def write_client_json(self) -> None:
        """Write the configuration anew, as `upeer platform client` does."""
        document = platforms.client_config(self.office.platform)
        self.client_json.write_text(json.dumps(document))

    def _new_device(self, **options: Any) -> PythonDevice:
        return PythonDevice(self.record, self.files, state=self.state, **options)

    async def _start(self) -> None:
        for number in range(1, self._masters + 1):
            await self.start_master(number)
        await self.device.start()
        await self.device.online(self._masters)

    async def start_master(self, number: int) -> None:
        """Serve one master, its p2p server and relay."""
        folder = self.folder / "platform"
        service = Service(lambda: bundle.load_nodes(folder, None, number), self._log)
        await service.start()
        self.services[number] = service

    async def _stop(self) -> None:
        self.device.stop()
        for service in self.services.values():
            await service.stop()

    def _log(self, event: str, **fields: Any) -> None:
        self.logs.append(f"{event} {fields}")


def free_addresses(count: int) -> list[str]:
    """Return addresses of loopback that nobody has."""
    return [f"127.0.0.1:{free_port()}" for _ in range(count)]

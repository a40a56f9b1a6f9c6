"""Our side of the benchmarks: a served platform, a device in a process of its own, a client here.

`python ours.py RECORD_FILE DATAGRAM` runs the device; its service `sink` reads to the end and answers `done`.
"""

import asyncio
import contextlib
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from office_tools import make_office
from ports import free_port
from python_device import PythonDevice
from server_tools import serving

from upeer_client.client import Client, Limits
from upeer_office import names
from upeer_office.platforms import client_config

_CHUNK_SIZE = 1 << 20
_DONE = b"done"
_BUFFER = 4 << 20
_SMALL = 1200
_TIME_OUT_S = 120
_BYTES = ("licence_key", "crc_key", "p2p_key", "setup_code")


@contextlib.contextmanager
def _device_process(folder: Path, record: dict[str, Any], datagram: int) -> Iterator[None]:
    path = folder / "record.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({key: value.hex() if key in _BYTES else value for key, value in record.items()}))
    argv = [sys.executable, str(Path(__file__).resolve()), str(path), str(datagram)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield
        finally:
            process.send_signal(signal.SIGKILL)


@contextlib.asynccontextmanager
async def _paired_client(datagram: int) -> AsyncIterator[tuple[Client, str]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with contextlib.closing(make_office(folder / "plat", (f"127.0.0.1:{free_port()}",))) as office:
            did = office.issue(1)[0].partition(",")[0]
            record = office.device_record(did)
            config = folder / "client.json"
            config.touch(mode=0o600)
            config.write_text(json.dumps(client_config(office.platform)))
        with serving(folder / "plat"), _device_process(folder, record, datagram):
            async with Client(config, folder / "home", Limits(_BUFFER, _BUFFER, datagram)) as client:
                await client.pair(did, names.encode_setup_code(record["setup_code"]))
                yield client, did


async def _stream(size: int, datagram: int) -> float:
    chunk = bytes(_CHUNK_SIZE)
    async with asyncio.timeout(_TIME_OUT_S), _paired_client(datagram) as (client, did):
        async with await client.connect(did, mode="direct") as device:
            channel = await device.open("sink", 1)
            started = time.perf_counter()
            for _ in range(size // _CHUNK_SIZE):
                await channel.write(chunk)
            channel.close()
            assert await channel.readexactly(len(_DONE)) == _DONE
            return time.perf_counter() - started


def stream_mbps(size: int = 64 << 20, datagram: int = _SMALL) -> float:
    """Return MB/s of one stream between two processes: from the first write to the receiver's answer at the end."""
    return size / asyncio.run(_stream(size, datagram)) / 1e6


async def _connect(count: int) -> list[float]:
    times = []
    async with asyncio.timeout(_TIME_OUT_S), _paired_client(_SMALL) as (client, did):
        for _ in range(count):
            started = time.perf_counter()
            async with await client.connect(did) as device:
                await device.command("status")
                times.append((time.perf_counter() - started) * 1000)
    return times


def connect_ms(count: int = 20) -> float:
    """Return the median time from nothing to the first byte of an answer: lookup, invite, handshake, path, command."""
    return statistics.median(asyncio.run(_connect(count)))


async def _run_device(path: Path, datagram: int) -> None:
    record = json.loads(path.read_text())
    record = {key: bytes.fromhex(value) if key in _BYTES else value for key, value in record.items()}
    device = PythonDevice(record, limits=(8, _BUFFER, _BUFFER, datagram, 60, 0), lan=False)

    async def sink(channel: Any) -> None:
        while await channel.read(_CHUNK_SIZE):
            pass
        await channel.write(_DONE)
        channel.close()

    device.services["sink"] = sink
    async with device:
        await device.online()
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_run_device(Path(sys.argv[1]), int(sys.argv[2])))

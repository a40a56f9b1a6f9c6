"""The peers that benchmarks compare with, measured in the same run: aioquic, aioice and a bare asyncio protocol.

Every function bounds its own time and ends the process that it started. `bench_peers.py` prints them alone.
"""

import asyncio
import contextlib
import datetime
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import request_load

_TIME_OUT_S = 120
_CHUNK_SIZE = 1 << 20
_HEARTBEAT_SIZE = 64
_DONE = b"done"


@contextlib.contextmanager
def server_process(role: str) -> Iterator[tuple[int, int]]:
    """Run this file as a server in a process of its own; gives its pid and port."""
    argv = [sys.executable, str(Path(__file__).resolve()), role]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


def aioquic_stream_mbps(size: int = 64 << 20) -> float:
    """Return MB/s of one aioquic stream between two processes: from the first write to the receiver's answer at FIN."""
    with server_process("aioquic") as (_, port):
        return size / asyncio.run(_send_aioquic(port, size)) / 1e6


async def _send_aioquic(port: int, size: int) -> float:
    from aioquic.asyncio import connect
    from aioquic.quic.configuration import QuicConfiguration

    configuration = QuicConfiguration(is_client=True, alpn_protocols=["bench"], verify_mode=ssl.CERT_NONE)
    chunk = bytes(_CHUNK_SIZE)
    async with asyncio.timeout(_TIME_OUT_S), connect("127.0.0.1", port, configuration=configuration) as client:
        reader, writer = await client.create_stream()
        started = time.perf_counter()
        for _ in range(size // _CHUNK_SIZE):
            writer.write(chunk)
        writer.write_eof()
        assert await reader.read() == _DONE
        return time.perf_counter() - started


async def _serve_aioquic() -> None:
    from aioquic.asyncio import serve
    from aioquic.asyncio.protocol import QuicConnectionProtocol
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.events import QuicEvent, StreamDataReceived

    class Sink(QuicConnectionProtocol):
        """Discard a stream and answer when it ends."""

        def quic_event_received(self, event: QuicEvent) -> None:
            if isinstance(event, StreamDataReceived) and event.end_stream:
                self._quic.send_stream_data(event.stream_id, _DONE, end_stream=True)

    certificate, private_key = _self_signed()
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["bench"])
    configuration.certificate, configuration.private_key = certificate, private_key
    server = await serve("127.0.0.1", 0, configuration=configuration, create_protocol=Sink)
    print(server._transport.get_extra_info("sockname")[1], flush=True)
    await asyncio.sleep(_TIME_OUT_S)


def _self_signed() -> tuple[Any, Any]:
    """Return a certificate for 127.0.0.1 and its key; they never leave this process."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(hours=1))
    return builder.sign(key, hashes.SHA256()), key


def aioice_connect_ms(count: int = 20) -> float:
    """Return the median time in ms in which two aioice agents connect and the first byte arrives.

    Both in this process, host candidates on 127.0.0.1 alone, credentials and candidates handed over without a network.
    """
    return statistics.median(asyncio.run(_connect_aioice(count))) * 1000


async def _connect_aioice(count: int) -> list[float]:
    import aioice.ice

    listed = aioice.ice.get_host_addresses
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    try:
        async with asyncio.timeout(_TIME_OUT_S):
            return [await _connect_aioice_once() for _ in range(count)]
    finally:
        aioice.ice.get_host_addresses = listed


async def _connect_aioice_once() -> float:
    import aioice

    started = time.perf_counter()
    agents = [aioice.Connection(ice_controlling=first, use_ipv6=False) for first in (True, False)]
    await asyncio.gather(*(agent.gather_candidates() for agent in agents))
    for agent, other in (agents, agents[::-1]):
        agent.remote_username, agent.remote_password = other.local_username, other.local_password
        for candidate in other.local_candidates:
            await agent.add_remote_candidate(candidate)
        await agent.add_remote_candidate(None)
    await asyncio.gather(*(agent.connect() for agent in agents))
    await agents[0].send(b"x")
    await agents[1].recv()
    seconds = time.perf_counter() - started
    await asyncio.gather(*(agent.close() for agent in agents))
    return seconds


def datagram_echo_per_s(seconds: float = 2.0) -> float:
    """Return the requests of 64 bytes that a bare asyncio DatagramProtocol echoes per CPU second of its process."""
    request = bytes(_HEARTBEAT_SIZE)
    with server_process("echo") as (pid, port):
        return request_load(("127.0.0.1", port), pid, lambda _number: request, seconds).per_core


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)


async def _serve_echo() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(_Echo, local_addr=("127.0.0.1", 0))
    print(transport.get_extra_info("sockname")[1], flush=True)
    await asyncio.sleep(_TIME_OUT_S)


if __name__ == "__main__":
    asyncio.run({"aioquic": _serve_aioquic, "echo": _serve_echo}[sys.argv[1]]())

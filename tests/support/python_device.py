"""A device on CPython for tests, made of the same core as the real one: logs in, answers invites, serves channels.

async with PythonDevice(office.device_record(did)) as device:
    await device.online()
"""

import asyncio
import errno
import hashlib
import json
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from upeer import aio
from upeer.base.clock import ticks_ms
from upeer.base.errors import LocalError, ProtocolError
from upeer.base.wire import LAN_INVITE, LAN_PORT, RELAYED, ROLE_P2P
from upeer.crypto.aead import random_bytes
from upeer.crypto.x25519 import key_pair, shared_secret
from upeer.endpoint import FROM_LAN, FROM_SERVER, Endpoint
from upeer.handshake.invite import lan_key, pair_key, prologue, session_psk, setup_key
from upeer.handshake.lan import LanInvite, encode_answer
from upeer.handshake.pairs import OWNER, SETUP, Pairs
from upeer.session.paths import HOST, SRFLX
from upeer.signalling import enrol
from upeer.signalling.initstring import open_init_string
from upeer.signalling.registrar import Registrar
from upeer_client.transport import Transport, open_socket

Service = Callable[[Any], Awaitable[None]]

LIMITS = (4, 1 << 19, 1 << 17, 1400, 30, 0)


class Identity:
    """What Registrar wants of a device; `state` (pairs, epoch) may be kept for another PythonDevice: a reboot."""

    nat_class = 0

    def __init__(self, record: dict[str, Any], state: dict[str, Any]) -> None:
        self.did: str = record["did"]
        self.licence_key: bytes = record["licence_key"]
        self.state = state
        self.p2p_keys: dict[int, bytes] = {}
        self.set_keys(record["key_id"], record["crc_key"], record["p2p_key"])
        code = record.get("setup_code")
        key = setup_key(code, self.did) if code else None
        self.pairs = Pairs(key, state.get("pairs"))

    def set_keys(self, key_id: int, crc_key: bytes, p2p_key: bytes) -> None:
        self.key_id, self.crc_key, self.p2p_key = key_id, crc_key, p2p_key
        self.p2p_keys[key_id] = p2p_key

    @property
    def flags(self) -> int:
        return 1 if self.pairs.is_open else 0

    def next_epoch(self) -> int:
        self.state["epoch"] = self.state.get("epoch", 0) + 1
        return int(self.state["epoch"])

    def raise_epoch(self, last: int) -> None:
        self.state["epoch"] = max(self.state.get("epoch", 0), last)


class PythonDevice:
    """One device. `services` by name are coroutines of a channel, `folder` is what the files service shows.

    `blocks_direct`: what would go to clients directly gets lost, as behind a bad NAT.
    """

    def __init__(self, record: dict[str, Any], folder: Path | None = None, **options: Any) -> None:
        self.identity = Identity(record, options.get("state", {}))
        self.did = self.identity.did
        self.folder = folder
        self.services: dict[str, Service] = {"echo": echo, "files": self._files}
        self.connections: list[Any] = []
        self.commands: list[str] = []
        self.room = (400 << 10, 440 << 10)  # bytes that its file system has free, and in all
        self.blocks_direct = False
        self.loses_pair_answer = False  # stores the pairing, then is gone before it answers
        self.refuses = 0  # status of handshake message 2
        self.lacks_memory = 0  # for so many services that are asked for
        self._host: str = options.get("host", "127.0.0.1")
        self._has_lan: bool = options.get("lan", True)
        self._limits = options.get("limits", LIMITS)
        self._masters = open_init_string(record["init_string"], "device", self.identity.crc_key, self.identity.p2p_key)
        self._lan: socket.socket | None = None
        self._epoch = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "PythonDevice":
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.stop()

    async def start(self) -> None:
        """Open the sockets and log in."""
        now = ticks_ms()
        self.endpoint = Endpoint(False, self._limits, random_bytes, now)
        self.registrar = Registrar(self.identity, random_bytes, now)
        for number, host, port in self._masters:
            enrol.set_master(self.registrar, number, (socket.gethostbyname(host), port), now)
        self.transport = _DeviceTransport(self, open_socket(self._host))
        self.endpoint.candidates = [(HOST, (self._host, self.transport.port))]
        self.endpoint.ephemeral = key_pair(random_bytes)
        if self._has_lan:
            self._open_lan()
        self.transport.add(self)

    def stop(self, is_polite: bool = True) -> None:
        """Log out and close; without a word when it is not polite, as after a power cut."""
        for task in self._tasks:
            task.cancel()
        if is_polite:
            enrol.log_out(self.registrar)
            self.transport.flush()
        if self._lan is not None:
            asyncio.get_running_loop().remove_reader(self._lan.fileno())
            self._lan.close()
            self._lan = None
        self.transport.close()

    async def online(self, masters: int = 1, p2p_servers: int = 1, seconds: float = 60.0) -> None:
        """Wait until it is logged in to so many servers and they have its tokens."""
        async with asyncio.timeout(seconds):
            while self.registrar.count() < masters or self.registrar.count(ROLE_P2P) < p2p_servers:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)

    # party of the transport

    def receive_datagram(self, data: bytes, addr: Any, now: int) -> None:
        self.registrar.receive_datagram(data, addr, now)

    def handle_timer(self, now: int) -> None:
        self.registrar.handle_timer(now)

    def timer(self) -> int | None:
        return self.registrar.timer()

    def datagrams_to_send(self, now: int) -> list[tuple[bytes, Any]]:
        found = []
        while (data := self.registrar.datagram_to_send(now)) is not None:
            found.append((bytes(data), self.registrar.send_address))
        return found

    def step(self, now: int) -> None:
        while (event := self.registrar.next_event()) is not None:
            self._on_event(event, now)
        epoch = self.registrar.epoch(now)
        if epoch != self._epoch:
            self._epoch = epoch
            self._update_tokens()

    def _on_event(self, event: tuple[Any, ...], now: int) -> None:
        if event[0] == "invite":
            _, control, invite_id, _address, key_id, token, message = event
            epoch = self.registrar.epoch(now)
            found = self.identity.pairs.find(token, b"".join(self.identity.pairs.tokens(epoch)))
            self._invite(invite_id, key_id, message, found, FROM_SERVER, control.answer_invite)
        elif event[0] == "online":
            own = [(HOST, (self._host, self.transport.port))]
            seen = [(SRFLX, address) for address in enrol.reflexives(self.registrar)]
            self.endpoint.candidates = own + [item for item in seen if item[1] != own[0][1]]
        elif event[0] == "keys":
            self.identity.set_keys(*event[1:])
            enrol.restart(self.registrar, now)

    # invites

    def _open_lan(self) -> None:
        self._lan = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._lan.setblocking(False)
        self._lan.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._lan.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._lan.bind(("0.0.0.0", LAN_PORT))
        asyncio.get_running_loop().add_reader(self._lan.fileno(), self._on_lan)

    def _on_lan(self) -> None:
        assert self._lan is not None
        with suppress(BlockingIOError):
            while True:
                data, addr = self._lan.recvfrom(2048)
                if data[:1] == bytes((LAN_INVITE,)):
                    self._on_lan_invite(data, addr)

    def _on_lan_invite(self, data: bytes, addr: Any) -> None:
        try:
            invite = LanInvite(data)
        except ProtocolError:
            return

        def reply(invite_id: bytes, message: bytes) -> None:
            with suppress(OSError):
                self.transport.udp.sendto(encode_answer(invite.key_id, invite_id, message), addr)

        row = next((row for row in self.identity.pairs.all() if invite.matches(lan_key(row[2]))), None)
        self._invite(invite.invite_id, invite.key_id, invite.message, row, FROM_LAN, reply)

    def _invite(self, invite_id: bytes, key_id: int, message: bytes, row: Any, source: int, reply: Any) -> None:
        p2p_key = self.identity.p2p_keys.get(key_id)
        self.endpoint._busy = [ticks_ms(), ticks_ms()]  # tests connect more often than a device lets strangers try

        def find() -> tuple[Any, ...] | None:
            if row is None or p2p_key is None:
                return None
            binding = prologue(key_id, invite_id, self.did, row[0])
            return session_psk(row[2], p2p_key), binding, key_id, row

        result = self.endpoint.handle_invite(invite_id, message, find, source, ticks_ms())
        self.endpoint.ephemeral = self.endpoint.ephemeral or key_pair(random_bytes)
        if isinstance(result, bytes):
            reply(invite_id, result)
        elif result is not None:
            shared = shared_secret(result.private, result.peer_public)
            answer, session = self.endpoint.finish_invite(result, shared, self.refuses, ticks_ms())
            if session is not None:
                session.connection = aio.Connection(session, self.transport.flush, self._on_command)
                session.connection.role = result.user[1]
                session.connection.client_id = result.user[0]
                self.connections.append(session.connection)
            reply(invite_id, answer)
        self.transport.flush()

    def _update_tokens(self) -> None:
        if self._epoch:
            self.registrar.set_tokens(b"".join(self.identity.pairs.tokens(self._epoch)), ticks_ms())

    # commands

    def _on_command(self, connection: Any, request_id: int, name: str, data: Any) -> None:
        self.commands.append(name)
        session = connection.session
        data = bytes(data)
        try:
            if connection.role == SETUP and name != "pair":
                session.answer(request_id, 3, b"pair first")
            elif name == "open":
                self._open(connection, request_id, data)
            elif name == "pair":
                self._pair(connection, request_id, data)
            elif name == "pair-open":
                if connection.role != OWNER:
                    raise LocalError("only the owner opens pairing")
                self.identity.pairs.open()
                self._update_tokens()
                session.answer(request_id, 0)
            elif name == "status":
                session.answer(request_id, 0, json.dumps({"did": self.did, "role": connection.role}).encode())
            else:
                session.answer(request_id, 2, b"no such command")
        except LocalError as error:
            session.answer(request_id, 3, str(error).encode())

    def _open(self, connection: Any, request_id: int, data: bytes) -> None:
        handler = self.services.get(data[1:].decode())
        if self.lacks_memory:
            self.lacks_memory -= 1
            connection.session.answer(request_id, 4, b"out of memory on the device")
            return
        if handler is None:
            connection.session.answer(request_id, 2, b"no such service")
            return
        task = asyncio.ensure_future(_serve(handler, connection, data[0]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        connection.session.answer(request_id, 0)

    def _pair(self, connection: Any, request_id: int, data: bytes) -> None:
        if connection.role != SETUP:
            raise LocalError("pairing needs a session by setup code")
        key = pair_key(connection.session.exporter, self.did, data[:8])
        role = self.identity.pairs.add(data[:8], key, data[8:])
        self.identity.state["pairs"] = self.identity.pairs.save()
        self._update_tokens()
        if self.loses_pair_answer:
            connection.session.abort(9, "")
        else:
            connection.session.answer(request_id, 0, bytes((role,)))

    # the files service, in as few words as possible

    async def _files(self, channel: Any) -> None:
        assert self.folder is not None
        verb, _, rest = (await channel.readline()).decode().strip().partition(" ")
        try:
            if verb == "GET":
                data = (self.folder / rest).read_bytes()
                await channel.write(b"OK %d\n" % len(data))
                await channel.write(data)
                await channel.write(hashlib.sha256(data).hexdigest().encode() + b"\n")
            elif verb == "STORE":
                size, _, name = rest.partition(" ")
                if int(size) > self.room[0]:
                    raise OSError(errno.ENOSPC, f"{size} {self.room[0]}")
                await channel.write(b"OK\n")
                data = await channel.readexactly(int(size))
                digest = hashlib.sha256(data).hexdigest().encode()
                if (await channel.readline()).strip() != digest:
                    raise OSError(errno.EIO, "hash")
                (self.folder / name).write_bytes(data)
                await channel.write(b"OK " + digest + b"\n")
            elif verb == "LIST":
                await self._list(channel)
            else:
                await channel.write(b"ERR 22 unknown request\n")
        except OSError as error:
            text = error.strerror if error.errno == errno.ENOSPC else "file error"
            await channel.write(f"ERR {error.errno or errno.EIO} {text}\n".encode())
        channel.close()

    async def _list(self, channel: Any) -> None:
        assert self.folder is not None
        await channel.write(b"OK %d %d\n" % self.room)
        for path in sorted(self.folder.iterdir()):
            data = path.read_bytes()
            line = f"{hashlib.sha256(data).hexdigest()} {len(data)} {path.name}\n"
            await channel.write(line.encode())


class _DeviceTransport(Transport):
    """The client's pump around a device's endpoint."""

    def __init__(self, device: PythonDevice, udp: socket.socket) -> None:
        super().__init__(device.endpoint, udp)  # type: ignore[arg-type]
        self._device = device

    def _send_one(self, data: Any, addr: Any) -> None:
        if self._device.blocks_direct and data[0] >> 6 == 1 and data[0] != RELAYED:
            return
        super()._send_one(data, addr)


async def echo(channel: Any) -> None:
    """Send back what comes."""
    while data := await channel.read(1 << 16):
        await channel.write(data)
    channel.close()


async def _serve(handler: Service, connection: Any, number: int) -> None:
    with suppress(ProtocolError, EOFError, asyncio.CancelledError):
        await handler(await connection.free_channel(number))

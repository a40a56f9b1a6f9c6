"""The client: `async with Client() as client: connection = await client.connect(did)`.

One UDP socket serves all connections. Everything raised is a ClientError with a documented number (docs/errors.md).
"""

import asyncio
import itertools
import secrets
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upeer.base.clock import ticks_ms
from upeer.base.errors import ProtocolError
from upeer.connect import ClientEndpoint, parse_setup_code
from upeer.crypto.aead import random_bytes
from upeer.handshake.invite import SETUP_CLIENT_ID, pair_key, setup_key
from upeer.session.paths import HOST
from upeer_client import errors
from upeer_client.addresses import Interface, broadcast_addresses, interfaces
from upeer_client.calls import WEEK_S, Address, Caller, Peer, Platform
from upeer_client.config import Config, config_path, load_config
from upeer_client.connection import MODES, Connection, memory_wait_s
from upeer_client.connector import Connector
from upeer_client.netcheck import NetCheck, Report
from upeer_client.store import ROLES, Pair, PairStore, checked_did
from upeer_client.transport import MAX_DATAGRAM, Transport, open_socket

TIMEOUT_S = 15.0

_SESSIONS = 64
_SESSION_WINDOW = 4 << 20
_CHANNEL_WINDOW = 1 << 20
_IDLE_TIMEOUT_S = 20  # paths in use are challenged every 5 s
_DNS_S = 5.0
_GOODBYE_TICKS = 50  # of 10 ms
_DIAGNOSE_MS = 1000
_PAIR_TRIES = 3
_MAX_NAME = 32
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Limits:
    """What one session may hold here, in bytes, and the largest datagram; smaller ones suit tests."""

    session: int = _SESSION_WINDOW
    channel: int = _CHANNEL_WINDOW
    datagram: int = MAX_DATAGRAM


class Client:
    """Connections to the devices of one platform.

    config: a Config, or the path of client.json (see `config.config_path`); home: folder of the pairs ($UPEER_HOME).
    """

    def __init__(
        self, config: Config | Path | str | None = None, home: Path | None = None, limits: Limits | None = None
    ) -> None:
        self.pairs = PairStore(home)
        self._home = home
        self._config_path = Path(config) if isinstance(config, str | Path) else None
        self._config = config if isinstance(config, Config) else None
        self._limits = limits or Limits()
        self._transport: Transport | None = None
        self._cookies: dict[Address, Any] = {}
        self._interfaces: list[Interface] = []

    async def __aenter__(self) -> "Client":
        self.config()
        limits = self._limits
        full = (_SESSIONS, limits.session, limits.channel, limits.datagram, _IDLE_TIMEOUT_S, 0)
        endpoint = ClientEndpoint(full, random_bytes, ticks_ms())
        self._transport = Transport(endpoint, open_socket())
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection and the socket; what was written and not yet delivered is dropped."""
        if self._transport is None:
            return
        transport, self._transport = self._transport, None
        sessions = transport.endpoint.sessions
        for session in sessions:
            session.abort()
        transport.flush()
        for _ in range(_GOODBYE_TICKS):
            if not transport.endpoint.sessions:
                break
            await asyncio.sleep(0.01)
        transport.close()

    def config(self) -> Config:
        """Return the configuration, read at the first call."""
        if self._config is None:
            self._config = load_config(self._config_path, self._home)
        return self._config

    async def connect(self, name: str, mode: str = "all", timeout: float = TIMEOUT_S) -> Connection:
        """Connect to a paired device, by its DID or the name we gave it.

        mode: "all", "lan" (no servers), "direct" (no relay) or "relay" (nothing else); timeout in s.
        """
        return await self.connect_pair(self.pairs.find(name), mode, timeout)

    async def connect_pair(self, pair: Pair, mode: str = "all", timeout: float = TIMEOUT_S) -> Connection:
        """Connect as `connect` does, by a pair that the caller keeps itself, say in the keychain of a phone."""
        connection = await self._reach(Peer(pair.did, pair.client_id, pair.key), mode, timeout)
        connection.role = pair.role
        return connection

    async def pair(
        self, did: str, setup_code: str, name: str = "", mode: str = "all", timeout: float = TIMEOUT_S
    ) -> Pair:
        """Pair with a device by its setup code; the first client to do so becomes its owner.

        May be repeated with the same outcome, also after an answer that got lost.
        """
        did = checked_did(did)
        if len(name.encode()) > _MAX_NAME:
            raise errors.UsageError(f"the name is longer than {_MAX_NAME} bytes", "choose a shorter one")
        try:
            key = setup_key(parse_setup_code(setup_code), did)
        except ProtocolError as error:
            raise errors.UsageError(str(error), "it stands on the device's label: XXXX-XXXX-XXXX-XXXX") from error
        for attempt in range(_PAIR_TRIES):
            try:
                return await self._pair_once(Peer(did, SETUP_CLIENT_ID, key), name, mode, timeout)
            except errors.CannotReach as error:
                finished = await self._finish_pairing(did, mode, timeout)
                if finished is not None:
                    return finished
                hint = "check the setup code, that the device is online, and that it still lets clients pair"
                raise errors.CannotReach(f"{did} cannot be reached by this setup code", hint) from error
            except (errors.ConnectionLost, errors.ClosedByPeer):
                if attempt == _PAIR_TRIES - 1:
                    raise
        raise AssertionError("not reached")

    async def netcheck(self, timeout: float = 3.0) -> Report:
        """Ask every master for an answer and for our address as it sees it."""
        transport = self._running()
        platform = await self._platform()
        check = NetCheck(platform, random_bytes, int(timeout * 1000), ticks_ms())
        transport.add(check)
        try:
            await check.done.wait()
        finally:
            transport.remove(check)
        return check.report(self.config().masters, transport.port, interfaces())

    # connecting

    async def _reach(self, peer: Peer, mode: str, timeout: float) -> Connection:
        """Try; a few times if a device lacks memory for a moment: other sessions' ends give some back."""
        end = time.monotonic() + timeout
        for tries in itertools.count(1):
            try:
                return await self._reach_once(peer, mode, end - time.monotonic())
            except errors.DeviceBusy as error:
                wait_s = memory_wait_s(tries) if error.passes else None
                if wait_s is None or time.monotonic() + wait_s > end:
                    raise
            await asyncio.sleep(wait_s)
        raise AssertionError("not reached")

    async def _reach_once(self, peer: Peer, mode: str, timeout: float) -> Connection:
        """Try; once more when the configuration was replaced: the platform's keys may have changed."""
        try:
            return await self._attempt(peer, mode, timeout)
        except errors.NoAnswer as error:
            if self._has_newer_config():
                return await self._attempt(peer, mode, timeout)
            if await self._are_servers_up():
                number = self.config().key_id
                raise errors.WrongKeys(
                    f"the servers are there, but no master knows this client's keys (generation {number})"
                ) from error
            raise

    async def _attempt(self, peer: Peer, mode: str, timeout: float) -> Connection:
        transport = self._running()
        if mode not in MODES:
            raise errors.UsageError(f"there is no mode {mode!r}", "choose all, lan, direct or relay")
        platform = await self._platform(with_masters=mode != "lan")
        self._refresh_candidates(platform.masters)
        epoch = int(time.time()) // WEEK_S
        endpoint = transport.endpoint
        caller = Caller(endpoint, platform, peer, MODES[mode], epoch, random_bytes, self._cookies)
        targets = broadcast_addresses(self._interfaces)
        attempt = _Attempt(Connector(caller, targets, int(timeout * 1000), ticks_ms()), transport, peer.did)
        return await attempt.run()

    def _refresh_candidates(self, masters: Iterable[tuple[Address, bytes]]) -> None:
        transport = self._running()
        self._interfaces = interfaces()
        own = [item.address for item in self._interfaces if not item.is_loopback]
        if not own or any(address[0].startswith("127.") for address, _ in masters):
            own.append(_LOOPBACK)
        transport.endpoint.candidates = [(HOST, (address, transport.port)) for address in own[:6]]

    async def _platform(self, with_masters: bool = True) -> Platform:
        config = self.config()
        masters = []
        if with_masters:
            found = await asyncio.gather(*[_resolve(master.host, master.port) for master in config.masters])
            known = zip(found, config.masters, strict=True)
            masters = [(address, master.public_key) for address, master in known if address is not None]
            if not masters:
                raise errors.NoAnswer("the names of the masters are not known here", "check this computer's DNS")
        return Platform(config.key_id, config.p2p_key, tuple(masters))

    def _has_newer_config(self) -> bool:
        before = self.config()
        if before.path is None:
            return False
        with suppress(errors.ClientError):
            now = load_config(config_path(self._config_path, self._home), self._home)
            if now != before:
                self._config = now
                return True
        return False

    async def _are_servers_up(self) -> bool:
        report = await self.netcheck(_DIAGNOSE_MS / 1000)
        return any(server.stun is not None for server in report.servers)

    def _running(self) -> Transport:
        if self._transport is None:
            raise errors.UsageError("the client is not open", "use it in 'async with'")
        return self._transport

    # pairing

    async def _pair_once(self, peer: Peer, name: str, mode: str, timeout: float) -> Pair:
        connection = await self._reach(peer, mode, timeout)
        try:
            earlier = self.pairs.pending(peer.did)
            client_id = earlier[0].client_id if earlier else secrets.token_bytes(8)
            key = pair_key(connection.session.exporter, peer.did, client_id)
            pair = Pair(peer.did, client_id, key, name=name)
            self.pairs.begin(pair)
            async with asyncio.timeout(timeout):
                status, answer = await connection.command("pair", client_id + name.encode())
        except TimeoutError as error:
            raise errors.TimedOut(f"{peer.did} did not answer in time") from error
        finally:
            await connection.close(timeout=1.0)
        if status:
            self.pairs.drop_pending(pair)
            text = bytes(answer).decode(errors="replace") or "no reason given"
            raise errors.NotAllowed(f"{peer.did} does not pair: {text}", "its owner can open pairing again")
        return self.pairs.confirm(pair, ROLES[answer[0]] if answer and answer[0] < len(ROLES) else ROLES[1])

    async def _finish_pairing(self, did: str, mode: str, timeout: float) -> Pair | None:
        """Return the pair when the device has a key from a pairing whose answer got lost."""
        for pair in self.pairs.pending(did):
            with suppress(errors.CannotReach, errors.TimedOut):
                connection = await self._reach(Peer(did, pair.client_id, pair.key), mode, timeout)
                role = await _role_of(connection)
                await connection.close(timeout=1.0)
                return self.pairs.confirm(pair, role)
        return None


class _Attempt:
    """Awaits the outcome of a Connector on a transport."""

    def __init__(self, connector: Connector, transport: Transport, did: str) -> None:
        self._connector = connector
        self._transport = transport
        self._did = did
        self._connection: Connection | None = None
        self._done: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        # As a party of the transport it passes everything on, but for the events.
        self.receive_datagram = connector.receive_datagram
        self.handle_timer = connector.handle_timer
        self.timer = connector.timer
        self.datagrams_to_send = connector.datagrams_to_send

    async def run(self) -> Connection:
        self._transport.add(self)
        try:
            return await self._done
        except asyncio.CancelledError:
            self._connector.cancel()
            self._transport.flush()
            raise
        finally:
            self._transport.remove(self)

    def step(self, now: int) -> None:
        self._connector.step(now)
        while (event := self._connector.next_event()) is not None:
            if self._done.done():
                continue
            if event[0] == "session":
                self._connection = Connection(event[1], self._transport, self._did, self._connector.started)
            elif event[0] == "failed":
                self._done.set_exception(event[1])
            elif self._connection is not None:
                self._connection.timeline |= self._connector.timeline
                self._done.set_result(self._connection)


async def _resolve(host: str, port: int) -> Address | None:
    """Return the IPv4 address of a master, None when its name is not known now."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_DNS_S):
            found = await loop.getaddrinfo(host, port, family=socket.AF_INET, type=socket.SOCK_DGRAM)
    except OSError:  # TimeoutError too
        return None
    address: Address = found[0][4][:2]  # type: ignore[assignment]
    return address


async def _role_of(connection: Connection) -> str:
    """Ask the device for our role; "user" when it does not tell."""
    import json

    status, answer = await connection.command("status")
    with suppress(ValueError, KeyError, IndexError, TypeError):
        if not status:
            return ROLES[int(json.loads(bytes(answer))["role"])]
    return ROLES[1]

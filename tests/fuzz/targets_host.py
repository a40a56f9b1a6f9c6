"""Fuzz targets of the host's own doors: admin listener, names and licence files, images, what a client hears."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from targets import target, vector_seeds

from upeer.base.errors import CryptoError, ProtocolError
from upeer.base.wire import Reader
from upeer.connect import ALL, ClientEndpoint
from upeer.crypto.aead import Aead
from upeer.handshake.pairs import Pairs
from upeer.session.paths import HOST
from upeer_board import esp_image, fctry, partitions, version
from upeer_client.calls import Caller, Peer, Platform
from upeer_client.connector import Connector
from upeer_client.netcheck import NetCheck
from upeer_office import exchange, names, platforms
from upeer_office.errors import OfficeError
from upeer_server.admin import AdminListener, _aead

sys.path.append(str(Path(__file__).resolve().parents[1] / "host"))

from node_lab import CLIENT, SERVER, Random

_KEY = bytes(range(32))
_DID = "ABCD-123456-GHKLM"
_LOOP = asyncio.new_event_loop()


class _Writer:
    """Takes what a listener answers."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    async def drain(self) -> None:
        return None


def _exchange(make_body: Any) -> bytes:
    """Send one request to an admin listener, made from its nonce; return the answer behind the nonce."""

    async def run() -> bytes:
        listener = AdminListener(_KEY, lambda request: {"op": request["op"]}, lambda *_args, **_fields: None)
        reader, writer = asyncio.StreamReader(), _Writer()
        running = asyncio.ensure_future(listener._exchange(reader, writer))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        reader.feed_data(make_body(writer.data))
        reader.feed_eof()
        await running
        return writer.data[16:]

    return _LOOP.run_until_complete(run())


@target("admin.stranger", allowed=(CryptoError, ValueError, EOFError), seeds=[b"\0\0\0\x40" + bytes(64), bytes(4)])
def admin_stranger(data: bytes) -> None:
    assert not _exchange(lambda _nonce: data)


@target("admin.request", allowed=(ValueError,), seeds=[b'{"op": "status"}', b"[]", b"1", b'{"op": {}}'], max_size=400)
def admin_request(data: bytes) -> None:
    """What the holder of the key may send; UnicodeDecodeError and JSONDecodeError are ValueErrors."""

    def body(nonce: bytes) -> bytes:
        sealed = bytes(16) + _aead(_KEY, b"admin request", (nonce, bytes(16))).seal(0, data)
        return len(sealed).to_bytes(4, "big") + sealed

    assert _exchange(body)


@target("office.names", allowed=(OfficeError,), seeds=[names.make_did("ABCD", 1).encode() + b",PQRSTU"], max_size=60)
def office_names(data: bytes) -> None:
    names.parse_id(data.decode("latin-1"))


@target("office.address", allowed=(OfficeError,), seeds=[b"127.0.0.1:7000", b"host.example:1"], max_size=60)
def office_address(data: bytes) -> None:
    platforms.parse_address(data.decode("latin-1"))


def _licence_file() -> bytes:
    head: dict[str, Any] = {"format": "upeer licences", "version": 1, "count": 0}
    head["kdf"] = {"salt": "00", "n": 2, "r": 8, "p": 1}
    sealed = Aead(_KEY).seal(1, b"[]", exchange._bound(head))
    head["checksum"] = exchange.hashlib.sha256(sealed).hexdigest()
    head["sealed"] = exchange.base64.b64encode(sealed).decode()
    return json.dumps(head).encode()


class _File:
    """A path whose file is in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_bytes(self) -> bytes:
        return self._data


@target("office.licence_file", allowed=(OfficeError,), seeds=[_licence_file()], max_size=600)
def office_licence_file(data: bytes) -> None:
    """scrypt apart, whose parameters are looked at before."""
    with patch.object(exchange.Scrypt, "derive", lambda *_: _KEY):
        exchange.import_licences(_File(data), "a passphrase")  # type: ignore[arg-type]


_RECORD = {"did": _DID, "licence_key": _KEY, "key_id": 1, "crc_key": _KEY, "p2p_key": _KEY, "init_string": "abc"}
_FCTRY = fctry.image(_RECORD)


@target("fctry.image", allowed=(ValueError,), seeds=[_FCTRY[:200], _FCTRY[:4296]], max_size=8192)
def fctry_image(data: bytes) -> None:
    fctry.decode_image(data)


@target("fctry.body", allowed=(ValueError,), seeds=[_FCTRY[16:200]], max_size=400)
def fctry_body(data: bytes) -> None:
    """A record whose checksum is right."""
    head = _FCTRY[:6] + len(data).to_bytes(2, "big") + bytes(4)
    crc = fctry.codec().crc32(data, fctry.codec().crc32(head + bytes(4)))
    fctry.codec().decode(head + crc.to_bytes(4, "big") + data)


@target("fctry.licence", allowed=(ValueError,), seeds=[b'{"did": "x"}', b"uPfc" + bytes(40)], max_size=600)
def fctry_licence(data: bytes) -> None:
    fctry.parse_licence(data)


_ROW = bytes.fromhex("aa50 0102 00900000 00400000") + b"nvs".ljust(16, b"\0") + bytes(4)


@target("image.partitions", allowed=(ValueError,), seeds=[_ROW * 2 + b"\xff" * 32], max_size=400)
def image_partitions(data: bytes) -> None:
    partitions.decode(data)


@target("image.esp", allowed=(ValueError,), seeds=[b"\xe9\x01\x02\x20" + bytes(60)], max_size=600)
def image_esp(data: bytes) -> None:
    esp_image.parse(data, "app")


_BANNER = b"3.4.0; MicroPython v1.26.1-preview.1.gabc on 2025-09-11\0"


@target("image.version", allowed=(ValueError,), seeds=[_BANNER, _BANNER * 3], max_size=400)
def image_version(data: bytes) -> None:
    version.check(version.find(data))


@target("pairs.saved", allowed=(ProtocolError,), seeds=[b"\0" + bytes(8) + b"\0" + _KEY + b"\4lamp"], max_size=300)
def pairs_saved(data: bytes) -> None:
    pairs = Pairs(None, data)
    assert pairs.save()[1:] == data[1:]


def _connector() -> tuple[ClientEndpoint, Connector]:
    endpoint = ClientEndpoint((4, 65536, 16384, 1400, 30, 0), Random(), 0)
    endpoint.candidates = [(HOST, CLIENT)]
    platform = Platform(1, _KEY, ((SERVER, _KEY),))
    caller = Caller(endpoint, platform, Peer(_DID, b"client01", _KEY), ALL, 2900, Random(), {})
    connector = Connector(caller, ["255.255.255.255"], 5000, 0)
    for now in (0, 40, 80):
        connector.handle_timer(now)
        connector.datagrams_to_send(now)
    return endpoint, connector


@target("client.datagram", seeds=[*vector_seeds("signalling*"), b"\x99\1\1\0" + bytes(90)])
def client_datagram(data: bytes) -> None:
    """What strangers send to a client that is connecting: it goes on, and has no session for it."""
    endpoint, connector = _connector()
    buffer = bytearray(data)
    for source in (SERVER, CLIENT):
        if not data or not endpoint.receive_datagram(buffer, len(data), source, 100):
            connector.receive_datagram(data, source, 100)
    assert connector.session is None and not endpoint.sessions


@target("client.netcheck", seeds=[*vector_seeds("signalling*"), bytes.fromhex("0101000c2112a442") + bytes(24)])
def client_netcheck(data: bytes) -> None:
    check = NetCheck(Platform(1, _KEY, ((SERVER, _KEY),)), Random(), 1000, 0)
    check.datagrams_to_send(0)
    check.receive_datagram(data, SERVER, 10)
    if len(data) > 20:  # an answer to our own question
        check.receive_datagram(data[:8] + check._probes[0]._transaction_id + data[20:], SERVER, 10)


@target("wire.fields", allowed=(ProtocolError,), seeds=[bytes(30)], max_size=100)
def wire_fields(data: bytes) -> None:
    reader = Reader(data)
    reader.u16()
    reader.bytes(reader.u8())
    reader.rest()

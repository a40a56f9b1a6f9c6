"""Fuzz targets for the core's basic codecs: headers, addresses, DIDs, InitStrings, handshake messages."""

from targets import target, vector_seeds

from upeer.base import wire
from upeer.base.errors import ProtocolError
from upeer.crypto.aead import Aead
from upeer.crypto.noise import NNPSK0, Noise
from upeer.crypto.x25519 import key_pair
from upeer.signalling.initstring import HEADER_SIZE, encode_text, init_string_key, open_init_string

_KEY = bytes(range(32))
_PAIR = key_pair(lambda size: _KEY[:size])
_ONE_MASTER = bytes((1, 1, 1, 9)) + b"127.0.0.1" + bytes((0x1B, 0x58))


@target("wire.reader", allowed=(ProtocolError,), seeds=[wire.header(wire.HELLO, 1, 1) + bytes(60)])
def reader(data: bytes) -> None:
    fields = wire.Reader(data)
    fields.header(wire.HELLO)
    fields.address()
    fields.bytes(fields.u8())
    fields.u32()
    fields.done()


@target("wire.did", allowed=(ProtocolError,), seeds=[b"ABCD-123456-GHKLM"], max_size=40)
def did(data: bytes) -> None:
    wire.check_did(data.decode("latin-1"))


@target("initstring.text", allowed=(ProtocolError,), seeds=[encode_text(bytes(80)).encode(), *vector_seeds("init*")])
def init_string_text(data: bytes) -> None:
    open_init_string(data.decode("latin-1"), "device", _KEY, _KEY)


@target("initstring.sealed", allowed=(ProtocolError,), seeds=[_ONE_MASTER], max_size=600)
def init_string_sealed(data: bytes) -> None:
    head = bytes((1,)) + bytes(HEADER_SIZE - 1)
    sealed = Aead(init_string_key("device", _KEY, _KEY)).seal(0, data, head)
    open_init_string(encode_text(head + sealed), "device", _KEY, _KEY)


def _handshake(is_initiator: bool) -> Noise:
    return Noise(NNPSK0, is_initiator, _KEY, b"prologue", ephemeral=_PAIR)


_MESSAGE_1 = _handshake(True).write_message(b"payload")


@target("noise.message1", allowed=(ProtocolError,), seeds=[_MESSAGE_1, *vector_seeds("noise*")], max_size=400)
def noise_message(data: bytes) -> None:
    _handshake(False).read_message(data)


@target("crypto.open", allowed=(ProtocolError,), seeds=[Aead(_KEY).seal(1, b"plain"), bytes(48)], max_size=300)
def aead_open(data: bytes) -> None:
    Aead(_KEY).open(data, b"header")

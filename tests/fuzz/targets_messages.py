"""Fuzz targets for the messages: frames, transport parameters, relay, local network, server lists, STUN."""

from targets import target, vector_seeds

from upeer import connect, control, handshake, lan, relay, stun, wire
from upeer.errors import ProtocolError
from upeer.frames import FrameReader, encode_answer, encode_close, encode_command, encode_reset, encode_stop
from upeer.varint import encode
from upeer_server import relay as server_relay

_KEY = bytes(range(32))
_ADDRESS = wire.pack_address("192.0.2.1", 4000)
_TICKET = wire.with_size(b"ticket")


class _Sink:
    """Takes what a FrameReader hands over; data that lie outside the packet are a fault."""

    def __init__(self, size):
        self._size = size

    def handle_stream(self, stream_id, offset, pos, size, fin):
        self._check(pos, size)

    def handle_datagram(self, channel, pos, size):
        self._check(pos, size)

    def handle_ack(self, highs, lows, count, delay_ms):
        if not all(0 <= lows[row] <= highs[row] for row in range(count)):
            raise AssertionError("ACK range upside down")

    def __getattr__(self, name):
        return lambda *arguments: None

    def _check(self, pos, size):
        if not 0 <= pos <= pos + size <= self._size:
            raise AssertionError("data outside the packet")


def _frame_seeds():
    frames = [
        encode_reset(1, 2, 3),
        encode_stop(1, 2),
        encode_command(1, "echo", b"data"),
        encode_answer(1, 0, b"data"),
        encode_close(2, "bye"),
        encode(0x02, 9, 3, 1, 2, 1, 1),
        encode(0x08, 1, 100, 4) + b"data",
        encode(0x09, 1, 100000, 4) + b"data",
        encode(0x10, 70000),
        encode(0x11, 1, 70000),
        b"\x1a" + bytes(8),
        b"\x1b" + bytes(14),
        encode(0x30, 1, 4) + b"data",
    ]
    return [*map(bytes, frames), bytes(b"".join(frames)), *vector_seeds("frames*")]


@target("frames.packet", allowed=(ProtocolError, IndexError, ValueError), seeds=_frame_seeds(), max_size=1200)
def frames_packet(data: bytes) -> None:
    FrameReader(_Sink(len(data))).read(bytearray(data), 0, len(data))


_PARAMS = bytes.fromhex("00 000001 04d0 00010000 00004000 001e 02 00 c0000201 0fa0") + (
    bytes.fromhex("03 c0000201 0fa0") + bytes(23) + _TICKET
)


@target("invite.params", allowed=(ProtocolError,), seeds=[_PARAMS, *vector_seeds("invite*")], max_size=1000)
def invite_params(data: bytes) -> None:
    handshake.parse_params(data)


@target("relay.join", allowed=(ProtocolError,), seeds=[bytes.fromhex("a0010103") + bytes(12) + _TICKET + bytes(16)])
def relay_join(data: bytes) -> None:
    server_relay.parse_join(data)


@target("relay.join_ok", allowed=(ProtocolError,), seeds=[bytes.fromhex("a1010103") + bytes(12) + _ADDRESS + bytes(16)])
def relay_join_ok(data: bytes) -> None:
    relay.parse_join_ok(data)


@target("lan.invite", allowed=(ProtocolError,), seeds=[bytes.fromhex("98010100") + bytes(8 + 16 + 80)])
def lan_invite(data: bytes) -> None:
    lan.LanInvite(data).matches(_KEY)


@target("connect.lan_answer", allowed=(ProtocolError,), seeds=[bytes.fromhex("99010100") + bytes(8 + 80)])
def lan_answer(data: bytes) -> None:
    connect.parse_lan_answer(data)


@target("connect.setup_code", allowed=(ProtocolError,), seeds=[b"0123-4567-89AB-CDEF"], max_size=40)
def setup_code(data: bytes) -> None:
    connect.parse_setup_code(data.decode("latin-1"))


@target("control.servers", allowed=(ProtocolError,), seeds=[b"\x02" + 2 * (b"\x01" + _ADDRESS + _KEY + _TICKET)])
def control_servers(data: bytes) -> None:
    control.parse_servers(wire.Reader(data))


_STUN_HEAD = bytes.fromhex("2112a442") + bytes(12)
_STUN_ADDRESS = bytes.fromhex("00200008 0001") + bytes(6)
_STUN = [bytes.fromhex("00010000") + _STUN_HEAD, bytes.fromhex("0101000c") + _STUN_HEAD + _STUN_ADDRESS]


@target("stun.message", allowed=(ProtocolError,), seeds=_STUN)
def stun_message(data: bytes) -> None:
    stun.parse(data)

"""Fuzz targets of the session: frames behind the AEAD, whole packets before it, acknowledgements of what was sent."""

from targets import target, vector_seeds

from upeer.base.errors import RemoteError
from upeer.crypto.aead import Aead
from upeer.session.frames import FrameReader
from upeer.session.session import Session

_KEYS = (bytes(range(32)), bytes(range(1, 33)))
_LIMITS = (8192, 4096, 1200, 30, 6)
_SEEDS = vector_seeds("frames*") + [bytes.fromhex("08010005") + b"hello", bytes.fromhex("0203000003"), b"\x01"]


class _Path:
    """One path that is always there."""

    kind, addr, tag, valid, rtt_ms, changes, due = 0, "peer", None, True, 0, 0, None

    def __init__(self) -> None:
        self.active = self

    def on_packet(self, *_: object) -> "_Path":
        return self

    def nothing(self, *_: object) -> None:
        return None

    on_challenge = on_response = next_probe = on_pto = on_progress = handle_timer = nothing


def _session() -> Session:
    """Return a device's session in mid-transfer: three packets are out, of stream data and a command."""
    session = Session(False, b"dev", b"cli", *_KEYS, _Path(), (_LIMITS, _LIMITS), 0)
    session.stream(1).write(bytes(2000))
    session.command("status")
    buf = bytearray(1300)
    while session.write_datagram(buf, 0):
        pass
    return session


class _Ignore:
    """A handler that looks at its arguments."""

    def __init__(self) -> None:
        self.reader = FrameReader(self)

    def handle_ack(self, highs: list, lows: list, count: int, delay_ms: int) -> None:
        assert 0 < count <= 32 and delay_ms >= 0
        for i in range(count):
            assert highs[i] >= lows[i] >= 0 and (not i or highs[i] < lows[i - 1] - 1)

    def handle_stream(self, stream_id: int, offset: int, pos: int, size: int, fin: int) -> None:
        assert pos + size <= len(self.reader.buf) and min(stream_id, offset, size) >= 0 and fin in (0, 1)

    def handle_frame(self, kind: int, fields: list) -> None:
        assert fields


@target("frames.read", allowed=(RemoteError, IndexError, ValueError), seeds=_SEEDS)
def frames_read(data: bytes) -> None:
    _Ignore().reader.read(data, 0, len(data))


@target("session.frames", seeds=_SEEDS, max_size=1151)
def session_frames(data: bytes) -> None:
    """Whatever an authentic peer sends, in two packets: nothing raises, and the session can go on or close."""
    session = _session()
    sealer = Aead(_KEYS[1])
    out = bytearray(1300)
    for number in (0, 1):
        packet = bytearray(b"\x40dev" + number.to_bytes(4, "big") + bytes(16)) + data + bytes(32)
        size = sealer.seal_packet(packet, 8, 24 + len(data), number)
        session.receive_packet(packet, size, "peer", None, 1)
        session.stream(1).read(5000)
        while session.next_event() or session.write_datagram(out, 2):
            pass
        session.handle_timer(3000)
        session.timer()


@target("session.packet", seeds=[b"\x40dev" + bytes(60)], max_size=1300)
def session_packet(data: bytes) -> None:
    """What a stranger sends changes nothing."""
    session = _SHARED
    before = (session.timer(), session.flags, session.packets_in)
    assert not session.receive_packet(bytearray(data), len(data), "peer", None, 1)
    assert (session.timer(), session.flags, session.packets_in) == before


_SHARED = _session()

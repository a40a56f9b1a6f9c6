"""Handshake between client and device (protocol, chapter 5.2): transport parameters, a device's end. Dropped after use.

Payload of both handshake messages:
    status (8) | connection_id (24) | max_datagram (16) | max_data (32) | max_channel_data (32) | idle_timeout_s (16) |
    max_burst (8) | count (8) | candidates: type (8) | address (48)
                            and for type 3 | relay_tag (56) | device_key (128) | size (8) | ticket
The client's end is in `connect`.
"""

from upeer.base.compat import const
from upeer.base.errors import ProtocolError
from upeer.base.wire import Reader, pack_address, u16, u32, with_size
from upeer.crypto.noise import NNPSK0, Noise
from upeer.session.paths import RELAY

_MIN_DATAGRAM = const(1200)
_MAX_NUMBER = const(0x3FFFFFFF)  # larger limits mean no more: numbers stay small integers on 32 bits
_MAX_CANDIDATES = const(16)
_MULTICAST = const(224)


class Params:
    """What one end tells the other: `status`, its limits, `connection_id` (0 to 2**24 - 1), `candidates`.

    max_burst: how many datagrams wait for it until it takes them, 0 for no limit.

    A candidate is (kind, address), for a relay (RELAY, address, relay_tag, key, ticket).
    """

    def __init__(self, connection_id: int, max_data: int, max_channel_data: int, idle_timeout_s: int):
        self.status = 0
        self.connection_id = connection_id
        self.max_datagram = _MIN_DATAGRAM
        self.max_data = max_data
        self.max_channel_data = max_channel_data
        self.idle_timeout_s = idle_timeout_s
        self.max_burst = 0
        self.candidates = []

    def limits(self) -> tuple:
        """Return what Session takes as one end's limits."""
        return self.max_data, self.max_channel_data, self.max_datagram, self.idle_timeout_s, self.max_burst

    def encode(self) -> bytes:
        """Return the payload, 21 bytes and 7 (127 for a relay) for each candidate."""
        parts = [u32(self.status << 24 | self.connection_id), u16(self.max_datagram), u32(self.max_data)]
        parts += [u32(self.max_channel_data), u16(self.idle_timeout_s), bytes((self.max_burst, len(self.candidates)))]
        for candidate in self.candidates:
            parts += [bytes((candidate[0],)), pack_address(candidate[1][0], candidate[1][1])]
            if candidate[0] == RELAY:
                parts += [candidate[2], candidate[3], with_size(candidate[4])]
        return b"".join(parts)


def parse_params(payload: bytes) -> Params:
    """Return the Params that an authentic peer sent; ProtocolError if they are malformed or out of range.

    Candidates that cannot be anybody's address are left out.
    """
    reader = Reader(payload)
    status = reader.u8()
    connection_id = reader.u8() << 16 | reader.u16()
    max_datagram = reader.u16()
    limits = [min(number, _MAX_NUMBER) for number in (reader.u32(), reader.u32(), reader.u16())]
    params = Params(connection_id, limits[0], limits[1], limits[2])
    params.status = status
    params.max_datagram = max_datagram
    params.max_burst = reader.u8()
    count = reader.u8()
    if max_datagram < _MIN_DATAGRAM or not limits[2] or count > _MAX_CANDIDATES:
        raise ProtocolError("transport parameter out of range")
    for _ in range(count):
        candidate = _read_candidate(reader)
        if candidate[1][1] and 0 < int(candidate[1][0].split(".")[0]) < _MULTICAST:
            params.candidates.append(candidate)
    reader.done()
    return params


def _read_candidate(reader) -> tuple:
    kind = reader.u8()
    if kind < RELAY:
        return kind, reader.address()
    if kind > RELAY:
        raise ProtocolError("unknown kind of candidate")
    return kind, reader.address(), reader.bytes(7), reader.bytes(16), reader.bytes(reader.u8())


class Handshake:
    """What both ends have at the end of it: `params` (ours), `peer` (theirs), `seal_key`, `open_key`, `exporter`.

    Beside that, for the owner: `key_id`, `allow` (kinds of path, a bit mask), `user` (anything).
    """

    is_client = False

    def __init__(self):
        self.params = self.peer = self.seal_key = self.open_key = self.exporter = self.user = None
        self.key_id = 0
        self.allow = 15

    def _finish(self, noise) -> None:
        first, second = noise.split()
        self.seal_key, self.open_key = (first, second) if self.is_client else (second, first)
        self.exporter = noise.export(b"export")


class Responder(Handshake):
    """The device's end, made from handshake message 1: CryptoError if it is not authentic, before any curve work.

    The shell makes the shared secret of `private` and `peer_public`, in slices, then calls answer and make_keys.
    """

    known: list  # the endpoint's row of this invite

    def __init__(self, psk: bytes, binding: bytes, ephemeral: tuple, message: bytes):
        super().__init__()
        self._noise = Noise(NNPSK0, False, psk, binding, ephemeral=ephemeral)
        self.peer = parse_params(self._noise.read_message(message))
        self.private = ephemeral[0]
        self.peer_public = self._noise.peer_ephemeral

    def answer(self, params: Params, shared: bytes) -> bytes:
        """Return handshake message 2; `make_keys` comes next."""
        self.params = params
        return self._noise.write_message(params.encode(), shared)

    def make_keys(self) -> None:
        """Make the session's keys. Apart from `answer`, for each takes some ten ms of a chip."""
        self._finish(self._noise)
        self._noise = None

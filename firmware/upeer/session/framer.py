"""A session's frames but for acknowledgements and paths: streams on 8 channels, commands, datagrams; and its events.

Protocol 7.2 to 7.4. The base of `session.Session`, which adds packets. Queues are bounded; a frame that must arrive
once is kept as bytes until a packet that held it is acknowledged.
"""

from upeer.base.compat import const
from upeer.base.errors import LocalError
from upeer.base.ranges import add_range, has_value, keep_highest
from upeer.base.varint import encode, put_varint
from upeer.session.frames import bad
from upeer.session.pool import Pool
from upeer.session.recovery import Recovery
from upeer.session.stream import Stream

_EVENT_PATH = const(4)
_EVENT_COMMAND = const(5)
_EVENT_ANSWER = const(6)

# In `flags`, the first three shifted by the channel.
_OPENED_FLAG = const(0x1)
_READABLE_FLAG = const(0x100)
_WRITABLE_FLAG = const(0x10000)
_DATAGRAM_FLAG = const(0x1000000)
_PATH_BIT = const(25)

_RESET_STREAM = const(0x04)
_MAX_DATA = const(0x10)
_MAX_STREAM_DATA = const(0x11)
_DATA_BLOCKED = const(0x14)
_DATAGRAM = const(0x30)
_COMMAND = const(0x31)
_ANSWER = const(0x32)

_REQUESTS = const(4)  # of one side without an answer
_NAME_LIMIT = const(63)
_TEXT_LIMIT = const(1000)
_CHANNEL_SIZE = const(2048)  # a stream with a packet's worth of blocks
_OUT_OF_MEMORY = const(7)
_ALL_LIMITS = const(0x1FF)  # in `pending`
_NO_DATA = const(66)  # of a full packet: headers, IV, tag, one byte of padding
_WAITING = const(-1)  # in place of a packet number
_ONCE = const(-2)  # likewise: a datagram, forgotten when written


class Framer:
    """Streams, queues and events. `flags`, bit 8 * event + channel, are the events that stand once for many.

    `pending`: the peer is to be told MAX_DATA (0x100), MAX_STREAM_DATA of channel c (bit c), and what else has grown.
    `admit`: None, or a callable of the shell that says whether so many bytes may be taken for one more channel.
    """

    recovery: Recovery  # Session's

    def __init__(self, queue_limit: int, ours: tuple, theirs: tuple):
        self.flags = 0
        self.pending = 0
        self.dropped = self.retransmitted = 0
        self.is_open = True
        self.admit = None
        self._in_view = memoryview(b"")  # the packet being read
        self._channels: list = [None] * 8
        self.streams: list = []
        self.pool = Pool(ours[0])
        self._sizes = (ours[1], theirs[1])
        self._peer_limit = self._credit = theirs[0]  # the peer's MAX_DATA, and what is left of it
        self.data_window = self.data_limit = ours[0]
        self.data_received = self.data_consumed = 0
        self._queue_limit = queue_limit
        self._inbox: list = []
        self.connection = None  # the shell's
        self._datagrams_in: list = []
        self._outbox: list = []  # [frame, packet number that held it last, called once it was delivered or None]
        self._request_id = 0
        self._requests: list = []
        self._seen: list = []  # ranges of request ids

    def stream(self, channel: int):
        """Return the live stream of a channel (0 to 7), a new one if there is none or all of it is done and read.

        MemoryError if there is none for one more.
        """
        stream = self._channels[channel]
        if stream is not None and not stream.is_done:
            return stream
        if self.admit and not self.admit(_CHANNEL_SIZE):
            raise MemoryError("no memory for one more channel")
        return self._new_stream(channel if stream is None else stream.id + 8)

    def next_event(self):
        """Return the next event, None if there is none: a tuple that begins with an EVENT_ number.

        (STREAM_OPENED, channel) (READABLE, channel) (WRITABLE, channel) (DATAGRAM, 0) (PATH, 0): once for many
        (COMMAND, request_id, name, data) (ANSWER, request_id, status, data) (CLOSED, code, reason)
        """
        flags = self.flags
        if flags:
            i = 0
            while not flags >> i & 0xFF:
                i += 8
            while not flags >> i & 1:
                i += 1
            self.flags = flags ^ 1 << i
            return (_EVENT_PATH, 0) if i == _PATH_BIT else (i >> 3, i & 7)
        return self._inbox.pop(0) if self._inbox else None

    def send_datagram(self, channel: int, data) -> bool:
        """Queue an unreliable message, at most 1100 bytes; return False if the queue is full."""
        if len(data) > 1100:
            raise LocalError("datagram too long")
        if len(self._outbox) >= self._queue_limit:
            return False
        self._outbox.append([encode(_DATAGRAM, channel, data), _ONCE, None])
        return True

    def recv_datagram(self):
        """Return (channel, data) of the oldest message received, None if there is none."""
        return self._datagrams_in.pop(0) if self._datagrams_in else None

    def command(self, name: str, data=b"") -> int:
        """Send a request of at most 1000 bytes; return its id, by which EVENT_ANSWER will name it.

        LocalError if it is too long or four requests wait for their answers.
        """
        name = name.encode()
        if len(name) > _NAME_LIMIT or len(self._requests) >= _REQUESTS:
            raise LocalError("too many commands at once")
        self._request_id += 1
        self.post(encode(_COMMAND, self._request_id, name, data), None)
        self._requests.append(self._request_id)
        return self._request_id

    def answer(self, request_id: int, status: int, data=b"") -> None:
        """Answer a request, status 0 for success, with at most 1000 bytes."""
        self.post(encode(_ANSWER, request_id, status, data), None)

    def post(self, frame, delivered) -> None:
        """Send a frame until it is acknowledged, then call `delivered` unless it is None."""
        if len(frame) > _TEXT_LIMIT + _NAME_LIMIT + 9:
            raise LocalError("too long")
        self._outbox.append([frame, _WAITING, delivered])

    def _write_outbox(self, view, pos: int, end: int, number: int) -> int:
        """Write waiting frames, as many as fit, into packet `number`; return the position behind them."""
        for item in list(self._outbox):
            frame = item[0]
            if item[1] < 0 and pos + len(frame) <= end:
                view[pos : pos + len(frame)] = frame
                pos += len(frame)
                if item[1] == _ONCE:
                    self._outbox.remove(item)
                item[1] = number
        return pos

    def _on_outbox(self, number: int, is_acked: bool) -> None:
        """Handle the fate of packet `number`, which held frames of the outbox."""
        for item in list(self._outbox):
            if item[1] == number:
                item[1] = _WAITING
                if is_acked:
                    self._outbox.remove(item)
                    if item[2]:
                        item[2]()

    def _on_message(self, kind: int, fields: list) -> None:
        """Handle DATAGRAM, COMMAND, COMMAND_ANSWER. MemoryError if it must come again, RemoteError if it is wrong."""
        first = fields[0]
        data = fields[-1]
        if kind < _COMMAND:
            if first > 7:
                bad("channel")
            if len(self._datagrams_in) < self._queue_limit:
                self._datagrams_in.append((first, data))
                self.flags |= _DATAGRAM_FLAG
            else:
                self.dropped += 1
        elif len(data) > _TEXT_LIMIT:
            bad("too long")
        elif kind == _ANSWER:
            if first in self._requests:
                self._inbox.append((_EVENT_ANSWER, first, fields[1], data))
                self._requests.remove(first)
        elif not has_value(self._seen, first):
            if len(self._inbox) >= 3 * _REQUESTS:
                raise MemoryError
            self._inbox.append((_EVENT_COMMAND, first, fields[1].decode(), data))
            try:
                add_range(self._seen, first, first + 1)
            except MemoryError:
                self._inbox.pop()
                raise
            keep_highest(self._seen, 3 * _REQUESTS)

    def handle_stream(self, stream_id: int, offset: int, pos: int, size: int, fin: int) -> None:
        """Handle stream data."""
        stream = self._channels[stream_id & 7]
        if stream is None or stream.id != stream_id:
            stream = self._find(stream_id)
            if stream is None:
                return
        if stream.incoming.receive(self._in_view, pos, offset, size, fin):
            self.flags |= _READABLE_FLAG << (stream_id & 7)

    def _on_stream_frame(self, kind: int, fields: list) -> None:
        """Handle MAX_DATA and DATA_BLOCKED, and what changes a stream."""
        first = fields[0]
        if kind == _MAX_DATA:
            if first > self._peer_limit:
                self._credit += first - self._peer_limit
                self._peer_limit = first
                self.recovery.blocked = 0
            return
        if kind == _DATA_BLOCKED:  # what told our limits may have got lost
            self.pending |= _ALL_LIMITS
            return
        stream = self._find(first)
        if stream is None:
            return
        if kind == _MAX_STREAM_DATA:
            if fields[1] > stream.limit:
                stream.limit = fields[1]
                self.recovery.blocked = 0
        elif kind == _RESET_STREAM:
            stream.incoming.on_reset(fields[1], fields[2])
            self.flags |= _READABLE_FLAG << stream.channel
        else:  # STOP_SENDING
            stream.stopped_code = fields[1]
            stream.reset(fields[1])
            self.flags |= _WRITABLE_FLAG << stream.channel

    def _find(self, stream_id: int):
        """Return the stream that the peer means, None for a past generation. RemoteError if there cannot be one."""
        stream = self._channels[stream_id & 7]
        following = stream_id & 7
        if stream is not None:
            if stream_id <= stream.id:
                return stream if stream_id == stream.id else None
            # A peer that begins the next generation has all from us; so have we from it.
            following = stream.id + 8 if stream.fin and stream.incoming.ready == stream.incoming.final else -1
        if stream_id != following:
            bad("generation")
        stream = self._new_stream(stream_id)
        if self.admit and not self.admit(_CHANNEL_SIZE):
            stream.stop(_OUT_OF_MEMORY)
            stream.reset(_OUT_OF_MEMORY)
        self.flags |= _OPENED_FLAG << (stream_id & 7)
        return stream

    def _new_stream(self, stream_id: int):
        stream = Stream(self, stream_id, *self._sizes)
        old = self._channels[stream_id & 7]
        if old is not None:
            old.retire()
            self.streams.remove(old)
        self._channels[stream_id & 7] = stream
        self.streams.append(stream)
        if self._limit(stream) >= 2 * self._sizes[0]:
            self.pending |= 1 << stream.channel
        return stream

    def _limit(self, stream) -> int:
        """Return how far the peer may send on a stream: a fair share of what others leave, which none of them takes.

        Channels out of use keep what the handshake promised; a channel that is not read gets no more at others' cost.
        """
        incoming = stream.incoming
        promised = self._sizes[0]
        count = 0
        for other in self.streams:
            if other.incoming.start != other.incoming.final:
                count += 1
        held = self.data_received - self.data_consumed - incoming.top + incoming.base
        room = self.data_window - (8 - count) * promised
        window = max(min(room // max(count, 1), room - held), promised)
        return max(incoming.base + window, incoming.limit)

    def _next_stream(self):
        """Return a stream that has something to send, or None. It goes to the end of the queue.

        What fills no packet waits for more (RFC 1122 4.2.3.4) while the application has more, and until all is
        acknowledged at the latest.
        """
        streams = self.streams
        is_blocked = 0
        for stream in streams:
            if not stream.lost:
                following = stream.next
                if following < stream.end:
                    if following >= stream.limit or self._credit <= 0:
                        is_blocked = 1
                        continue
                    if stream.is_hungry and stream.start < following:
                        if stream.end - following < self.recovery.packet_size - _NO_DATA:
                            continue
                elif stream.fin != 1:
                    continue
            if stream is not streams[-1]:
                streams.remove(stream)
                streams.append(stream)
            return stream
        if is_blocked and not self.recovery.blocked:
            self.recovery.blocked = 1
        return None

    def _write_limits(self, view, pos: int) -> int:
        """Write MAX_DATA, and MAX_STREAM_DATA where it is wanted or has grown by a quarter. Lost ones are asked for."""
        pending = self.pending
        self.pending = 0
        self.data_limit = max(self.data_consumed + self.data_window, self.data_limit)
        view[pos] = _MAX_DATA
        pos = put_varint(view, pos + 1, self.data_limit)
        for stream in self.streams:
            incoming = stream.incoming
            if incoming.final < 0:
                limit = self._limit(stream)
                if pending >> stream.channel & 1 or (limit - incoming.limit) * 4 >= limit - incoming.base:
                    incoming.limit = limit
                    incoming.told = incoming.base
                    view[pos] = _MAX_STREAM_DATA
                    pos = put_varint(view, put_varint(view, pos + 1, stream.id), limit)
        return pos

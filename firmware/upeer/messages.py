"""What a session carries beside streams: commands, datagrams, frames that must arrive once; and its events.

The base of `session.Session`. Protocol 7.2 and 7.4. Queues are bounded; a reliable frame is kept as bytes until a
packet that held it is acknowledged.
"""

from upeer.compat import const
from upeer.errors import LocalError
from upeer.frames import bad
from upeer.ranges import Ranges
from upeer.varint import encode

_EVENT_PATH = const(4)
_EVENT_COMMAND = const(5)
_EVENT_ANSWER = const(6)
_DATAGRAM_FLAG = const(0x1000000)
_PATH_BIT = const(25)

_DATAGRAM = const(0x30)
_COMMAND = const(0x31)
_ANSWER = const(0x32)

_REQUESTS = const(4)  # of one side without an answer
_NAME_LIMIT = const(63)
_TEXT_LIMIT = const(1000)
_WAITING = const(-1)  # in place of a packet number
_ONCE = const(-2)  # likewise: a datagram, forgotten when written


class Messages:
    """Queues and events. `flags`, bit 8 * event + channel, are the events that stand once for many."""

    def __init__(self, queue_limit: int):
        self.flags = 0
        self.dropped = 0
        self._queue_limit = queue_limit
        self._inbox = []
        self._datagrams_in = []
        self._outbox = []  # [frame, packet number that held it last, called once it was delivered or None]
        self._request_id = 0
        self._requests = []
        self._seen = Ranges()

    def next_event(self):
        """Return the next event, None if there is none: a tuple that begins with an EVENT_ number.

        (STREAM_OPENED, channel) (READABLE, channel) (WRITABLE, channel) (DATAGRAM, 0) (PATH, 0): once for many
        (COMMAND, request_id, name, data) (ANSWER, request_id, status, data) (CLOSED, code, reason)
        """
        flags = self.flags
        if flags:
            i = 0
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
                self._requests.remove(first)
                self._inbox.append((_EVENT_ANSWER, first, fields[1], data))
        elif not self._seen.has(first):
            if len(self._inbox) >= 3 * _REQUESTS:
                raise MemoryError
            name = fields[1].decode()
            self._seen.add(first, first + 1)
            self._seen.limit(3 * _REQUESTS)
            self._inbox.append((_EVENT_COMMAND, first, name, data))

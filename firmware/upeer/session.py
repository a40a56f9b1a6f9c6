"""A session between two ends: docs/protocol.md chapter 7. Packets in and out, acknowledgements, events, close.

    0x40 (8) | connection_id (24) | packet_number (32) | IV (128) | sealed frames | tag (128)

Sans-IO; the five doors are `receive_packet`, `write_datagram`, `timer`, `handle_timer` and `next_event`. A packet costs no
allocation beside what `crypto` and the copies of `stream` name, but for views when the caller's buffer changes.
"""

from struct import pack_into

from upeer.clock import earlier, ticks_add, ticks_diff
from upeer.compat import const
from upeer.crypto import Aead
from upeer.errors import LocalError, RemoteError
from upeer.frames import (
    CODE_PROTOCOL,
    TEXT_LIMIT,
    FrameReader,
    bad,
    encode_answer,
    encode_close,
    encode_command,
    write_ack,
)
from upeer.outbox import Outbox
from upeer.ranges import Ranges
from upeer.recovery import PROBE, Recovery
from upeer.stream import Stream
from upeer.varint import put_varint

EVENT_STREAM_OPENED = 0
EVENT_READABLE = 1
EVENT_WRITABLE = 2
EVENT_DATAGRAM = 3
EVENT_PATH = 4
EVENT_COMMAND = 5
EVENT_ANSWER = 6
EVENT_CLOSED = 7

_PACKET_SIZE = const(1200)
_BODY = const(32)  # where the plaintext starts in the buffer of write_datagram: relay prefix 8, header 8, IV 16
_OVERHEAD = const(48)  # of a packet beside its padded plaintext: those and the tag
_SMALLEST = const(56)

_ACK_DELAY_MS = const(25)
_KEPT_RANGES = const(32)
_SENT_RANGES = const(16)
_REQUESTS = const(4)
_NAME_LIMIT = const(64)
_IDLE = const(4)
_CLOSE_TRIES = const(3)
_MOST_PACKETS = const(4096)
_FEWEST_PACKETS = const(32)

# What a packet carried beside stream data, and what waits to be written: MAX_STREAM_DATA of channel c is bit c.
_MAX_DATA = const(0x100)
_MAXIMA = const(0x1FF)
_OUTBOX = const(0x200)
_PING = const(0x400)

_EVENT_DATAGRAM_BIT = const(0x1000000)
_EVENT_PATH_BIT = const(0x2000000)

_OPEN = const(0)
_FLUSHING = const(1)  # our close waits until all is delivered
_CLOSING = const(2)  # CLOSE is sent, and again to late packets
_CLOSED = const(3)


class Session:
    """One end. `paths` is a `path.Paths`; keys are of 32 bytes.

    params: two tuples (max_data, max_channel_data, max_datagram, idle_timeout_s), our limits and the peer's. Ours are the
    sizes of buffers: max_channel_data each way for a channel in use. `send_path` is the path of the packet written last.
    """

    def __init__(self, is_client, connection_id, peer_connection_id, seal_key, open_key, paths, params, now):
        self._ours, self._theirs = params
        ours = self._ours
        self.is_client = is_client
        self.connection_id = connection_id
        self.send_path = None
        self.outbox = Outbox()
        self.retransmitted = 0
        self.duplicates = 0
        self.dropped = 0
        self.bytes_in = self.bytes_out = 0
        self.packets_in = self.packets_out = 0
        self._peer_connection_id = bytes(peer_connection_id)
        self._seal_aead = Aead(seal_key)
        self._open_aead = Aead(open_key)
        self._paths = paths
        self._path_changes = paths.changes
        self._path = None  # of the packet being read
        self._heard = self._now = now
        self._state = _OPEN
        records = _FEWEST_PACKETS
        while records < _MOST_PACKETS and records * 256 < ours[0]:
            records <<= 1
        self.recovery = Recovery(self, records, _PACKET_SIZE)
        self._queue_limit = records >> 3
        self._reader = FrameReader(self)
        self._in = self._in_view = None
        self._out = self._out_view = self._out_packet = None

        self._received = Ranges()
        self._expected = 0  # packet number after the largest
        self._floor = 0  # packet numbers below are as good as received
        self._largest_time = now
        self._ack_count = 0
        self._ack_deadline = None

        self._channels = [None] * 8
        self._streams = []
        self._turn = 0
        self._credit = self._theirs[0]  # what the peer's MAX_DATA still allows
        self._peer_limit = self._theirs[0]
        self._data_received = 0
        self._data_consumed = 0
        self._data_limit = ours[0]
        self._pending = 0
        self._carried = 0
        self._carried_stream = None
        self._datagrams_out = []
        self._datagrams_in = []
        self._request_id = 0
        self._requests = []
        self._requests_seen = Ranges()
        self._flags = 0
        self._inbox = []
        self._close_frame = None
        self._close_tries = 0
        self._close_is_due = False
        self._close_deadline = None
        self._mtu = None
        limit = min(ours[2], self._theirs[2])
        if limit > _PACKET_SIZE + 32:
            from upeer.mtu import MtuSearch

            self._mtu = MtuSearch(limit)

    # packets in

    def receive_packet(self, buf, size: int, addr, tag, now: int) -> bool:
        """Take the packet buf[:size], which is decrypted in place; return whether it was authentic and new.

        `addr` and `tag` (of the relay, or None) are where it came from. Never raises for what is in it.
        """
        if size < _SMALLEST or buf[0] != 0x40:
            self.dropped += 1
            return False
        number = self._packet_number(buf)
        bounds = self._received.bounds
        if number < self._expected and (number < self._floor or self._received.has(number)):
            self.duplicates += 1
            return False
        end = self._open_aead.open_packet(buf, 8, size)
        if end < 0 or self._state == _CLOSED:
            self.dropped += 1
            return False
        self._now = self._heard = now
        self.packets_in += 1
        self.bytes_in += size
        if buf is not self._in:
            self._in = buf
            self._in_view = memoryview(buf)
        if self._state == _CLOSING:
            self._on_late_packet(buf[24])
            return True
        self._path = self._paths.on_packet(addr, tag, now)
        datagrams = len(self._datagrams_in)
        eliciting = False
        try:
            eliciting = self._reader.read(buf, 24, end)
        except MemoryError:  # as if it had not come: it will come again
            while len(self._datagrams_in) > datagrams:
                self._datagrams_in.pop()
            self.dropped += 1
            return False
        except RemoteError as error:
            self.abort(error.code, error.reason)
        except (IndexError, ValueError):
            self.abort(CODE_PROTOCOL, "malformed frame")
        # Received: acknowledge every second packet, and at once what is out of order.
        if bounds and bounds[-1] == number:
            bounds[-1] = number + 1
        else:
            self._received.add(number, number + 1)
            floor = self._received.limit(_KEPT_RANGES)
            if floor:
                self._floor = floor
            self._ack_count += 1
        if number >= self._expected:
            self._expected = number + 1
            self._largest_time = now
        if eliciting:
            self._ack_count += 1
            if self._ack_count > 1:
                self._ack_deadline = now
            elif self._ack_deadline is None:
                self._ack_deadline = ticks_add(now, _ACK_DELAY_MS)
        return True

    def _packet_number(self, buf) -> int:
        """Return the whole packet number, from its low 32 bits: RFC 9000 A.3."""
        high = buf[4] << 8 | buf[5]
        low = buf[6] << 8 | buf[7]
        expected = self._expected
        if high < 0x2000 and expected < 0x20000000:  # small ints all the way
            return high << 16 | low
        number = expected >> 32 << 32 | high << 16 | low
        if number <= expected - 0x80000000:
            return number + 0x100000000
        if number > expected + 0x80000000 and number >= 0x100000000:
            return number - 0x100000000
        return number

    # frames in, called by the reader

    def handle_ack(self, highs, lows, count: int, delay_ms: int) -> None:
        if self.recovery.on_ack(highs, lows, count, delay_ms, self._now):
            self._paths.on_progress(self._now)

    def handle_stream(self, stream_id: int, offset: int, pos: int, size: int, fin: int) -> None:
        stream = self._stream(stream_id)
        if stream is not None and stream.incoming.receive(self._in_view, pos, offset, size, fin):
            self.notify(EVENT_READABLE, stream_id & 7)

    def _stream(self, stream_id: int):
        """Return the stream that the peer means, None for a past generation. RemoteError if there cannot be one."""
        stream = self._channels[stream_id & 7]
        if stream is not None:
            if stream_id == stream.id:
                return stream
            if stream_id < stream.id:
                return None
            if stream_id != stream.id + 8 or not stream.may_be_followed():
                bad("generation")
        elif stream_id > 7:
            bad("generation")
        self.notify(EVENT_STREAM_OPENED, stream_id & 7)
        return self._new_stream(stream_id)

    def _new_stream(self, stream_id: int):
        channel = stream_id & 7
        old = self._channels[channel]
        if old is not None:
            old.retire()
            self._streams.remove(old)
        stream = Stream(self, stream_id, self._ours[1], self._theirs[1])
        self._channels[channel] = stream
        self._streams.append(stream)
        return stream

    def handle_reset(self, stream_id: int, code: int, final_size: int) -> None:
        stream = self._stream(stream_id)
        if stream is not None:
            stream.incoming.on_reset(code, final_size)
            self.notify(EVENT_READABLE, stream.channel)

    def handle_stop(self, stream_id: int, code: int) -> None:
        stream = self._stream(stream_id)
        if stream is not None:
            stream.stopped_code = code
            stream.reset(code)
            self.notify(EVENT_WRITABLE, stream.channel)

    def handle_max_data(self, maximum: int) -> None:
        if maximum > self._peer_limit:
            self._credit += maximum - self._peer_limit
            self._peer_limit = maximum

    def handle_max_stream_data(self, stream_id: int, maximum: int) -> None:
        stream = self._stream(stream_id)
        if stream is not None and maximum > stream.outgoing.limit:
            stream.outgoing.limit = maximum

    def handle_challenge(self, data) -> None:
        self._paths.on_challenge(self._path, data, self._now)

    def handle_response(self, data, observed) -> None:
        self._paths.on_response(self._path, data, observed, self._now)

    def handle_datagram(self, channel: int, pos: int, size: int) -> None:
        if len(self._datagrams_in) < self._queue_limit:
            self._datagrams_in.append((channel, bytes(self._in_view[pos : pos + size])))
            self._flags |= _EVENT_DATAGRAM_BIT
        else:
            self.dropped += 1

    def handle_command(self, request_id: int, name: str, data) -> None:
        seen = self._requests_seen
        if not seen.has(request_id):
            if len(self._inbox) >= 2 * _REQUESTS:
                raise MemoryError
            seen.add(request_id, request_id + 1)
            seen.limit(_REQUESTS + 1)
            self._inbox.append((EVENT_COMMAND, request_id, name, data))

    def handle_answer(self, request_id: int, status: int, data) -> None:
        if request_id in self._requests:
            self._requests.remove(request_id)
            self._inbox.append((EVENT_ANSWER, request_id, status, data))

    def handle_close(self, code: int, reason: str) -> None:
        self._end(_CLOSED, code, reason)

    # packets out

    def write_datagram(self, buf, now: int) -> int:
        """Write the next packet to buf[8:] and return its size, 0 if there is nothing to send now.

        `buf` (bytearray, larger than max_datagram by 8) should be the same every time. See `send_path`.
        """
        self._now = now
        if buf is not self._out:
            self._out = buf
            self._out_view = memoryview(buf)
            self._out_packet = self._out_view[8:]
        paths = self._paths
        if self._state == _FLUSHING and self._is_flushed():
            self._close()
        if self._state >= _CLOSING:
            return self._write_close()
        path = paths.next_probe(now)
        if path is not None:
            pos = paths.write_frames(path, buf, _BODY, now)
            if pos > _BODY:
                self.send_path = path
                return self._seal(pos)
        self.send_path = path = paths.active
        if self._path_changes != paths.changes:
            self._on_path_change()
        if path is None:
            return 0
        return self._write_packet(now)

    def _write_packet(self, now: int) -> int:
        recovery = self.recovery
        view = self._out_view
        pos = _BODY
        deadline = self._ack_deadline
        if deadline is not None:
            delay = ticks_diff(now, self._largest_time)
            ranges = 4 if self.outbox.has_waiting else _SENT_RANGES
            pos = write_ack(view, pos, self._received.bounds, delay if delay > 0 else 0, ranges)
        before = pos
        if recovery.has_room(now):
            pos = self._write_frames(view, pos, now)
        elif recovery.probes and recovery.is_full():
            recovery.probes = 0
            view[pos] = 1  # PING without a record: its ACK frees the others
            return self._seal(pos + 1)
        if pos == before and (deadline is None or ticks_diff(deadline, now) > 0):
            return 0
        if deadline is not None:
            self._ack_deadline = None
            self._ack_count = 0
        size = self._seal(pos)
        if pos > before:
            recovery.on_sent(recovery.next_number - 1, size, self._carried, self._carried_stream, now)
        return size

    def _write_frames(self, view, pos: int, now: int) -> int:
        """Write what is to be acknowledged, most urgent first; note in _carried and _carried_stream what that is."""
        self._carried = 0
        self._carried_stream = None
        mtu = self._mtu
        start = pos
        end = _BODY - 1 + ((self.recovery.congestion.packet_size - _OVERHEAD) & ~15)
        if self._pending:
            pos = self._write_pending(view, pos)
        if self.outbox.has_waiting:
            after = self.outbox.write(view, pos, end, self.recovery.next_number)
            if after > pos:
                self._carried |= _OUTBOX
                pos = after
        while self._datagrams_out and pos + len(self._datagrams_out[0][1]) + 4 <= end:
            pos = self._write_one_datagram(view, pos)
        streams = self._streams
        for _ in range(len(streams)):
            self._turn = turn = (self._turn + 1) % len(streams)
            outgoing = streams[turn].outgoing
            sent = outgoing.next
            after = outgoing.write_frame(view, pos, end, self._credit)
            if after > pos:
                self._credit -= outgoing.next - sent
                self._carried_stream = outgoing
                return after
        if pos == start and mtu is not None and mtu.size:
            self._carried = PROBE
            return mtu.write(view, pos)
        if pos == start and self.recovery.probes:
            view[pos] = 1
            pos += 1
        return pos

    def _write_pending(self, view, pos: int) -> int:
        pending = self._pending
        self._pending = 0
        self._carried = pending & _MAXIMA
        if pending & _PING:
            view[pos] = 1
            pos += 1
        if pending & _MAX_DATA:
            self._data_limit = self._data_consumed + self._ours[0]
            view[pos] = 0x10
            pos = put_varint(view, pos + 1, self._data_limit)
        for stream in self._streams:
            if pending >> stream.channel & 1 and stream.incoming.final < 0:
                incoming = stream.incoming
                incoming.limit = incoming.start + incoming.size
                view[pos] = 0x11
                pos = put_varint(view, put_varint(view, pos + 1, stream.id), incoming.limit)
        return pos

    def _write_one_datagram(self, view, pos: int) -> int:
        channel, data = self._datagrams_out.pop(0)
        view[pos] = 0x30
        view[pos + 1] = channel
        pos = put_varint(view, pos + 2, len(data))
        view[pos : pos + len(data)] = data
        return pos + len(data)

    def _seal(self, pos: int) -> int:
        """Seal the packet whose plaintext ends at `pos`, with the next packet number; return its size."""
        number = self.recovery.next_number
        self.recovery.next_number = number + 1
        view = self._out_view
        pack_into(">B3sHH", view, 8, 0x40, self._peer_connection_id, number >> 16 & 0xFFFF, number & 0xFFFF)
        size = self._seal_aead.seal_packet(self._out_packet, 8, pos - 8, number)
        self.packets_out += 1
        self.bytes_out += size
        return size

    def on_delivery(self, carried: int, number: int, is_acked: bool) -> None:
        """Handle the fate of what a packet carried beside stream data. Called by recovery."""
        if carried & _OUTBOX:
            self.outbox.on_delivery(number, is_acked)
        if carried & PROBE:
            size = self._mtu.on_result(is_acked)
            if size:
                self.recovery.congestion.grow_packet(size)
        elif not is_acked:
            self._pending |= carried & _MAXIMA

    def _on_path_change(self) -> None:
        self._path_changes = self._paths.changes
        self._flags |= _EVENT_PATH_BIT
        path = self._paths.active
        if path is not None:
            self.recovery.on_path_change(path.rtt_ms)
            if self._mtu is not None:
                self.recovery.congestion.packet_size = _PACKET_SIZE
                self._mtu.restart()

    # time

    def timer(self):
        """Return when `handle_timer` is due, in ticks, or None."""
        if self._state >= _CLOSING:
            return self._close_deadline
        deadline = earlier(ticks_add(self._heard, self._idle_ms()), self._paths.timer())
        deadline = earlier(deadline, self._ack_deadline)
        deadline = earlier(deadline, self.recovery.congestion.pace_deadline)
        return earlier(deadline, self.recovery.timer())

    def handle_timer(self, now: int) -> None:
        """Do what is due. Afterwards there may be datagrams to write."""
        self._now = now
        if self._state >= _CLOSING:
            if self._state == _CLOSING and ticks_diff(self._close_deadline, now) <= 0:
                self._repeat_close()
            return
        if ticks_diff(now, self._heard) >= self._idle_ms():
            self._end(_CLOSED, _IDLE, "idle")
            return
        self._paths.handle_timer(now)
        if self.recovery.handle_timer(now):
            self._paths.on_pto(self.recovery.pto_count, now)

    def _idle_ms(self) -> int:
        return 1000 * min(self._ours[3], self._theirs[3])

    # the application's side

    @property
    def is_open(self) -> bool:
        """Whether streams can be written: no close has begun."""
        return self._state == _OPEN

    @property
    def is_closed(self) -> bool:
        """Whether it is over: nothing will be sent any more. Events and received data may still be there."""
        return self._state == _CLOSED

    def stream(self, channel: int):
        """Return the live stream of a channel (0 to 7), a new one if there is none or all of it is done and read."""
        stream = self._channels[channel]
        if stream is None:
            return self._new_stream(channel)
        if stream.is_done and self._state == _OPEN:
            return self._new_stream(stream.id + 8)
        return stream

    def send_datagram(self, channel: int, data) -> bool:
        """Queue an unreliable message; return False if the queue is full. LocalError if it does not fit a packet."""
        if len(data) > self.recovery.congestion.packet_size - 80:
            raise LocalError("datagram too long")
        if len(self._datagrams_out) >= self._queue_limit or self._state != _OPEN:
            return False
        self._datagrams_out.append((channel, bytes(data)))
        return True

    def recv_datagram(self):
        """Return (channel, data) of the oldest message received, None if there is none."""
        return self._datagrams_in.pop(0) if self._datagrams_in else None

    def command(self, name: str, data=b"") -> int:
        """Send a request of at most 1000 bytes; return its id, by which EVENT_ANSWER will name it.

        LocalError if it is too long or four requests are waiting for their answers.
        """
        if len(data) > TEXT_LIMIT or len(name) > _NAME_LIMIT or len(self._requests) >= _REQUESTS:
            raise LocalError("command too long, or too many at once")
        self._request_id += 1
        self._requests.append(self._request_id)
        self.outbox.add(encode_command(self._request_id, name, data), None)
        return self._request_id

    def answer(self, request_id: int, status: int, data=b"") -> None:
        """Answer a request, status 0 for success, with at most 1000 bytes."""
        if len(data) > TEXT_LIMIT:
            raise LocalError("answer too long")
        self.outbox.add(encode_answer(request_id, status, data), None)

    def ping(self) -> None:
        """Have the peer acknowledge something soon."""
        self._pending |= _PING

    def next_event(self):
        """Return the next event, None if there is none: a tuple that begins with an EVENT_ number.

        (STREAM_OPENED, channel) (READABLE, channel) (WRITABLE, channel) (DATAGRAM,) (PATH,) (COMMAND, request_id, name,
        data) (ANSWER, request_id, status, data) (CLOSED, code, reason). The first five stand once for many.
        """
        flags = self._flags
        if flags:
            i = 0
            while not flags >> i & 1:
                i += 1
            self._flags = flags ^ 1 << i
            if i < 24:
                return (i >> 3, i & 7)
            return (i - 24 + EVENT_DATAGRAM,)
        return self._inbox.pop(0) if self._inbox else None

    def close(self, code: int = 0, reason: str = "") -> None:
        """Close once the peer has all that was written; `abort` does not wait."""
        if self._state == _OPEN:
            self._state = _FLUSHING
            self._close_frame = (code, reason)

    def abort(self, code: int = 0, reason: str = "") -> None:
        """Close now and drop what is not delivered."""
        if self._state < _CLOSING:
            self._close_frame = (code, reason)
            self._close()

    def stats(self) -> dict:
        """Return counters, times in ms and sizes in bytes."""
        recovery = self.recovery
        return {
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "packets_in": self.packets_in,
            "packets_out": self.packets_out,
            "duplicates": self.duplicates,
            "dropped": self.dropped,
            "lost": recovery.lost,
            "retransmitted": self.retransmitted,
            "srtt": recovery.rtt8 >> 3,
            "cwnd": recovery.congestion.window,
            "datagram": recovery.congestion.packet_size,
        }

    # what streams tell

    def notify(self, kind: int, channel: int) -> None:
        """Raise STREAM_OPENED, READABLE or WRITABLE for a channel."""
        self._flags |= 1 << (kind << 3 | channel)

    def on_received(self, size: int) -> None:
        """Count bytes that streams grew by; RemoteError beyond our limit."""
        self._data_received += size
        if self._data_received > self._data_limit:
            raise RemoteError(3, "session")

    def on_consumed(self, size: int) -> None:
        """Count bytes that were read: when half of the window is free the peer is told."""
        self._data_consumed += size
        if (self._data_consumed + self._ours[0] - self._data_limit) * 2 >= self._ours[0]:
            self._pending |= _MAX_DATA

    def want_max_stream_data(self, channel: int) -> None:
        """Have MAX_STREAM_DATA sent for a channel."""
        self._pending |= 1 << channel

    # close

    def _is_flushed(self) -> bool:
        for stream in self._streams:
            if stream.unacked or stream.outgoing.fin == 1 or stream.outgoing.fin == 2:
                return False
        return not self.outbox

    def _end(self, state: int, code: int, reason: str) -> None:
        if self._state < _CLOSING:
            self._inbox.append((EVENT_CLOSED, code, reason))
        self._state = state
        self._close_deadline = None
        self._pending = 0
        self._datagrams_out.clear()

    def _close(self) -> None:
        """Begin to send CLOSE."""
        code, reason = self._close_frame
        self._end(_CLOSING, code, reason)
        self._close_frame = encode_close(code, reason)
        self._repeat_close()

    def _repeat_close(self) -> None:
        if self._close_tries == _CLOSE_TRIES:
            self._end(_CLOSED, 0, "")
            return
        self._close_tries += 1
        self._close_is_due = True
        self._close_deadline = ticks_add(self._now, self.recovery.pto())

    def _on_late_packet(self, kind: int) -> None:
        if kind == 0x1C:
            self._end(_CLOSED, 0, "")
        elif self._close_tries < _CLOSE_TRIES:
            self._repeat_close()

    def _write_close(self) -> int:
        path = self._paths.active or self.send_path
        if not self._close_is_due or path is None or self._state == _CLOSED:
            return 0
        self._close_is_due = False
        self.send_path = path
        end = _BODY + len(self._close_frame)
        self._out_view[_BODY:end] = self._close_frame
        return self._seal(end)

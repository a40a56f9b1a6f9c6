"""A session between two ends: docs/protocol.md chapter 7. Packets in and out, acknowledgements, close.

    0x40 (8) | connection_id (24) | packet_number (32) | IV (128) | sealed frames | tag (128)

Sans-IO; the doors are `receive_packet`, `write_datagram`, `timer`, `handle_timer` and `next_event`. A packet costs no
allocation beside what `crypto`, `stream` and events name, but for views when the caller's buffer changes.
"""

from struct import pack_into

from upeer.acks import Acks
from upeer.clock import earlier, ticks_add, ticks_diff
from upeer.compat import const
from upeer.crypto import Aead
from upeer.errors import RemoteError
from upeer.frames import FrameReader, bad
from upeer.messages import Messages
from upeer.recovery import Recovery
from upeer.stream import Stream
from upeer.varint import encode, put_varint

EVENT_STREAM_OPENED = const(0)
EVENT_READABLE = const(1)
EVENT_WRITABLE = const(2)
EVENT_DATAGRAM = const(3)
EVENT_PATH = const(4)
EVENT_COMMAND = const(5)
EVENT_ANSWER = const(6)
EVENT_CLOSED = const(7)

_PACKET_SIZE = const(1200)
_BODY = const(32)  # where the plaintext starts in the buffer of write_datagram: relay prefix 8, header 8, IV 16
_OVERHEAD = const(48)  # of a packet beside its padded plaintext: those and the tag
_SMALLEST = const(56)
_CLOSE_TRIES = const(3)
_MOST_PACKETS = const(4096)
_FEWEST_PACKETS = const(32)

_PROTOCOL_ERROR = const(2)
_IDLE = const(4)

_PING = const(0x01)
_RESET_STREAM = const(0x04)
_MAX_DATA = const(0x10)
_MAX_STREAM_DATA = const(0x11)
_CHALLENGE = const(0x1A)
_RESPONSE = const(0x1B)
_CLOSE = const(0x1C)
_DATAGRAM = const(0x30)

# What a packet carried beside stream data, or is to carry (`pending`): bit c is MAX_STREAM_DATA of channel c.
_DATA_BIT = const(0x100)
_MAXIMA_BITS = const(0x1FF)
_OUTBOX_BIT = const(0x200)
_PING_BIT = const(0x400)
_PROBE_BIT = const(0x800)

# In `flags`, the first three shifted by the channel.
_OPENED_FLAG = const(0x1)
_READABLE_FLAG = const(0x100)
_WRITABLE_FLAG = const(0x10000)
_PATH_FLAG = const(0x2000000)

_OPEN = const(0)
_FLUSHING = const(1)  # our close waits until all is delivered
_CLOSING = const(2)  # CLOSE is sent, and again to late packets
_CLOSED = const(3)


class Session(Messages):
    """One end. `paths` is a `path.Paths`; keys are of 32 bytes.

    params: two tuples (max_data, max_channel_data, max_datagram, idle_timeout_s), our limits and the peer's. Ours are
    the sizes of buffers: max_channel_data each way for a channel in use. `send_path`: of the packet written last.
    """

    def __init__(self, is_client, connection_id, peer_connection_id, seal_key, open_key, paths, params, now):
        ours, theirs = params
        records = _FEWEST_PACKETS
        while records < _MOST_PACKETS and records * 512 < ours[0]:
            records <<= 1
        super().__init__(records >> 3)
        self.connection_id = connection_id
        self.send_path = None
        self.duplicates = self.retransmitted = 0
        self.packets_in = self.packets_out = 0
        self.bytes_in = self.bytes_out = 0
        self.recovery = Recovery(self, records, _PACKET_SIZE)
        self._peer_id = bytes(peer_connection_id)
        self._sealer = Aead(seal_key)
        self._opener = Aead(open_key)
        self.paths = paths
        self._path_changes = paths.changes
        self._path = None  # of the packet being read
        self._idle_ms = 1000 * min(ours[3], theirs[3])
        self._heard = self._now = now
        self._state = _OPEN
        self.is_open = True
        self.is_closed = False
        self._close = None
        self._close_left = _CLOSE_TRIES
        self._deadline = None
        self._reader = FrameReader(self)
        self._acks = Acks()
        self._in = self._in_view = None
        self._out = self._out_view = self._out_packet = None

        self._channels = [None] * 8
        self._streams = []
        self._turn = 0
        self._stream_limits = (ours[1], theirs[1])
        self._peer_limit = self._credit = theirs[0]  # the peer's MAX_DATA, and what is left of it
        self.data_window = self.data_limit = ours[0]
        self.data_received = self.data_consumed = 0
        self.pending = 0
        self._carried = 0
        self._carried_stream = None
        self._mtu = None
        if min(ours[2], theirs[2]) > _PACKET_SIZE:
            from upeer.mtu import MtuSearch

            self._mtu = MtuSearch(min(ours[2], theirs[2]))

    # packets in

    def receive_packet(self, buf, size: int, addr, tag, now: int) -> bool:
        """Take the packet buf[:size], which is decrypted in place; return whether it was authentic and new.

        `addr` and `tag` (of the relay, or None) are where it came from. Never raises for what is in it.
        """
        if size < _SMALLEST or buf[0] != 0x40 or self._state == _CLOSED:
            self.dropped += 1
            return False
        number = self._acks.number(buf)
        if number < 0:
            self.duplicates += 1
            return False
        end = self._opener.open_packet(buf, 8, size)
        if end < 0:
            self.dropped += 1
            return False
        self._now = self._heard = now
        self.packets_in += 1
        self.bytes_in += size
        if self._state == _CLOSING:  # a late packet is answered by CLOSE, CLOSE by nothing
            self._close_is_due = True
            if buf[24] == _CLOSE:
                self._end(_CLOSED, 0, "")
            return True
        if buf is not self._in:
            self._in = buf
            self._in_view = memoryview(buf)
        self._path = self.paths.on_packet(addr, tag, now)
        kept = len(self._datagrams_in)
        eliciting = False
        try:
            eliciting = self._reader.read(buf, 24, end)
        except MemoryError:  # as if it had not come: it will come again
            self._datagrams_in = self._datagrams_in[:kept]
            self.dropped += 1
            return False
        except RemoteError as error:
            self.abort(error.code, error.reason)
        except (IndexError, ValueError):
            self.abort(_PROTOCOL_ERROR, "frame")
        self._acks.on_received(number, eliciting, now)
        return True

    # frames in, called by the reader

    def handle_ack(self, highs, lows, count: int, delay_ms: int) -> None:
        """Handle an ACK."""
        if self.recovery.on_ack(highs, lows, count, delay_ms, self._now):
            self.paths.on_progress(self._now)

    def handle_stream(self, stream_id: int, offset: int, pos: int, size: int, fin: int) -> None:
        """Handle stream data."""
        stream = self._channels[stream_id & 7]
        if stream is None or stream.id != stream_id:
            stream = self._find(stream_id)
            if stream is None:
                return
        if stream.incoming.receive(self._in_view, pos, offset, size, fin):
            self.flags |= _READABLE_FLAG << (stream_id & 7)
            if stream.is_stopped:
                stream.incoming.skip()

    def handle_frame(self, kind: int, fields: list) -> None:
        """Handle any other frame."""
        first = fields[0]
        if kind >= _DATAGRAM:
            self._on_message(kind, fields)
        elif kind == _CHALLENGE:
            self.paths.on_challenge(self._path, first, self._now)
        elif kind == _RESPONSE:
            self.paths.on_response(self._path, first, fields[1], self._now)
        elif kind == _CLOSE:
            self._end(_CLOSED, first, fields[1].decode())
        elif kind == _MAX_DATA:
            if first > self._peer_limit:
                self._credit += first - self._peer_limit
                self._peer_limit = first
        else:
            stream = self._find(first)
            if stream is None:
                return
            if kind == _MAX_STREAM_DATA:
                stream.limit = max(stream.limit, fields[1])
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
            following = stream.id + 8 if stream.fin > 1 and stream.incoming.ready == stream.incoming.final else -1
        if stream_id != following:
            bad("generation")
        self.flags |= _OPENED_FLAG << (stream_id & 7)
        return self._new_stream(stream_id)

    def _new_stream(self, stream_id: int):
        stream = Stream(self, stream_id, *self._stream_limits)
        old = self._channels[stream_id & 7]
        if old is not None:
            old.retire(stream)
            self._streams.remove(old)
        self._channels[stream_id & 7] = stream
        self._streams.append(stream)
        return stream

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
        paths = self.paths
        if self._state:
            if self._state == _FLUSHING and self._is_flushed():
                self._end(_CLOSING, *self._close)
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
            self._on_path_change(path)
        return 0 if path is None else self._write_packet(now)

    def _write_packet(self, now: int) -> int:
        recovery = self.recovery
        stream = self._next_stream()
        is_due = self._acks.is_due(now)
        has_room = False
        if stream or self.pending or self._outbox or recovery.probes or self._mtu:
            has_room = recovery.has_room(now)
        if not (is_due or has_room or recovery.probes):
            return 0
        view = self._out_view
        pos = start = self._acks.write(view, _BODY, self._outbox, now)
        if has_room:
            pos = self._write_frames(view, start, stream)
        elif recovery.probes:  # no record is free: a PING without one; its ACK frees the others
            recovery.probes = 0
            view[start] = _PING
            return self._seal(start + 1)
        if pos == start and not is_due:
            return 0
        self._acks.on_sent()
        number = recovery.next_number
        size = self._seal(pos)
        if pos > start:
            recovery.on_sent(number, size, self._carried, self._carried_stream, now)
        return size

    def _next_stream(self):
        """Return a stream that has something to send, each in its turn, or None."""
        streams = self._streams
        count = len(streams)
        for _ in range(count):
            self._turn = (self._turn + 1) % count
            stream = streams[self._turn]
            if stream.next < stream.end:
                if stream.next < stream.limit and self._credit:
                    return stream
            elif stream.fin == 1:
                return stream
            if stream.lost:
                return stream
        return None

    def _write_frames(self, view, start: int, stream) -> int:
        """Write what will be acknowledged, most urgent first; note in _carried and _carried_stream what that is."""
        pos = start
        self._carried_stream = None
        if self._mtu is not None and self._mtu.size:
            self._carried = _PROBE_BIT
            return self._mtu.write(view, pos)
        self._carried = 0
        end = _BODY - 1 + ((self.recovery.packet_size - _OVERHEAD) & ~15)
        if self.pending:
            pos = self._write_pending(view, pos)
        if self._outbox:
            after = self._write_outbox(view, pos, end, self.recovery.next_number)
            if after > pos:
                self._carried |= _OUTBOX_BIT
                pos = after
        if stream is not None:
            sent = stream.next
            after = stream.write_frame(view, pos, end, self._credit)
            if after > pos:
                self._credit -= stream.next - sent
                self._carried_stream = stream
                return after
        if pos == start and self.recovery.probes:
            view[pos] = _PING
            pos += 1
        return pos

    def _write_pending(self, view, pos: int) -> int:
        pending = self.pending
        self.pending = 0
        self._carried = pending & _MAXIMA_BITS
        if pending & _PING_BIT:
            view[pos] = _PING
            pos += 1
        if pending & _DATA_BIT:
            self.data_limit = self.data_consumed + self.data_window
            view[pos] = _MAX_DATA
            pos = put_varint(view, pos + 1, self.data_limit)
        for stream in self._streams:
            incoming = stream.incoming
            if pending >> stream.channel & 1 and incoming.final < 0:
                incoming.limit = incoming.start + incoming.size
                view[pos] = _MAX_STREAM_DATA
                pos = put_varint(view, put_varint(view, pos + 1, stream.id), incoming.limit)
        return pos

    def _seal(self, pos: int) -> int:
        """Seal the packet whose plaintext ends at `pos`, with the next packet number; return its size."""
        number = self.recovery.next_number
        self.recovery.next_number = number + 1
        pack_into(">B3sHH", self._out_view, 8, 0x40, self._peer_id, number >> 16 & 0xFFFF, number & 0xFFFF)
        size = self._sealer.seal_packet(self._out_packet, 8, pos - 8, number)
        self.packets_out += 1
        self.bytes_out += size
        return size

    def on_delivery(self, carried: int, number: int, is_acked: bool) -> None:
        """Handle the fate of what a packet carried beside stream data. Called by recovery."""
        if carried & _OUTBOX_BIT:
            self._on_outbox(number, is_acked)
        if carried & _PROBE_BIT:
            self._mtu.on_result(is_acked, self.recovery)
        elif not is_acked:
            self.pending |= carried & _MAXIMA_BITS

    def _on_path_change(self, path) -> None:
        self._path_changes = self.paths.changes
        self.flags |= _PATH_FLAG
        if path is not None:
            if self._mtu is not None:
                self._mtu.restart(self.recovery)
            self.recovery.on_path_change(path.rtt_ms)

    # time

    def timer(self):
        """Return when `handle_timer` is due, in ticks, or None."""
        if self._state >= _CLOSING:
            return self._deadline
        recovery = self.recovery
        deadline = earlier(ticks_add(self._heard, self._idle_ms), self.paths.timer())
        if self.paths.active is None:  # nothing but path frames can be sent
            return deadline
        deadline = earlier(deadline, earlier(self._acks.deadline, recovery.timer()))
        return earlier(deadline, recovery.pacer.deadline) if recovery.pacer else deadline

    def handle_timer(self, now: int) -> None:
        """Do what is due. Afterwards there may be datagrams to write."""
        self._now = now
        if self._state >= _CLOSING:
            if self._deadline is not None and ticks_diff(self._deadline, now) <= 0:
                self._repeat_close()
        elif ticks_diff(now, self._heard) >= self._idle_ms:
            self._end(_CLOSED, _IDLE, "idle")
        else:
            self.paths.handle_timer(now)
            if self.recovery.handle_timer(now):
                self.paths.on_pto(self.recovery.pto_count, now)

    # the application's side; more of it in Messages

    def stream(self, channel: int):
        """Return the live stream of a channel (0 to 7), a new one if there is none or all of it is done and read."""
        stream = self._channels[channel]
        if stream is None:
            return self._new_stream(channel)
        return self._new_stream(stream.id + 8) if stream.is_done else stream

    def ping(self) -> None:
        """Have the peer acknowledge something soon."""
        self.pending |= _PING_BIT

    def stats(self) -> dict:
        """Return counters, times in ms and sizes in bytes."""
        from upeer.stats import session_stats

        return session_stats(self)

    # close

    def close(self, code: int = 0, reason: str = "") -> None:
        """Close once the peer has all that was written; `abort` does not wait."""
        if self._state == _OPEN:
            self._state = _FLUSHING
            self.is_open = False
            self._close = (code, reason)

    def abort(self, code: int = 0, reason: str = "") -> None:
        """Close now and drop what is not delivered."""
        if self._state < _CLOSING:
            self._end(_CLOSING, code, reason)

    def _is_flushed(self) -> bool:
        for stream in self._streams:
            if stream.unacked or 0 < stream.fin < 3:
                return False
        return not self._outbox

    def _end(self, state: int, code: int, reason: str) -> None:
        if self._state < _CLOSING:
            self._inbox.append((EVENT_CLOSED, code, reason))
        self._state = state
        self.is_open = False
        self.is_closed = state == _CLOSED
        self._deadline = None
        if state == _CLOSING:
            self._close = encode(_CLOSE, code, reason.encode())
            self._repeat_close()

    def _repeat_close(self) -> None:
        if not self._close_left:
            self._end(_CLOSED, 0, "")
            return
        self._close_left -= 1
        self._close_is_due = True
        self._deadline = ticks_add(self._now, self.recovery.pto())

    def _write_close(self) -> int:
        path = self.paths.active or self.send_path
        if self._state == _CLOSED or not self._close_is_due or path is None:
            return 0
        self._close_is_due = False
        self.send_path = path
        end = _BODY + len(self._close)
        self._out_view[_BODY:end] = self._close
        return self._seal(end)

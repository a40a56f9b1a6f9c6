"""A session between two ends: docs/protocol.md chapter 7. Packets in and out, acknowledgements, close.

    0x40 (8) | connection_id (24) | packet_number (32) | IV (128) | sealed frames | tag (128)

Sans-IO; the doors are `receive_packet`, `write_datagram`, `timer`, `handle_timer` and `next_event`. A packet costs no
allocation beside what `crypto`, `stream` and events name, but for views when the caller's buffer changes.
"""

from struct import pack_into

from upeer.base.clock import earlier, ticks_add, ticks_diff
from upeer.base.compat import const
from upeer.base.errors import RemoteError
from upeer.base.varint import encode, put_varint
from upeer.crypto.aead import Aead
from upeer.session.acks import Acks
from upeer.session.framer import Framer
from upeer.session.frames import FrameReader
from upeer.session.recovery import Recovery

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
_SEALED = const(41)  # beside (plaintext | 15): header 8, IV 16, tag 16, and 1
_SMALLEST = const(56)
_CLOSE_TRIES = const(3)
_MOST_PACKETS = const(4096)
_FEWEST_PACKETS = const(16)

_PROTOCOL_ERROR = const(2)
_IDLE = const(4)
_INTERNAL = const(1)
_LAST_NUMBER = const(0xFFF00000)  # only 32 bits are authenticated: the session ends before they come again

_PING = const(0x01)
_DATA_BLOCKED = const(0x14)
_CHALLENGE = const(0x1A)
_RESPONSE = const(0x1B)
_CLOSE = const(0x1C)
_DATAGRAM = const(0x30)

# What a packet carried beside stream data.
_OUTBOX_BIT = const(0x200)
_PROBE_BIT = const(0x800)
_PATH_FLAG = const(0x2000000)
_OPEN = const(0)
_FLUSHING = const(1)  # our close waits until all is delivered
_CLOSING = const(2)  # CLOSE is sent, and again to late packets
_CLOSED = const(3)

_SETTLED = (0, 3)  # of Stream.fin: no FIN or reset of ours is under way


class Session(Framer):
    """One end. `paths` is a `path.Paths`; keys are of 32 bytes.

    params: two tuples (max_data, max_channel_data, max_datagram, idle_timeout_s, max_burst), our limits and the peer's.
    Our max_data is also what the session holds of bytes to be sent. `send_path`: of the packet written last.
    """

    # Of the class until they are set: where an object's table of attributes is full, as with 59 of them, MicroPython
    # looks for a method at each of these first.
    is_closed = _close_is_due = False
    _close_args = (0, "")
    _close_frame = b""
    _close_left = _CLOSE_TRIES

    def __init__(self, is_client, connection_id, peer_id, seal_key, open_key, paths, params, now):
        ours, theirs = params
        records = _FEWEST_PACKETS
        while records < _MOST_PACKETS and records * 768 < ours[0]:
            records <<= 1
        super().__init__(max(records >> 2, _FEWEST_PACKETS >> 1), ours, theirs)
        self.connection_id = connection_id
        self.send_path = None
        self.duplicates = self.packets_in = self.packets_out = 0
        self.bytes_in = self.bytes_out = 0
        self.recovery = Recovery(self, records, _PACKET_SIZE, theirs[4])
        self._burst = None
        if theirs[4]:
            from upeer.session.burst import BurstLimit

            self._burst = BurstLimit(theirs[4], now)
        self._peer_id = bytes(peer_id)
        self._sealer = Aead(seal_key)
        self._opener = Aead(open_key)
        self.exporter = self.user = None  # these and the next are the endpoint's
        self.number = self.give_up = 0
        self.paths = paths
        self._path_changes = paths.changes
        self._path = None  # of the packet being read
        self._idle_ms = 1000 * min(ours[3], theirs[3])
        self._heard = self._now = now
        self._state = _OPEN
        self._deadline = None
        self._reader = FrameReader(self)
        self._acks = Acks(max(ours[4] >> 1, theirs[4] >> 1, 2))
        self._in = self._out = None
        self._out_view = self._out_packet = self._in_view
        self._carried = 0
        self._carried_stream = None
        self._mtu = None
        if min(ours[2], theirs[2]) > _PACKET_SIZE:
            from upeer.session.mtu import MtuSearch

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
        if buf is not self._in:
            self._in_view = memoryview(buf)
            self._in = buf
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
        self._path = self.paths.on_packet(addr, tag, now)
        kept = len(self._datagrams_in)
        try:
            self._acks.on_received(number, self._reader.read(buf, 24, end), now)
        except MemoryError:  # as if it had not come: it will come again
            while len(self._datagrams_in) > kept:
                self._datagrams_in.pop()
            self.dropped += 1
            return False
        except RemoteError as error:
            self.abort(error.code, error.reason)
        except (IndexError, ValueError):
            self.abort(_PROTOCOL_ERROR, "frame")
        return True

    # frames in, called by the reader

    def handle_ack(self, highs, lows, count: int, delay_ms: int) -> None:
        """Handle an ACK."""
        if self.recovery.on_ack(highs, lows, count, delay_ms, self._now):
            self.paths.on_progress(self._now)
        if self._burst is not None:
            self._burst.on_ack(highs[0])

    def handle_frame(self, kind: int, fields: list) -> None:
        """Handle any other frame."""
        if kind == _CHALLENGE:
            self.paths.on_challenge(self._path, fields[0], self._now)
        elif kind == _RESPONSE:
            self.paths.on_response(self._path, fields[0], fields[1], self._now)
        elif kind == _CLOSE:
            self._end(_CLOSED, fields[0], fields[1].decode())
        elif kind >= _DATAGRAM:
            self._on_message(kind, fields)
        else:
            self._on_stream_frame(kind, fields)

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
        if self._burst is not None and not self._burst.has_room(self.recovery.next_number, now):
            return 0
        paths = self.paths
        if self._state:
            if self._state == _FLUSHING and self._is_flushed():
                self._end(_CLOSING, *self._close_args)
            if self._state >= _CLOSING:
                return self._write_close()
        path = None if paths.due is None else paths.next_probe(now)
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
        acks = self._acks
        view = self._out_view
        stream = self._next_stream()
        has_room = False
        if stream or self._outbox or recovery.probes or (self._mtu and self._mtu.size):
            has_room = recovery.has_room(now)
        is_due = acks.deadline is not None and ticks_diff(acks.deadline, now) <= 0
        if not (is_due or has_room or self.pending or recovery.probes):
            return 0
        start = _BODY if acks.deadline is None else acks.write(view, _BODY, self._outbox, now)
        if self.pending:
            is_due = True
            start = self._write_limits(view, start)
        pos = start
        if has_room:
            pos = self._write_frames(view, start, stream)
        elif recovery.probes:  # no record is free: a PING without one; its ACK frees the others
            recovery.probes = 0
            view[start] = _PING
            return self._seal(start + 1)
        if pos > start:  # recorded even if sealing fails: then it is lost
            recovery.on_sent((pos - _BODY | 15) + _SEALED, self._carried, self._carried_stream, now)
        elif not is_due:
            return 0
        size = self._seal(pos)
        acks.on_sent()
        return size

    def _write_frames(self, view, start: int, stream) -> int:
        """Write what will be acknowledged, most urgent first; note in _carried and _carried_stream what that is."""
        pos = start
        self._carried_stream = None
        if self._mtu is not None and self._mtu.size:
            self._carried = _PROBE_BIT
            return self._mtu.write(view, pos)
        self._carried = 0
        end = _BODY - 1 + ((self.recovery.packet_size - _OVERHEAD) & ~15)
        if self._outbox:
            after = self._write_outbox(view, pos, end, self.recovery.next_number)
            if after > pos:
                self._carried = _OUTBOX_BIT
                pos = after
        if stream is not None:
            sent = stream.next
            after = stream.write_frame(view, pos, end, self._credit)
            if after > pos:
                self._credit -= stream.next - sent
                self._carried_stream = stream
                return after
        if pos == start and self.recovery.probes:
            view[pos] = _DATA_BLOCKED if self.recovery.blocked else _PING
            pos = put_varint(view, pos + 1, self._peer_limit) if self.recovery.blocked else pos + 1
        return pos

    def _seal(self, pos: int) -> int:
        """Seal the packet whose plaintext ends at `pos`, with the next packet number; return its size."""
        number = self.recovery.next_number
        self.recovery.next_number = number + 1
        pack_into(">B3sHH", self._out_view, 8, 0x40, self._peer_id, number >> 16 & 0xFFFF, number & 0xFFFF)
        size = self._sealer.seal_packet(self._out_packet, 8, pos - 8, number)
        if self._burst is not None:
            self._burst.on_written(self._now)
        self.packets_out += 1
        self.bytes_out += size
        return size

    def on_delivery(self, carried: int, number: int, is_acked: bool) -> None:
        """Handle the fate of what a packet carried beside stream data. Called by recovery."""
        if carried & _OUTBOX_BIT:
            self._on_outbox(number, is_acked)
        if carried & _PROBE_BIT:
            self._mtu.on_result(is_acked, self.recovery)

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
        if self._burst is not None and self._burst.ends is not None:  # before that nothing can be sent
            return self._burst.ends
        paths = self.paths
        deadline = paths.due
        if paths.active is None:  # nothing but path frames can be sent
            return ticks_add(self._heard, self._idle_ms) if deadline is None else deadline
        ack = self._acks.deadline
        if ack is not None:  # sooner than the session has been idle for too long
            deadline = ack if deadline is None else earlier(deadline, ack)
        elif deadline is None:
            deadline = ticks_add(self._heard, self._idle_ms)
        recovery = self.recovery
        if recovery.is_waiting():
            deadline = earlier(deadline, recovery.timer())
        return earlier(deadline, recovery.pacer.deadline) if recovery.pacer else deadline

    def handle_timer(self, now: int) -> None:
        """Do what is due. Afterwards there may be datagrams to write."""
        self._now = now
        if self._state >= _CLOSING:
            if self._deadline is not None and ticks_diff(self._deadline, now) <= 0:
                self._repeat_close()
        elif ticks_diff(now, self._heard) >= self._idle_ms:
            self._end(_CLOSED, _IDLE, "idle")
        elif self.recovery.next_number > _LAST_NUMBER:
            self.abort(_INTERNAL, "packet numbers used up")
        else:
            self.paths.handle_timer(now)
            if self._burst is not None:
                self._burst.ends = None
            if self.recovery.pacer:
                self.recovery.pacer.deadline = None
            if self.recovery.handle_timer(now):
                self.paths.on_pto(self.recovery.pto_count, now)

    # the application's side; more of it in Framer

    def ping(self) -> None:
        """Have the peer acknowledge something soon."""
        self.recovery.probes = max(self.recovery.probes, 1)

    def stats(self) -> dict:
        """Return counters, times in ms and sizes in bytes."""
        from upeer.session.stats import session_stats

        return session_stats(self)

    # close

    def close(self, code: int = 0, reason: str = "") -> None:
        """Close once the peer has all that was written; `abort` does not wait."""
        if self._state == _OPEN:
            self._state = _FLUSHING
            self.is_open = False
            self._close_args = (code, reason)

    def abort(self, code: int = 0, reason: str = "") -> None:
        """Close now and drop what is not delivered."""
        if self._state < _CLOSING:
            self._end(_CLOSING, code, reason)

    def is_ending(self) -> bool:
        """Tell whether it only repeats its CLOSE."""
        return self._state == _CLOSING

    def _is_flushed(self) -> bool:
        for stream in self.streams:
            if stream.start != stream.end or stream.fin not in _SETTLED:
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
            self._close_frame = encode(_CLOSE, code, reason.encode())
            self._repeat_close()

    def _repeat_close(self) -> None:
        if not self._close_left:
            return self._end(_CLOSED, 0, "")
        self._close_left -= 1
        self._close_is_due = True
        self._deadline = ticks_add(self._now, self.recovery.pto())

    def _write_close(self) -> int:
        path = self.paths.active or self.send_path
        if self._state == _CLOSED or not self._close_is_due or path is None:
            return 0
        self._close_is_due = False
        self.send_path = path
        end = _BODY + len(self._close_frame)
        self._out_view[_BODY:end] = self._close_frame
        return self._seal(end)

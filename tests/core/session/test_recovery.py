"""Recovery in numbers: RTT estimate, thresholds, probe time-outs, window, path change."""

from helpers import raises

from upeer.base.errors import RemoteError
from upeer.session.recovery import Recovery

NOW = 2**30 - 20  # most tests cross the wrap


class Piece:
    """Stands for a stream."""

    def __init__(self):
        self.sent_offset = 0
        self.sent_length = 0
        self.acked = []
        self.lost = []

    def on_acked(self, offset, length):
        self.acked.append(offset)

    def on_lost(self, offset, length):
        self.lost.append(offset)


class Sender:
    """A Recovery whose packets carry one byte each, of offset = number."""

    def __init__(self, records=32, first=0):
        self.told = []
        self.recovery = Recovery(self, records, 1200)
        self.recovery.next_number = first
        self.recovery._start(0)
        self.piece = Piece()
        self.now = NOW

    def on_delivery(self, carried, number, is_acked):
        self.told.append((carried, number, is_acked))

    def send(self, count=1, carried=0):
        for _ in range(count):
            number = self.recovery.next_number
            self.piece.sent_offset = number
            self.recovery.on_sent(1200, carried, self.piece, self.now)
            self.recovery.next_number += 1

    def wait(self, ms):
        self.now = (self.now + ms) & (2**30 - 1)

    def ack(self, *ranges, delay_ms=0):
        ranges = sorted(ranges, reverse=True)
        highs = [high for _, high in ranges]
        lows = [low for low, _ in ranges]
        return self.recovery.on_ack(highs, lows, len(ranges), delay_ms, self.now)

    def due(self):
        return (self.recovery.timer() - self.now) & (2**30 - 1)


def test_rtt_estimate():
    sender = Sender()
    assert sender.recovery.pto() == 333 + 666 + 25
    sender.send()
    sender.wait(100)
    assert sender.ack((0, 0))
    assert (sender.recovery.rtt8, sender.recovery.pto()) == (800, 100 + 200 + 25)
    sender.send()
    sender.wait(164)
    sender.ack((1, 1), delay_ms=20)  # 144 when the peer's delay is taken off
    assert (sender.recovery.rtt8 >> 3, sender.recovery._var4) == (105, 200 + 44 - 50)
    sender.send()
    sender.wait(101)
    sender.ack((2, 2), delay_ms=20)  # would be below the minimum: not taken off
    assert sender.recovery.rtt8 == 844 - 4


def test_packet_threshold():
    sender = Sender()
    sender.send(5)
    sender.wait(10)
    sender.ack((1, 2))
    assert sender.piece.lost == []
    sender.ack((1, 3))
    assert sender.piece.lost == [0] and sender.recovery.lost == 1
    assert sender.piece.acked == [1, 2, 3]


def test_time_threshold():
    sender = Sender()
    sender.send()
    sender.wait(40)
    sender.ack((0, 0))
    sender.send(2)
    sender.wait(30)
    sender.ack((2, 2))
    assert sender.due() == 44 - 30  # 9/8 of the round-trip time, now 38, and 2
    assert not sender.recovery.handle_timer(sender.now)
    sender.wait(14)
    assert not sender.recovery.handle_timer(sender.now)
    assert sender.piece.lost == [1]
    assert sender.recovery.timer() is None


def test_late_ack_of_lost_packet_is_ignored():
    sender = Sender()
    sender.send(5)
    sender.ack((3, 4))
    assert sender.piece.lost == [0, 1]
    assert sender.ack((3, 4), (0, 0)) is False
    assert sender.recovery.in_flight == 1200


def test_probe_time_out_backs_off():
    sender = Sender()
    sender.send()
    sender.wait(100)
    sender.ack((0, 0))
    sender.send(3)
    waits = []
    for _ in range(9):
        waits.append(sender.due())
        sender.wait(sender.due())
        assert sender.recovery.handle_timer(sender.now)
        assert sender.recovery.probes == 2
    assert waits == [325, 650, 1300, 2600, 5200, 8000, 8000, 8000, 8000]
    assert sender.piece.lost[:2] == [1, 2]  # to be sent again, not given up
    assert sender.recovery.in_flight == 3600
    sender.ack((2, 2))
    assert sender.recovery.pto_count == 0


def test_window_grows_and_halves():
    sender = Sender()
    assert sender.recovery.window == 12000
    sender.send(10)
    assert not sender.recovery.has_room(sender.now)
    sender.wait(10)
    sender.ack((0, 9))
    assert sender.recovery.window == 24000
    sender.send(20)
    sender.ack((11, 13))
    assert sender.recovery.window == (24000 + 3600) // 2
    sender.ack((11, 13), (15, 19))  # 14 was sent before the reduction: no second one
    assert sender.recovery.window == 13800
    sender.ack((11, 29))
    assert sender.recovery.in_flight == 0


def test_window_grows_by_a_packet_a_round_trip():
    sender = Sender()
    sender.send(10)
    sender.ack((3, 9))
    window = sender.recovery.window
    for _ in range(2):
        first = sender.recovery.next_number
        while sender.recovery.has_room(sender.now):
            sender.send()
        sender.ack((first, sender.recovery.next_number - 1))
    assert window + 1200 <= sender.recovery.window <= window + 2400


def test_unused_window_does_not_grow():
    sender = Sender()
    for number in range(20):
        sender.send()
        sender.ack((number, number))
    assert sender.recovery.window == 12000


def test_persistent_congestion():
    sender = Sender()
    sender.send()
    sender.wait(10)
    sender.ack((0, 0))
    for _ in range(6):
        sender.send()
        sender.wait(100)
    sender.send()
    sender.wait(10)
    sender.ack((7, 7))
    assert len(sender.piece.lost) == 6
    assert sender.recovery.window == 2400


def test_records_are_bounded():
    sender = Sender()
    sender.recovery.window = sender.recovery.threshold = 1000000
    sender.send(32)
    assert not sender.recovery.has_room(sender.now)
    sender.ack((5, 5))
    assert sender.recovery.has_room(sender.now)  # 0, 1, 2 are lost, 3 is the oldest now
    sender.recovery.next_number += 40  # packets without a record
    sender.ack((70, 70))
    assert sender.recovery.in_flight == 0 and sender.recovery.timer() is None


def test_ack_of_packet_not_sent():
    sender = Sender()
    sender.send(2)
    assert raises(RemoteError, sender.ack, (0, 2)).code == 2


def test_control_bits_are_told():
    sender = Sender()
    sender.send(1, 0x101)
    sender.send(4)
    sender.ack((4, 4))
    assert sender.told == [(0x101, 0, False)]
    sender.send(1, 0x200)
    sender.ack((5, 5))
    assert sender.told[1:] == [(0x200, 5, True)]


def test_path_change_keeps_what_is_out():
    sender = Sender()
    sender.send()
    sender.wait(80)
    sender.ack((0, 0))
    sender.send(4)
    sender.recovery.on_path_change(10)
    assert (sender.recovery.in_flight, sender.recovery.window, sender.recovery.pto()) == (0, 12000, 10 + 20 + 25)
    sender.send(4)
    sender.wait(10)
    sender.ack((5, 8))
    assert sender.piece.lost == []  # the old path is slower: order proves nothing
    sender.wait(60)
    sender.ack((1, 3), (5, 8))
    assert sender.recovery.rtt8 == 80  # old packets are no sample
    sender.wait(22)
    sender.recovery.handle_timer(sender.now)
    assert sender.piece.lost == [4] and sender.recovery.window == 12000


def test_numbers_beyond_small_ints():
    for first in (2**30 - 3, 2**32 - 3, 2**61):
        sender = Sender(32, first)
        sender.send(6)
        sender.wait(5)
        sender.ack((first + 3, first + 5), (first + 1, first + 1))
        assert sender.piece.acked == [first + 1, first + 3, first + 4, first + 5]
        assert sender.piece.lost == [first, first + 2]


def test_pacing_spreads_packets():
    sender = Sender(128)
    sender.send()
    sender.wait(100)
    sender.ack((0, 0))
    recovery = sender.recovery
    sent = [0]
    for _ in range(50):
        while recovery.has_room(sender.now):
            sender.send()
            sent[-1] += 1
        sent.append(0)
        sender.wait(1)
    assert sum(sent) == 10 and sent[0] <= 10
    recovery.window = 120000
    recovery.pacer.tokens = 0
    sender.wait(100)
    count = 0
    while recovery.has_room(sender.now):
        sender.send()
        count += 1
    assert count == 35  # a quarter of the window and ten packets
    assert recovery.pacer.deadline == (sender.now + 1) & (2**30 - 1)

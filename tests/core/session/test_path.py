"""Path checks, choice, consent, failover. The clock starts just before ticks wrap."""

from helpers import tohex

from upeer.base.clock import ticks_add, ticks_diff
from upeer.base.wire import pack_address
from upeer.session.paths import HOST, PRFLX, RELAY, SRFLX, Paths

START = (1 << 30) - 50
LAN = ("192.168.1.2", 1000)
DIRECT = ("203.0.113.5", 2000)
OTHER = ("203.0.113.5", 2001)
SERVER = ("198.51.100.1", 3478)
TAG = b"tag0007"
US = pack_address("192.0.2.1", 777)


class Harness:
    """Runs a Paths against a peer that answers after `rtt[addr]` ms on the addresses it holds."""

    def __init__(self, *candidates, is_client=True):
        self.now = START
        self.sent = []  # (ms since the start, address) of each challenge
        self.rtt = {}
        self.flying = []
        self.count = 0
        self.paths = Paths(is_client, self.random_bytes, START)
        for kind, addr, rtt in candidates:
            self.paths.add(kind, addr, TAG if kind == RELAY else None)
            if rtt is not None:
                self.rtt[addr] = rtt

    def random_bytes(self, size):
        self.count += 1
        return bytes((self.count,)) * size

    def ms(self):
        return ticks_diff(self.now, START)

    def run(self, duration):
        for _ in range(duration):
            self.now = ticks_add(self.now, 1)
            self.deliver()
            deadline = self.paths.due
            if deadline is not None and ticks_diff(deadline, self.now) <= 0:
                self.paths.handle_timer(self.now)
                self.send()

    def send(self):
        buf = bytearray(24)
        while True:
            path = self.paths.next_probe(self.now)
            if path is None:
                return
            end = self.paths.write_frames(path, buf, 0, self.now)
            assert end == 9 and buf[0] == 0x1A
            self.sent.append((self.ms(), path.addr))
            if path.addr in self.rtt:
                self.flying.append((ticks_add(self.now, self.rtt[path.addr]), path, bytes(buf[1:9])))

    def deliver(self):
        for item in self.flying[:]:
            due, path, data = item
            if ticks_diff(due, self.now) <= 0:
                self.flying.remove(item)
                self.paths.on_packet(path.addr, path.tag, self.now)
                self.paths.on_response(path, data, US, self.now)

    def times(self, addr):
        return [ms for ms, sent_to in self.sent if sent_to == addr]


def test_candidates_are_challenged_with_growing_gaps_for_30_s():
    harness = Harness((HOST, LAN, None), (SRFLX, DIRECT, 40))
    harness.run(33000)
    times = harness.times(LAN)
    assert [time - times[0] for time in times[:6]] == [0, 20, 60, 140, 300, 620]
    assert max(b - a for a, b in zip(times, times[1:])) == 2000
    assert 28000 < times[-1] < 31000


def test_data_starts_on_first_answer_and_moves_to_the_better_path():
    harness = Harness((RELAY, SERVER, 30), (SRFLX, DIRECT, 90), (HOST, LAN, 250))
    seen = []
    for _ in range(500):
        harness.run(1)
        kind = harness.paths.active.kind if harness.paths.active else None
        if not seen or seen[-1] != kind:
            seen.append(kind)
    assert seen == [None, RELAY, SRFLX, HOST]
    assert harness.paths.changes == 3
    assert harness.paths.observed == ("192.0.2.1", 777)


def test_equal_rank_changes_only_for_a_clearly_shorter_way():
    harness = Harness((SRFLX, DIRECT, 40), (PRFLX, OTHER, 38))
    harness.run(100)
    first = harness.paths.active
    assert harness.paths.changes == 1 and first.valid
    harness = Harness((SRFLX, DIRECT, 90), (PRFLX, OTHER, None))
    harness.run(92)
    assert harness.paths.active.addr == DIRECT
    harness.rtt[OTHER] = 20
    harness.run(100)
    assert harness.paths.active.addr == OTHER


def test_path_in_use_is_challenged_every_5_s_and_the_others_rest():
    harness = Harness((RELAY, SERVER, 30), (SRFLX, DIRECT, 20))
    harness.run(60000)
    times = [time for time in harness.times(DIRECT) if time > 1000]
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert len(times) >= 9 and min(gaps) >= 4000 and max(gaps) <= 6100
    assert [time for time in harness.times(SERVER) if time > 1000] == []
    assert harness.paths.changes <= 2


def test_consent_ends_after_15_s_and_everything_is_challenged():
    harness = Harness((SRFLX, DIRECT, 20))
    harness.run(1000)
    harness.rtt.clear()
    harness.run(20500)
    assert harness.paths.active is None and harness.paths.changes == 2
    count = len(harness.sent)
    harness.run(300000)
    assert 10 < len(harness.sent) - count < 60
    harness.rtt[DIRECT] = 20
    harness.run(40000)
    assert harness.paths.active.addr == DIRECT


def test_two_probe_timeouts_lead_to_another_path_within_a_second():
    harness = Harness((RELAY, SERVER, 60), (SRFLX, DIRECT, 20))
    harness.run(60000)
    assert harness.paths.active.addr == DIRECT
    del harness.rtt[DIRECT]
    harness.paths.on_pto(1, harness.now)
    assert harness.paths.active.addr == DIRECT
    harness.paths.on_pto(2, harness.now)
    harness.run(300)
    assert harness.paths.active.addr == SERVER


def test_failed_path_is_used_again_when_it_answers():
    harness = Harness((RELAY, SERVER, 60), (SRFLX, DIRECT, 20))
    harness.run(1000)
    del harness.rtt[DIRECT]
    harness.paths.on_pto(2, harness.now)
    harness.run(500)
    assert harness.paths.active.addr == SERVER
    harness.rtt[DIRECT] = 20
    harness.paths.on_packet(DIRECT, None, harness.now)
    harness.run(2000)
    assert harness.paths.active.addr == DIRECT


def test_long_silence_without_data_fails_over_too():
    harness = Harness((RELAY, SERVER, 60), (SRFLX, DIRECT, 20))
    harness.run(30000)
    del harness.rtt[DIRECT]
    harness.run(12500)
    assert harness.paths.active.addr == SERVER


def test_progress_lets_the_other_paths_rest():
    harness = Harness((RELAY, SERVER, 60), (SRFLX, DIRECT, 20), (HOST, LAN, None))
    harness.run(40000)
    count = len(harness.times(LAN))
    harness.paths.on_pto(2, harness.now)
    harness.paths.on_progress(harness.now)
    harness.run(5000)
    assert len(harness.times(LAN)) == count
    assert harness.paths.active.addr == DIRECT


def test_packet_from_a_new_address_is_challenged_at_once_with_the_active_path():
    harness = Harness((SRFLX, DIRECT, 20))
    harness.run(1000)
    harness.sent.clear()
    harness.rtt = {OTHER: 20}
    path = harness.paths.on_packet(OTHER, None, harness.now)
    assert path.kind == PRFLX and harness.paths.active.addr == DIRECT
    harness.run(1)
    assert sorted(addr for _, addr in harness.sent) == [DIRECT, OTHER]
    harness.run(300)
    assert harness.paths.active is path


def test_response_counts_only_on_the_path_that_was_challenged():
    harness = Harness((SRFLX, DIRECT, None), (SRFLX, OTHER, None))
    harness.run(1)
    first, second = harness.paths.all
    buf = bytearray(24)
    harness.paths.check(harness.now)
    harness.paths.write_frames(first, buf, 0, harness.now)
    data = bytes(buf[1:9])
    harness.paths.on_response(second, data, US, harness.now)
    assert not second.valid
    for i in range(5):
        harness.paths.on_response(first, data[:i] + bytes((data[i] ^ 1,)) + data[i + 1 :], US, harness.now)
    assert not first.valid and harness.paths.active is None
    harness.paths.on_response(first, data, US, ticks_add(harness.now, 5))
    assert first.valid and first.rtt_ms == 5
    harness.paths.on_response(first, data, US, ticks_add(harness.now, 500))
    assert first.rtt_ms == 5


def test_challenge_is_answered_once_on_its_path_with_the_observed_address():
    harness = Harness((SRFLX, DIRECT, 20))
    harness.run(1000)
    path = harness.paths.on_packet(DIRECT, None, harness.now)
    harness.paths.on_challenge(path, memoryview(b"xx12345678")[2:], harness.now)
    assert harness.paths.next_probe(harness.now) is path
    buf = bytearray(30)
    end = harness.paths.write_frames(path, buf, 2, harness.now)
    assert tohex(buf[:end]) == "0000" + "1b" + "3132333435363738" + "cb00710507d0"
    assert harness.paths.next_probe(harness.now) is None
    assert harness.paths.write_frames(path, buf, 2, harness.now) == 2


def test_paths_are_bounded_and_good_ones_stay():
    harness = Harness((RELAY, SERVER, 30), (SRFLX, DIRECT, 20), (HOST, LAN, None), is_client=False)
    harness.run(100)
    for port in range(1, 500):
        harness.paths.on_packet(("198.18.0.1", port), None, harness.now)
    assert len(harness.paths.all) == 10
    assert [path.addr for path in harness.paths.all[:3]] == [SERVER, DIRECT, LAN]
    harness.run(100)
    assert len(harness.sent) < 60
    assert harness.paths.active.addr == DIRECT


def test_packet_through_an_unknown_relay_or_from_port_0_makes_no_path():
    harness = Harness((SRFLX, DIRECT, 20))
    harness.run(100)
    for addr, tag in ((SERVER, b"another"), (("198.18.0.1", 0), None)):
        path = harness.paths.on_packet(addr, tag, harness.now)
        harness.paths.on_challenge(path, b"12345678", harness.now)
        assert harness.paths.next_probe(harness.now) is None
    assert len(harness.paths.all) == 1


def test_relay_path_is_known_by_its_tag_alone():
    harness = Harness((RELAY, SERVER, 20))
    assert harness.paths.on_packet(("198.51.100.77", 1), TAG, harness.now) is harness.paths.all[0]


def test_only_allowed_kinds_are_used():
    paths = Paths(True, bytes, START)
    paths.allow = 1 << RELAY
    assert paths.add(HOST, LAN) is None
    assert paths.add(RELAY, SERVER, TAG).kind == RELAY
    paths.on_packet(DIRECT, None, START)
    assert len(paths.all) == 1


def test_candidate_given_twice_keeps_the_better_kind():
    paths = Paths(True, bytes, START)
    path = paths.add(PRFLX, LAN)
    assert paths.add(HOST, LAN) is path
    assert path.kind == HOST and len(paths.all) == 1


def test_packet_on_a_known_path_allocates_nothing():
    import gc

    if not hasattr(gc, "mem_alloc"):
        return
    harness = Harness((RELAY, SERVER, 60), (SRFLX, DIRECT, 20))
    harness.run(1000)
    paths, now, addr = harness.paths, harness.now, ("203.0.113.5", 2000)
    paths.on_packet(addr, None, now)
    gc.collect()
    before = gc.mem_alloc()
    for _ in range(100):
        paths.on_packet(addr, None, now)
        paths.next_probe(now)
        paths.on_progress(now)
    assert gc.mem_alloc() - before < 64  # for `before` itself

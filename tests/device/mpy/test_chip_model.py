"""What the virtual board's shims hold a program to because the chip does: ticks, small ints, mailboxes, memory."""

import asyncio
import errno
import gc
import select
import socket
import time

import _heap
import esp32
import network
from helpers import raises

LOCAL = "127.0.0.1"
KB = 1024
LAST = 2**30 - 1
ALLOCATED = _heap.allocated


def test_ticks_have_30_bits():
    from upeer.base import clock

    assert clock.ticks_ms is time.ticks_ms and clock.ticks_add is time.ticks_add and clock.ticks_diff is time.ticks_diff
    assert time.ticks_add(LAST, 1) == 0 and time.ticks_add(0, -1) == LAST
    assert time.ticks_diff(5, LAST) == 6 and time.ticks_diff(LAST, 5) == -6
    for read in (time.ticks_ms, time.ticks_us, time.ticks_cpu):
        assert 0 <= read() <= LAST
    begun = time.ticks_ms()
    time.sleep_ms(20)
    assert 20 <= time.ticks_diff(time.ticks_ms(), begun) < 60000


def test_small_ints_have_31_bits():
    for wrong in (
        lambda: time.ticks_add(0, 1 << 29),
        lambda: time.ticks_add(0, -(1 << 29)),
        lambda: time.ticks_add(1 << 30, 1),
        lambda: time.ticks_diff(1 << 30, 0),
        lambda: time.ticks_diff(0, -(1 << 30) - 1),
        lambda: time.sleep_ms(1 << 30),
        lambda: asyncio.run(wait(1 << 29)),
        lambda: esp32.NVS.set_i32(None, "key", 1 << 31),
    ):
        raises(OverflowError, wrong)
    asyncio.new_event_loop()


async def wait(ms):
    await asyncio.sleep_ms(ms)


def test_asyncio_waits_over_the_wrap():
    begun = time.ticks_ms()
    asyncio.run(wait(30))
    assert 30 <= time.ticks_diff(time.ticks_ms(), begun) < 60000


def test_the_clock_counts_from_2000():
    assert 0 <= time.time() < 1000 and time.gmtime(0)[:6] == (2000, 1, 1, 0, 0, 0)
    assert time.localtime()[0] == 2000 and time.mktime((2000, 1, 1, 0, 0, 7, 5, 1)) == 7


def pair(port):
    """Return two UDP sockets on loopback, the second on port."""
    one, two = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for sock in (one, two):
        sock.setblocking(False)
    one.bind((LOCAL, port + 1))
    two.bind((LOCAL, port))
    return one, two


def fill(one, port, count):
    for number in range(count):
        one.sendto(bytes((number,)) * (1 + 200 * number), (LOCAL, port))
    time.sleep_ms(20)


def read_all(sock):
    found = []
    while True:
        try:
            found.append(sock.recvfrom(1500)[0][0])
        except OSError as error:
            assert error.errno == errno.EAGAIN
            return found


def test_six_datagrams_wait_whatever_their_size():
    one, two = pair(50310)
    fill(one, 50310, 7)
    assert read_all(two) == [0, 1, 2, 3, 4, 5]
    fill(one, 50310, 6)
    assert two.recv(1) == b"\0"
    fill(one, 50310, 3)  # five wait: one more has room
    assert read_all(two) == [1, 2, 3, 4, 5, 0]
    one.close()
    two.close()


def test_what_waits_takes_nothing_of_the_heap():
    one, two = pair(50380)
    for number in range(7):
        one.sendto(bytes((number,)) * 1200, (LOCAL, 50380))
    time.sleep_ms(20)
    assert two.recvfrom(1280) == (b"\0" * 1200, (LOCAL, 50381))
    gc.collect()
    full = gc.mem_alloc()
    assert _heap.waiting == 5
    for number in range(1, 6):
        assert two.recvfrom(1280) == (bytes((number,)) * 1200, (LOCAL, 50381))
    gc.collect()
    assert abs(gc.mem_alloc() - full) < 200 and _heap.waiting == 0
    one.close()
    two.close()


class Full:
    """A host's socket that finds memory for one datagram at a time; a mailbox in lwIP takes none of the heap's."""

    def __init__(self, sock):
        self.sock = sock
        self.left = 1

    def recvfrom(self, size, flags=0):
        if not self.left:
            raise MemoryError
        self.left -= 1
        return self.sock.recvfrom(size, flags)


def test_what_the_heap_cannot_hold_is_not_lost():
    one, two = pair(50370)
    fill(one, 50370, 3)
    two._sock = Full(two._sock)
    for number in range(3):
        assert two.recv(1) == bytes((number,))
        raises(MemoryError, two.recv, 1)  # as on the chip: the first one has to fit
        two._sock.left = 1
    two._sock = two._sock.sock
    assert read_all(two) == []
    one.close()
    two.close()


def test_what_waits_is_polled_peeked_and_joined():
    one, two = pair(50320)
    fill(one, 50320, 3)
    assert two.recvfrom(1, socket.MSG_PEEK)[0] == b"\0"
    poller = select.poll()
    poller.register(two, select.POLLIN)
    assert poller.poll(1000)[0][0] is two
    poller.unregister(two)
    buf = bytearray(300)
    assert two.readinto(buf) == 300 and buf == b"\0" + b"\1" * 201 + b"\2" * 98
    assert read_all(two) == []
    poller.register(two, select.POLLIN)
    assert not poller.poll(0)
    assert _heap.waiting == 0
    one.close()
    two.close()


class Memory:
    """The chip's memory as it is after a boot, with what a test says is allocated; as it was, at the end."""

    _NAMES = tuple("heap drivers wifi sockets waiting allocated _own _limit _second _least".split())

    def __enter__(self):
        self._saved = [getattr(_heap, name) for name in self._NAMES]
        _heap.heap = _heap._limit = 56 * KB
        _heap._second = 112 * KB
        _heap.drivers = _heap.wifi = _heap.sockets = _heap.waiting = 0
        _heap.start()
        self.holds(6)
        return self

    def holds(self, kb):
        _heap.allocated = lambda: kb * KB

    def __exit__(self, *error):
        for name, value in zip(self._NAMES, self._saved):
            setattr(_heap, name, value)


def free_kb():
    return esp32.idf_heap_info(esp32.HEAP_DATA)[0][1] // KB


def test_the_heap_grows_in_steps_and_never_shrinks():
    with Memory() as memory:
        assert free_kb() == 144
        memory.holds(75)
        assert free_kb() == 88
        memory.holds(111)
        assert free_kb() == 88
        memory.holds(20)
        assert free_kb() == 88
        memory.holds(113)
        assert free_kb() == 0
        memory.holds(20)
        assert esp32.idf_heap_info(esp32.HEAP_DATA)[0][3] <= 512 and free_kb() == 0


def test_the_third_step_starves_sockets_and_wifi():
    wlan = network.WLAN(network.STA_IF)
    with Memory() as memory:
        wlan.active(False)
        wlan.active(True)
        wlan.connect("home")
        time.sleep_ms(30)
        memory.holds(111)
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        assert wlan.isconnected() and sock.sendto(b"x", (LOCAL, 50330)) == 1 and 30 <= free_kb() < 45
        memory.holds(113)
        time.sleep_ms(30)
        assert raises(OSError, sock.sendto, b"x", (LOCAL, 50330)).errno == errno.ENOMEM
        assert raises(OSError, socket.socket, socket.AF_INET, socket.SOCK_DGRAM).errno == errno.ENOBUFS
        assert not wlan.isconnected()
        sock.close()
    wlan.active(False)
    socket._down = False  # as before the first WLAN


class Collector:
    """Stands in for gc where a collection frees `freed` KB of what a Memory says is allocated."""

    def __init__(self, memory, freed):
        self.memory = memory
        self.freed = freed

    def collect(self):
        self.memory.holds(_heap.allocated() // KB - self.freed)


def test_garbage_is_collected_before_the_heap_grows():
    with Memory() as memory:
        try:
            memory.holds(60)
            _heap.gc = Collector(memory, 10)
            assert free_kb() == 144
            memory.holds(70)
            assert free_kb() == 88
        finally:
            _heap.gc = gc


def test_allocated_follows_the_heap_by_the_measured_factor():
    with Memory():
        _heap.allocated = ALLOCATED
        before = _heap.allocated()
        kept = bytearray(14800)
        assert 9800 <= _heap.allocated() - before <= 10300, len(kept)

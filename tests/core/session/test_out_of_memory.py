"""Memory that runs out in the middle of anything: what was under way is tried again, and no byte is lost or doubled."""

import gc
import sys

from helpers import raises
from session_pair import SMALL, Pair, Transfer, transfer

from upeer.base.compat import MICROPYTHON

_SIZES = (4096, 512, 32)  # of what takes the heap away, largest first


class Heap:
    """Takes all of MicroPython's heap but for `left` small blocks while a call runs."""

    def __init__(self):
        self._taken = [None] * 3000
        self.failed = 0

    def run(self, left, function, *args):
        """Call the function with so little memory; return what it returned, None if there was too little."""
        gc.collect()
        self._take(left)
        try:
            return function(*args)
        except MemoryError:
            self.failed += 1
            return None
        finally:
            for i in range(len(self._taken)):
                self._taken[i] = None
            gc.collect()

    def _take(self, left):
        i = 0
        for size in _SIZES:
            try:
                while True:
                    self._taken[i] = bytearray(size - 13 if size > 32 else 1)
                    i += 1
            except MemoryError:
                pass
        for k in range(i - left, i):
            self._taken[k] = None
        gc.collect()


def sweep(pair, first, run):
    """Let every third call of both sessions' doors run out of memory, each time a little later."""
    state = [first]

    def starve(session, name):
        function = getattr(session, name)

        def call(*args):
            state[0] += 1
            if state[0] % 3:
                return function(*args)
            return run(state[0] // 3 % 24, function, *args) or 0

        setattr(session, name, call)

    for end in (pair.a, pair.b):
        for name in ("receive_packet", "write_datagram"):
            starve(end.session, name)


def test_transfer_while_allocations_fail_at_every_point():
    if not MICROPYTHON or sys.platform == "webassembly":  # where garbage stays while a call runs
        return
    heap = Heap()
    for first in range(0, 72, 9):
        pair = Pair(first + 1)
        pair.loss = pair.late = 5
        sweep(pair, first, heap.run)
        transfer(pair, 6000, 200000)
        assert pair.a.session.is_open and pair.b.session.is_open
    assert heap.failed > 50


def test_transfer_while_the_pool_fails():
    for every in (2, 3, 7):
        pair = Pair(every, SMALL[:1] + (128, 1200, 30, 6))
        pool = pair.b.session.pool
        take = pool.take
        calls = []

        def fail(size, take=take, calls=calls, every=every):
            calls.append(size)
            if len(calls) % every == 0:
                raise MemoryError
            return take(size)

        pool.take = fail
        work = pair.b.work = Failing(1, 12000, 2, 1)
        other = pair.a.work = Transfer(1, 12000, 1, 2)
        pair.run(lambda work=work, other=other: work.is_done() and other.is_done())
        assert len(calls) > 10


def test_writer_without_memory_waits_for_what_is_on_its_way():
    pair = Pair(1, SMALL[:1] + (128, 1200, 30, 6))
    pool = pair.a.session.pool
    take = pool.take
    left = [2]

    def fail(size):
        if not left[0]:
            raise MemoryError
        left[0] -= 1
        return take(size)

    pool.take = fail
    stream = pair.a.session.stream(1)
    size = pool.block_size
    assert stream.write(bytes(5 * size)) == 2 * size and stream.is_hungry
    pair.run(lambda: not stream.unacked)
    raises(MemoryError, stream.write, b"x")  # nothing is on its way that could give some back
    left[0] = 1
    assert stream.write(bytes(size)) == size and pool.left == pool.share - 1


class Failing(Transfer):
    """An application that is told of too little memory and goes on."""

    def __call__(self, end):
        try:
            super().__call__(end)
        except MemoryError:
            pass

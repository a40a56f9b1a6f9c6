"""asyncio in steps: the port's own is driven by JavaScript. On the chip this is frozen, and takes no heap but for what
its objects take, which are of the same kinds here.
"""

import sys
import time
from _asyncio import Task, TaskQueue

_queue = TaskQueue()
_waiting = []  # (socket, task)


class CancelledError(BaseException):
    pass


cur_task = None
_task_queue = _queue
_io_queue = None
_context = globals()


class Event:
    def __init__(self):
        self.state = False
        self.waiting = TaskQueue()

    def is_set(self):
        return self.state

    def set(self):
        while self.waiting.peek():
            _queue.push(self.waiting.pop())
        self.state = True

    def clear(self):
        self.state = False

    def wait(self):
        if not self.state:
            self.waiting.push(cur_task)
            cur_task.data = self.waiting
            yield
        return True


class _Sleep:
    def __init__(self):
        self.until = None

    def __iter__(self):
        return self

    def __next__(self):
        if self.until is None:
            raise StopIteration
        _queue.push(cur_task, self.until)
        self.until = None


_sleep = _Sleep()


def sleep_ms(ms):
    _sleep.until = time.ticks_add(time.ticks_ms(), max(0, ms))
    return _sleep


def sleep(seconds):
    return sleep_ms(int(seconds * 1000))


def create_task(coroutine):
    task = Task(coroutine, _context)
    _queue.push(task)
    return task


class _Readers:
    """What asyncio.core._io_queue is: wakes the task that waits for a socket."""

    def queue_read(self, sock):
        entry = [sock, cur_task]
        _waiting.append(entry)
        cur_task.data = self

    def remove(self, task):
        for entry in _waiting:
            if entry[1] is task:
                _waiting.remove(entry)
                return


class core:
    _io_queue = _Readers()


is_paused = False


def step(most=64):
    """Run the tasks that are due, each once or, if it goes on at once, up to `most` in all; nothing while paused."""
    global cur_task
    for entry in list(_waiting):
        if entry[0].waiting():
            _waiting.remove(entry)
            _queue.push(entry[1])
    for _ in range(most):
        task = _queue.peek()
        if is_paused or task is None or time.ticks_diff(task.ph_key, time.ticks_ms()) > 0:
            break
        _queue.pop()
        cur_task = task
        error = task.data
        try:
            if error is None:
                task.coro.send(None)
            else:
                task.data = None
                task.coro.throw(error)
        except StopIteration:
            task.state = False
        except CancelledError:
            task.state = False
        except Exception as caught:
            task.state = False
            sys.print_exception(caught)
    cur_task = None


def idle_ms():
    """Return how long nothing is to be done, 0 when something is, -1 for ever."""
    for entry in _waiting:
        if entry[0].waiting():
            return 0
    task = _queue.peek()
    return max(0, time.ticks_diff(task.ph_key, time.ticks_ms())) if task else -1

"""Has callgrind count each step of the loop's tasks: what runs from one poll of the sockets to the next.

Callgrind begins anew at every poll (`--zero-before=poll_ipoll`) and writes down what it has when `time.ticks_cpu` is
called, which nothing else does. Only steps that took long are written down; a line on the console names each.

Nothing else may poll: a virtual board's mailbox does at every read, so it has to be left out (`datagram_queue=0`).

What only the virtual board does is kept out of it where that can be: its model of memory looks at the heap at each
send, its NVS is a module that is loaded for each use.
"""

import asyncio.core as core
import sys

import utime as time  # the port's own: its C functions are what callgrind looks at

_LONG_S = 0.004  # of CPU time under callgrind: well below 3.3 million instructions on any machine

_wait = core.IOQueue.wait_io_event
_count = 0
_since = 0.0
_modules = set()


def _probed_wait(self, dt):
    global _since
    if time.clock() - _since > _LONG_S:
        _write_down()
    _wait(self, dt)
    _since = time.clock()


def _write_down():
    global _count, _modules
    time.ticks_cpu()
    _count += 1
    modules = set(sys.modules)
    task = core.cur_task
    print(f"stretch {_count} {repr(task.coro) if task else ''} +{','.join(sorted(modules - _modules))}")
    _modules = modules


def install():
    """Begin to look, before the loop runs."""
    global _modules, _since
    if "_heap" in sys.modules:
        sys.modules["_heap"]._own = None
        esp32 = sys.modules["esp32"]
        esp32.NVS = esp32.NVS
    _modules = set(sys.modules)
    core.IOQueue.wait_io_event = _probed_wait
    _since = time.clock()

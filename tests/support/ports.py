"""UDP ports for servers under test, which no client is given while the server is not there yet or starts again.

The system gives clients ports from 32768 on (Linux); these are below. Each process of pytest-xdist has its own, and
takes one after the other, from a random one on: runs side by side rarely meet.
"""

import itertools
import os
import random
import socket

_FIRST, _END = 20000, 32000
_WORKERS = 16


def _own_ports() -> list[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    found = list(range(_FIRST + worker, _END, _WORKERS))
    start = random.SystemRandom().randrange(len(found))
    return found[start:] + found[:start]


_PORTS = _own_ports()
_next = itertools.cycle(_PORTS)


def free_port() -> int:
    """Return a UDP port of 127.0.0.1 that nobody has; it is not returned again soon. OSError if all are taken."""
    for _ in _PORTS:
        port = next(_next)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free UDP port from {_FIRST} to {_END}")

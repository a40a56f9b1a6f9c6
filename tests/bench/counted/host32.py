"""The host's end of a counted device: datagrams, NVS and requests, with as little garbage in a step as on the chip."""

import json
import os
import sys
from binascii import hexlify, unhexlify

_SLOTS = 24  # datagrams that one step may send

_pool = [bytearray(1300) for _ in range(_SLOTS)]
_sent = []
_opened = []
_queues = {}
_nvs = {}


def open_socket(port, shared):
    number = len(_queues) + 1
    _queues[number] = []
    _opened.append([number, port, shared])
    return number


def close_socket(number):
    _queues[number] = []


def send(number, data, address):
    slot = _pool[len(_sent)]
    slot[: len(data)] = data
    _sent.append((number, len(data), address))
    return len(data)


def waiting(number):
    return len(_queues[number])


def receive(number):
    """Return the next (data, address), None when there is none."""
    queue = _queues[number]
    return queue.pop(0) if queue else None


def random(count):
    return hexlify(os.urandom(count)).decode()


def nvs_get(key):
    return _nvs.get(key, "")


def nvs_set(key, value):
    _nvs[key] = value


def nvs_erase(key):
    return _nvs.pop(key, None) is not None


def take_request():
    """Return the next request: {"at": ms, "datagrams": [[socket, hex, ip, port], ...]} or {"run": code}."""
    request = json.loads(sys.stdin.readline())
    for number, data, ip, port in request.pop("datagrams", ()):
        _queues[number].append((unhexlify(data), (ip, port)))
    return request


def answer(**found):
    """Tell what came of it: sockets opened, datagrams sent, those that nobody has read yet."""
    found["sent"] = [
        [number, hexlify(memoryview(_pool[slot])[:size]).decode(), ip, port]
        for slot, (number, size, (ip, port)) in enumerate(_sent)
    ]
    found["opened"] = _opened
    found["left"] = {str(number): len(queue) for number, queue in _queues.items()}
    print(json.dumps(found))
    _sent.clear()
    _opened.clear()

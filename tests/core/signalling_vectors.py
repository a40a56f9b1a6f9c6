"""Inputs and messages of signalling.json, and the objects that the tests of signalling make of them."""

from helpers import load_json, unhex

from upeer.base.wire import unpack_address
from upeer.signalling.control import Control

_FILE = load_json("signalling.json")
NOW = 2**30 - 2000  # just before the clock wraps


def given(name):
    """Return an input as bytes."""
    return unhex(_FILE["inputs"][name])


def message(name):
    """Return a message or a part of one as bytes."""
    return unhex(_FILE["messages"][name])


def address(name):
    """Return an input as an address."""
    return unpack_address(given(name))


MASTER = ("203.0.113.1", 7000)
P2P = address("p2p_address")


class Platform:
    """The keys of the vectors, and a device's identity whose next epoch is 5."""

    key_id = given("key_id")[0]
    crc_key = given("crc_key")
    p2p_key = given("p2p_key")
    did = given("did").decode()
    flags = 3
    nat_class = 2

    def __init__(self, epoch=5):
        self.epoch = epoch

    def next_epoch(self):
        self.epoch += 1
        return self.epoch - 1


def fixed_random(*values):
    """Return random_bytes(size) that gives these byte strings one after the other, and zeros after them."""
    left = list(values)

    def random_bytes(size):
        return left.pop(0) if left else bytes(size)

    return random_bytes


def control():
    """Return a device's session with keep-alives every 25 s, and nothing sent yet."""
    session = Control(MASTER, given("session_id"), given("session_key"))
    session.start_keep_alive(25, NOW)
    return session


class Server(Control):
    """The far end of a session, without what servers have of their own."""

    is_server = True

    def __init__(self):
        super().__init__(("192.0.2.33", 40717), given("session_id"), given("session_key"))
        self.got = []

    def _on_authentic(self, addr, now):
        pass

    def _handle(self, kind, request_id, reader):
        self.got.append((kind, request_id, reader.rest()))
        if self.answers:
            self.send(0x80, request_id)

    answers = True


def flipped(data, position):
    """Return data with one bit changed."""
    changed = bytearray(data)
    changed[position] ^= 1 << position % 8
    return bytes(changed)

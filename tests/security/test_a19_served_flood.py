"""A19 against a served port: while strangers flood it, memory stays and honest devices and clients are served."""

import os
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from office_tools import make_office, upeer_json
from ports import free_port
from server_tools import Identity, Server, log_in, next_alive, serving
from strangers import Flood, resident_kb

from upeer.base.wire import HELLO, ROLE_MASTER, header
from upeer.crypto.aead import Hmac
from upeer.signalling.lookup import client_hello_key

_FLOOD = 8000  # datagrams, at least
_HONEST = 5
_PER_SECOND = 8000
_GROWTH_KB = 4096
_DICE = random.Random(19)


class Place:
    """A served platform, the records of its devices, and its keys, which an attacker may have got from a client."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.folder = folder
        self.address = ("127.0.0.1", port)
        with make_office(folder, (f"127.0.0.1:{port}",)) as office:
            self.records = [office.device_record(text.partition(",")[0]) for text in office.issue(60)]
        self.p2p_key = self.records[0]["p2p_key"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Server]]:
    made = Place(tmp_path_factory.mktemp("a19") / "platform")
    with serving(made.folder) as server:
        yield made, server


def hello(place: Place) -> bytes:
    """A true HELLO of a client: who holds the P2PKey gets a cookie, and no memory of the server."""
    message = header(HELLO, 1, ROLE_MASTER) + os.urandom(16) + bytes(28)
    return message + Hmac(client_hello_key(place.p2p_key)).tag(message)


def noise(_place: Place) -> bytes:
    """Every kind of signalling, relayed datagrams and probes, with bodies of chance."""
    head = _DICE.choice(
        (b"\x82\1\1\1", b"\x82\1\1\2", b"\x90\1\1\1", b"\x92\1\1\2", b"\xa0\1\1\3", b"\xc0", b"\x88", b"\x89")
    )
    return head + _DICE.randbytes(_DICE.choice((20, 56, 90, 148, 400, 1000)))


def stun(_place: Place) -> bytes:
    """Binding requests: answered so many a second and source, the one answer that is larger than its question."""
    return bytes.fromhex("000100002112a442") + os.urandom(12)


@pytest.mark.parametrize("make", [hello, noise, stun], ids=lambda make: make.__name__)
def test_a19_server_keeps_its_memory_and_serves_on(place: tuple[Place, Server], make: Callable[[Place], bytes]) -> None:
    """Five honest devices log in one after the other, while the flood goes on before, between and after them.

    How fast the flood is, is the machine's affair: between two logins a share of it is sent, however long that takes.
    """
    platform, server = place
    resident = resident_kb(server.pid)
    flood = Flood([platform.address], lambda _number: make(platform), _PER_SECOND)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, flood.running():
        for honest in range(1, _HONEST + 1):
            flood.wait_for(honest * _FLOOD // _HONEST)
            event = log_in(udp, platform.address, Identity(platform.records.pop()))
            assert event[0] == "login"
            udp.sendto(next_alive(event[1]), platform.address)
    assert flood.sent >= _FLOOD
    assert resident_kb(server.pid) < resident + _GROWTH_KB
    assert all(len(answer) <= 64 for answer in flood.answers)
    print(f"{flood.sent} sent, {_HONEST} logins meanwhile, {resident_kb(server.pid) - resident} KiB more")


def test_a19_counters_tell_the_operator(place: tuple[Place, Server]) -> None:
    """What was dropped is counted by kind, no fault was raised, and nobody is online but the honest devices."""
    platform, _server = place
    shown = upeer_json("status", platform.folder)
    text = str(shown)
    assert "'faults': 0" in text and "'drops': {}" not in text

"""A13, A14, A1 on a served port: no first byte opens management, tells of anybody, or brings more than it cost."""

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from office_tools import make_office, upeer_json
from ports import free_port
from server_tools import Identity, Server, log_in, next_alive, serving

from upeer.base.wire import COOKIE

STUN_REQUEST = bytes.fromhex("000100002112a442") + bytes(12)
SIZES = (1, 2, 20, 28, 64, 152, 300, 1200)
BODIES = [
    b"status\n",
    b'{"op": "status"}',
    b'{"op": "servers"}',
    b'{"op": "drop", "did": "%s"}',
    b"GET / HTTP/1.1\r\n\r\n",
    b"\1\1\1" + bytes(60),
]


class Target:
    """A served platform of one address, with one device online."""

    def __init__(self, server: Server, folder: Path, port: int, did: str) -> None:
        self.server = server
        self.folder = folder
        self.address = ("127.0.0.1", port)
        self.did = did

    def status(self) -> dict:
        return upeer_json("status", self.folder)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder, port = tmp_path_factory.mktemp("a13") / "platform", free_port()
    with make_office(folder, (f"127.0.0.1:{port}",)) as office:
        did = office.issue(1)[0].partition(",")[0]
        record = office.device_record(did)
    with serving(folder) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        event = log_in(udp, ("127.0.0.1", port), Identity(record))
        assert event[0] == "login"
        yield Target(server, folder, port, did)
        udp.sendto(next_alive(event[1]), ("127.0.0.1", port))
        udp.settimeout(60)
        assert udp.recv(100)[0] == 0x8A, "the device is not logged in any more"


def ask(target: Target, questions: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Send each from a socket of its own; return those that were answered, with their answers."""
    answered = []
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in questions]
    try:
        for udp, question in zip(sockets, questions, strict=True):
            udp.setblocking(False)
            udp.sendto(question, target.address)
        time.sleep(0.05)
        for udp, question in zip(sockets, questions, strict=True):
            while True:
                try:
                    answered.append((question, udp.recv(65536)))
                except BlockingIOError:
                    break
    finally:
        for udp in sockets:
            udp.close()
    return answered


def test_a13_no_first_byte_opens_management(target: Target) -> None:
    """All 256, with every body that an administrator of some system ever sent, and with noise of every size."""
    for start in range(0, 256, 16):
        questions = []
        for first in range(start, start + 16):
            head = bytes((first,))
            questions += [head + body.replace(b"%s", target.did.encode()) for body in BODIES]
            questions += [(head + b"\1\1\1" + os.urandom(size))[:size] for size in SIZES]
        assert ask(target, questions) == []


def test_a13_only_stun_is_answered_to_strangers_and_tells_nothing_but_their_address(target: Target) -> None:
    answers = ask(target, [STUN_REQUEST, *BODIES])
    assert [question for question, _ in answers] == [STUN_REQUEST]
    assert len(answers[0][1]) == 32 and target.did.encode() not in answers[0][1]


def test_a13_administration_is_a_listener_of_its_own_on_loopback(target: Target) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(target.address, 2)
    listening = [line.split() for line in Path(f"/proc/{target.server.pid}/net/tcp").read_text().splitlines()[1:]]
    inodes = {os.readlink(entry) for entry in Path(f"/proc/{target.server.pid}/fd").iterdir() if entry.is_symlink()}
    own = [row for row in listening if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]
    assert own and all(row[1].startswith("0100007F:") for row in own)


def test_a14_no_answer_is_larger_than_its_question(target: Target) -> None:
    """Random bodies behind every signalling head, true STUN aside; the hello's cookie is for holders of the P2PKey."""
    heads = [bytes((first, 1, 1, role)) for first in range(0x80, 0xC1) for role in range(1, 4)]
    for size in SIZES[1:]:
        for question, answer in ask(target, [(head + os.urandom(size))[:size] for head in heads]):
            assert len(answer) <= len(question) and answer[0] == COOKIE


def test_a1_status_of_the_port_is_unchanged_by_strangers(target: Target) -> None:
    """After everything above the operator's own view still shows one device, one login, no fault."""
    text = json.dumps(target.status())
    assert target.did in text and '"faults": 0' in text and '"logins": 1' in text and '"refused": 0' in text

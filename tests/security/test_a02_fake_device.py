"""A2: who passes for a device, by its DID, licence and even lookup tokens, but has no pair key, gets nothing.

The worst case is played: the invites do reach the impostor, who answers them with whatever it likes.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_lab import Lab

from upeer.base.wire import RELAYED
from upeer.connect import Invitation
from upeer.crypto.aead import random_bytes
from upeer.handshake.messages import Params
from upeer_client import errors, transport
from upeer_client.store import Pair

SECRET = b"the password of the camera"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path, masters=1) as made:
        made.run(made.pair())
        yield made


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every datagram that a client or the device sends."""
    seen: list[bytes] = []
    send = transport.Transport._send_one

    def record(self: Any, data: Any, addr: Any) -> None:
        seen.append(bytes(data))
        send(self, data, addr)

    monkeypatch.setattr(transport.Transport, "_send_one", record)
    return seen


def forgeries(lab: Lab, message: bytes) -> list[bytes]:
    """Return what an impostor can answer: noise, our own words, an answer under a key of its own."""
    own = Invitation(b"i" * 32, b"prologue", Params(1, 4096, 4096, 30), random_bytes).message
    return [random_bytes(len(message)), message, own, b"", bytes(200), message[:32] + random_bytes(90)]


def impersonate(lab: Lab, recorded: list[bytes]) -> None:
    """Let the device answer every invite by forgeries: it knows no pair key any more."""

    def answer(invite_id: bytes, _key_id: int, message: bytes, _row: Any, _source: int, reply: Any) -> None:
        for forged in forgeries(lab, bytes(message)) + recorded:
            reply(invite_id, forged)
        lab.device.transport.flush()

    lab.device._invite = answer  # type: ignore[method-assign]


@pytest.mark.parametrize("mode", ["direct", "lan", "all"])
def test_a02_client_sends_nothing_to_a_device_without_the_pair_key(lab: Lab, sent: list[bytes], mode: str) -> None:
    async def run() -> None:
        async with lab.client() as client:
            with pytest.raises((errors.TimedOut, errors.CannotReach)):
                connection = await client.connect(lab.did, mode, 2.5)
                await connection.command("login", SECRET)
            assert not client._running().endpoint.sessions

    impersonate(lab, [])
    sent.clear()
    lab.run(run())
    assert sent and not [data for data in sent if data[0] >> 6 == 1 or data[0] == RELAYED]
    assert SECRET not in b"".join(sent)


def test_a02_recorded_answer_of_the_true_device_serves_nobody(lab: Lab, sent: list[bytes]) -> None:
    """What the device once answered belongs to that one invite: its nonces, its keys, its id."""
    recorded: list[bytes] = []
    true_invite = lab.device._invite

    def record(*arguments: Any) -> None:
        reply = arguments[-1]

        def remember(invite_id: bytes, message: bytes) -> None:
            recorded.append(bytes(message))
            reply(invite_id, message)

        true_invite(*arguments[:-1], remember)

    async def connect(timeout: float) -> None:
        async with lab.client() as client:
            async with await client.connect(lab.did, "direct", timeout) as connection:
                await connection.command("status")

    lab.device._invite = record  # type: ignore[method-assign]
    lab.run(connect(5))
    assert recorded
    impersonate(lab, recorded)
    sent.clear()
    with pytest.raises(errors.TimedOut):
        lab.run(connect(2))
    assert not [data for data in sent if data[0] >> 6 == 1 or data[0] == RELAYED]


def test_a02_device_with_the_licence_but_another_pair_key_is_no_device_of_ours(lab: Lab, sent: list[bytes]) -> None:
    """A clone: same licence, same DID, logged in; what the client shares with the true one it has not."""
    row = lab.device.identity.pairs.rows[0]
    lab.device.identity.pairs.rows[0] = (row[0], row[1], b"another key of 32 bytes ........", row[3])
    lab.device.identity.pairs.find = lambda token, epoch: lab.device.identity.pairs.rows[0]  # type: ignore[method-assign]

    async def run() -> None:
        async with lab.client() as client:
            with pytest.raises((errors.TimedOut, errors.CannotReach)):
                await client.connect(lab.did, "direct", 2)

    sent.clear()
    lab.run(run())
    assert not [data for data in sent if data[0] >> 6 == 1]


def test_a02_client_without_the_pair_key_gets_no_session(lab: Lab) -> None:
    """The other way round: the DID and the client's id are not enough for a client either."""
    pair = lab.client().pairs.find(lab.did)

    async def run() -> None:
        async with lab.client() as client:
            client.pairs.find = lambda _name: Pair(pair.did, pair.client_id, b"k" * 32)  # type: ignore[method-assign]
            with pytest.raises(errors.CannotReach):
                await client.connect(lab.did, "all", 3)
        await asyncio.sleep(0)
        assert not lab.device.endpoint.sessions

    lab.run(run())

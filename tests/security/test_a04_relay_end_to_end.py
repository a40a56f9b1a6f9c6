"""A4 between a real board and a real client: a relay that flips bits, replays and swaps sessions spoils nothing."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bad_links import BEHIND_HOP
from board_heap import HEAP
from board_lab import Lab, echo
from hop import Hop

from upeer.base.wire import RELAYED

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("micropython")]

PATTERN = b"plaintext that no relay may see " * 800


class CheatingRelay(Hop):
    """Stands in for the platform's one address: what the relay there forwards goes through `cheat` on its way out."""

    def __init__(self, target: Any, **options: Any) -> None:
        super().__init__(target, **options)
        self.carried: list[bytes] = []
        self.changed = 0
        self.dice = random.Random(4)
        self.cheat: Any = None

    def _enqueue(self, link: Any, outlet: Any, data: bytes, target: Any) -> None:
        if data[:1] != bytes((RELAYED,)):
            super()._enqueue(link, outlet, data, target)
            return
        self.carried.append(data)
        given = self.cheat(data) if self.cheat and link is self.down else [data]
        self.changed += given != [data]
        for datagram in given:
            super()._enqueue(link, outlet, datagram, target)

    def flip(self, data: bytes) -> list[bytes]:
        """Change one bit of every tenth datagram."""
        if self.dice.random() > 0.1:
            return [data]
        changed = bytearray(data)
        changed[self.dice.randrange(8, len(data))] ^= 1 << self.dice.randrange(8)
        return [bytes(changed)]

    def replay(self, data: bytes) -> list[bytes]:
        """Send two old ones with each, of either direction."""
        return [self.dice.choice(self.carried), data, self.dice.choice(self.carried)]

    def swap(self, data: bytes) -> list[bytes]:
        """Send it under the tags of other sessions as well, and others' datagrams under its tag."""
        other = self.dice.choice(self.carried)
        return [other[:8] + data[8:], data, data[:8] + other[8:]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, micropython: Path) -> Iterator[tuple[Lab, CheatingRelay]]:
    """A board and servers, one of them a cheat."""
    lab = Lab(tmp_path_factory.mktemp("lab"), masters=1)
    port = lab.ports[0]
    with CheatingRelay((BEHIND_HOP, port), listen=("127.0.0.1", port)) as relay:
        with lab.serve("--bind", BEHIND_HOP), lab.board(heap=HEAP):
            lab.run(lab.pair)
            yield lab, relay


@pytest.mark.parametrize("how", ["flip", "replay", "swap"])
def test_a04_cheating_relay_changes_nothing_but_counters(place: tuple[Lab, CheatingRelay], how: str) -> None:
    lab, relay = place

    async def work(client: Any) -> int:
        connections = [await client.connect(lab.dids[0], "relay") for _ in range(2)]
        relay.cheat = getattr(relay, how)
        before = client._running().endpoint.dropped
        sent = [PATTERN, PATTERN[::-1]]
        opened = [await connection.open("echo", 1) for connection in connections]
        assert await asyncio.gather(*[echo(*pair) for pair in zip(opened, sent, strict=True)]) == sent
        assert all(connection.path["kind"] == "relay" for connection in connections)
        stats = [connection.stats() for connection in connections]
        relay.cheat = None
        for connection in connections:
            assert connection.closed is None
            await connection.close()
        refused = sum(one["dropped"] + one["duplicates"] for one in stats)
        return refused + client._running().endpoint.dropped - before

    relay.changed = 0
    try:
        refused = lab.run(work, 60)
    finally:
        relay.cheat = None
    assert relay.changed > 5 and refused > 5
    everything = b"".join(relay.carried)
    for secret in (lab.dids[0].encode(), PATTERN[:16], PATTERN[::-1][:16]):
        assert secret not in everything


def test_a04_silent_relay_is_an_error_and_no_hang(place: tuple[Lab, CheatingRelay]) -> None:
    lab, relay = place

    async def work(client: Any) -> None:
        from upeer_client import errors

        relay.cheat = lambda _data: []
        with pytest.raises((errors.NoPath, errors.NoRelay)):
            await client.connect(lab.dids[0], "relay", 4)
        relay.cheat = None
        async with await client.connect(lab.dids[0], "relay") as connection:
            assert await echo(await connection.open("echo", 1), b"an honest relay") == b"an honest relay"

    lab.run(work, 40)

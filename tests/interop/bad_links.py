"""Puts a lossy hop between a MicroPython board and a client, in front of the board's own address or of all servers.

with direct_hop(loss=0.05) as hop:                    # mode "direct" leads through the hop
    connection = await client.connect(did, "direct")

with server_hop(lab, loss=0.02), ...:                 # so do logins, lookups, invites and the relay
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from board_lab import Lab
from hop import Hop

from upeer import connect
from upeer.handshake import answer
from upeer.session.paths import HOST

# 5 % each way, and everything else that a network does to datagrams.
BAD = {"loss": 0.05, "reorder": 0.05, "duplicate": 0.05, "delay_ms": 4, "jitter_ms": 4}
BEHIND_HOP = "127.0.0.2"


@contextmanager
def direct_hop(seed: int = 1, **link: Any) -> Iterator[Hop]:
    """Let every direct path of clients in this process lead through a hop: neither side learns the other's address."""
    read_answer, make_params = connect.Initiator.read_answer, answer.make_params

    def read_answer_of_hop(self: Any, message: bytes) -> None:
        read_answer(self, message)
        for kind, address in self.peer.candidates:
            if kind == HOST:
                hop.target = address
        self.peer.candidates = [(HOST, hop.address)]

    with Hop(("127.0.0.1", 9), seed=seed, **(link or BAD)) as hop:
        with patch.object(connect.Initiator, "read_answer", read_answer_of_hop):
            with patch.object(connect, "make_params", lambda endpoint, _candidates: make_params(endpoint, ())):
                yield hop


@contextmanager
def server_hop(lab: Lab, seed: int = 1, **link: Any) -> Iterator[Hop]:
    """Serve a platform of one master behind a hop that stands at its address: all that servers pass on goes twice."""
    port = lab.ports[0]
    with Hop((BEHIND_HOP, port), listen=("127.0.0.1", port), seed=seed, **(link or BAD)) as hop:
        with lab.serve("--bind", BEHIND_HOP):
            yield hop

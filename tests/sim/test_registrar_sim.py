"""A device's Registrar against three real nodes in virtual time: death, return, tickets, tokens, revocation."""

from typing import Any

import pytest
from node_lab import DEVICE, START, UNIX, Identity, Random, Verifiers, generation, key, p2p_entry, relay_entry

from upeer.base.clock import ticks_add, ticks_diff
from upeer.base.wire import ROLE_MASTER, ROLE_P2P
from upeer.signalling import enrol
from upeer.signalling.registrar import Registrar
from upeer_server.config import MasterConfig, NodeConfig
from upeer_server.node import Node

ADDRESSES = [(f"203.0.113.{number}", 7000) for number in (1, 2, 3)]


class Device(Identity):
    """An identity whose licence key is known to the verifiers."""

    def __init__(self) -> None:
        super().__init__(generation())
        self.licence_key = key("licence " + self.did)
        self.raised: list[int] = []

    def raise_epoch(self, last: int) -> None:
        self.raised.append(last)
        self.epoch = last + 1


class World:
    """One device and three nodes; `dead` are the addresses whose datagrams get lost."""

    def __init__(self) -> None:
        self.now = START
        self.dead: set[Any] = set()
        self.events: list[Any] = []
        self.identity = Device()
        self.registrar = Registrar(self.identity, Random(), self.now)
        self.nodes = {}
        servers = [p2p_entry(number, address) for number, address in enumerate(ADDRESSES, 1)]
        for number, address in enumerate(ADDRESSES, 1):
            master = MasterConfig(number, key(f"static {number}"), Verifiers(number, [generation()]), servers, [])
            config = NodeConfig(
                *address, [generation()], key("admin"), master, servers[number - 1], relay_entry(number, address)
            )
            self.nodes[address] = Node(config, self.now, Random(f"node {number}"), self.unix)

    def unix(self) -> float:
        return UNIX + ticks_diff(self.now, START) / 1000

    def start(self) -> "World":
        for number, address in enumerate(ADDRESSES, 1):
            enrol.set_master(self.registrar, number, address, self.now)
        return self.run(3000)

    def run(self, ms: int, step_ms: int = 100) -> "World":
        """Let time go by; every datagram arrives at once, or never."""
        for _ in range(0, ms, step_ms):
            self.now = ticks_add(self.now, step_ms)
            self.registrar.handle_timer(self.now)
            for node in self.nodes.values():
                node.handle_timer(self.now)
            self.carry()
        return self

    def carry(self) -> None:
        moved = True
        while moved:
            moved = False
            while (data := self.registrar.datagram_to_send(self.now)) is not None:
                moved = True
                if self.registrar.send_address not in self.dead:
                    self.nodes[self.registrar.send_address].receive_datagram(bytes(data), DEVICE, self.now)
            for address, node in self.nodes.items():
                for data, target in list(node.out):
                    moved = True
                    if address not in self.dead and target == DEVICE:
                        self.registrar.receive_datagram(data, address, self.now)
                node.out.clear()
            while (event := self.registrar.next_event()) is not None:
                self.events.append(event)

    def kinds(self) -> list[Any]:
        return [event[:2] if event[0] != "offline" else event for event in self.events]


@pytest.fixture
def world() -> World:
    return World().start()


def test_logs_in_to_all_masters_and_their_p2p_servers(world):
    assert world.registrar.count() == 3 and world.registrar.count(ROLE_P2P) >= 2
    assert world.registrar.busy == 0
    assert abs(world.registrar.unix_time(world.now) - world.unix()) <= 1
    assert enrol.reflexives(world.registrar) == [DEVICE]
    assert enrol.nat_class(world.registrar, "192.168.1.2") == enrol.NAT_ENDPOINT_INDEPENDENT
    assert enrol.nat_class(world.registrar, DEVICE[0]) == enrol.NAT_OPEN


def test_master_that_dies_is_noticed_asked_again_and_found(world):
    world.dead.add(ADDRESSES[1])
    world.run(120_000, 250)
    assert world.registrar.count() == 2
    assert ("offline", ROLE_MASTER, 2, "dead") in world.events
    assert ("offline", ROLE_MASTER, 2, "no answer") in world.events and ("unanswered", 2) in world.events
    world.dead.clear()
    world.run(75_000, 250)
    assert world.registrar.count() == 3 and world.registrar.busy == 0


def test_attempts_at_a_dead_master_become_seldom():
    world = World()
    world.dead.update(ADDRESSES)
    world.start().run(600_000, 250)
    failures = [event for event in world.events if event[:3] == ("offline", ROLE_MASTER, 1)]
    assert 7 <= len(failures) <= 16  # 9.3 s of trying each, pauses of 1 s to 60 s between
    assert world.registrar.count() == 0


def test_tokens_reach_every_server_and_later_ones_too(world):
    world.registrar.set_tokens(key("token", 16), world.now)
    world.run(1000)
    counts = [node.master.status()["tokens"] for node in world.nodes.values()]
    assert counts == [1, 1, 1]
    world.dead.add(ADDRESSES[0])
    world.run(100_000, 250)
    world.nodes[ADDRESSES[0]].master.revoke(world.identity.did)
    world.dead.clear()
    world.run(75_000, 250)
    assert world.nodes[ADDRESSES[0]].master.status()["tokens"] == 1


def test_tickets_are_fresh_for_a_p2p_server_that_comes_back_hours_later(world):
    address = [server.address for server in world.registrar.servers if server.role == ROLE_P2P][0]
    world.dead.add(address)
    world.run(2 * 3600_000, 1000)
    world.dead.clear()
    world.run(90_000, 250)
    assert [server for server in world.registrar.servers if server.address == address and not server.control] == []


def test_revoked_device_is_told_and_refused_from_then_on(world):
    for node in world.nodes.values():
        node.master.revoke(world.identity.did)
    world.events.clear()
    world.run(1000)
    assert ("offline", ROLE_MASTER, 1, "revoked") in world.events


def test_lost_epoch_counter_catches_up(world):
    world.identity.epoch = 1
    enrol.restart(world.registrar, world.now)
    world.run(20_000)
    assert world.identity.raised and world.registrar.count() == 3


def test_network_change_logs_in_anew_everywhere(world):
    world.events.clear()
    enrol.restart(world.registrar, world.now)
    assert world.registrar.count() == 0
    world.run(2000)
    assert world.registrar.count() == 3
    assert not [event for event in world.events if event[0] == "offline"]


def test_p2p_servers_are_bounded_and_a_failing_one_makes_room(world):
    registrar = world.registrar
    master = registrar.servers[0]
    entries = [(number, (f"198.51.100.{number}", 9), bytes([number]) * 32, b"ticket") for number in range(1, 9)]
    enrol.on_event(registrar, master, ("servers", entries), world.now)
    others = [server for server in registrar.servers if server.role == ROLE_P2P]
    assert len(others) == 4
    enrol.on_event(registrar, master, ("servers", entries[:1]), world.now)
    kept = [server.address for server in registrar.servers if server.role == ROLE_P2P and not server.control]
    assert kept in ([entries[0][1]], [])
    assert registrar.busy == len([server for server in registrar.servers if server.login])

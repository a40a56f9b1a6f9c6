"""The lab's NATs are what they claim: mapping, filtering, hairpin and every pair, measured with plain UDP."""

import contextlib
import os
import socket
import subprocess
import sys
from typing import Any

import namespaces
import nat_kinds as kinds
import pytest
from lab import Gateway, Host, NatLab

_QUIET_S = 0.1  # delivery over veth is immediate: this long without a datagram means that it was dropped
_STUN_PORT = 3478


@pytest.fixture(scope="module", autouse=True)
def _usable() -> None:
    reason = namespaces.why_not()
    if reason:
        pytest.skip(reason)


class Probe:
    """A UDP socket on a host, with the external address that server 0 sees."""

    def __init__(self, lab: NatLab, host: Host) -> None:
        self.lab = lab
        self.udp = host.udp_socket(timeout_s=_QUIET_S)
        self.external = self.mapping_to(0)

    def mapping_to(self, server: int, port: int = _STUN_PORT) -> tuple[str, int]:
        """Return the source address that a server sees when this socket writes to it."""
        with self.lab.server(server).udp_socket(port) as listening:
            self.udp.sendto(b"map", listening.getsockname())
            return listening.recvfrom(64)[1]

    def hears(self, server: int, port: int, target: tuple[str, int] | None = None) -> bool:
        """Tell whether a datagram from a server's address to our external address comes in."""
        with self.lab.server(server).udp_socket(port) as sending:
            sending.sendto(b"in", target or self.external)
            return self.receive() == sending.getsockname()

    def receive(self) -> tuple[str, int] | None:
        """Return the source of the next datagram, or None when all is quiet."""
        with contextlib.suppress(TimeoutError):
            return self.udp.recvfrom(64)[1]
        return None


def punch(one: Probe, other: Probe, rounds: int = 3) -> bool:
    """Join two sockets as ICE does: write to the other's external address, answer every source (peer-reflexive)."""
    targets = {one: other.external, other: one.external}
    heard = set()
    for _round in range(rounds):
        for probe in (one, other):
            probe.udp.sendto(b"punch", targets[probe])
            source = probe.receive()
            if source:
                targets[probe] = source
                heard.add(probe)
    return len(heard) == 2


EXPECTED = {  # same mapping toward all; hears another port of a contacted address; hears an address never contacted
    kinds.OPEN: (True, True, True),
    kinds.FULL_CONE: (True, True, True),
    kinds.ADDRESS_RESTRICTED: (True, True, False),
    kinds.PORT_RESTRICTED: (True, False, False),
    kinds.SYMMETRIC: (False, False, False),
    kinds.SEQUENTIAL: (False, False, False),
}


@pytest.mark.parametrize("side", ["client", "device"])
@pytest.mark.parametrize("kind", kinds.ALL_KINDS)
def test_kind_maps_and_filters_as_named(kind: str, side: str) -> None:
    with NatLab(kind, kind) as lab:
        probe = Probe(lab, lab.host(side))
        again, other_port, other_address = probe.mapping_to(0), probe.mapping_to(0, 3479), probe.mapping_to(1)
        assert again == probe.external
        assert (other_port == other_address == probe.external) is EXPECTED[kind][0]
        fresh = Probe(lab, lab.host(side))
        assert fresh.external != probe.external
        assert fresh.hears(0, _STUN_PORT)
        assert fresh.hears(0, 5000) is EXPECTED[kind][1]
        assert fresh.hears(2, 5000) is EXPECTED[kind][2]


def test_sequential_ports_follow_each_other() -> None:
    with NatLab(kinds.SEQUENTIAL, kinds.OPEN) as lab:
        probe = Probe(lab, lab.client)
        ports = [probe.external[1]] + [probe.mapping_to(server)[1] for server in (1, 2, 3)]
        assert ports == list(range(ports[0], ports[0] + 4))


@pytest.mark.parametrize("kind", kinds.ALL_KINDS)
def test_sixteen_sockets_get_sixteen_mappings(kind: str) -> None:
    with NatLab(kind, kinds.OPEN) as lab:
        probes = [Probe(lab, lab.client) for _ in range(16)]
        assert len({probe.external for probe in probes}) == 16
        assert all(probe.hears(0, _STUN_PORT) for probe in probes)


@pytest.mark.parametrize(("kind_a", "kind_b"), kinds.all_pairs(kinds.ALL_KINDS))
def test_pair_joins_directly_exactly_when_ice_can(kind_a: str, kind_b: str) -> None:
    with NatLab(kind_a, kind_b) as lab:
        joined = punch(Probe(lab, lab.client), Probe(lab, lab.device))
        assert joined is kinds.ice_can_connect_directly(kind_a, kind_b)


@pytest.mark.parametrize("kind", [kinds.FULL_CONE, kinds.ADDRESS_RESTRICTED, kinds.PORT_RESTRICTED])
@pytest.mark.parametrize("hairpin", [True, False])
def test_shared_nat_hairpins_only_when_asked(kind: str, hairpin: bool) -> None:
    with NatLab(kind, kind, same_nat=True, hairpin=hairpin) as lab:
        client, device = Probe(lab, lab.client), Probe(lab, lab.device)
        assert client.external[0] == device.external[0]
        assert punch(client, device) is hairpin
        if hairpin:
            client.udp.sendto(b"x", device.external)
            assert device.receive() == client.external


def test_shared_lan_carries_unicast_and_broadcast() -> None:
    with NatLab(kinds.SYMMETRIC, kinds.SYMMETRIC, same_nat=True) as lab:
        client, device = lab.client.udp_socket(), lab.device.udp_socket(6000)
        client.sendto(b"hi", (lab.device.ip, 6000))
        assert device.recvfrom(64) == (b"hi", client.getsockname())
        with namespaces.inside(lab.device.namespace):
            listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind(("", 6001))
        listener.settimeout(60)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        client.sendto(b"who", ("255.255.255.255", 6001))
        assert listener.recvfrom(64) == (b"who", client.getsockname())


@pytest.mark.parametrize("kind", kinds.ALL_KINDS[1:])
def test_rebind_changes_the_external_port(kind: str) -> None:
    with NatLab(kind, kinds.OPEN) as lab:
        probe = Probe(lab, lab.client)
        lab.rebind("client")
        assert not probe.hears(0, _STUN_PORT)
        after = probe.mapping_to(0)
        assert after != probe.external
        assert probe.hears(0, _STUN_PORT, after)


@pytest.mark.parametrize("kind", kinds.ALL_KINDS)
def test_change_address_moves_the_host(kind: str) -> None:
    with NatLab(kind, kinds.OPEN) as lab:
        before, old_ip = Probe(lab, lab.client), lab.client.ip
        assert lab.change_address("client") == lab.client.ip != old_ip
        after = Probe(lab, lab.client)
        assert after.external != before.external
        assert after.hears(0, _STUN_PORT)


def test_block_udp_and_unblock() -> None:
    with NatLab(kinds.FULL_CONE, kinds.OPEN) as lab:
        probe = Probe(lab, lab.client)
        lab.block_udp("client", lab.server(1).ip)
        assert probe.hears(0, 5000) and not probe.hears(1, 5000)
        lab.block_udp("client", direction="down")
        assert not probe.hears(0, 5000) and probe.mapping_to(0) == probe.external
        lab.unblock_udp("client")
        lab.change_address("client")
        assert not Probe(lab, lab.client).hears(1, 5000)
        lab.unblock_udp("client", lab.server(1).ip)
        assert Probe(lab, lab.client).hears(1, 5000)


def test_loss_is_near_the_fraction_asked_and_ends() -> None:
    with NatLab(kinds.FULL_CONE, kinds.OPEN) as lab:
        probe = Probe(lab, lab.client)
        lab.set_loss("client", 0.3, "down")
        heard = _burst(lab, probe)
        assert 90 <= heard <= 190  # 140 expected, 4 sigma is 26
        lab.set_loss("client", 0)
        assert _burst(lab, probe) == 200


def _burst(lab: NatLab, probe: Probe) -> int:
    with lab.server(0).udp_socket(7000) as sending:
        for _ in range(200):
            sending.sendto(b"x", probe.external)
    heard = 0
    while heard < 200 and probe.receive():
        heard += 1
    return heard


def test_added_host_has_a_mapping_of_its_own() -> None:
    with NatLab(kinds.PORT_RESTRICTED, kinds.OPEN) as lab:
        third = lab.add_host("client", "third")
        assert Probe(lab, third).external != Probe(lab, lab.client).external


def test_programs_run_on_their_host_and_end_with_the_lab() -> None:
    code = "import socket; s = socket.socket(); s.bind(('203.0.113.12', 0)); print('bound', flush=True); input()"
    with NatLab(kinds.OPEN, kinds.OPEN) as lab:
        argv = [sys.executable, "-c", code]
        running = lab.server(1).run(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert running.stdout and running.stdout.readline() == "bound\n"
        refused = lab.client.run(argv, stderr=subprocess.DEVNULL)
        assert refused.wait(60) != 0
    assert running.returncode is not None
    assert not [name for name in os.listdir("/run/netns") if name.startswith(f"upl{os.getpid()}-")]


def test_sweep_removes_only_what_dead_processes_left() -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    stale, own = f"upl{dead.pid}-1-core", f"upl{os.getpid()}-9999-core"
    namespaces.batch(f"netns add {stale}\nnetns add {own}\n")
    try:
        assert stale in namespaces.sweep()
        assert os.path.exists(f"/run/netns/{own}") and not os.path.exists(f"/run/netns/{stale}")
    finally:
        namespaces.delete([own])


def test_failed_set_up_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_lab: NatLab, _gateway: Gateway) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(NatLab, "_configure_gateway", fail)
    lab = NatLab(kinds.OPEN, kinds.OPEN)
    with pytest.raises(RuntimeError, match="planted"):
        lab.open()
    assert not os.path.exists(f"/run/netns/{lab.client.namespace}")


def test_set_up_runs_few_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are what setting up takes time for: a lab is made in a fraction of a second."""
    run = subprocess.run
    ran: list[Any] = []
    monkeypatch.setattr(subprocess, "run", lambda argv, **options: (ran.append(argv), run(argv, **options))[1])
    with NatLab(kinds.PORT_RESTRICTED, kinds.PORT_RESTRICTED) as lab:
        assert lab.processes == []
        assert 0 < len(ran) <= 12


def test_unknown_kind_and_mixed_shared_nat_are_refused() -> None:
    with pytest.raises(ValueError, match="NAT kinds are"):
        NatLab("magic", kinds.OPEN)
    with pytest.raises(ValueError, match="one kind"):
        NatLab(kinds.OPEN, kinds.SYMMETRIC, same_nat=True)

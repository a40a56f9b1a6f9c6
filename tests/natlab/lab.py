"""NAT lab: servers on public addresses, two NAT gateways and the hosts behind them, in network namespaces.

      client --lan-- [gateway a] --wan-- (internet, servers 203.0.113.11 ..) --wan-- [gateway b] --lan-- device

With `same_nat=True` there is one gateway and both hosts share its LAN. Every namespace belongs to the process that
made it and goes with the context, at exit, or with the next lab's sweep if that process was killed.

    with NatLab("full-cone", "symmetric") as lab:
        server = lab.server(0).run([sys.executable, "server.py", lab.server(0).ip])
        client = lab.client.run([sys.executable, "client.py"], stdout=subprocess.PIPE)
"""

import atexit
import itertools
import os
import socket
import subprocess
import weakref
from typing import Any, Self

import namespaces
import nat_kinds as kinds
import nat_ruleset as ruleset

CORE_IP = "203.0.113.1"
_STOP_SECONDS = 2.0
_OTHER_END = {"saddr": "daddr", "daddr": "saddr"}

_labs: "weakref.WeakSet[NatLab]" = weakref.WeakSet()
_numbers = itertools.count(1)


class Host:
    """One address in one namespace: a server, the client or a device."""

    def __init__(self, lab: "NatLab", namespace: str, ip: str) -> None:
        self.namespace = namespace
        self.ip = ip
        self._lab = lab

    def run(self, argv: list[str], **options: Any) -> "subprocess.Popen[Any]":
        """Start a program in this host's namespace; options go to Popen; the lab ends it at close."""
        with namespaces.inside(self.namespace):
            process = subprocess.Popen(argv, **options)
        self._lab.processes.append(process)
        return process

    def udp_socket(self, port: int = 0, timeout_s: float = 60.0) -> socket.socket:
        """Return a UDP socket bound to this host's address; it lives in the namespace, its user need not."""
        with namespaces.inside(self.namespace):
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((self.ip, port))
        udp.settimeout(timeout_s)
        return udp


class Gateway:
    """The router of one side: a NAT of one kind, or plain routing for the open kind."""

    def __init__(self, kind: str, namespace: str, index: int, hairpin: bool) -> None:
        self.kind = kind
        self.namespace = namespace
        self.name = "ab"[index]
        self.wan_ip = f"203.0.113.{101 + index}"
        self.lan_prefix = f"198.51.{100 + index}" if kind == kinds.OPEN else "192.168.1"
        self.hairpin = hairpin
        self.hosts: list[Host] = []
        self.drops: dict[tuple[Host, str, str], str] = {}  # (host, "saddr" or "daddr", knob) -> nft rule
        self.next_address = 100

    def apply_drops(self) -> None:
        """Load the knobs' rules in one transaction."""
        rules = [
            f"add rule ip knobs forward ip {end} {host.ip} meta l4proto udp {rule}\n"
            for (host, end, _knob), rule in self.drops.items()
        ]
        namespaces.nft(self.namespace, "flush chain ip knobs forward\n" + "".join(rules))


class NatLab:
    """Build the lab on entry (or by `open()`), take it down on exit (or by `close()`)."""

    def __init__(
        self, kind_a: str, kind_b: str, *, same_nat: bool = False, hairpin: bool = False, server_count: int = 6
    ) -> None:
        if kind_a not in kinds.ALL_KINDS or kind_b not in kinds.ALL_KINDS:
            raise ValueError(f"NAT kinds are {', '.join(kinds.ALL_KINDS)}")
        if same_nat and kind_a != kind_b:
            raise ValueError("one shared NAT has one kind")
        self._prefix = f"upl{os.getpid()}-{next(_numbers)}-"
        self._core = self._prefix + "core"
        self._servers = [Host(self, self._core, f"203.0.113.{11 + index}") for index in range(server_count)]
        self.gateways = [Gateway(kind_a, self._prefix + "gwa", 0, hairpin)]
        if not same_nat:
            self.gateways.append(Gateway(kind_b, self._prefix + "gwb", 1, hairpin))
        self.client = self._new_host(self.gateways[0], "client", 10)
        self.device = self._new_host(self.gateways[-1], "device", 20)
        self.processes: list[subprocess.Popen[Any]] = []
        self._is_open = False

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def open(self) -> Self:
        """Create every namespace, link, address and NAT."""
        namespaces.sweep()
        self._is_open = True
        _labs.add(self)
        try:
            self._create_links()
            self._configure_core()
            for gateway in self.gateways:
                self._configure_gateway(gateway)
                for host in gateway.hosts:
                    self._configure_host(gateway, host)
            self._wait_until_up()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End the programs that this lab started and delete its namespaces. Safe to call twice."""
        if not self._is_open:
            return
        self._is_open = False
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        namespaces.delete(self._namespaces())

    def server(self, index: int) -> Host:
        """Return public address number `index`; all of them share the internet's namespace."""
        return self._servers[index]

    def host(self, side: str) -> Host:
        """Return the host of a side: "client" (or "a") or "device" (or "b")."""
        if side not in ("client", "a", "device", "b"):
            raise ValueError("a side is client (a) or device (b)")
        return self.client if side in ("client", "a") else self.device

    def gateway(self, side: str) -> Gateway:
        """Return the gateway in front of a side's host."""
        return self.gateways[0] if self.host(side) is self.client else self.gateways[-1]

    def add_host(self, side: str, name: str) -> Host:
        """Add one more host to a side's LAN (name: letters and digits)."""
        gateway = self.gateway(side)
        host = self._new_host(gateway, name, 29 + len(gateway.hosts))
        namespaces.batch(f"netns add {host.namespace}\n" + self._lan_link(gateway, host))
        self._configure_host(gateway, host)
        namespaces.wait_reachable(host.namespace, CORE_IP)
        return host

    def set_loss(self, side: str, fraction: float, direction: str = "both") -> None:
        """Drop this fraction of a side's UDP at its gateway: direction "up", "down" or "both"; 0 ends it."""
        rule = f"numgen random mod 10000 < {round(fraction * 10000)} drop" if fraction else None
        for end in _ends(direction):
            self._set_drop(side, end, "loss", rule)

    def block_udp(self, side: str, address: str | None = None, direction: str = "both") -> None:
        """Drop a side's UDP at its gateway: all of it, or that to and from one remote address."""
        for end in _ends(direction):
            remote = f"ip {_OTHER_END[end]} {address} " if address else ""
            self._set_drop(side, end, f"block {address}", f"{remote}drop")

    def unblock_udp(self, side: str, address: str | None = None) -> None:
        """Undo `block_udp` with the same address."""
        for end in _OTHER_END:
            self._set_drop(side, end, f"block {address}", None)

    def rebind(self, side: str) -> None:
        """Make a side's NAT forget all its mappings: the next packet of each socket gets a new external port."""
        gateway = self.gateway(side)
        script = ruleset.forget_script(gateway.kind)
        if script:
            namespaces.nft(gateway.namespace, script)
        namespaces.flush_conntrack(gateway.namespace)

    def change_address(self, side: str) -> str:
        """Give a side's host a new address in its LAN (as after a new DHCP lease) and return it."""
        gateway, host = self.gateway(side), self.host(side)
        host.ip = f"{gateway.lan_prefix}.{gateway.next_address}"
        gateway.next_address += 1
        namespaces.batch(f"addr flush dev eth0\n{self._host_address(gateway, host)}", host.namespace)
        gateway.apply_drops()
        return host.ip

    def _set_drop(self, side: str, end: str, knob: str, rule: str | None) -> None:
        gateway, key = self.gateway(side), (self.host(side), end, knob)
        if rule:
            gateway.drops[key] = rule
        else:
            gateway.drops.pop(key, None)
        gateway.apply_drops()

    def _new_host(self, gateway: Gateway, name: str, number: int) -> Host:
        host = Host(self, self._prefix + name, f"{gateway.lan_prefix}.{number}")
        gateway.hosts.append(host)
        return host

    def _namespaces(self) -> list[str]:
        hosts = [host.namespace for gateway in self.gateways for host in gateway.hosts]
        return [self._core, *(gateway.namespace for gateway in self.gateways), *hosts]

    @staticmethod
    def _lan_link(gateway: Gateway, host: Host) -> str:
        port = f"lan{gateway.hosts.index(host)}"
        return f"link add eth0 netns {host.namespace} type veth peer name {port} netns {gateway.namespace}\n"

    def _create_links(self) -> None:
        lines = [f"netns add {name}\n" for name in self._namespaces()]
        for gateway in self.gateways:
            lines.append(
                f"link add wan netns {gateway.namespace} type veth peer name wan{gateway.name} netns {self._core}\n"
            )
            lines += [self._lan_link(gateway, host) for host in gateway.hosts]
        namespaces.batch("".join(lines))

    def _configure_core(self) -> None:
        lines = ["link set lo up\n"] + [f"addr add {server.ip}/32 dev lo\n" for server in self._servers]
        for gateway in self.gateways:
            link = f"wan{gateway.name}"
            lines.append(f"addr add {CORE_IP} peer {gateway.wan_ip} dev {link}\nlink set {link} up\n")
            if gateway.kind == kinds.OPEN:
                lines.append(f"route add {gateway.lan_prefix}.0/24 via {gateway.wan_ip}\n")
        lines.append("route add blackhole 192.168.0.0/16\n")
        namespaces.batch("".join(lines), self._core)
        namespaces.make_router(self._core)

    def _configure_gateway(self, gateway: Gateway) -> None:
        namespaces.make_router(gateway.namespace)
        namespaces.batch(
            f"link set lo up\nlink add lan type bridge\naddr add {gateway.lan_prefix}.1/24 dev lan\nlink set lan up\n"
            f"addr add {gateway.wan_ip} peer {CORE_IP} dev wan\nlink set wan up\nroute add default via {CORE_IP}\n",
            gateway.namespace,
        )
        rules = ruleset.nat_ruleset(gateway.kind, gateway.wan_ip, gateway.hairpin)
        namespaces.nft(gateway.namespace, ruleset.KNOBS + rules)

    def _configure_host(self, gateway: Gateway, host: Host) -> None:
        namespaces.batch(f"link set lan{gateway.hosts.index(host)} master lan up\n", gateway.namespace)
        namespaces.batch(f"link set lo up\nlink set eth0 up\n{self._host_address(gateway, host)}", host.namespace)

    def _wait_until_up(self) -> None:
        for gateway in self.gateways:
            for host in gateway.hosts:
                namespaces.wait_reachable(host.namespace, CORE_IP)

    @staticmethod
    def _host_address(gateway: Gateway, host: Host) -> str:
        return f"addr add {host.ip}/24 broadcast + dev eth0\nroute add default via {gateway.lan_prefix}.1\n"


def _ends(direction: str) -> tuple[str, ...]:
    return {"up": ("saddr",), "down": ("daddr",), "both": ("saddr", "daddr")}[direction]


@atexit.register
def _close_all() -> None:
    for lab in list(_labs):
        lab.close()

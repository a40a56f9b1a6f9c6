"""A NAT of one kind for the simulator: mapping, filtering, time-out, rebinding and hairpin after RFC 4787.

Times are microseconds since the simulation began. Only outbound datagrams refresh a mapping (the strict reading of
RFC 4787 section 4.3), so that a keep-alive that is too slow shows.
"""

import random

import nat_kinds as kinds

Address = tuple[str, int]

_FIRST_PORT = 20000
_LAST_PORT = 60000


class _Mapping:
    """One inner socket (toward one remote, if mapped per destination), its external port and whom it wrote to."""

    __slots__ = ("inner", "key", "port", "expires_us", "contacts")

    def __init__(self, inner: Address, key: object, port: int) -> None:
        self.inner = inner
        self.key = key
        self.port = port
        self.expires_us = 0
        self.contacts: dict[object, int] = {}  # remote address, or address and port -> time until which it may answer


class NatBox:
    """Translate and filter what crosses from a LAN to the internet and back."""

    def __init__(self, kind: str, ip: str, rng: random.Random, timeout_ms: int = 120000, hairpin: bool = False) -> None:
        if kind not in kinds.ALL_KINDS:
            raise ValueError(f"NAT kinds are {', '.join(kinds.ALL_KINDS)}")
        self.kind = kind
        self.ip = ip
        self.hairpin = hairpin
        self.timeout_us = timeout_ms * 1000
        self._random = rng
        self._by_key: dict[object, _Mapping] = {}
        self._by_port: dict[int, _Mapping] = {}
        self._per_destination = kinds.maps_per_destination(kind)
        self._next_port = rng.randrange(_FIRST_PORT, _LAST_PORT - 4096)

    def outbound(self, inner: Address, remote: Address, now_us: int) -> Address:
        """Return the external address under which `inner` writes to `remote`; makes or refreshes the mapping."""
        key: object = (inner, remote) if self._per_destination else inner
        mapping = self._by_key.get(key)
        if mapping is None or mapping.expires_us <= now_us:
            mapping = self._new_mapping(inner, key, mapping)
        mapping.expires_us = now_us + self.timeout_us
        mapping.contacts[self._contact(remote)] = mapping.expires_us
        return self.ip, mapping.port

    def inbound(self, port: int, remote: Address, now_us: int) -> Address | None:
        """Return the inner address that a datagram from `remote` to our `port` goes to, or None if it is refused."""
        mapping = self._by_port.get(port)
        if mapping is None or mapping.expires_us <= now_us:
            return None
        if remote[0] == self.ip and not self.hairpin:
            return None
        if self.kind != kinds.FULL_CONE and mapping.contacts.get(self._contact(remote), 0) <= now_us:
            return None
        return mapping.inner

    def rebind(self) -> None:
        """Forget every mapping: sockets get new external ports with their next datagram."""
        self._by_key.clear()
        self._by_port.clear()

    def _contact(self, remote: Address) -> object:
        return remote[0] if self.kind in (kinds.FULL_CONE, kinds.ADDRESS_RESTRICTED) else remote

    def _new_mapping(self, inner: Address, key: object, expired: _Mapping | None) -> _Mapping:
        if expired is not None:
            self._by_port.pop(expired.port, None)
        mapping = _Mapping(inner, key, self._free_port())
        self._by_key[key] = self._by_port[mapping.port] = mapping
        return mapping

    def _free_port(self) -> int:
        for _ in range(_LAST_PORT - _FIRST_PORT):
            if self.kind == kinds.SEQUENTIAL:
                self._next_port += 1
                port = self._next_port = self._next_port if self._next_port < _LAST_PORT else _FIRST_PORT
            else:
                port = self._random.randrange(_FIRST_PORT, _LAST_PORT)
            if port not in self._by_port:
                return port
        raise RuntimeError("the simulated NAT ran out of ports")

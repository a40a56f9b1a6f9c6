"""NAT kinds that the lab and the simulator build, in the words of RFC 4787, and what standard ICE can do with them."""

OPEN = "open"  # a public address, no NAT
FULL_CONE = "full-cone"  # endpoint-independent mapping, endpoint-independent filtering
ADDRESS_RESTRICTED = "address-restricted"  # endpoint-independent mapping, address-dependent filtering
PORT_RESTRICTED = "port-restricted"  # endpoint-independent mapping, address-and-port-dependent filtering
SYMMETRIC = "symmetric"  # address-and-port-dependent mapping and filtering, random ports
SEQUENTIAL = "sequential"  # as symmetric, but ports are given out one after the other

KINDS = (OPEN, FULL_CONE, ADDRESS_RESTRICTED, PORT_RESTRICTED, SYMMETRIC)
ALL_KINDS = KINDS + (SEQUENTIAL,)

_ADDRESS_AND_PORT_MAPPED = (SYMMETRIC, SEQUENTIAL)
_STRICT = _ADDRESS_AND_PORT_MAPPED + (PORT_RESTRICTED,)


def maps_per_destination(kind: str) -> bool:
    """Tell whether the external port differs from one remote address and port to the next."""
    return kind in _ADDRESS_AND_PORT_MAPPED


def ice_can_connect_directly(kind_a: str, kind_b: str) -> bool:
    """Tell whether RFC 8445 connectivity checks (no port prediction) join the two sides without a relay."""
    if kind_a in _ADDRESS_AND_PORT_MAPPED:
        return kind_b not in _STRICT
    return not (kind_b in _ADDRESS_AND_PORT_MAPPED and kind_a in _STRICT)


def all_pairs(kinds: tuple[str, ...] = KINDS) -> list[tuple[str, str]]:
    """Return every unordered pair of kinds, a kind with itself included."""
    return [(a, b) for index, a in enumerate(kinds) for b in kinds[index:]]

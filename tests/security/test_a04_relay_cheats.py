"""A4, A5, A12, A19 what a relay, a man in the middle or a stranger does to paths changes only counters."""

from meeting import App, Meeting
from network import Address

from upeer.session.paths import PRFLX, RELAY

SYMMETRIC = "symmetric"


def relayed_meeting(seed: int, **options: int) -> Meeting:
    return Meeting(seed, SYMMETRIC, SYMMETRIC, total=200000, delay_ms=10, kbit_per_s=8000, **options)


def apps(meeting: Meeting) -> tuple[App, App]:
    return meeting.client.app, meeting.device.app


def dropped(meeting: Meeting) -> int:
    """Return how many datagrams both ends counted as not authentic, not expected or seen before."""
    sessions = [app.session for app in apps(meeting)]
    counted = sum(session.stats()["dropped"] + session.stats()["duplicates"] for session in sessions)
    return counted + meeting.client.endpoint.dropped + meeting.device.endpoint.dropped


def test_a04_relay_that_flips_bits_only_loses_datagrams() -> None:
    meeting = relayed_meeting(1)
    dice = meeting.net.random

    def flip(data: bytes, target: Address) -> list[tuple[bytes, Address]]:
        if data[0] != 0xC0 or dice.random() > 0.1:
            return [(data, target)]
        changed = bytearray(data)
        changed[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        return [(bytes(changed), target)]

    meeting.relays[0].spoil = flip
    meeting.meet().transfer()
    assert dropped(meeting) > 20
    assert not any(app.closed for app in apps(meeting))


def test_a04_relay_that_replays_and_reorders_changes_nothing() -> None:
    meeting = relayed_meeting(2)
    seen: list[tuple[bytes, Address]] = []
    dice = meeting.net.random

    def replay(data: bytes, target: Address) -> list[tuple[bytes, Address]]:
        seen.append((data, target))
        return [dice.choice(seen), (data, target), dice.choice(seen)]

    meeting.relays[0].spoil = replay
    meeting.meet().transfer()
    assert dropped(meeting) > 100
    assert not any(app.closed for app in apps(meeting))


def test_a04_relay_that_swaps_sessions_and_directions_changes_nothing() -> None:
    meeting = relayed_meeting(3, relays=2)
    seen: dict[bytes, bytes] = {}
    swapped = 0

    def swap(data: bytes, target: Address) -> list[tuple[bytes, Address]]:
        """Send what came under one relay_tag under the other one too, and back to where it came from."""
        nonlocal swapped
        if data[0] != 0xC0:
            return [(data, target)]
        seen[data[1:8]] = data
        forged = [tag + data[8:] for tag in (other[:8] for other in seen.values())]
        backwards = [(old, target) for old in seen.values()]
        swapped += len(forged)
        return [(data, target)] + [(datagram, target) for datagram in forged] + backwards

    for relay in meeting.relays:
        relay.spoil = swap
    meeting.meet().transfer()
    assert swapped > 100 and dropped(meeting) > 100
    assert {path.kind for app in apps(meeting) for path in app.session.paths.all if path.valid} == {RELAY}


def test_a04_relay_that_forwards_nothing_costs_only_its_path() -> None:
    meeting = relayed_meeting(4, relays=2)
    meeting.relays[0].spoil = lambda data, target: [] if data[0] == 0xC0 else [(data, target)]
    meeting.meet().transfer()
    assert meeting.client.app.session.paths.active.addr == meeting.relays[1].node.address


def test_a04_relay_sees_no_plaintext() -> None:
    meeting = relayed_meeting(5)
    carried: list[bytes] = []

    def keep(data: bytes, target: Address) -> list[tuple[bytes, Address]]:
        carried.append(data)
        return [(data, target)]

    meeting.relays[0].spoil = keep
    meeting.meet().transfer()
    everything = b"".join(carried)
    from meeting import CLIENT_ID, DID, PATTERN

    for secret in (DID.encode(), CLIENT_ID, PATTERN[:8], PATTERN[1000:1008], PATTERN[100000:100008]):
        assert secret not in everything


def test_a12_stranger_who_knows_every_clear_field_makes_no_path_and_gets_no_answer() -> None:
    meeting = Meeting(6, "open", "open").meet()
    meeting.transfer()
    meeting.run(limit_ms=1000)
    session = meeting.device.app.session
    before = len(session.paths.all), meeting.net.counts["sent"], session.stats()["packets_in"]
    counted = dropped(meeting)
    for size in range(56, 200):
        head = b"\x40" + session.connection_id + (1000 + size).to_bytes(4, "big")
        datagram = bytearray(head + meeting.net.random_bytes(size))
        meeting.device.endpoint.receive_datagram(datagram, len(datagram), ("198.18.0.9", 9), meeting.net.now)
    assert dropped(meeting) == counted + 2 * 144  # by the session and by the endpoint
    meeting.run(limit_ms=50)
    assert (len(session.paths.all), meeting.net.counts["sent"], session.stats()["packets_in"]) == before


def test_a19_copied_packets_from_many_sources_cost_little_more_than_they_bring() -> None:
    """A man in the middle sends each packet on from a new source, faster than the real one: each makes a candidate."""
    meeting = Meeting(7, "open", "open", total=100000, delay_ms=20, kbit_per_s=4000).meet()
    sent_to_victims = received_from_victims = 0
    endpoint = meeting.device.endpoint
    real = endpoint.receive_datagram

    def spoofed(data: bytearray, size: int, addr: Address, now: int) -> bool:
        nonlocal received_from_victims
        received_from_victims += size
        return real(data, size, ("198.18.0.1", 1 + received_from_victims % 60000), now)

    def count(source: Address, target: Address, data: bytes) -> bool:
        nonlocal sent_to_victims
        sent_to_victims += len(data) if target[0] == "198.18.0.1" else 0
        return False

    meeting.net.drop_if = count
    endpoint.receive_datagram = spoofed  # type: ignore[method-assign]
    meeting.run(limit_ms=3000)
    assert 0 < sent_to_victims < 3 * received_from_victims  # RFC 9000 section 8.1
    paths = meeting.device.app.session.paths
    assert len(paths.all) <= 10 and sum(path.kind == PRFLX for path in paths.all) <= 10
    endpoint.receive_datagram = real  # type: ignore[method-assign]
    meeting.transfer()

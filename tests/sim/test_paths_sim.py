"""Client and device behind every pair of NATs: they connect, go direct where ICE can, survive what happens later."""

import nat_kinds as kinds
import pytest
from meeting import Meeting
from network import Address

from upeer.connect import DIRECT_ONLY, LAN_ONLY, RELAY_ONLY
from upeer.session.paths import HOST, PRFLX, RELAY, SRFLX

DIRECT = {HOST, SRFLX, PRFLX}
ALL_PAIRS = [(client, device) for client in kinds.ALL_KINDS for device in kinds.ALL_KINDS]


def is_relayed(meeting: Meeting, source: Address, target: Address) -> bool:
    relays = [relay.node.address for relay in meeting.relays]
    return source in relays or target in relays


@pytest.mark.parametrize(("client_kind", "device_kind"), ALL_PAIRS)
def test_every_pair_connects_and_goes_direct_where_ice_can(client_kind: str, device_kind: str) -> None:
    meeting = Meeting(7, client_kind, device_kind).meet()
    meeting.transfer(5000)
    meeting.run(limit_ms=3000)
    if kinds.ice_can_connect_directly(client_kind, device_kind):
        assert meeting.kinds() <= DIRECT
    else:
        assert meeting.kinds() == {RELAY}


@pytest.mark.parametrize("seed", range(5))
def test_pairs_connect_over_bad_links(seed: int) -> None:
    client_kind, device_kind = kinds.all_pairs()[seed * 3]
    meeting = Meeting(
        seed, client_kind, device_kind, delay_ms=40, jitter_ms=20, loss=0.15, duplicate=0.05, reorder=0.05
    )
    meeting.meet().transfer(120000)


def test_two_behind_one_nat_use_the_lan() -> None:
    meeting = Meeting(3, kinds.PORT_RESTRICTED, kinds.OPEN)
    meeting.share_nat()
    meeting.meet().transfer(3000)
    assert meeting.kinds() == {HOST}


def test_data_moves_from_relay_to_direct_without_a_lost_or_repeated_byte() -> None:
    meeting = Meeting(4, kinds.PORT_RESTRICTED, kinds.PORT_RESTRICTED, total=500000, delay_ms=20, kbit_per_s=4000)
    meeting.net.drop_if = lambda source, target, data: (
        meeting.net.elapsed_ms < 900 and not is_relayed(meeting, source, target) and data[0] >> 6 == 1
    )
    meeting.meet()
    assert meeting.run(lambda: meeting.kinds() == {RELAY}, 1000)
    meeting.transfer()
    for app in (meeting.client.app, meeting.device.app):
        assert app.kinds[0] == RELAY and app.kinds[-1] in DIRECT and len(app.kinds) == 2


def test_relay_that_dies_is_replaced_by_another() -> None:
    meeting = Meeting(5, kinds.SYMMETRIC, kinds.SYMMETRIC, relays=2, total=500000, delay_ms=20, kbit_per_s=4000)
    meeting.meet()
    meeting.run(lambda: meeting.device.app.received > 50000)
    used = meeting.client.app.session.paths.active.addr
    [relay] = [relay for relay in meeting.relays if relay.node.address == used]
    relay.node.is_up = False
    died = meeting.net.elapsed_ms
    received = meeting.device.app.received
    meeting.run(lambda: meeting.device.app.received > received + 30000)
    assert meeting.net.elapsed_ms - died < 4000
    meeting.transfer()
    assert meeting.client.app.session.paths.active.addr != used


def test_direct_path_that_dies_gives_way_to_the_relay_and_comes_back() -> None:
    meeting = Meeting(6, kinds.FULL_CONE, kinds.PORT_RESTRICTED, total=1000000, delay_ms=20, kbit_per_s=2000)
    meeting.meet()
    meeting.run(lambda: meeting.device.app.received > 50000)
    assert meeting.kinds() <= DIRECT
    meeting.net.drop_if = lambda source, target, data: not is_relayed(meeting, source, target)
    assert meeting.run(lambda: meeting.kinds() == {RELAY}, 4000)
    meeting.net.drop_if = None
    assert meeting.run(lambda: meeting.kinds() <= DIRECT, 20000)
    meeting.transfer()


@pytest.mark.parametrize("who", ["client", "device"])
@pytest.mark.parametrize("kind", [kinds.FULL_CONE, kinds.PORT_RESTRICTED, kinds.SYMMETRIC])
def test_session_goes_on_after_a_nat_forgets(who: str, kind: str) -> None:
    meeting = Meeting(8, kind, kind, total=400000, delay_ms=20, kbit_per_s=2000).meet()
    meeting.run(lambda: meeting.device.app.received > 50000)
    (meeting.client_nat if who == "client" else meeting.device_nat).rebind()
    changed, received = meeting.net.elapsed_ms, meeting.device.app.received
    meeting.run(lambda: meeting.device.app.received > received + 60000)
    assert meeting.net.elapsed_ms - changed < 5000
    meeting.transfer()


@pytest.mark.parametrize("is_told", [True, False])
def test_session_goes_on_after_the_device_moves(is_told: bool) -> None:
    meeting = Meeting(9, kinds.PORT_RESTRICTED, kinds.OPEN, total=400000, delay_ms=20, kbit_per_s=2000).meet()
    meeting.run(lambda: meeting.client.app.received > 50000)
    meeting.device.node.move()
    if is_told:
        meeting.device.endpoint.on_address_change(meeting.net.now)
    meeting.transfer(30000)


def test_idle_session_stays_on_its_path_with_little_traffic() -> None:
    meeting = Meeting(10, kinds.PORT_RESTRICTED, kinds.PORT_RESTRICTED).meet()
    meeting.transfer()
    meeting.run(limit_ms=40000)
    changes = meeting.client.app.session.paths.changes
    sent = meeting.net.counts["sent"]
    meeting.run(limit_ms=600000)
    assert meeting.net.counts["sent"] - sent < 600 * 2
    assert meeting.client.app.session.paths.changes == changes and meeting.kinds() <= DIRECT
    meeting.client.app.total = meeting.device.app.total = 131072
    meeting.run(limit_ms=10)
    meeting.transfer(10000)


def test_when_all_paths_die_sending_ends_and_the_session_closes() -> None:
    meeting = Meeting(11, kinds.FULL_CONE, kinds.FULL_CONE).meet()
    meeting.transfer()
    meeting.net.drop_if = lambda source, target, data: True
    assert meeting.run(lambda: meeting.kinds() == {-1}, 25000)
    apps = meeting.client.app, meeting.device.app
    assert meeting.run(lambda: all(app.closed for app in apps), 20000)
    assert [app.closed[1] for app in apps if app.closed] == [4, 4]
    sent = meeting.net.counts["sent"]
    meeting.run(limit_ms=60000)
    assert meeting.net.counts["sent"] == sent
    assert not meeting.device.endpoint.sessions and meeting.device.timer() is None


def test_silence_of_20_s_is_survived() -> None:
    meeting = Meeting(12, kinds.PORT_RESTRICTED, kinds.PORT_RESTRICTED, total=300000, delay_ms=20, kbit_per_s=2000)
    meeting.meet()
    meeting.run(lambda: meeting.device.app.received > 50000)
    meeting.net.drop_if = lambda source, target, data: True
    meeting.run(limit_ms=20000)
    meeting.net.drop_if = None
    meeting.transfer(30000)


def test_connect_modes_keep_to_their_paths() -> None:
    for allow, expected in ((RELAY_ONLY, {RELAY}), (DIRECT_ONLY, DIRECT)):
        meeting = Meeting(13, kinds.FULL_CONE, kinds.FULL_CONE).meet(allow)
        meeting.transfer(5000)
        assert meeting.kinds() <= expected
    meeting = Meeting(13, kinds.FULL_CONE, kinds.FULL_CONE).meet(LAN_ONLY)
    meeting.run(limit_ms=5000)
    assert meeting.kinds() == {-1}

"""JOIN, JOIN_OK and one end's membership in a relay session. The clock starts just before ticks wrap."""

from helpers import load_json, raises, unhex

from upeer.base.clock import ticks_add, ticks_diff
from upeer.base.errors import LocalError, ProtocolError
from upeer.base.wire import pack_address, u32
from upeer.crypto.aead import Hmac
from upeer.session import relay_end as relay
from upeer.session.paths import RELAY

V = load_json("invite.json")
R = {name: unhex(text) for name, text in V["relay"].items()}
TAG = unhex(V["relay_tag"])
KEY_ID = V["key_id"]
SERVER = ("198.51.100.1", 3478)
US = ("203.0.113.7", 20000)
START = (1 << 30) - 100


def end(is_client=True):
    key = R["client_key" if is_client else "device_key"]
    return relay.RelayEnd(is_client, KEY_ID, (RELAY, SERVER, TAG, key, R["ticket"]), bytes, START)


def join(member, now):
    assert member.is_due(now)
    buf = bytearray(300)
    return bytes(buf[: member.write_join(buf, now)])


def sequence_of(data):
    assert data[:11] == R["join"][:11]
    return int.from_bytes(data[12:16], "big")


def answer(sequence, side=0, key=None, reflexive=US, tag=TAG):
    data = b"\xa1\x01" + bytes((KEY_ID, 3)) + tag + bytes((side,)) + u32(sequence) + pack_address(*reflexive)
    return data + Hmac(key or R["client_key"]).tag(data)


def test_codec_gives_the_known_answers():
    data = relay.encode_join(KEY_ID, TAG, 0, 5, R["ticket"])
    assert data + Hmac(R["client_key"]).tag(data) == R["join"]
    assert relay.parse_join_ok(R["join_ok"]) == (KEY_ID, TAG, 1, 9, US)


def test_messages_of_every_wrong_length_are_refused():
    for size in range(len(R["join_ok"])):
        raises(ProtocolError, relay.parse_join_ok, R["join_ok"][:size])
    raises(ProtocolError, relay.parse_join_ok, R["join_ok"] + b"\0")


def test_messages_of_another_type_or_role_are_refused():
    for at, value in ((0, 0xA0), (1, 2), (3, 2)):
        data = bytearray(R["join_ok"])
        data[at] = value
        raises(ProtocolError, relay.parse_join_ok, data)


def test_joins_are_repeated_with_growing_gaps_until_we_give_up():
    member = end()
    now, times = START, []
    for _ in range(60000):
        if member.is_due(now):
            data = join(member, now)
            if not data:
                break
            assert sequence_of(data) == len(times) + 1
            times.append(ticks_diff(now, START))
        now = ticks_add(now, 1)
    assert member.state == relay.FAILED and member.due is None
    assert len(times) == 9 and times[0] == 0 and times[-1] < 25000
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert gaps == [175, 350, 700, 1400, 2800, 3500, 3500, 3500]


def test_joined_end_knows_its_address_and_joins_anew_every_20_s():
    member = end()
    assert sequence_of(join(member, START)) == 1
    assert member.on_join_ok(answer(1), SERVER, START)
    assert (member.state, member.reflexive) == (relay.JOINED, US)
    later = ticks_add(START, 20000)
    assert not member.is_due(ticks_add(later, -1))
    assert sequence_of(join(member, later)) == 2
    assert member.state == relay.JOINED
    assert not member.on_join_ok(answer(2), SERVER, later)
    assert sequence_of(join(member, ticks_add(later, 20000))) == 3
    assert member.on_join_ok(answer(3, reflexive=("203.0.113.7", 20001)), SERVER, later)


def test_relay_that_goes_silent_is_given_up_when_it_has_forgotten_us():
    member = end()
    join(member, START)
    member.on_join_ok(answer(1), SERVER, START)
    now = START
    while member.state == relay.JOINED:
        now = member.due
        join(member, now)
    assert member.state == relay.FAILED
    assert 60000 <= ticks_diff(now, START) < 80000


def test_join_ok_that_is_not_the_relays_is_refused():
    member = end()
    join(member, START)
    changed = bytearray(answer(1))
    changed[18] ^= 1
    for data, addr in (
        (answer(1), ("198.51.100.2", 3478)),
        (answer(2), SERVER),
        (answer(0), SERVER),
        (answer(1, side=1), SERVER),
        (answer(1, key=R["device_key"]), SERVER),
        (bytes(changed), SERVER),
    ):
        raises(ProtocolError, member.on_join_ok, data, addr, START)
    assert member.state == relay.JOINING
    member.on_join_ok(answer(1), SERVER, START)


def test_device_joins_as_side_1():
    assert join(end(False), START)[11] == 1


def test_rejoin_after_a_change_of_address_is_at_once_and_higher():
    member = end()
    join(member, START)
    member.on_join_ok(answer(1), SERVER, START)
    member.rejoin(START)
    assert sequence_of(join(member, START)) == 2


def test_relay_without_a_key_is_a_fault():
    for key in (b"", bytes(16), b"short"):
        raises(LocalError, relay.RelayEnd, True, KEY_ID, (RELAY, SERVER, TAG, key, b""), bytes, START)

"""The master: logins, sessions, tokens, lookups, what it tells devices later."""

import pytest
from node_lab import (
    CLIENT,
    DEVICE,
    DID,
    OTHER_DID,
    SERVER,
    Identity,
    Lab,
    events,
    generation,
    key,
    p2p_entry,
    relay_entry,
    token,
)

from upeer.signalling.control import ALIVE_SIZE
from upeer.signalling.login import BUSY, NO_ANSWER, Login
from upeer.signalling.lookup import Answer
from upeer_server.cookie import Cookies
from upeer_server.limits import Buckets
from upeer_server.relay import open_relay_ticket
from upeer_server.tickets import open_client_ticket, open_device_ticket


def test_login_gives_a_session_and_a_p2p_ticket():
    lab = Lab()
    name, session, unix_time, entries = lab.login()
    assert name == "login" and unix_time == 1_800_000_000 and session.reflexive == DEVICE
    ((p2p_id, address, login_key, sealed),) = entries
    ticket = open_device_ticket(lab.p2p._ticket_aead, sealed, unix_time)
    assert (p2p_id, address) == (1, SERVER) and ticket.login_key == login_key
    assert ticket.did.decode() == DID and ticket.epoch == 1 and ticket.expiry == unix_time + 3600
    assert lab.verifiers.epochs == {DID: 1} and lab.master.status()["online"] == 1


def test_lost_login_ok_is_sent_again():
    lab = Lab()
    login = Login(Identity(generation()), lab.at_master(Identity(generation())), lab.random, lab.now)
    cookie = lab.receive(login.datagram_to_send(lab.now), DEVICE)[0][0]
    login.receive_datagram(cookie, SERVER, lab.now)
    question = login.datagram_to_send(lab.now)
    first = lab.receive(question, DEVICE)
    assert lab.receive(question, DEVICE) == first and lab.master.logins == 1
    assert lab.receive(question, ("192.0.2.99", 40717)) == []
    lab.pass_time(16_000)
    assert lab.receive(question, DEVICE)[0][0][0] == 0x84
    assert not lab.master.clones.alerts


def test_old_epoch_is_told_the_last_one():
    lab = Lab()
    lab.login(Identity(generation(), epoch=9))
    assert lab.login(Identity(generation(), epoch=9)) == ("behind", 9)
    assert lab.login(Identity(generation(), epoch=3)) == ("behind", 9)
    assert lab.login(Identity(generation(), epoch=10))[0] == "login"


def test_stale_cookie_is_silence():
    lab = Lab()
    login = Login(Identity(generation()), lab.at_master(Identity(generation())), lab.random, lab.now)
    login.receive_datagram(lab.receive(login.datagram_to_send(lab.now), DEVICE)[0][0], SERVER, lab.now)
    lab.pass_time(121_000, 1000)
    assert lab.receive(login.datagram_to_send(lab.now), DEVICE) == [] and lab.node.hub.drops["login"] == 1


def test_cookie_is_bound_to_address_nonce_and_kind():
    cookies = Cookies(lambda size: key("secret", size))
    cookie = cookies.make(1000, DEVICE, bytes(16), 0)
    assert len(cookie) == 20 and cookies.is_valid(cookie, 1120, DEVICE, bytes(16), 0)
    assert not cookies.is_valid(cookie, 1121, DEVICE, bytes(16), 0)
    assert not cookies.is_valid(cookie, 999, DEVICE, bytes(16), 0)
    assert not cookies.is_valid(cookie, 1000, (DEVICE[0], 1), bytes(16), 0)
    assert not cookies.is_valid(cookie, 1000, CLIENT, bytes(16), 0)
    assert not cookies.is_valid(cookie, 1000, DEVICE, b"\1" + bytes(15), 0)
    assert not cookies.is_valid(cookie, 1000, DEVICE, bytes(16), 1)


def test_cookie_secrets_change_and_old_ones_go():
    cookies = Cookies(lambda size: key("secret", size))
    for unix in range(0, 3600, 60):
        cookies.make(unix, DEVICE, bytes(16), 0)
    assert len(cookies._secrets) == 2


def test_full_master_says_busy():
    lab = Lab(max_sessions=1)
    lab.login()
    assert lab.login(Identity(generation(), OTHER_DID)) == ("failed", BUSY)
    assert lab.login(Identity(generation(), epoch=5))[0] == "login"


def test_unknown_generation_is_silence():
    lab = Lab()
    assert lab.login(Identity(generation(2))) == ("failed", NO_ANSWER)


def test_keep_alive_is_answered():
    lab = Lab()
    _, session, _, _ = lab.login()
    (answer,) = lab.keep_alive(session)
    assert len(answer) == ALIVE_SIZE and session.timer() is not None and session._alive_tries == 0


def test_keep_alive_replayed_or_forged_is_silence():
    lab = Lab()
    _, session, _, _ = lab.login()
    session._alive_is_due = True
    alive = bytes(session.datagram_to_send(lab.now))
    forged = [alive[:i] + bytes((alive[i] ^ 1,)) + alive[i + 1 :] for i in range(1, 28)]
    assert not any(lab.receive(data, DEVICE) for data in forged)
    assert lab.receive(alive, DEVICE) and not lab.receive(alive, DEVICE)
    assert (lab.node.hub.drops["replayed"], lab.node.hub.drops["forged"]) == (2, 19)


def test_silent_session_dies_after_three_intervals():
    lab = Lab()
    _, session, _, _ = lab.login()
    session.upload_tokens(token(DID), lab.now)
    lab.exchange(session, DEVICE)
    lab.pass_time(70_000, 1000)
    lab.keep_alive(session)
    lab.pass_time(70_000, 1000)
    assert lab.master.status()["online"] == 1
    lab.pass_time(20_000, 1000)
    assert lab.master.status()["online"] == 0 and lab.master.status()["tokens"] == 0 and not lab.node._sessions


def test_address_is_followed_and_told():
    lab = Lab()
    _, session, _, _ = lab.login()
    moved = (DEVICE[0], 50123)
    (answer,) = lab.keep_alive(session, moved)
    assert answer[0] == 0x88 and len(answer) == 60
    assert events(session) == [("address", moved)]
    lab.exchange(session, moved)
    assert [data[0] for data in lab.keep_alive(session, moved)] == [0x8A]


def test_late_packet_from_the_old_address_changes_nothing():
    lab = Lab()
    _, session, _, _ = lab.login()
    session._alive_is_due = True
    late = bytes(session.datagram_to_send(lab.now))
    moved = (DEVICE[0], 50123)
    lab.keep_alive(session, moved)
    lab.receive(late, DEVICE)
    assert lab.master.session_of(DID).address == moved


def test_log_out_ends_the_session():
    lab = Lab()
    _, session, _, _ = lab.login()
    session.log_out()
    lab.exchange(session, DEVICE)
    assert lab.master.status()["online"] == 0


def test_tokens_are_replaced_as_a_set():
    lab = Lab()
    _, session, _, _ = lab.login()
    many = [key(f"token {i}", 16) for i in range(150)]
    session.upload_tokens(b"".join(many), lab.now)
    lab.exchange(session, DEVICE)
    assert set(lab.master._tokens) == set(many)
    session.upload_tokens(many[0], lab.now)
    lab.exchange(session, DEVICE)
    assert set(lab.master._tokens) == {many[0]}


@pytest.mark.parametrize(
    "body", [b"", b"\0", b"\1\1", b"\0\5", b"\0\1" + bytes(15), b"\0\0", b"\0\1" + bytes(49 * 16), b"\3\4", b"\1\3"]
)
def test_malformed_tokens_change_nothing(body):
    lab = Lab()
    session, _ = lab.online()
    session.send(1, 77, b"\0\4" + key("a", 16))
    session.send(1, 80, body)
    lab.exchange(session, DEVICE)
    assert set(lab.master._tokens) == {token(DID)}


def test_token_of_another_device_cannot_be_taken():
    lab = Lab()
    lab.online()
    thief = Identity(generation(), OTHER_DID)
    _, session, _, _ = lab.login(thief, source=("192.0.2.66", 1))
    session.upload_tokens(token(DID), lab.now)
    lab.exchange(session, ("192.0.2.66", 1))
    assert lab.master._tokens[token(DID)].did == DID


def test_lookup_finds_p2p_server_and_relay():
    lab = Lab()
    lab.online()
    name, answer = lab.lookup(token(DID))
    assert name == "answer" and answer.is_found and answer.reflexive == CLIENT
    ((_, address, client_key, sealed),) = answer.p2p
    ticket = open_client_ticket(lab.p2p._ticket_aead, sealed, answer.unix_time)
    assert address == SERVER and ticket.client_key == client_key and ticket.lookup_token == token(DID)
    assert ticket.client_ip == bytes((198, 51, 100, 7)) and ticket.invite_id == answer.invite_id
    ((_, _, tag, client_key, device_key, sealed),) = answer.relays
    relay_ticket = open_relay_ticket(lab.node.relay._tickets, sealed)
    assert (relay_ticket.relay_tag, relay_ticket.client_key, relay_ticket.device_key) == (tag, client_key, device_key)
    assert relay_ticket.expiry == answer.unix_time + 60 and client_key != device_key


def test_cookie_serves_several_lookups():
    lab = Lab()
    lab.online()
    first = lab.question(token(DID))
    lab.exchange(first, CLIENT)
    count = len(lab.sent)
    assert lab.lookup(token(DID), cookie=first.cookie_to_keep())[1].is_found
    assert len(lab.sent) == count + 1


def test_lookup_names_the_relay_that_is_up_when_the_master_is():
    """Two of three are named: with two servers down, those by chance would often be the dead ones."""
    lab = Lab()
    lab.online()
    own = lab.node.relays[0]
    others = [relay_entry(own.id + number, (f"203.0.113.{number}", 7000)) for number in (1, 2)]
    lab.node.set_servers([p2p_entry()], [others[0], own, others[1]])
    named = [[relay[1] for relay in lab.lookup(token(DID))[1].relays] for _ in range(12)]
    assert all(len(addresses) == 2 and addresses[0] == (own.host, own.port) for addresses in named)
    assert {addresses[1] for addresses in named} <= {(other.host, other.port) for other in others}
    lab.node.set_servers([p2p_entry()], others)
    assert {relay[1] for relay in lab.lookup(token(DID))[1].relays} == {(other.host, other.port) for other in others}


def test_servers_change_at_once_for_lookups():
    lab = Lab()
    lab.online()
    lab.node.set_servers([p2p_entry()], [])
    assert lab.lookup(token(DID))[1].relays == []
    assert lab.node.p2p_servers == [p2p_entry()] and lab.node.relays == []


def test_devices_hear_of_new_p2p_servers():
    lab = Lab()
    session, _ = lab.online()
    other = ("203.0.113.6", 7000)
    lab.node.set_servers([p2p_entry(2, other)], [])
    assert [entry[1] for entry in lab.lookup(token(DID))[1].p2p] == [other]
    assert [data[0] for data in lab.keep_alive(session)] == [0x88, 0x8A]
    ((name, entries),) = events(session)
    assert name == "servers" and [entry[:2] for entry in entries] == [(2, other)]
    lab.exchange(session, DEVICE)
    assert [data[0] for data in lab.keep_alive(session)] == [0x8A]


def test_until_told_a_device_is_looked_for_where_it_is():
    lab = Lab()
    lab.online()
    lab.node.set_servers([p2p_entry(number, (f"203.0.113.{number}", 7000)) for number in range(1, 9)], [])
    assert [entry[0] for entry in lab.lookup(token(DID))[1].p2p] == [1]


def test_tickets_are_renewed_before_they_expire():
    lab = Lab()
    session, _ = lab.online()
    for _ in range(0, 2700, 60):
        lab.pass_time(60_000, 5000)
        lab.keep_alive(session)
    lab.pass_time(10_000, 1000)
    lab.keep_alive(session)
    ((name, entries),) = events(session)
    ticket = open_device_ticket(lab.p2p._ticket_aead, entries[0][3], lab.node.hub.unix)
    assert name == "servers" and ticket.login_key == entries[0][2] and ticket.expiry > lab.node.hub.unix + 3500


def test_masters_agree_on_the_p2p_servers_of_a_device():
    entries = [p2p_entry(number, (f"203.0.113.{number}", 7000)) for number in range(1, 9)]
    one, other = Lab(p2p_servers=entries), Lab(p2p_servers=entries[::-1])
    dids = [f"ABCD-{number:06d}-GHKLM" for number in range(200)]
    chosen = [one.master.choose_p2p(did) for did in dids]
    assert chosen == [other.master.choose_p2p(did) for did in dids]
    assert {len(ids) for ids in chosen} == {3} and {i for ids in chosen for i in ids} == set(range(1, 9))


def test_rotation_reaches_devices_and_both_generations_serve():
    lab = Lab([generation(1)])
    session, _ = lab.online()
    lab.verifiers.generations = [generation(2), generation(1)]
    lab.node.set_generations([generation(2), generation(1)])
    lab.keep_alive(session)
    assert events(session) == [("keys", 2, generation(2).crc_key, generation(2).p2p_key)]
    lab.exchange(session, DEVICE)
    assert [data[0] for data in lab.keep_alive(session)] == [0x8A]
    assert lab.lookup(token(DID))[1].is_found  # a client with the old P2PKey
    assert lab.login(Identity(generation(2), OTHER_DID))[0] == "login"
    name, late, _, _ = lab.login(Identity(generation(1), epoch=50))
    assert name == "login" and lab.keep_alive(late)[0][0] == 0x88


def test_push_that_is_lost_comes_again():
    lab = Lab()
    session, _ = lab.online()
    lab.verifiers.generations = [generation(2), generation(1)]
    lab.node.set_generations([generation(2), generation(1)])
    session._alive_is_due = True
    assert len(lab.receive(bytes(session.datagram_to_send(lab.now)), DEVICE)) == 2
    assert len(lab.pass_time(12_000)) == 3  # after 1, 2 and 4 s
    assert lab.pass_time(8_000) == []
    lab.keep_alive(session)
    assert events(session)[0][0] == "keys"


def test_not_found_is_all_zeros_behind_the_address():
    lab = Lab()
    lab.online()
    answer = lab.master._answer(bytes(range(16)), CLIENT)
    assert len(answer) == 800 and answer[0] == 1 and answer[11:] == bytes(789)
    assert not Answer(answer).is_found


def test_buckets_are_bounded():
    buckets = Buckets(1, 2, size=10)
    assert [buckets.take("a", 0) for _ in range(3)] == [True, True, False]
    assert not buckets.take("a", 999) and buckets.take("a", 2100)
    for number in range(1000):
        buckets.take(number, 0)
    assert len(buckets) == 10

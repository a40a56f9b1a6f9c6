"""A client's lookup and invite: the vectors, cookies kept, lost and forged datagrams."""

from helpers import raises
from signalling_vectors import MASTER, NOW, P2P, Platform, address, fixed_random, flipped, given, message

from upeer.base.clock import ticks_add, ticks_diff
from upeer.base.errors import LocalError
from upeer.handshake.invite import lookup_token
from upeer.signalling.lookup import Answer, ClientInvite, Lookup

SERVER = (MASTER, given("master_static_public"))


def lookup(cookie=None, now=NOW, platform=Platform):
    random_bytes = fixed_random(given("nonce"), given("client_ephemeral"), given("master_ephemeral"), given("nonce"))
    return Lookup(platform, SERVER + (cookie,), message("lookup token"), random_bytes, now)


def asked():
    question = lookup()
    question.datagram_to_send(NOW)
    question.receive_datagram(message("COOKIE master to client"), MASTER, NOW)
    assert question.datagram_to_send(NOW) == message("LOOKUP")
    return question


def entry():
    return (3, P2P, given("client_key"), message("client ticket"))


def invite():
    return ClientInvite(7, entry(), given("invite_id"), message("lookup token") + b"Noise message 1", NOW)


def test_lookup_token_vector():
    assert lookup_token(given("pair_key"), 1800000000 // 604800) == message("lookup token")


def test_lookup_vectors():
    question = lookup()
    assert question.datagram_to_send(NOW) == message("HELLO client to master")
    question.receive_datagram(message("COOKIE master to client"), MASTER, NOW)
    assert question.datagram_to_send(NOW) == message("LOOKUP")
    question.receive_datagram(message("LOOKUP_ANSWER"), MASTER, NOW)
    name, answer = question.next_event()
    assert name == "answer" and answer.is_found and answer.unix_time == 1800000000
    assert answer.reflexive == address("client_address") and answer.invite_id == given("invite_id")
    assert answer.p2p == [entry()]
    server_id, where, tag, client_key, device_key, ticket = answer.relays[0]
    assert (server_id, where, len(tag), len(client_key), len(device_key)) == (4, P2P, 7, 16, 16)
    assert ticket == b"relay ticket" and question.timer() is None


def test_no_token_in_clear():
    assert message("lookup token") not in message("LOOKUP") and message("lookup token") not in message("INVITE")
    assert given("did") not in message("LOOKUP") and given("did") not in message("LOGIN to master")


def test_forged_answer_does_not_spoil_the_true_one():
    question = asked()
    true = message("LOOKUP_ANSWER")
    for position in (0, 3, 19, 20, 60, len(true) - 1):
        question.receive_datagram(flipped(true, position), MASTER, NOW)
    question.receive_datagram(true[:60], MASTER, NOW)
    assert question.next_event() is None and question.dropped == 7
    question.receive_datagram(true, MASTER, NOW)
    assert question.next_event()[0] == "answer"


def test_forged_answers_cost_bounded_work():
    question = asked()
    for _ in range(20):
        question.receive_datagram(flipped(message("LOOKUP_ANSWER"), 60), MASTER, NOW)
    assert question.dropped == 20 and question._forged == 8


def test_cookie_is_kept_and_spares_the_hello():
    first = asked()
    again = lookup(first.cookie_to_keep(), ticks_add(NOW, 90000))
    assert again.datagram_to_send(NOW)[:40] == message("LOOKUP")[:40]


def test_old_cookie_is_not_used():
    first = asked()
    again = lookup(first.cookie_to_keep(), ticks_add(NOW, 100000))
    assert again.datagram_to_send(NOW)[0] == 0x80


def test_cookie_that_the_server_forgot_is_replaced():
    again = lookup(asked().cookie_to_keep())
    times, kinds = [], []
    now = NOW
    while len(kinds) < 4:
        packet = again.datagram_to_send(now)
        if packet:
            times.append(ticks_diff(now, NOW))
            kinds.append(packet[0])
        now = again.timer()
        again.handle_timer(now)
    assert kinds == [0x90, 0x90, 0x80, 0x80] and times == [0, 300, 900, 1200]


def test_lookup_gives_up():
    question = lookup()
    now = NOW
    while question.timer() is not None:
        now = question.timer()
        question.handle_timer(now)
    assert question.next_event() == ("failed", 0) and ticks_diff(now, NOW) == 9300


def test_not_found_has_no_entries():
    answer = Answer(b"\1" + bytes(799))
    assert not answer.is_found and answer.p2p == [] and answer.relays == []


def test_missing_keys_are_faults():
    for key in (None, b"", bytes(32), b"short"):
        platform = Platform()
        platform.p2p_key = key
        raises(LocalError, lookup, None, NOW, platform)
    for token in (None, b"", bytes(16), bytes(range(15)), bytes(range(17))):
        raises(LocalError, Lookup, Platform, SERVER, token, fixed_random(), NOW)


def test_invite_vectors():
    question = invite()
    assert question.datagram_to_send(NOW) == message("INVITE") and question.address == P2P
    question.receive_datagram(message("INVITE_ANSWER"), P2P, NOW)
    assert question.next_event() == ("answer", 0, address("client_address"), b"Noise message 2")
    assert question.timer() is None and question.datagram_to_send(NOW) is None


def test_invite_is_repeated_with_the_same_bytes():
    question = invite()
    times = []
    now = NOW
    while question.timer() is not None:
        packet = question.datagram_to_send(now)
        assert packet == message("INVITE")
        times.append(ticks_diff(now, NOW))
        now = question.timer()
        question.handle_timer(now)
    assert times == [0, 400, 1200, 2800, 6000] and ticks_diff(now, NOW) == 12400
    assert question.next_event() == ("failed", 0)


def test_forged_invite_answers_are_dropped():
    question = invite()
    answer = message("INVITE_ANSWER")
    for position in (0, 1, 2, 3, 4, 12, 30, len(answer) - 1):
        question.receive_datagram(flipped(answer, position), P2P, NOW)
    for other in (b"", answer[:12], answer[:-1], message("INVITE")):
        question.receive_datagram(other, P2P, NOW)
    assert question.dropped == 12 and question.next_event() is None
    question.receive_datagram(answer, ("192.0.2.9", 9), NOW)
    assert question.next_event()[0] == "answer"

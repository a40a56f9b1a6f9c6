"""A14: who has not shown that he gets our answers gets no more bytes than he sent."""

import json
import random
from pathlib import Path

from node_lab import CLIENT, DEVICE, DID, Lab, token

from upeer.signalling import stun

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "signalling.json"
VICTIM = ("192.0.2.200", 53)


def _recorded():
    """Return every kind of valid datagram that devices and clients send to a node, fresh, and the node."""
    lab = Lab()
    sent = []
    receive = lab.node.receive_datagram
    lab.node.receive_datagram = lambda data, addr, now: (sent.append(data), receive(data, addr, now))
    session, _ = lab.online()
    answer = lab.lookup(token(DID))[1]
    lab.receive(lab.invite(answer).datagram_to_send(lab.now), CLIENT)
    session.log_out()
    sent.append(session.datagram_to_send(lab.now))
    lab.node.receive_datagram = receive
    return lab, sent


def test_a14_true_messages_with_a_false_source():
    lab, sent = _recorded()
    assert {data[0] for data in sent} == {0x80, 0x82, 0x88, 0x90, 0x92}
    for data in sent[:-1]:
        for answer, target in lab.receive(data, VICTIM):
            assert len(answer) <= len(data) and target == VICTIM and answer[0] == 0x81
    lab.take()


def test_a14_no_answer_is_larger_than_its_question_over_all_types():
    lab = Lab()
    lab.online()
    chance = random.Random(7)
    messages = [bytes.fromhex(text) for text in json.loads(VECTORS.read_text())["messages"].values()]
    for kind in range(0x40, 0x100):
        for role in (1, 2, 3):
            messages.append(bytes((kind, 1, 1, role)) + chance.randbytes(60))
            messages.append(bytes((kind, 1, 1, role)) + chance.randbytes(148))
    for data in messages:
        total = sum(len(answer) for answer, _ in lab.receive(data, VICTIM))
        assert total <= len(data), data.hex()


def test_a14_hello_is_answered_by_less():
    lab = Lab()
    hello = lab.question(token(DID)).datagram_to_send(lab.now)
    ((cookie, _),) = lab.receive(hello, VICTIM)
    assert (len(hello), len(cookie)) == (64, 56)


def test_a14_cookie_of_one_address_is_none_for_another():
    lab = Lab()
    lab.online()
    question = lab.question(token(DID))
    question.receive_datagram(lab.receive(question.datagram_to_send(lab.now), CLIENT)[0][0], CLIENT, lab.now)
    lookup = question.datagram_to_send(lab.now)
    assert lab.receive(lookup, VICTIM) == [] and lab.receive(lookup, (CLIENT[0], 1)) == []
    assert lab.receive(lookup, CLIENT)


def test_a14_stun_is_the_one_exception_small_and_limited():
    """A plain STUN server answers 20 bytes by 32 (RFC 8489): at most 100 at once and 20 a second to one address."""
    lab = Lab()
    request = stun.encode_request(bytes(12))
    answers = [len(answer) for _ in range(5000) for answer, _ in lab.receive(request, VICTIM)]
    assert set(answers) == {32} and len(answers) == 100


def test_a14_insider_with_a_false_source_wins_little():
    """A device that lies about its address: at most what QUIC allows (three times), and nothing repeated there."""
    lab = Lab()
    session, _ = lab.online()
    lab.node.set_servers([], [])
    session._alive_is_due = True
    alive = bytes(session.datagram_to_send(lab.now))
    total = sum(len(answer) for answer, _ in lab.receive(alive, VICTIM))
    assert total <= 3 * len(alive)
    assert lab.pass_time(20_000) == []
    assert sum(len(answer) for answer, _ in lab.receive(alive, DEVICE)) == 0

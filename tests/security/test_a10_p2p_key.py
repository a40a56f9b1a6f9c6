"""A10: one wrong bit in P2PKey or CRCKey, and nothing is understood; they only ever feed the key derivation."""

import dataclasses

import pytest
from node_lab import DID, Identity, Lab, generation, token

from upeer.signalling.login import NO_ANSWER
from upeer.signalling.lookup import Lookup


def _one_bit_off(value, bit):
    changed = bytearray(value)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("bit", [0, 7, 100, 128, 200, 255])
@pytest.mark.parametrize("name", ["crc_key", "p2p_key"])
def test_a10_one_bit_off_logs_nobody_in(name, bit):
    lab = Lab()
    wrong = dataclasses.replace(generation(), **{name: _one_bit_off(getattr(generation(), name), bit)})
    assert lab.login(Identity(wrong)) == ("failed", NO_ANSWER) and lab.sent == []


@pytest.mark.parametrize("bit", [0, 100, 255])
def test_a10_client_with_a_wrong_key_gets_no_answer(bit):
    lab = Lab()
    lab.online()
    lab.sent.clear()
    wrong = dataclasses.replace(generation(), p2p_key=_one_bit_off(generation().p2p_key, bit))
    question = Lookup(Identity(wrong), _master(lab), token(DID), lab.random, lab.now)
    lab.exchange(question, ("198.51.100.7", 1))
    assert lab.sent == [] and question.next_event() is None


def _master(lab):
    return ("203.0.113.5", 7000), lab.master.static_public


def test_a10_platform_keys_are_never_sent_in_clear():
    lab = Lab()
    lab.verifiers.generations = [generation(2), generation(1)]
    session, _ = lab.online()
    lab.node.set_generations([generation(2), generation(1)])
    lab.keep_alive(session)
    assert session.next_event()[0] == "keys"
    everything = b"".join(data for data, _ in lab.sent)
    for number in (1, 2):
        for secret in (generation(number).crc_key, generation(number).p2p_key):
            assert secret[:8] not in everything

"""Invites in the local network."""

from helpers import load_json, raises, unhex

from upeer import connect
from upeer.base.errors import ProtocolError
from upeer.handshake import lan

V = load_json("invite.json")
INVITE_ID = unhex(V["invite_id"])
KEY = unhex(V["keys"]["lan_key"])
MESSAGE_1 = unhex(V["handshake"]["message_1"])
MESSAGE_2 = unhex(V["handshake"]["message_2"])
INVITE = unhex(V["lan"]["invite"])
ANSWER = unhex(V["lan"]["answer"])


def test_invite_and_answer_are_those_of_the_vectors():
    assert connect.encode_lan_invite(V["key_id"], INVITE_ID, KEY, MESSAGE_1) == INVITE
    assert lan.encode_answer(V["key_id"], INVITE_ID, MESSAGE_2) == ANSWER
    invite = lan.LanInvite(INVITE)
    assert (invite.key_id, invite.invite_id, invite.message) == (V["key_id"], INVITE_ID, MESSAGE_1)
    assert invite.matches(KEY)
    assert connect.parse_lan_answer(ANSWER) == (V["key_id"], INVITE_ID, MESSAGE_2)


def test_nothing_in_an_invite_names_the_device_or_repeats():
    other = connect.encode_lan_invite(V["key_id"], b"another1", KEY, MESSAGE_1)
    assert other[12:28] != INVITE[12:28]
    assert V["did"].encode() not in INVITE


def test_invite_with_any_byte_changed_matches_nobody():
    for i in list(range(2, 30)) + [len(INVITE) - 1]:
        changed = bytearray(INVITE)
        changed[i] ^= 1
        if i == 3:
            raises(ProtocolError, lan.LanInvite, changed)
        else:
            assert not lan.LanInvite(changed).matches(KEY)
    assert not lan.LanInvite(INVITE).matches(unhex(V["keys"]["pair_key"]))


def test_short_and_foreign_messages_are_refused():
    for size in range(92):
        raises(ProtocolError, lan.LanInvite, INVITE[:size])
    for size in range(12):
        raises(ProtocolError, connect.parse_lan_answer, ANSWER[:size])
    raises(ProtocolError, lan.LanInvite, ANSWER)
    raises(ProtocolError, connect.parse_lan_answer, INVITE)

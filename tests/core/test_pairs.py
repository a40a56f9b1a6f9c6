"""The clients a device is paired with."""

from helpers import raises

from upeer.errors import LocalError
from upeer.invite import SETUP_CLIENT_ID, lookup_token
from upeer.pairs import OWNER, SETUP, USER, Pairs

SETUP_KEY = b"s" * 32
KEY = b"k" * 32
PHONE = b"client 1"
TABLET = b"client 2"


def test_first_client_is_the_owner_and_closes_pairing():
    pairs = Pairs(SETUP_KEY)
    assert pairs.find(lookup_token(SETUP_KEY, 7), 7)[:2] == (SETUP_CLIENT_ID, SETUP)
    assert pairs.add(PHONE, KEY, b"phone") == OWNER
    assert pairs.find(lookup_token(SETUP_KEY, 7), 7) is None
    raises(LocalError, pairs.add, TABLET, KEY, b"tablet")


def test_owner_opens_pairing_for_one_more():
    pairs = Pairs(SETUP_KEY)
    pairs.add(PHONE, KEY, b"phone")
    pairs.open()
    assert pairs.add(TABLET, b"t" * 32, b"tablet") == USER
    assert not pairs.is_open


def test_tokens_are_those_of_three_epochs_and_find_their_row():
    pairs = Pairs(None)
    pairs.add(PHONE, KEY, b"phone")
    tokens = pairs.tokens(100)
    assert tokens == lookup_token(KEY, 99) + lookup_token(KEY, 100) + lookup_token(KEY, 101)
    assert pairs.find(tokens[32:], 100)[0] == PHONE
    assert pairs.find(lookup_token(KEY, 102), 100) is None


def test_saved_pairs_come_back():
    pairs = Pairs(SETUP_KEY)
    pairs.add(PHONE, KEY, b"phone")
    again = Pairs(SETUP_KEY, pairs.save())
    assert again.rows == [(PHONE, OWNER, KEY, b"phone")] and not again.is_open
    again.remove(PHONE)
    assert Pairs(SETUP_KEY, again.save()).rows == []


def test_refused_pairing_keeps_the_pair_there_was():
    pairs = Pairs(SETUP_KEY)
    pairs.add(PHONE, KEY, b"phone")
    raises(LocalError, pairs.add, PHONE, bytes(32), b"thief")
    assert pairs.rows == [(PHONE, OWNER, KEY, b"phone")]


def test_pairs_and_names_are_bounded():
    pairs = Pairs(SETUP_KEY)
    for number in range(16):
        pairs.open()
        pairs.add(b"client%02d" % number, KEY, b"n" * 99)
    pairs.open()
    raises(LocalError, pairs.add, TABLET, KEY, b"one too many")
    assert len(pairs.rows) == 16 and len(pairs.rows[0][3]) == 32

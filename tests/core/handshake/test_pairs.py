"""Rows of paired clients: roles, storage, tokens, what opens and closes pairing."""

from helpers import raises

from upeer.base.errors import LocalError, ProtocolError
from upeer.handshake.invite import SETUP_CLIENT_ID, lookup_token
from upeer.handshake.pairs import OWNER, SETUP, USER, Pairs

SETUP_KEY = b"s" * 32
KEY = b"k" * 32
OTHER = b"o" * 32
EPOCH = 2976


def paired():
    pairs = Pairs(SETUP_KEY)
    pairs.add(b"client 1", KEY, b"phone")
    return pairs


def test_first_to_pair_is_the_owner_and_closes_pairing():
    pairs = Pairs(SETUP_KEY)
    assert pairs.is_open
    assert pairs.add(b"client 1", KEY, b"phone") == OWNER
    assert not pairs.is_open
    raises(LocalError, pairs.add, b"client 2", OTHER, b"")


def test_owner_opens_pairing_for_one_more():
    pairs = paired()
    pairs.open()
    assert pairs.add(b"client 2", OTHER, b"") == USER
    assert not pairs.is_open and len(pairs.rows) == 2


def test_same_client_pairs_again_with_a_new_key():
    pairs = paired()
    pairs.open()
    pairs.add(b"client 1", OTHER, b"phone")
    assert [row[2] for row in pairs.rows] == [OTHER]


def test_refused_pairing_leaves_the_pair_there_was():
    pairs = paired()
    raises(LocalError, pairs.add, b"client 1", OTHER, b"")
    assert [row[2] for row in pairs.rows] == [KEY]


def test_rows_survive_storage():
    pairs = paired()
    again = Pairs(SETUP_KEY, pairs.save())
    assert again.rows == pairs.rows and not again.is_open
    assert Pairs(SETUP_KEY, Pairs(SETUP_KEY).save()).is_open


def test_stored_rows_cut_short_are_a_fault():
    raises(ProtocolError, Pairs, SETUP_KEY, paired().save()[:-1])


def test_sixteen_clients_fit_and_no_more():
    pairs = Pairs(None)
    for number in range(16):
        pairs.open()
        pairs.add(b"client%02d" % number, KEY, b"x" * 40)
    pairs.open()
    raises(LocalError, pairs.add, b"client17", KEY, b"")
    assert len(pairs.save()) <= 1300


def tokens_of(pairs, epoch=EPOCH):
    return b"".join(pairs.tokens(epoch))


def test_tokens_of_the_week_and_its_neighbours_find_the_row():
    pairs = paired()
    tokens = tokens_of(pairs)
    for epoch in (EPOCH - 1, EPOCH, EPOCH + 1):
        assert pairs.find(lookup_token(KEY, epoch), tokens)[0] == b"client 1"
    assert pairs.find(lookup_token(KEY, EPOCH + 2), tokens) is None
    assert pairs.find(bytes(16), tokens) is None
    assert len(tokens) == 3 * 16


def test_each_client_is_found_by_its_own_tokens():
    pairs = paired()
    pairs.open()
    pairs.add(b"client 2", bytes(31) + b"2", b"")
    tokens = tokens_of(pairs)
    assert pairs.find(tokens[:16], tokens)[0] == b"client 1"
    assert pairs.find(tokens[48:64], tokens)[0] == pairs.find(tokens[80:], tokens)[0] == b"client 2"


def test_setup_code_serves_while_pairing_is_open_only():
    pairs = Pairs(SETUP_KEY)
    token = lookup_token(SETUP_KEY, EPOCH)
    assert pairs.find(token, tokens_of(pairs))[:2] == (SETUP_CLIENT_ID, SETUP)
    pairs.add(b"client 1", KEY, b"")
    assert pairs.find(token, tokens_of(pairs)) is None
    assert tokens_of(Pairs(None)) == b""


def test_removed_client_is_not_found():
    pairs = paired()
    pairs.remove(b"client 1")
    assert pairs.find(lookup_token(KEY, EPOCH), tokens_of(pairs)) is None

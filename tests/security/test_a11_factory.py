"""A11 at the production line: no licence is at two boards, and a board without its licence key proves nothing."""

import secrets

import factory_lab
import pytest

from upeer.crypto.aead import Hmac, derive
from upeer_factory.board import prove
from upeer_factory.errors import FactoryError

MAC = "02:75:70:00:00:01"
DID = "TEST-000001-YVAEN"


def _proof(key, nonce, did=DID, label=b"factory proof"):
    mac = bytes.fromhex(MAC.replace(":", ""))
    return {"did": did, "mac": mac.hex(), "tag": Hmac(derive(key, label)).digest(nonce, mac, did.encode()).hex()}


def test_proof_needs_the_key_the_nonce_the_mac_and_the_did():
    key, nonce = secrets.token_bytes(32), prove.new_nonce()
    prove.check_proof(_proof(key, nonce), nonce, MAC, DID, key)
    for wrong in (
        _proof(secrets.token_bytes(32), nonce),
        _proof(key, prove.new_nonce()),
        _proof(key, nonce, "TEST-000002-AAAAA"),
        _proof(key, nonce, label=b"factory selftest"),
        _proof(key, nonce) | {"mac": "027570000002"},
        _proof(key, nonce) | {"tag": None},
        {},
        {"error": "no licence on this device"},
    ):
        with pytest.raises(FactoryError):
            prove.check_proof(wrong, nonce, MAC, DID, key)


def test_proof_does_not_help_to_log_in():
    """The raw REPL's proof, for any nonce, is no login key: another label, another derivation."""
    key = secrets.token_bytes(32)
    login = derive(key, b"login", b"c" * 32, DID.encode(), b"\1")
    assert derive(key, b"factory proof") != login and derive(key, b"factory selftest") != login


def test_database_refuses_a_second_board(tmp_path):
    """Even a tool that goes around the pool's code cannot give one licence to two boards, or a board two licences."""
    line = factory_lab.make_factory(tmp_path)
    first = line.pool.reserve(MAC)
    other = next(line.pool.entries("free")).did
    for statement in (
        "UPDATE licences SET state = 'reserved', mac = ? WHERE did = ?",
        "UPDATE licences SET state = 'burned', mac = ? WHERE did = ?",
    ):
        with pytest.raises(Exception, match="UNIQUE"):
            line.pool.database.run(lambda tx, text=statement: tx.change(text, first.mac, other))
    with pytest.raises(Exception, match="CHECK"):
        line.pool.database.run(lambda tx: tx.change("UPDATE licences SET state = 'burned' WHERE did = ?", other))
    line.pool.close()

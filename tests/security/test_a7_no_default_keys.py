"""A7: an unknown identity ends the exchange; absent, short and zero keys are faults, on both sides and everywhere."""

import dataclasses

import pytest
from node_lab import DID, SERVER, UNIX, Identity, Lab, Random, Verifiers, generation, key, p2p_entry, relay_entry, token

from upeer.base.errors import LocalError
from upeer.signalling.control import Control
from upeer.signalling.login import REFUSED, Login
from upeer.signalling.lookup import ClientInvite, Lookup
from upeer_server.config import MasterConfig, NodeConfig
from upeer_server.node import Node

NO_KEYS = [b"", bytes(32), bytes(16), b"short"]


def _node(generations=None, static=None, p2p=None, relays=(), p2p_servers=()):
    generations = generations or [generation()]
    verifiers = Verifiers(1, generations)
    master = MasterConfig(1, static or key("static"), verifiers, list(p2p_servers), list(relays))
    return Node(NodeConfig(*SERVER, generations, key("admin"), master, p2p), 0, Random(), lambda: UNIX)


@pytest.mark.parametrize("bad", NO_KEYS)
def test_a7_server_without_keys_does_not_start(bad):
    with pytest.raises(LocalError):
        _node([dataclasses.replace(generation(), crc_key=bad)])
    with pytest.raises(LocalError):
        _node([dataclasses.replace(generation(), p2p_key=bad)])
    with pytest.raises(LocalError):
        _node(p2p=dataclasses.replace(p2p_entry(), ticket_key=bad))
    with pytest.raises(LocalError):
        _node(p2p_servers=[dataclasses.replace(p2p_entry(), ticket_key=bad)])
    with pytest.raises(LocalError):
        _node(relays=[dataclasses.replace(relay_entry(), ticket_key=bad)])


def test_a7_zero_static_key_is_a_fault():
    with pytest.raises(LocalError):
        _node(static=bytes(32))


@pytest.mark.parametrize("bad", [*NO_KEYS, None])
def test_a7_device_and_client_without_keys_do_not_ask(bad):
    good = Identity(generation())
    with pytest.raises(LocalError):
        Login(good, (1, SERVER, bad, b""), Random(), 0)
    for name in ("crc_key", "p2p_key"):
        identity = Identity(generation())
        setattr(identity, name, bad)
        with pytest.raises(LocalError):
            Login(identity, (1, SERVER, key("login"), b""), Random(), 0)
    with pytest.raises(LocalError):
        Lookup(good, (SERVER, key("public")), bad, Random(), 0)
    with pytest.raises(LocalError):
        ClientInvite(1, (1, SERVER, bad, b"ticket"), bytes(8), token(DID), 0)


def test_a7_zero_session_key_is_a_fault():
    with pytest.raises(LocalError):
        Control(SERVER, bytes(7), bytes(32)).start_keep_alive(25, 0)


@pytest.mark.parametrize("secret", [bytes(32), b"\1" * 32, b"", DID.encode().ljust(32)])
def test_a7_unknown_identity_meets_no_guessable_key(secret):
    lab = Lab()
    identity = Identity(generation(), "ZZZZ-000000-ZZZZZ")
    if not any(secret):
        with pytest.raises(LocalError):
            lab.login(identity, (1, SERVER, secret, b""))
        return
    assert lab.login(identity, (1, SERVER, secret, b"")) == ("failed", REFUSED)


def test_a7_stand_in_key_for_unknown_devices_is_random_and_never_accepted(monkeypatch):
    lab, other = Lab(), Lab()
    assert lab.master._dummy_key != lab.p2p._dummy_key and len(other.master._dummy_key) == 32
    identity = Identity(generation(), "ZZZZ-000000-ZZZZZ")
    assert lab.login(identity, (1, SERVER, lab.master._dummy_key, b"")) == ("failed", REFUSED)


def test_a7_zero_token_is_nobodys():
    lab = Lab()
    session, _ = lab.online()
    session.upload_tokens(bytes(16) + token(DID), lab.now)
    lab.exchange(session, ("192.0.2.33", 40717))
    assert bytes(16) not in lab.master._tokens and token(DID) in lab.master._tokens

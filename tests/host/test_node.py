"""The node: which role takes what, time, orders of the operator, speed."""

import random

import pytest
from node_lab import CLIENT, DEVICE, DID, SERVER, UNIX, Identity, Lab, Random, generation, key, p2p_entry, token

from upeer.base.errors import LocalError
from upeer.crypto.aead import Hmac
from upeer.signalling.question import device_hello_key
from upeer_server.config import NodeConfig
from upeer_server.hub import Hub
from upeer_server.node import Node


def hello(role):
    message = bytes((0x80, 1, 1, role)) + bytes(44)
    return message + Hmac(device_hello_key(generation().crc_key, generation().p2p_key)).tag(message)


def bare(**roles):
    config = NodeConfig(*SERVER, [generation()], key("admin"), **roles)
    return Node(config, 0, Random(), lambda: UNIX)


def test_role_that_is_not_here_is_silence():
    node = bare(p2p=p2p_entry())
    for role in (0, 1, 3, 255):
        node.receive_datagram(hello(role), DEVICE, 0)
    assert node.out == [] and node.hub.drops == {"unknown": 4}
    node.receive_datagram(hello(2), DEVICE, 0)
    assert len(node.out) == 1 and node.out[0][0][:4] == bytes((0x81, 1, 1, 2))


def test_node_without_roles_answers_nothing():
    node = bare()
    for kind in range(256):
        node.receive_datagram(bytes((kind, 1, 1, 1)) + bytes(60), DEVICE, 0)
    assert node.out == [] and node.timer() == 60_000


def test_no_platform_keys_are_a_fault():
    with pytest.raises(LocalError, match="no platform keys"):
        Node(NodeConfig(*SERVER, [], key("admin"), p2p=p2p_entry()), 0, Random(), lambda: UNIX)


def test_garbage_of_all_kinds_is_counted_and_dropped():
    lab = Lab()
    lab.online()
    chance = random.Random(1)
    kinds = [0x00, 0x3F, 0x40, 0x80, 0x82, 0x84, 0x88, 0x89, 0x90, 0x92, 0x98, 0xA0, 0xC0, 0xFF]
    session_ids = list(lab.node._sessions)
    for kind in kinds:
        for size in (*range(40), 56, 64, 136, 152, 300, 1200, 1500):
            data = bytearray(chance.randbytes(size))
            data[:4] = bytes((kind, 1, 1, chance.choice((1, 2, 3))))[: len(data)]
            if kind in (0x88, 0x89):
                data[1:8] = session_ids[0]
            lab.receive(bytes(data), DEVICE)
    assert lab.receive(b"", DEVICE) == [] and lab.master.status()["online"] == 1
    assert lab.receive(hello(1), ("192.0.2.1", 0)) == []
    assert sum(lab.node.hub.drops.values()) > 300


def test_clock_goes_on_over_the_wrap_and_never_back():
    hub = Hub([generation()], 2**30 - 10, Random(), lambda: UNIX)
    hub.advance(20)
    assert hub.ms == 30
    hub.advance(10)
    assert hub.ms == 30 and hub.ticks_at(hub.ms + 5) == 25


def test_revoke_ends_both_sessions_at_once():
    lab = Lab()
    at_master, at_p2p = lab.online()
    lab.verifiers.licences.clear()
    assert lab.node.revoke(DID)
    for data, target in lab.take():
        assert target == DEVICE
        assert at_master.receive_datagram(data, SERVER, lab.now) or at_p2p.receive_datagram(data, SERVER, lab.now)
    assert at_master.next_event() == at_p2p.next_event() == ("logout", 2)
    assert not lab.node._sessions and not lab.lookup(token(DID))[1].is_found
    assert lab.login(Identity(generation(), epoch=50)) == ("failed", 1)
    assert not lab.node.revoke(DID)


def test_drop_lets_the_device_come_back():
    lab = Lab()
    lab.online()
    assert lab.node.drop(DID) == 2 and lab.node.drop(DID) == 0
    assert lab.login(Identity(generation(), epoch=50))[0] == "login"


def test_shut_down_says_so_to_everybody():
    lab = Lab()
    at_master, _ = lab.online()
    lab.node.shut_down()
    datagrams = lab.take()
    assert len(datagrams) == 2
    at_master.receive_datagram(datagrams[0][0], SERVER, lab.now)
    assert at_master.next_event() == ("logout", 3)


def test_status_has_counts_and_no_secrets():
    lab = Lab()
    lab.online()
    status = lab.node.status()
    assert status["master"]["online"] == status["p2p"]["online"] == 1 and status["key_ids"] == [1]
    assert DID not in str(status) and "key'" not in str(status)
    for thing in (lab.node, lab.master, lab.p2p, lab.master.config, lab.node.hub):
        assert key("licence " + DID).hex() not in repr(thing) and "P2PKey" not in repr(thing)


def test_relay_is_reached():
    lab = Lab()
    lab.receive(b"\xc0" + bytes(30), CLIENT)
    lab.receive(b"\xa0\1\1\3" + bytes(30), CLIENT)
    assert lab.node.relay.status()["dropped"] == 1 and lab.node.relay.status()["joins_refused"] == 1

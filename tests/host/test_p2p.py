"""The p2p server: logins by ticket, invites there and back, STUN."""

from node_lab import CLIENT, DEVICE, DID, SERVER, Identity, Lab, events, generation, key, token

from upeer.base.wire import ROLE_P2P
from upeer.signalling import stun
from upeer.signalling.login import REFUSED
from upeer.signalling.lookup import DEVICE_GONE
from upeer_server.p2p import MAX_FORWARDS
from upeer_server.tickets import DeviceTicket, seal_device_ticket


def found(lab):
    return lab.lookup(token(DID))[1]


def at_p2p(lab, identity, **changes):
    """Log in at the p2p server with a ticket in which `changes` were made, under the true ticket key."""
    fields = {"expiry": lab.node.hub.unix + 60, "login_key": key("login"), "epoch": 1, "did": DID.encode()} | changes
    sealed = seal_device_ticket(lab.p2p._ticket_aead, DeviceTicket(**fields), lab.random)
    return lab.login(identity, (ROLE_P2P, SERVER, key("login"), sealed))


def test_login_by_ticket():
    lab = Lab()
    name, session, _, entries = at_p2p(lab, Identity(generation(), epoch=7))
    assert name == "login" and entries == [] and session.reflexive == DEVICE
    assert lab.p2p.online() == [DID] and lab.master.online() == []


def test_login_is_refused_by_expired_or_foreign_tickets():
    lab = Lab()
    identity = Identity(generation(), epoch=7)
    assert at_p2p(lab, identity, expiry=lab.node.hub.unix - 1) == ("failed", REFUSED)
    assert at_p2p(lab, identity, epoch=1000) == ("failed", REFUSED)
    assert at_p2p(lab, identity, login_key=key("another")) == ("failed", REFUSED)
    assert lab.login(identity, (ROLE_P2P, SERVER, key("login"), b"x" * 96)) == ("failed", REFUSED)
    assert lab.login(identity, (ROLE_P2P, SERVER, key("login"), b"")) == ("failed", REFUSED)
    assert lab.p2p.status()["online"] == 0 and lab.p2p.refused == 5


def test_old_epoch_is_told_the_last_one():
    lab = Lab()
    assert at_p2p(lab, Identity(generation(), epoch=7))[0] == "login"
    assert at_p2p(lab, Identity(generation(), epoch=7)) == ("behind", 7)


def test_revoked_device_stays_out_while_its_tickets_live():
    lab = Lab()
    at_p2p(lab, Identity(generation(), epoch=7))
    assert lab.p2p.revoke(DID) and not lab.p2p.revoke(DID)
    assert lab.take()[0][0][0] == 0x88
    assert at_p2p(lab, Identity(generation(), epoch=8)) == ("failed", REFUSED)


def test_invite_there_and_answer_back():
    lab = Lab()
    _, device = lab.online()
    invite = lab.invite(found(lab))
    ((forwarded, target),) = lab.receive(invite.datagram_to_send(lab.now), CLIENT)
    assert target == DEVICE and device.receive_datagram(forwarded, SERVER, lab.now)
    ((name, invite_id, client, key_id, wanted, message),) = events(device)
    assert (name, invite_id, client) == ("invite", invite.invite_id, CLIENT)
    assert (key_id, wanted, message) == (1, token(DID), b"Noise message 1")
    device.answer_invite(invite_id, b"Noise message 2")
    ((answer, target),) = lab.receive(device.datagram_to_send(lab.now), DEVICE)
    invite.receive_datagram(answer, SERVER, lab.now)
    assert target == CLIENT and invite.next_event() == ("answer", 0, CLIENT, b"Noise message 2")


def test_repeated_invite_is_forwarded_eight_times():
    lab = Lab()
    _, device = lab.online()
    data = lab.invite(found(lab)).datagram_to_send(lab.now)
    out = [datagram for _ in range(20) for datagram in lab.receive(data, CLIENT)]
    assert len(out) == MAX_FORWARDS and all(device.receive_datagram(item, SERVER, lab.now) for item, _ in out)
    assert len(events(device)) == MAX_FORWARDS


def test_repeated_invite_gets_the_known_answer():
    lab = Lab()
    _, device = lab.online()
    invite = lab.invite(found(lab))
    data = invite.datagram_to_send(lab.now)
    device.receive_datagram(lab.receive(data, CLIENT)[0][0], SERVER, lab.now)
    device.answer_invite(invite.invite_id, b"first")
    device.answer_invite(invite.invite_id, b"second")
    first = lab.receive(device.datagram_to_send(lab.now), DEVICE)
    assert lab.receive(device.datagram_to_send(lab.now), DEVICE) == []
    assert lab.receive(data, CLIENT) == first


def test_client_that_moved_port_gets_the_answer_there():
    lab = Lab()
    _, device = lab.online()
    invite = lab.invite(found(lab))
    data = invite.datagram_to_send(lab.now)
    lab.receive(data, CLIENT)
    moved = (CLIENT[0], 50001)
    lab.receive(data, moved)
    device.answer_invite(invite.invite_id, b"second")
    assert lab.receive(device.datagram_to_send(lab.now), DEVICE)[0][1] == moved


def test_device_gone_is_told():
    lab = Lab()
    _, device = lab.online()
    answer = found(lab)
    device.log_out()
    lab.exchange(device, DEVICE)
    invite = lab.invite(answer)
    lab.exchange(invite, CLIENT)
    assert invite.next_event() == ("answer", DEVICE_GONE, CLIENT, b"")


def test_invite_of_another_source_or_expired_is_silence():
    lab = Lab()
    lab.online()
    answer = found(lab)
    data = lab.invite(answer).datagram_to_send(lab.now)
    assert lab.receive(data, ("198.51.100.8", CLIENT[1])) == []
    lab.pass_time(61_000, 1000)
    assert lab.receive(data, CLIENT) == []


def test_tampered_invite_is_silence():
    lab = Lab()
    lab.online()
    data = lab.invite(found(lab)).datagram_to_send(lab.now)
    for i in range(0, len(data), 7):
        assert lab.receive(data[:i] + bytes((data[i] ^ 0x80,)) + data[i + 1 :], CLIENT) == []
    assert lab.receive(data, CLIENT)
    assert lab.receive(data[:-1] + bytes((data[-1] ^ 1,)), CLIENT) == []


def test_ticket_serves_one_invite():
    lab = Lab()
    lab.online()
    answer = found(lab)
    assert lab.receive(lab.invite(answer).datagram_to_send(lab.now), CLIENT)
    assert lab.receive(lab.invite(answer, b"another").datagram_to_send(lab.now), CLIENT) == []


def test_answer_of_another_device_is_dropped():
    lab = Lab()
    lab.online()
    invite = lab.invite(found(lab))
    lab.receive(invite.datagram_to_send(lab.now), CLIENT)
    _, thief, _, _ = at_p2p(lab, Identity(generation(), epoch=7), did=b"ABCD-654321-QRSTU")
    thief.answer_invite(invite.invite_id, b"second")
    assert lab.receive(thief.datagram_to_send(lab.now), DEVICE) == []


def test_invites_are_forgotten_with_their_tickets():
    lab = Lab()
    lab.online()
    lab.receive(lab.invite(found(lab)).datagram_to_send(lab.now), CLIENT)
    assert len(lab.p2p._invites) == 1
    lab.pass_time(62_000, 1000)
    assert len(lab.p2p._invites) == 0


def test_stun_binding():
    lab = Lab()
    ((response, target),) = lab.receive(stun.encode_request(bytes(12)), CLIENT)
    assert target == CLIENT and stun.parse(response).mapped == CLIENT and len(response) == 32


def test_stun_that_asks_for_more_is_silence():
    lab = Lab()
    change_request = bytes.fromhex("0001 0008 2112a442") + bytes(12) + bytes.fromhex("0003 0004 00000006")
    response = stun.encode_response(bytes(12), bytes(6), False)
    assert lab.receive(change_request, CLIENT) == [] and lab.receive(response, CLIENT) == []


def test_stun_is_limited_per_source():
    lab = Lab()
    request = stun.encode_request(bytes(12))
    assert sum(len(lab.receive(request, CLIENT)) for _ in range(1000)) == 100
    assert lab.receive(request, ("198.51.100.8", 1))

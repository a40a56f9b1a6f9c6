"""A11: a master's verifiers make no licences, and revocation takes effect at once (see also test_a11_licences)."""

from node_lab import CLIENT, DEVICE, DID, Identity, Lab, generation, token

from upeer.signalling.login import REFUSED


def test_a11_revoked_device_is_out_at_once_everywhere():
    lab = Lab()
    at_master, at_p2p = lab.online()
    answer = lab.lookup(token(DID))[1]
    del lab.verifiers.licences[DID]
    lab.node.revoke(DID)
    assert sorted(data[0] for data, _ in lab.take()) == [0x88, 0x88]
    assert lab.keep_alive(at_master) == [] and lab.keep_alive(at_p2p) == []
    assert not lab.lookup(token(DID))[1].is_found
    invite = lab.invite(answer)
    lab.exchange(invite, CLIENT)
    assert invite.next_event()[:2] == ("answer", 1)
    assert lab.login(Identity(generation(), epoch=90)) == ("failed", REFUSED)


def test_a11_revoked_device_cannot_use_p2p_tickets_it_still_has():
    lab = Lab()
    identity = Identity(generation())
    _, _, _, entries = lab.login(identity)
    lab.node.revoke(DID)
    _, address, login_key, ticket = entries[0]
    assert lab.login(identity, (2, address, login_key, ticket)) == ("failed", REFUSED)
    lab.pass_time(3_700_000, 60_000)
    assert lab.login(identity, (2, address, login_key, ticket)) == ("failed", REFUSED)


def test_a11_revoked_while_logging_in():
    lab = Lab()
    lab.login()
    lab.node.revoke(DID)
    del lab.verifiers.licences[DID]
    assert lab.login(Identity(generation(), epoch=90), source=DEVICE) == ("failed", REFUSED)

"""A3: nothing recorded on the wire serves a second time."""

from node_lab import CLIENT, DEVICE, DID, SERVER, Identity, Lab, events, generation, token

from upeer.signalling.login import Login

THIEF = ("192.0.2.66", 6666)


def _record(lab):
    """Let a device log in, upload tokens and be invited; return all it and the client sent, and the sessions."""
    sent = []
    receive = lab.node.receive_datagram
    lab.node.receive_datagram = lambda data, addr, now: (sent.append((data, addr)), receive(data, addr, now))
    sessions = lab.online()
    answer = lab.lookup(token(DID))[1]
    lab.receive(lab.invite(answer).datagram_to_send(lab.now), CLIENT)
    lab.keep_alive(sessions[0])
    lab.node.receive_datagram = receive
    return sent, sessions


def test_a3_recorded_datagrams_from_elsewhere_get_cookies_at_most():
    lab = Lab()
    sent, _ = _record(lab)
    for data, _ in sent:
        for answer, _ in lab.receive(data, THIEF):
            assert answer[0] == 0x81
    assert lab.master.logins == 1 and lab.p2p.logins == 1
    assert lab.master.session_of(DID).address == DEVICE


def test_a3_recorded_datagrams_from_the_same_place_change_nothing():
    lab = Lab()
    sent, _ = _record(lab)
    before = lab.master.session_of(DID)
    lab.pass_time(20_000, 1000)
    for data, source in sent:
        lab.receive(data, source)
    assert lab.master.session_of(DID) is before and lab.master.logins == 1 and lab.p2p.logins == 1
    lab.pass_time(600_000, 5000)
    for _ in range(20):
        for data, source in sent:
            lab.receive(data, source)
    assert lab.master.logins == 1 and not lab.master.clones.alerts and not lab.p2p.clones.alerts


def test_a3_replayed_logins_raise_no_clone_alert():
    lab = Lab()
    sent, _ = _record(lab)
    logins = [(data, source) for data, source in sent if data[0] == 0x82]
    lab.pass_time(20_000, 1000)
    for _ in range(20):
        for data, source in logins:
            lab.receive(data, source)
    assert not lab.master.clones.alerts and not lab.p2p.clones.alerts


def test_a3_server_packets_are_taken_once_and_by_their_session_only():
    lab = Lab()
    session, other = lab.online()
    lab.node.set_servers([], [])
    session._alive_is_due = True
    answers = [data for data, _ in lab.receive(bytes(session.datagram_to_send(lab.now)), DEVICE)]
    for _ in range(3):
        for data in answers:
            session.receive_datagram(data, SERVER, lab.now)
            assert not other.receive_datagram(data, SERVER, lab.now)
    assert len(events(session)) == 1


def test_a3_login_ok_of_another_attempt_is_dropped():
    lab = Lab()
    lab.login()
    recorded = [data for data, _ in lab.sent if data[0] in (0x81, 0x83)]
    identity = Identity(generation(), epoch=9)
    login = Login(identity, lab.at_master(identity), lab.random, lab.now)
    for data in recorded:
        login.receive_datagram(data, SERVER, lab.now)
    assert login.dropped == len(recorded) and login.next_event() is None


def test_a3_session_keys_differ_at_each_login():
    lab = Lab()
    keys = set()
    for epoch in range(1, 20):
        _, session, _, _ = lab.login(Identity(generation(), epoch=epoch))
        keys.add((session.session_id, session._key))
    assert len(keys) == 19

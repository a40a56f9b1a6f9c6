"""A21 (epochs): a login epoch serves once, for good, at masters and p2p servers; a clock set back opens nothing."""

from contextlib import suppress

from node_lab import DEVICE, DID, SERVER, UNIX, Identity, Lab, Random, generation, key

from upeer.base.wire import LOGIN_BEHIND, LOGIN_NO
from upeer.signalling.login import REFUSED, Login
from upeer_server.hub import Hub
from upeer_server.master import Master
from upeer_server.tickets import DeviceTicket, seal_device_ticket


def test_a21_epoch_is_recorded_before_the_login_is_answered():
    lab = Lab()
    order = []
    record = lab.verifiers.set_epoch
    lab.verifiers.set_epoch = lambda did, epoch: (order.append((epoch, len(lab.node.out))), record(did, epoch))
    lab.login(Identity(generation(), epoch=7))
    assert order == [(7, 0)]


def test_a21_epoch_that_cannot_be_recorded_lets_nobody_in():
    lab = Lab()

    def full_disk(did, epoch):
        raise OSError("no space left on device")

    lab.verifiers.set_epoch = full_disk
    identity = Identity(generation(), epoch=7)
    login = Login(identity, lab.at_master(identity), lab.random, lab.now)
    login.receive_datagram(lab.receive(login.datagram_to_send(lab.now), DEVICE)[0][0], SERVER, lab.now)
    with suppress(OSError):  # the pump's to report
        lab.receive(login.datagram_to_send(lab.now), DEVICE)
    assert lab.take() == [] and lab.master.status()["online"] == 0


def test_a21_epochs_survive_a_restart_of_the_master():
    lab = Lab()
    lab.login(Identity(generation(), epoch=7))
    restarted = Lab()
    restarted.verifiers.epochs = lab.verifiers.epochs
    assert restarted.login(Identity(generation(), epoch=7)) == ("behind", 7)
    assert restarted.login(Identity(generation(), epoch=8))[0] == "login"


def test_a21_replayed_login_is_not_told_the_epoch():
    lab = Lab()
    lab.login(Identity(generation(), epoch=7))
    identity = Identity(generation(), epoch=7)
    login = Login(identity, lab.at_master(identity), lab.random, lab.now)
    login.receive_datagram(lab.receive(login.datagram_to_send(lab.now), DEVICE)[0][0], SERVER, lab.now)
    question = login.datagram_to_send(lab.now)
    kinds = [lab.receive(question, DEVICE)[0][0][0] for _ in range(2)]
    assert kinds == [LOGIN_BEHIND, LOGIN_NO]


def test_a21_device_takes_a_new_epoch_for_every_attempt():
    lab = Lab()
    identity = Identity(generation(), epoch=5)
    for _ in range(3):
        lab.login(identity)
    assert identity.epoch == 8


def test_a21_p2p_ticket_of_a_later_login_bars_older_epochs():
    lab = Lab()
    ticket = DeviceTicket(UNIX + 3600, key("login"), 50, DID.encode())
    sealed = seal_device_ticket(lab.p2p._ticket_aead, ticket, lab.random)
    server = (2, SERVER, key("login"), sealed)
    assert lab.login(Identity(generation(), epoch=49), server) == ("failed", REFUSED)
    assert lab.login(Identity(generation(), epoch=50), server)[0] == "login"
    assert lab.login(Identity(generation(), epoch=50), server) == ("behind", 50)


def test_a21_clock_set_back_makes_cookies_and_tickets_no_better():
    times = [UNIX]
    lab = Lab()
    hub = Hub([generation()], 0, Random(), lambda: times[0])
    master = Master(lab.master.config, hub)
    identity = Identity(generation(), epoch=9)
    login = Login(identity, lab.at_master(identity), lab.random, 0)
    hub.answer_hello(login.datagram_to_send(0), DEVICE)
    login.receive_datagram(hub.out.pop()[0], SERVER, 0)
    times[0] -= 86400
    master.handle_login(login.datagram_to_send(0), DEVICE)
    assert hub.out == [] and hub.drops["login"] == 1

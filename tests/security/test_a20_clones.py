"""A20: two devices with one stolen licence are noticed; policy decides who stays."""

import pytest
from node_lab import DID, Identity, Lab, generation

HOME, THIEF = ("192.0.2.33", 40717), ("192.0.2.66", 6666)


def _fight(lab, rounds):
    """Let two devices throw each other out by turns, each with an epoch above the other's."""
    sessions = {}
    for turn in range(rounds):
        source = (HOME, THIEF)[turn % 2]
        event = lab.login(Identity(generation(), epoch=100 + turn), source=source)
        if event[0] != "login":
            return turn
        sessions[source] = event[1]
        lab.pass_time(10_000, 1000)
        other = sessions.get((THIEF, HOME)[turn % 2])
        if other is not None:
            lab.keep_alive(other, (THIEF, HOME)[turn % 2])
            assert other.is_over
    return rounds


def test_a20_alternating_logins_raise_one_alert():
    lab = Lab()
    assert _fight(lab, 4) == 4 and not lab.master.clones.alerts
    _fight(lab, 5)
    lab = Lab()
    _fight(lab, 5)
    (alert,) = lab.node.status()["master"]["alerts"]
    assert alert["kind"] == "cloned licence" and alert["did"] == DID


def test_a20_device_that_restarts_often_is_no_clone():
    lab = Lab()
    for epoch in range(1, 40):
        lab.login(Identity(generation(), epoch=epoch))
        lab.pass_time(5_000, 1000)
    assert not lab.master.clones.alerts


def test_a20_clone_with_old_epochs_is_noticed_too():
    lab = Lab()
    lab.login(Identity(generation(), epoch=100), source=HOME)
    clone = Identity(generation(), epoch=1)
    for _ in range(4):
        assert lab.login(clone, source=THIEF) == ("behind", 100)
        lab.pass_time(5_000, 1000)
    assert [alert["kind"] for alert in lab.master.clones.alerts] == ["cloned licence"]
    assert lab.master.session_of(DID).address == HOME


def test_a20_slow_changes_are_no_clone():
    lab = Lab()
    for turn in range(6):
        _, session, _, _ = lab.login(Identity(generation(), epoch=10 + turn))
        lab.pass_time(300_000, 5000)
        assert session is not None
    assert not lab.master.clones.alerts


def test_a20_guesses_without_the_licence_raise_no_alert():
    lab = Lab()
    lab.login(Identity(generation(), epoch=100), source=HOME)
    for epoch in range(1, 9):
        lab.login(Identity(generation(), epoch=epoch), (1, ("203.0.113.5", 7000), b"\7" * 32, b""), THIEF)
    assert not lab.master.clones.alerts


def test_a20_policy_newest_wins():
    lab = Lab(clone_policy="newest")
    assert _fight(lab, 9) == 9 and lab.master.session_of(DID).address == HOME


def test_a20_policy_both_out():
    lab = Lab(clone_policy="both_out")
    assert _fight(lab, 9) == 5 and lab.master.session_of(DID) is None
    lab.pass_time(3_600_000, 10_000)
    assert lab.login(Identity(generation(), epoch=500))[0] == "login"


def test_a20_policy_first_stays():
    lab = Lab(clone_policy="first_stays")
    assert _fight(lab, 9) == 5 and lab.master.session_of(DID).address == HOME


def test_a20_unknown_policy_is_a_fault():
    with pytest.raises(ValueError, match="no such policy"):
        Lab(clone_policy="none")


def test_a20_alerts_and_suspects_are_bounded():
    lab = Lab()
    for number in range(5000):
        for _ in range(4 if number < 300 else 1):
            lab.master._on_clone_sign(f"ABCD-{number:06d}-GHKLM")
    assert len(lab.master.clones.alerts) == 100 and lab.master.clones.suspects <= 4096

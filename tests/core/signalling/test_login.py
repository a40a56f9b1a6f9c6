"""Login of a device: the vectors, lost and forged datagrams, refusals, back-off."""

from helpers import raises
from signalling_vectors import MASTER, NOW, P2P, Platform, address, fixed_random, flipped, given, message

from upeer.base.clock import ticks_add, ticks_diff
from upeer.base.errors import LocalError
from upeer.base.wire import LOGIN_BEHIND, LOGIN_NO, ROLE_MASTER, ROLE_P2P, header
from upeer.crypto.aead import Hmac
from upeer.signalling.login import BUSY, NO_ANSWER, REFUSED, Login, backoff_ms, login_key
from upeer.signalling.question import device_hello_key


def to_master(failures=0, identity=None):
    server = (ROLE_MASTER, MASTER, message("login key"), b"")
    return Login(identity or Platform(), server, fixed_random(given("nonce")), NOW, failures)


def asked():
    login = to_master()
    login.datagram_to_send(NOW)
    login.receive_datagram(message("COOKIE master to device"), MASTER, NOW)
    login.datagram_to_send(NOW)
    return login


def expire(login):
    """Let timers run until there is an event; return it and how long it took."""
    now = NOW
    while True:
        event = login.next_event()
        if event:
            return event, ticks_diff(now, NOW)
        now = login.timer()
        login.handle_timer(now)


def test_login_key_vector():
    assert login_key(given("licence_key"), given("crc_key"), Platform.did, 2) == message("login key")


def test_master_vectors():
    login = to_master()
    assert login.datagram_to_send(NOW) == message("HELLO device to master")
    assert login.datagram_to_send(NOW) is None
    login.receive_datagram(message("COOKIE master to device"), MASTER, NOW)
    assert login.datagram_to_send(NOW) == message("LOGIN to master")
    login.receive_datagram(message("LOGIN_OK from master"), MASTER, NOW)
    name, control, unix_time, entries = login.next_event()
    assert name == "login" and unix_time == 1800000000
    assert control.session_id == given("session_id") and control.reflexive == address("device_address")
    assert entries == [(3, P2P, given("p2p_login_key"), message("device ticket"))]
    assert ticks_diff(control.timer(), NOW) == 25000
    assert login.timer() is None and login.next_event() is None


def test_p2p_vectors():
    server = (ROLE_P2P, P2P, given("p2p_login_key"), message("device ticket"))
    login = Login(Platform(6), server, fixed_random(given("nonce")), NOW)
    assert login.datagram_to_send(NOW) == message("HELLO device to p2p")
    login.receive_datagram(message("COOKIE p2p to device"), P2P, NOW)
    assert login.datagram_to_send(NOW) == message("LOGIN to p2p")
    login.receive_datagram(message("LOGIN_OK from p2p"), P2P, NOW)
    assert login.next_event()[0] == "login"


def test_hello_is_repeated_then_given_up():
    login = to_master()
    times = []
    event, total_ms = None, 0
    now = NOW
    while event is None:
        if login.datagram_to_send(now):
            times.append(ticks_diff(now, NOW))
        now = login.timer()
        login.handle_timer(now)
        event = login.next_event()
        total_ms = ticks_diff(now, NOW)
    assert times == [0, 300, 900, 2100, 4500]
    assert event == ("failed", NO_ANSWER) and total_ms == 9300


def test_login_is_repeated_with_the_same_bytes():
    identity = Platform()
    login = to_master(identity=identity)
    login.receive_datagram(message("COOKIE master to device"), MASTER, NOW)
    first = login.datagram_to_send(NOW)
    login.handle_timer(login.timer())
    assert login.datagram_to_send(NOW) == first == message("LOGIN to master")
    assert identity.epoch == 6


def test_forged_cookies_are_dropped():
    login = to_master()
    login.datagram_to_send(NOW)
    cookie = message("COOKIE master to device")
    for position in (0, 1, 2, 3, 4, 19, 20, 39, 40, 55):
        login.receive_datagram(flipped(cookie, position), MASTER, NOW)
    for other in (
        b"",
        cookie[:-1],
        cookie + b"\0",
        message("COOKIE p2p to device"),
        message("COOKIE master to client"),
    ):
        login.receive_datagram(other, MASTER, NOW)
    assert login.dropped == 15 and login.datagram_to_send(NOW) is None
    login.receive_datagram(cookie, ("192.0.2.99", 9), NOW)
    assert login.datagram_to_send(NOW) == message("LOGIN to master")


def test_second_cookie_changes_nothing():
    login = asked()
    login.receive_datagram(message("COOKIE master to device"), MASTER, NOW)
    assert login.datagram_to_send(NOW) is None


def test_forged_answers_are_dropped():
    login = asked()
    answer = message("LOGIN_OK from master")
    for position in (0, 3, 10, 20, 40, len(answer) - 1):
        login.receive_datagram(flipped(answer, position), MASTER, NOW)
    login.receive_datagram(answer[:-16], MASTER, NOW)
    login.receive_datagram(message("LOGIN_OK from p2p"), MASTER, NOW)
    assert login.next_event() is None and login.dropped == 8
    login.receive_datagram(answer, MASTER, NOW)
    assert login.next_event()[0] == "login"


def test_refusal_ends_the_attempt_soon():
    login = asked()
    login.receive_datagram(message("LOGIN_NO from master"), MASTER, NOW)
    assert login.next_event() is None
    assert expire(login) == (("failed", REFUSED), 500)


def test_refusal_must_be_authentic():
    login = asked()
    for position in (0, 4, 20, 21, 36):
        login.receive_datagram(flipped(message("LOGIN_NO from master"), position), MASTER, NOW)
    assert expire(login)[0] == ("failed", NO_ANSWER)


def test_true_answer_beats_a_forged_refusal():
    login = asked()
    login.receive_datagram(message("LOGIN_NO from master"), MASTER, NOW)
    login.receive_datagram(message("LOGIN_OK from master"), MASTER, NOW)
    assert login.next_event()[0] == "login"
    assert login.timer() is None


def test_answers_before_their_question_are_nothing():
    login = to_master()
    login.receive_datagram(message("LOGIN_OK from master"), MASTER, NOW)
    login.receive_datagram(message("LOGIN_NO from master"), MASTER, NOW)
    assert expire(login)[0] == ("failed", NO_ANSWER)


def test_backoff_grows_to_a_minute():
    longest = [backoff_ms(failures, lambda size: bytes(size)) for failures in range(9)]
    assert longest == [0, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]
    for failures in range(1, 9):
        shortest = backoff_ms(failures, lambda size: b"\xff" * size)
        assert longest[failures] * 3 // 4 <= shortest < longest[failures]


def test_start_after_failures_waits():
    server = (ROLE_MASTER, MASTER, message("login key"), b"")
    login = Login(Platform(), server, fixed_random(given("nonce"), b"\0"), NOW, 2)
    login.handle_timer(ticks_add(NOW, 1999))
    assert login.datagram_to_send(NOW) is None
    login.handle_timer(ticks_add(NOW, 2000))
    assert login.datagram_to_send(NOW) == message("HELLO device to master")


def test_missing_keys_are_faults():
    for key in (None, b"", bytes(32), b"short"):
        raises(LocalError, Login, Platform(), (ROLE_MASTER, MASTER, key, b""), fixed_random(), NOW)
        raises(LocalError, login_key, key, given("crc_key"), Platform.did, 1)
        raises(LocalError, login_key, given("licence_key"), key, Platform.did, 1)
        for name in ("crc_key", "p2p_key"):
            identity = Platform()
            setattr(identity, name, key)
            raises(LocalError, to_master, 0, identity)


def refusal(code):
    message = header(LOGIN_NO, 7, ROLE_MASTER) + given("nonce") + bytes((code,))
    return message + Hmac(device_hello_key(given("crc_key"), given("p2p_key"))).tag(message)


def test_codes_of_refusals():
    for code, seen in ((0, REFUSED), (1, REFUSED), (2, BUSY), (3, REFUSED), (255, REFUSED)):
        login = asked()
        login.receive_datagram(refusal(code), MASTER, NOW)
        assert expire(login)[0] == ("failed", seen)


def test_login_behind_tells_the_last_epoch():
    login = asked()
    before = header(LOGIN_BEHIND, 7, ROLE_MASTER) + given("nonce")
    sealed = login._answer.seal(1, b"\0\0\x12\x34", before)
    login.receive_datagram(flipped(before + sealed, 40), MASTER, NOW)
    assert login.next_event() is None
    login.receive_datagram(before + sealed, MASTER, NOW)
    assert login.next_event() == ("behind", 0x1234)

"""Control packets and keep-alives: the vectors, replays, retries, events, memory."""

import gc
import sys

from signalling_vectors import MASTER, NOW, P2P, Server, address, control, flipped, given, message

from upeer.base.clock import ticks_add, ticks_diff
from upeer.base.wire import ALIVE, CONTROL, u32
from upeer.signalling.control import ADDRESS, ANSWER, KEYS, TOKENS, Control


def take(session, now=NOW):
    """Return all datagrams that a session has to send."""
    datagrams = []
    while True:
        datagram = session.datagram_to_send(now)
        if datagram is None:
            return datagrams
        datagrams.append(bytes(datagram))


def take_all(server):
    """Return all that the server's side has to send."""
    packets, server._out = server._out, []
    return packets


def deliver(session, *names):
    for name in names:
        assert session.receive_datagram(message(name), MASTER, NOW)


def keep_alive(session, now=None):
    """Let the keep-alive fall due; return the datagrams."""
    session.handle_timer(session.timer() if now is None else now)
    return take(session)


def test_device_vectors():
    session = control()
    assert keep_alive(session) == [message("ALIVE")]
    deliver(session, "ALIVE_OK")
    session.upload_tokens(message("lookup token"), NOW)
    assert take(session) == [message("CONTROL TOKENS")]
    session.answer_invite(given("invite_id"), b"Noise message 2")
    assert take(session) == [message("CONTROL ANSWER")]
    deliver(session, "CONTROL ADDRESS")
    assert take(session) == [message("CONTROL ACK from device")]


def test_events_from_vectors():
    session = control()
    deliver(session, "CONTROL INVITE", "CONTROL ADDRESS", "CONTROL KEYS", "CONTROL SERVERS", "CONTROL LOGOUT")
    client = address("client_address")
    assert session.next_event() == (
        "invite",
        given("invite_id"),
        client,
        7,
        message("lookup token"),
        b"Noise message 1",
    )
    assert session.next_event() == ("address", client)
    name, key_id, crc_key, p2p_key = session.next_event()
    assert (name, key_id, len(crc_key), len(p2p_key)) == ("keys", 8, 32, 32)
    assert session.next_event() == ("servers", [(3, P2P, given("p2p_login_key"), message("device ticket"))])
    assert session.next_event() == ("logout", 2)
    assert session.next_event() is None and session.is_over and session.timer() is None
    assert len(take(session)) == 3


def test_replays_and_forgeries_are_dropped():
    session = control()
    deliver(session, "CONTROL ADDRESS")
    take(session)
    packet = message("CONTROL KEYS")
    for position in (8, 11, 12, 30, len(packet) - 1):
        session.receive_datagram(flipped(packet, position), MASTER, NOW)
    deliver(session, "CONTROL ADDRESS")
    session.receive_datagram(packet[:-16], MASTER, NOW)
    session.receive_datagram(message("CONTROL TOKENS"), MASTER, NOW)
    assert session.dropped == 8 and take(session) == []
    assert session.next_event() == ("address", address("client_address")) and session.next_event() is None


def test_datagrams_of_other_sessions_are_left_to_others():
    session = control()
    for name in ("ALIVE_OK", "CONTROL KEYS"):
        assert not session.receive_datagram(flipped(message(name), 7), MASTER, NOW)
        assert not session.receive_datagram(message(name)[:27], MASTER, NOW)
    assert not session.receive_datagram(b"", MASTER, NOW)
    assert not session.receive_datagram(message("ALIVE"), MASTER, NOW)
    assert session.dropped == 0


def test_window_of_64():
    session = control()
    for number in (1, 100, 37, 99):
        assert session.is_new(number)
        session.mark(number)
    for number in (0, 1, 36, 37, 99, 100):
        assert not session.is_new(number)
    assert session.is_new(38) and session.is_new(101) and session.is_new(2**32 - 1)
    session.mark(2**32 - 1)
    assert not session.is_new(101) and session.is_new(2**32 - 2)


def test_alive_is_repeated_after_1_2_and_4_seconds_then_dead():
    session = control()
    times, numbers = [], []
    while not session.is_over:
        now = session.timer()
        for datagram in keep_alive(session, now):
            times.append(ticks_diff(now, NOW))
            numbers.append(datagram[11])
    assert times == [25000, 26000, 28000, 32000] and numbers == [1, 2, 3, 4]
    assert session.next_event() == ("dead",)


def test_alive_ok_rests_until_the_next_interval():
    session = control()
    keep_alive(session)
    now = ticks_add(NOW, 25100)
    assert session.receive_datagram(message("ALIVE_OK"), MASTER, now)
    assert session.timer() == ticks_add(now, 25000)


def test_alive_ok_to_an_earlier_repetition_counts():
    session = control()
    keep_alive(session)
    keep_alive(session)
    deliver(session, "ALIVE_OK")
    assert ticks_diff(session.timer(), NOW) == 25000
    assert keep_alive(session)[0][:12] == bytes((ALIVE,)) + given("session_id") + u32(3)


def test_alive_ok_unasked_or_forged_is_dropped():
    session = control()
    deliver(session, "ALIVE_OK")
    keep_alive(session)
    for position in (8, 11, 12, 27):
        session.receive_datagram(flipped(message("ALIVE_OK"), position), MASTER, NOW)
    assert session.dropped == 5
    assert ticks_diff(session.timer(), NOW) == 26000


def test_control_packet_answers_a_keep_alive_too():
    session = control()
    keep_alive(session)
    deliver(session, "CONTROL ADDRESS")
    assert ticks_diff(session.timer(), NOW) == 25000


def test_tokens_go_up_in_chunks_one_at_a_time():
    device, server = control(), Server()
    tokens = bytes(range(200)) * 10
    device.upload_tokens(tokens[:1600], NOW)
    for count in (1, 2, 3):
        (packet,) = take(device)
        assert server.receive_control(packet, MASTER, NOW) and len(server.got) == count
        device.receive_datagram(take_all(server)[0], MASTER, NOW)
    assert take(device) == []
    assert [kind for kind, _, _ in server.got] == [TOKENS] * 3
    assert [body[:2] for _, _, body in server.got] == [b"\0\3", b"\1\3", b"\2\3"]
    assert b"".join([body[2:] for _, _, body in server.got]) == tokens[:1600]
    ids = [request_id for _, request_id, _ in server.got]
    assert ids == [ids[0], ids[0] + 1, ids[0] + 2]


def test_tokens_none_at_all():
    device, server = control(), Server()
    device.upload_tokens(b"", NOW)
    server.receive_control(take(device)[0], MASTER, NOW)
    assert server.got[0][2] == b"\0\1"


def test_new_tokens_replace_those_under_way():
    device, server = control(), Server()
    device.upload_tokens(bytes(1600), NOW)
    take(device)
    device.upload_tokens(b"\1" * 16, NOW)
    (packet,) = take(device)
    server.receive_control(packet, MASTER, NOW)
    assert server.got[0][2] == b"\0\1" + b"\1" * 16
    device.receive_datagram(take_all(server)[0], MASTER, NOW)
    assert take(device) == [] and ticks_diff(device.timer(), NOW) == 25000


def test_unacknowledged_is_repeated_then_dead():
    device, server = control(), Server()
    device.upload_tokens(b"\1" * 16, NOW)
    times = []
    now = NOW
    while not device.is_over:
        for packet in take(device):
            times.append(ticks_diff(now, NOW))
            assert server.receive_control(packet, MASTER, NOW)
        now = device.timer()
        device.handle_timer(now)
    assert times == [0, 1000, 3000, 7000] and device.next_event() == ("dead",)


def test_invites_of_a_mad_server_stay_bounded():
    device, server = control(), Server()
    for _ in range(50):
        server.send(2, 1, given("invite_id") + bytes(6) + bytes(17) + bytes(500))
    for packet in take_all(server):
        device.receive_datagram(packet, MASTER, NOW)
    count = 0
    while device.next_event():
        count += 1
    assert count == 8


def test_malformed_content_is_dropped_and_the_session_goes_on():
    device, server = control(), Server()
    for kind, body in ((2, b""), (4, b""), (5, b"\1"), (6, bytes(64)), (7, b"\2" + bytes(40)), (99, b""), (1, b"\0\1")):
        server.send(kind, 1, body)
    for packet in take_all(server):
        assert device.receive_datagram(packet, MASTER, NOW)
    assert device.dropped == 7 and device.next_event() is None and not device.is_over and take(device) == []


def test_log_out_says_so_once():
    device, server = control(), Server()
    device.log_out()
    (packet,) = take(device)
    assert packet[0] == CONTROL and server.receive_control(packet, MASTER, NOW)
    assert server.got[0][0] == 4 and server.got[0][2] == b"\0"
    assert device.is_over and device.timer() is None and take(device) == []


def test_server_repeats_what_it_pushes():
    server, device = Server(), control()
    server.send_reliably(ADDRESS, [bytes((1, 2, 3, 4, 0, 5))], NOW)
    server.send_reliably(KEYS, [bytes((9,)) + bytes(range(64))], NOW)
    assert len(take_all(server)) == 1
    assert server.repeat(ticks_add(NOW, 1000))
    for _ in range(2):
        (packet,) = take_all(server)
        device.receive_datagram(packet, MASTER, NOW)
        server.receive_control(take(device)[0], MASTER, NOW)
    assert [device.next_event()[0] for _ in range(2)] == ["address", "keys"]
    assert take_all(server) == [] and server.repeat(ticks_add(NOW, 100000))


def test_answer_reaches_the_server():
    device, server = control(), Server()
    device.answer_invite(given("invite_id"), b"second")
    server.receive_control(take(device)[0], MASTER, NOW)
    assert server.got[0][0] == ANSWER and server.got[0][2] == given("invite_id") + b"second"


def test_keep_alive_leaves_nothing_behind():
    if sys.implementation.name != "micropython":
        return
    session = control()
    keep_alive(session)
    deliver(session, "ALIVE_OK")
    answer = message("ALIVE_OK")
    now = ticks_add(NOW, 60000)
    gc.collect()
    before = gc.mem_alloc()
    session.handle_timer(now)
    session.datagram_to_send(now)
    session.receive_datagram(answer, MASTER, now)
    gc.collect()
    assert gc.mem_alloc() <= before + 96, gc.mem_alloc() - before  # a number or two


def test_session_without_keep_alive_has_no_secret_in_its_name():
    assert "key" not in repr(Control(MASTER, given("session_id"), given("session_key"))).lower()

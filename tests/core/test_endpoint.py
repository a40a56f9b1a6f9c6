"""Endpoint and ClientEndpoint: invites, sessions, relays, limits. Real sessions; the test is the wire."""

from endpoint_world import CLIENT, DEVICE, SERVER, TAG, World, events
from helpers import raises, unhex

from upeer import connect
from upeer.base.clock import ticks_add
from upeer.base.errors import ProtocolError, RemoteError
from upeer.crypto import x25519
from upeer.handshake import answer, invite
from upeer.session.paths import HOST, RELAY, SRFLX


def test_session_carries_a_stream_and_ends():
    world = World()
    ours, theirs = world.connect()
    assert theirs.user == "owner" and ours.exporter == theirs.exporter
    ours.stream(0).write(b"hello")
    world.run()
    assert theirs.paths.active.addr == CLIENT and ours.paths.active.addr == DEVICE
    assert theirs.stream(0).read(10) == b"hello"
    ours.close()
    world.run(3000)
    assert events(world.device) and events(world.client)
    assert not world.device.sessions and not world.client.sessions
    assert world.client.timer() is None and world.device.timer() is None


def test_known_invite_gets_the_same_answer_without_work():
    world = World()
    invite_id, invitation = world.invite()
    responder = world.handle(invite_id, invitation.message)
    assert world.handle(invite_id, invitation.message) is None
    answer, _ = world.finish(responder)
    assert world.device.handle_invite(invite_id, invitation.message, None, 0, world.now) == answer
    assert len(world.device.sessions) == 1


def test_wrong_psk_and_garbage_are_dropped_and_keep_the_key_pair():
    world = World()
    invite_id, invitation = world.invite()
    assert world.handle(invite_id, invitation.message, psk=bytes(31) + b"\1") is None
    pair = world.device.ephemeral
    assert world.handle(invite_id, bytes(100)) is None
    assert world.handle(invite_id, b"") is None
    assert world.device.dropped == 3 and world.device.ephemeral is pair
    assert world.handle(invite_id, invitation.message)
    assert world.device.ephemeral is None


def test_invite_of_nobody_or_without_key_pair_is_not_answered():
    world = World()
    assert world.device.handle_invite(b"invite01", bytes(100), None, 0, world.now) is None
    world.device.ephemeral = x25519.key_pair(world.device.random_bytes)
    assert world.device.handle_invite(b"invite01", bytes(100), lambda: None, 0, world.now) is None


def test_floods_of_invites_are_limited_and_those_of_the_lan_apart():
    world = World()
    asked = []
    world.device.ephemeral = x25519.key_pair(world.device.random_bytes)
    for i in range(10000):
        world.device.handle_invite(b"flood%03d" % (i % 500), bytes(100), lambda: asked.append(1), 1, world.now)
        world.now = ticks_add(world.now, 1)
    assert 80 <= len(asked) <= 8 * 10 + 40
    invite_id, invitation = world.invite()
    assert world.handle(invite_id, invitation.message)


def test_budget_of_invites_is_full_again_after_months():
    world = World()
    for wait in (0, 600000000, 500000000, 300000000):
        for _ in range(2):  # half a period at once is more than ticks_add of the chip takes
            world.now = ticks_add(world.now, wait // 2)
        invite_id, invitation = world.invite()
        responder = world.handle(invite_id, invitation.message)
        assert responder, wait
        world.finish(responder, invite.NOT_ALLOWED)


def test_number_of_handshakes_at_once_is_limited():
    world = World()
    results = []
    for _ in range(4):
        invite_id, invitation = world.invite()
        results.append(world.handle(invite_id, invitation.message))
    assert [result is not None for result in results] == [True, True, False, False]


def test_handshake_that_the_shell_never_finished_is_forgotten():
    world = World()
    first, invitation = world.invite()
    assert world.handle(first, invitation.message)
    second, other = world.invite()
    assert world.handle(second, other.message)
    world.now = ticks_add(world.now, 6000)
    third, last = world.invite()
    assert world.handle(third, last.message)
    assert world.handle(first, invitation.message)


def test_repetition_of_an_invite_that_broke_off_is_a_new_one():
    world = World()
    first, invitation = world.invite()
    responder = world.handle(first, invitation.message)
    answer.abandon(world.device, responder)
    answer.abandon(world.device, responder)
    again = world.handle(first, invitation.message)
    assert again
    message, session = world.finish(again)
    answer.abandon(world.device, again)
    assert session and world.handle(first, invitation.message) == message


def test_too_many_sessions_is_said_and_silent_ones_make_room():
    world = World((1, 4096, 1024, 1200, 30, 6))
    world.connect()
    invite_id, invitation = world.invite()
    answer, session = world.finish(world.handle(invite_id, invitation.message))
    assert session is None
    error = raises(RemoteError, world.client.start, invitation, answer, world.now)
    assert error.code == invite.TOO_MANY_SESSIONS
    world.drop = True
    world.run(4000)
    world.client.sessions.clear()
    assert world.connect()[1]
    assert len(world.device.sessions) == 1
    assert events(world.device)[0][1][1] == 10


def test_session_that_only_repeats_its_close_makes_room_and_its_end_is_told():
    world = World((1, 4096, 1024, 1200, 30, 6))
    session = world.connect()[1]
    world.run(1000)
    world.drop = True
    session.abort(8, "going home")
    world.run(1)  # the CLOSE is out, and lost
    assert not session.is_closed and world.device.sessions == [session]
    world.drop = False
    world.client.sessions.clear()
    assert world.connect()[1]
    assert len(world.device.sessions) == 1 and session not in world.device.sessions
    assert (session, (7, 8, "going home")) in events(world.device)


def test_invites_of_one_attempt_make_one_session():
    world = World((2, 4096, 1024, 1200, 30, 6))
    world.peer += (777,)
    first, other, late = world.invite(), world.invite(), world.invite()
    message, _ = world.finish(world.handle(first[0], first[1].message))
    assert world.handle(other[0], other[1].message) is None  # the answer may be on its way
    assert world.client.start(first[1], message, world.now)
    world.run(3000)
    assert world.handle(late[0], late[1].message) is None  # the session is in use
    assert len(world.device.sessions) == 1 and world.device.ephemeral


def test_session_whose_answer_was_lost_makes_way_for_the_next_invite_of_its_attempt():
    world = World()
    world.peer += (777,)
    first, other = world.invite(), world.invite()
    lost = world.finish(world.handle(first[0], first[1].message))[1]
    world.drop = True
    world.run(2100)
    responder = world.handle(other[0], other[1].message)
    assert responder and lost not in world.device.sessions
    assert world.finish(responder)[1] and len(world.device.sessions) == 1


def test_attempts_of_one_client_have_a_session_each():
    world = World()
    world.connect()
    world.connect()
    assert len(world.device.sessions) == 2


def test_refusal_is_told_to_the_client():
    world = World()
    invite_id, invitation = world.invite()
    answer, session = world.finish(world.handle(invite_id, invitation.message), invite.OUT_OF_MEMORY)
    assert session is None
    assert raises(RemoteError, world.client.start, invitation, answer, world.now).code == invite.OUT_OF_MEMORY
    assert not world.device.sessions


def test_session_that_nothing_came_through_ends_after_10_s():
    world = World()
    world.connect()
    world.drop = True
    world.run(9000)
    assert world.device.sessions and not events(world.device)
    world.run(12000)
    assert events(world.device)[0][1][1] == 10
    assert not world.device.sessions


def test_timers_are_not_looked_through_before_the_time_that_they_told():
    world = World()
    world.connect()
    device = world.device
    session = device.sessions[0]
    asked = []
    real = session.timer
    session.timer = lambda: asked.append(1) or real()
    told = device.timer()
    asked.clear()
    device.handle_timer(ticks_add(told, -1))
    assert not asked
    device.handle_timer(ticks_add(told, -1))  # what was told is used once: something may have changed since
    assert asked


def test_forged_answer_leaves_room_for_the_real_one():
    world = World()
    invite_id, invitation = world.invite()
    answer, _ = world.finish(world.handle(invite_id, invitation.message))
    raises(ProtocolError, world.client.start, invitation, answer[:-1] + b"\0", world.now)
    assert not world.client.sessions
    assert world.client.start(invitation, answer, world.now)


def test_signalling_and_stun_are_left_to_the_owner():
    world = World()
    for first in (0x00, 0x01, 0x80, 0x92, 0xA0, 0xBF, 0xC1, 0xFF):
        assert not world.device.receive_datagram(bytearray((first,)) + bytes(60), 61, CLIENT, world.now)
    assert not world.device.receive_datagram(bytearray(10), 0, CLIENT, world.now)
    assert world.device.dropped == 0


def test_foreign_packets_of_every_size_are_dropped():
    world = World()
    _, theirs = world.connect()
    for first in (0x40, 0x7F, 0xC0, 0xA1):
        for size in range(1, 100):
            data = bytearray((first,)) + bytes(theirs.connection_id) + bytes(100)
            assert world.device.receive_datagram(data, size, CLIENT, world.now)
    assert world.device.dropped == 4 * 99
    assert len(theirs.paths.all) == 1


def check_mode(allow, sent, used):
    world = World()
    world.client.candidates = [(HOST, ("192.168.1.2", 1)), (SRFLX, CLIENT)]
    world.device.candidates = [(HOST, ("192.168.1.3", 1)), (SRFLX, DEVICE)]
    invite_id, invitation = world.invite(relays=[(1, SERVER, TAG, b"c" * 16, b"d" * 16, bytes(96))], allow=allow)
    responder = world.handle(invite_id, invitation.message)
    assert [candidate[0] for candidate in responder.peer.candidates] == sent
    session = world.client.start(invitation, world.finish(responder)[0], world.now)
    assert [path.kind for path in session.paths.all] == used
    assert len(world.client.relays_of(session)) == (RELAY in used)


def test_mode_all_uses_every_kind():
    check_mode(connect.ALL, [HOST, SRFLX, RELAY], [HOST, SRFLX, RELAY])


def test_mode_lan_only_uses_host_candidates():
    check_mode(connect.LAN_ONLY, [HOST], [HOST])


def test_mode_direct_only_uses_no_relay():
    check_mode(connect.DIRECT_ONLY, [HOST, SRFLX], [HOST, SRFLX])


def test_mode_relay_only_tells_no_address():
    check_mode(connect.RELAY_ONLY, [RELAY], [RELAY])


def test_both_ends_join_the_relay_with_their_own_keys():
    world = World()
    ours, theirs = world.connect(relays=[(1, SERVER, TAG, b"c" * 16, b"d" * 16, bytes(96))])
    for side, member in ((0, world.client), (1, world.device)):
        size = member.write_datagram(world.buf, world.now)
        assert member.send_addr == SERVER and member.send_start == 0
        assert bytes(world.buf[:12]) == unhex("a0010103") + TAG + bytes((side,))
        assert size == 12 + 4 + 1 + 96 + 16
    world.run(100)
    assert (0xC0, SERVER) in world.log and (0x40, DEVICE) in world.log


def test_sessions_take_turns():
    world = World()
    pairs = [world.connect() for _ in range(2)]
    world.run()
    for ours, _ in pairs:
        assert ours.send_datagram(0, bytes(900)) and ours.send_datagram(0, bytes(900))
    order = []
    while world.client.write_datagram(world.buf, world.now):
        order.append(bytes(world.buf[9:12]))
    ids = [theirs.connection_id for _, theirs in pairs]
    assert order[:4] in ([ids[0], ids[1]] * 2, [ids[1], ids[0]] * 2)


def test_change_of_address_joins_and_challenges_anew():
    world = World()
    world.connect(relays=[(1, SERVER, TAG, b"c" * 16, b"d" * 16, bytes(96))])
    world.run(1000)
    world.log.clear()
    world.device.on_address_change(world.now)
    world.run(1)
    assert (0xA0, SERVER) in world.log and (0xC0, SERVER) in world.log and (0x40, CLIENT) in world.log

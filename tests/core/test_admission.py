"""What does not fit is refused before anything is hurt: sessions, channels; what is there is shared."""

from endpoint_world import SERVER, TAG, World, events
from helpers import raises

from upeer import endpoint
from upeer.base.errors import RemoteError
from upeer.crypto import x25519
from upeer.handshake import answer, invite


def test_sessions_of_a_small_device_share_its_memory():
    world = World((2, 8424, 64, 1200, 30, 6))
    ours, theirs = world.connect()
    assert (theirs.data_window, theirs.pool.share, ours._peer_limit) == (8424, 13, 8424)
    second, other = world.connect()
    assert [(session.data_window, session.pool.share) for session in (theirs, other)] == [(2369, 4)] * 2
    assert (second._peer_limit, other.data_limit, theirs.data_limit) == (2369, 2369, 8424)  # a promise is kept
    assert theirs.pool.block_size == other.pool.block_size and theirs.pool.free is other.pool.free
    world.run()
    second.close()
    world.run(3000)
    events(world.device)
    assert (theirs.data_window, theirs.pool.share, theirs.pool.left) == (8424, 13, 13)


def test_session_that_does_not_fit_is_refused_before_it_is_made():
    world = World()
    asked = []
    world.device.admit = lambda size: asked.append(size)
    invite_id, invitation = world.invite()
    message, session = world.finish(world.handle(invite_id, invitation.message))
    assert session is None and asked[0] >= 4096 and not world.device.sessions
    assert raises(RemoteError, world.client.start, invitation, message, world.now).code == invite.OUT_OF_MEMORY


def test_session_at_its_end_gives_its_memory_to_the_next_one():
    world = World((3, 4096, 1024, 1200, 30, 6))
    _, first = world.connect()
    _, ending = world.connect()
    world.drop = True
    ending.abort(8, "bye")
    world.run(100)
    assert ending.is_ending() and ending in world.device.sessions
    asked = []

    def admit(size):
        asked.append(size)
        return ending not in world.device.over + world.device.sessions

    world.device.admit = admit
    invite_id, invitation = world.invite()
    responder = world.handle(invite_id, invitation.message)
    shared = x25519.shared_secret(responder.private, responder.peer_public)
    steps = answer.finish_steps(world.device, responder, shared, 0, world.now)
    assert next(steps) is None and asked == [8192]
    assert events(world.device)[-1][0] is ending  # as the shell does between the steps
    session = list(steps)[-1][1]
    assert world.device.sessions == [first, session] and asked == [8192] * 2


def test_session_that_lives_makes_no_room_for_the_next_one():
    world = World()
    _, first = world.connect()
    world.run(100)
    world.device.admit = lambda size: False
    invite_id, invitation = world.invite()
    assert world.finish(world.handle(invite_id, invitation.message))[1] is None
    assert world.device.sessions == [first] and not world.device.opening


def test_channel_that_does_not_fit_is_reset_and_the_session_lives():
    world = World((2, 8424, 64, 1200, 30, 6))
    ours, theirs = world.connect()
    theirs.admit = lambda size: size < 100
    stream = ours.stream(3)
    stream.write(bytes(5000))
    world.run(500)
    assert (stream.stopped_code, stream.reset_code) == (7, 7)
    assert not theirs._channels[3].incoming._blocks and not theirs.pool.free
    raises(MemoryError, theirs.stream, 4)
    theirs.admit = None
    ours.stream(4).write(b"this one fits")
    world.run(500)
    assert theirs.stream(4).read(99) == b"this one fits" and theirs.is_open


def test_memory_error_while_a_session_is_made_leaves_none():
    world = World()
    paths = endpoint.Paths

    def fail(*args):
        found = paths(*args)
        found.add = no_memory
        return found

    def no_memory(*_):
        raise MemoryError

    endpoint.Paths = fail
    try:
        invite_id, invitation = world.invite(relays=[(1, SERVER, TAG, b"c" * 16, b"d" * 16, bytes(96))])
        raises(MemoryError, world.finish, world.handle(invite_id, invitation.message))
    finally:
        endpoint.Paths = paths
    assert not world.device.sessions and not world.device._by_id and not world.device._relays
    assert world.device.timer() is None

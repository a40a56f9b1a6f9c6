"""A device's answer to an invite: a part of Endpoint that a board can drop (protocol, chapter 5.2)."""

from upeer.base.clock import ticks_diff
from upeer.base.compat import const
from upeer.base.errors import ProtocolError
from upeer.handshake.invite import OUT_OF_MEMORY, TOO_MANY_SESSIONS
from upeer.handshake.messages import Params, Responder
from upeer.session.paths import RELAY

_ANSWERS = const(8)  # invites whose answer is kept for repetitions
_HANDSHAKES = const(2)  # under way at a time
_FORGOTTEN_MS = const(5000)  # a handshake that the shell never finished
_SESSION_SIZE = const(8192)  # what a session takes with its paths and a packet's worth of blocks
_ACCEPT_MS = const(1000)  # of the budget of invites
_NO_PATH = const(10)  # code of a session's end
_REPLACED_MS = const(8000)  # before a session that nothing came through is given up, it makes room for others


def make_params(endpoint, candidates) -> Params:
    """Return our transport parameters."""
    limits = endpoint.limits
    params = Params(endpoint.new_id(), endpoint.window(len(endpoint.sessions) + 1), limits[2], limits[4])
    params.max_datagram = limits[3]
    params.max_burst = limits[5]
    params.candidates = list(candidates)
    return params


def respond(endpoint, invite: tuple, find, now: int):
    """Return a Responder, or None: see Endpoint.handle_invite. invite: (invite_id, message, source)."""
    answers = endpoint.answers
    under_way = 0
    for known in list(answers):
        if known[1] is None:
            under_way += 1
            if ticks_diff(now, known[2]) > _FORGOTTEN_MS:
                answers.remove(known)
                under_way -= 1
    pair = find() if under_way < _HANDSHAKES else None
    if pair is None:
        return None
    try:
        responder = Responder(pair[0], pair[1], endpoint.ephemeral, invite[1])
    except ProtocolError:
        endpoint.dropped += 1
        return None
    number = responder.peer.connection_id
    if _has_session(endpoint, number, pair[3], now) or not endpoint.may_spend(invite[2], _ACCEPT_MS, now):
        return None
    endpoint.ephemeral = None
    responder.key_id = pair[2]
    responder.user = pair[3]
    responder.known = [invite[0], None, now, number, 0]
    if len(answers) >= _ANSWERS:
        answers.pop(0)
    answers.append(responder.known)
    return responder


def _has_session(endpoint, number: int, user, now: int) -> bool:
    """Tell whether the client has a session out of the same attempt: its invite came another way before.

    One that nothing came through for a while is dropped: its answer was lost.
    """
    for known in endpoint.answers:
        if known[3] == number:
            for session in endpoint.sessions:
                if session.number == known[4] and session.user == user:
                    return not _drop_silent(endpoint, session, now)
    return False


def _has_room(endpoint, now: int) -> bool:
    """Return whether one more session may come, if need be in place of one that is none any more."""
    return len(endpoint.sessions) + endpoint.opening < endpoint.limits[0] or _make_room(endpoint, now)


def _make_room(endpoint, now: int) -> bool:
    """Drop a session that nothing came through, or that is at its end; return whether there was one."""
    for session in endpoint.sessions:
        if session.is_ending():
            _drop(endpoint, session)
            return True
        if _drop_silent(endpoint, session, now):
            return True
    return False


def _drop_silent(endpoint, session, now: int) -> bool:
    """Drop a session that nothing came through since 2 s; return whether it was one."""
    if session.paths.changes or ticks_diff(session.give_up, now) >= _REPLACED_MS:
        return False
    session.abort(_NO_PATH, "no path")
    _drop(endpoint, session)
    return True


def _drop(endpoint, session) -> None:
    """Forget a session before its time; its last events are still told."""
    endpoint.forget(session)
    endpoint.over.append(session)


def _admit(endpoint) -> bool:
    return not endpoint.admit or endpoint.admit(_SESSION_SIZE)


def finish(endpoint, responder, shared: bytes, status: int, now: int) -> tuple:
    """Return (message 2, session or None): see Endpoint.finish_invite."""
    return list(finish_steps(endpoint, responder, shared, status, now))[-1]


def finish_steps(endpoint, responder, shared: bytes, status: int, now: int):
    """Do the same in steps between which a shell lets others work: yield None after each, the result at last."""
    if not status and not _has_room(endpoint, now):
        status = TOO_MANY_SESSIONS
    is_opening = not status
    endpoint.opening += is_opening
    try:
        if is_opening and not _admit(endpoint):
            status = OUT_OF_MEMORY
            if _make_room(endpoint, now):
                yield None  # its memory comes back once its last events are told
                status = 0 if _admit(endpoint) else OUT_OF_MEMORY
        if not status:
            yield None  # the shell collects garbage before what was admitted is taken
        params = make_params(endpoint, () if status else endpoint.candidates)
        params.status = status
        answer = responder.answer(params, shared)
        yield None
        responder.make_keys()
        yield None
        session = None
        if not status:
            relays = [candidate for candidate in responder.peer.candidates if candidate[0] == RELAY]
            session = endpoint.add_session(responder, relays, now)
            responder.known[4] = session.number
    finally:
        endpoint.opening -= is_opening
    yield answer, session
    responder.known[1] = answer  # only now: if the shell had no memory for the session, a repetition is a new invite


def abandon(endpoint, responder) -> None:
    """Forget an invite whose handshake broke off here: its repetition is a new one."""
    if responder.known[1] is None and responder.known in endpoint.answers:
        endpoint.answers.remove(responder.known)

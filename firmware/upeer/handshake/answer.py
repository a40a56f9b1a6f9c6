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
    if not endpoint.may_spend(invite[2], _ACCEPT_MS, now):
        return None
    endpoint.ephemeral = None
    responder.key_id = pair[2]
    responder.user = pair[3]
    responder.known = [invite[0], None, now]
    if len(answers) >= _ANSWERS:
        answers.pop(0)
    answers.append(responder.known)
    return responder


def finish(endpoint, responder, shared: bytes, status: int, now: int) -> tuple:
    """Return (message 2, session or None): see Endpoint.finish_invite."""
    return list(finish_steps(endpoint, responder, shared, status, now))[-1]


def finish_steps(endpoint, responder, shared: bytes, status: int, now: int):
    """Do the same in steps between which a shell lets others work: yield None after each, the result at last."""
    if not status and not endpoint.has_room(now):
        status = TOO_MANY_SESSIONS
    if not status and endpoint.admit and not endpoint.admit(_SESSION_SIZE):
        status = OUT_OF_MEMORY
    params = make_params(endpoint, () if status else endpoint.candidates)
    params.status = status
    endpoint.opening += not status
    try:
        answer = responder.answer(params, shared)
        yield None
        responder.make_keys()
        yield None
        session = None
        if not status:
            relays = [candidate for candidate in responder.peer.candidates if candidate[0] == RELAY]
            session = endpoint.add_session(responder, relays, now)
    finally:
        endpoint.opening -= not status
    yield answer, session
    responder.known[1] = answer  # only now: if the shell had no memory for the session, a repetition is a new invite


def abandon(endpoint, responder) -> None:
    """Forget an invite whose handshake broke off here: its repetition is a new one."""
    if responder.known[1] is None and responder.known in endpoint.answers:
        endpoint.answers.remove(responder.known)

"""A client's end of what `invite`, `lan` and `endpoint` do for a device (protocol, 5.2 and 5.3). No board loads it."""

from upeer.base.compat import const
from upeer.base.errors import LocalError, ProtocolError, RemoteError
from upeer.base.wire import LAN_ANSWER, LAN_INVITE, Reader, header
from upeer.crypto.aead import Hmac
from upeer.crypto.noise import NNPSK0, Noise
from upeer.crypto.x25519 import key_pair
from upeer.endpoint import Endpoint
from upeer.handshake.answer import make_params
from upeer.handshake.invite import prologue
from upeer.handshake.messages import Handshake, Params, parse_params
from upeer.session.paths import RELAY

ALL = const(15)
LAN_ONLY = const(1)
DIRECT_ONLY = const(7)
RELAY_ONLY = const(8)

_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no I, L, O, U
_CODE_DIGITS = const(16)


def parse_setup_code(text: str) -> bytes:
    """Return the 10 bytes of a printed setup code, in any case, with or without dashes; LocalError if it is none."""
    number = count = 0
    for letter in text.upper():
        if letter in "- ":
            continue
        digit = _BASE32.find({"O": "0", "I": "1", "L": "1"}.get(letter, letter))
        if digit < 0:
            raise LocalError("setup codes have no letter " + letter)
        number = number << 5 | digit
        count += 1
    if count != _CODE_DIGITS:
        raise LocalError("setup codes have 16 letters and digits, this one %d" % count)
    return number.to_bytes(10, "big")


def encode_lan_invite(key_id: int, invite_id: bytes, key: bytes, message: bytes) -> bytes:
    """Return a LAN_INVITE: 28 bytes and the handshake message. key: LAN key."""
    start = header(LAN_INVITE, key_id, 0) + invite_id
    return start + Hmac(key).tag(start, message) + message


def parse_lan_answer(data: bytes) -> tuple:
    """Return (key_id, invite_id, handshake message) of a LAN_ANSWER; ProtocolError."""
    reader = Reader(data)
    key_id, role = reader.header(LAN_ANSWER)
    if role:
        raise ProtocolError("no LAN_ANSWER")
    return key_id, reader.bytes(8), reader.rest()


class Initiator(Handshake):
    """The client's end. `message` is handshake message 1."""

    is_client = True

    def __init__(self, psk: bytes, binding: bytes, ephemeral: tuple, params: Params):
        super().__init__()
        self.params = params
        self._start = psk, binding, ephemeral
        self.message = self._write_message()[1]

    def read_answer(self, message: bytes) -> None:
        """Take handshake message 2; ProtocolError if it is not right, then another one may come. See peer.status."""
        noise, _ = self._write_message()
        self.peer = parse_params(noise.read_message(message))
        self._finish(noise)

    def _write_message(self) -> tuple:
        psk, binding, ephemeral = self._start
        noise = Noise(NNPSK0, True, psk, binding, ephemeral=ephemeral)
        return noise, noise.write_message(self.params.encode())


class Invitation(Initiator):
    """One try to reach a device: `message` goes into an INVITE or a LAN_INVITE, the answer's message to start()."""

    def __init__(self, psk: bytes, binding: bytes, params: Params, random_bytes):
        super().__init__(psk, binding, key_pair(random_bytes), params)
        self.relays = []


class ClientEndpoint(Endpoint):
    """The sessions of a client."""

    def __init__(self, limits: tuple, random_bytes, now: int):
        super().__init__(True, limits, random_bytes, now)

    def invite(self, key_id: int, invite_id: bytes, peer: tuple, relays=(), allow: int = ALL) -> Invitation:
        """Return an invitation. peer: (psk, did, client_id); relays: those of an Answer; allow: connect mode.

        When the same attempt has several invitations, peer has a connection_id for all of them as its fourth.
        """
        psk, did, client_id = peer[:3]
        params = make_params(self, [candidate for candidate in self.candidates if allow >> candidate[0] & 1])
        params.connection_id = peer[3] if len(peer) > 3 else params.connection_id
        ours = []
        if allow >> RELAY & 1:
            for _, address, tag, client_key, device_key, ticket in relays:
                params.candidates.append((RELAY, address, tag, device_key, ticket))
                ours.append((RELAY, address, tag, client_key, ticket))
        invitation = Invitation(psk, prologue(key_id, invite_id, did, client_id), params, self.random_bytes)
        invitation.key_id, invitation.allow, invitation.relays = key_id, allow, ours
        return invitation

    def start(self, invitation: Invitation, message: bytes, now: int):
        """Return the session that the device's handshake message makes.

        ProtocolError when the message is not right (another may still come), RemoteError with the status when the
        device said no.
        """
        invitation.read_answer(message)
        if invitation.peer.status:
            raise RemoteError(invitation.peer.status, "the device accepts no session")
        session = self.add_session(invitation, invitation.relays, now)
        session.candidates = invitation.peer.candidates
        return session

    @staticmethod
    def allow(session, kinds: int) -> None:
        """Let a session use these kinds of path from now on, a bit mask as for invite; a narrow session grows wider."""
        paths = session.paths
        paths.allow = kinds
        for candidate in session.candidates:
            if candidate[0] != RELAY:
                paths.add(candidate[0], candidate[1])

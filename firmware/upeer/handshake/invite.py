"""Keys that follow from a pair key, and what a handshake is bound to (protocol, chapters 2, 5.2 and 5.4).

The handshake itself is in `handshake`, who answers it in `answer`, who begins it in `connect`.
"""

from upeer.base.compat import const
from upeer.base.wire import u32
from upeer.crypto.aead import derive

ACCEPTED = const(0)
TOO_MANY_SESSIONS = const(1)
OUT_OF_MEMORY = const(2)
NOT_ALLOWED = const(3)

SETUP_CLIENT_ID = b"setup\0\0\0"


def setup_key(setup_code: bytes, did: str) -> bytes:
    """Return the key of a setup code, given as its 10 bytes."""
    return derive(setup_code + bytes(6), b"setup", did.encode())


def pair_key(exporter: bytes, did: str, client_id: bytes) -> bytes:
    """Return what both ends of a setup session make their pair key."""
    return derive(exporter, b"pair", did.encode(), client_id)


def lookup_token(key: bytes, epoch: int) -> bytes:
    """Return the 16 bytes by which the holder of a pair key or setup key is found in that week."""
    return derive(key, b"lookup", u32(epoch), size=16)


def lan_key(key: bytes) -> bytes:
    """Return the key that tags invites in the local network, from a pair key or setup key."""
    return derive(key, b"lan")


def session_psk(key: bytes, p2p_key: bytes) -> bytes:
    """Return the handshake's psk, from a pair key or setup key and P2PKey."""
    return derive(key, b"psk", p2p_key)


def prologue(key_id: int, invite_id: bytes, did: str, client_id: bytes) -> bytes:
    """Return what both ends bind their handshake to."""
    return b"upeer session 1" + bytes((key_id,)) + invite_id + did.encode() + client_id

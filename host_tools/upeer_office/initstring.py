"""Seals InitStrings, the lists of masters that devices and clients carry (protocol, chapter 2)."""

import secrets
from collections.abc import Sequence
from struct import pack

from upeer.crypto.aead import Aead
from upeer.signalling.initstring import VERSION, encode_text, init_string_key
from upeer_server.config import Generation

Master = tuple[int, str, int, bytes]


def seal_init_string(kind: str, keys: Generation, masters: Sequence[Master], salt: bytes | None = None) -> str:
    """Return the InitString of a kind, "device" or "client", for masters given as (id, host, port, static public key).

    salt is 16 random bytes; give it for test vectors only.
    """
    plaintext = pack("BB", VERSION, len(masters))
    for master_id, host, port, static_public in masters:
        name = host.encode("ascii")
        plaintext += pack("BB", master_id, len(name)) + name + pack(">H", port)
        plaintext += static_public if kind == "client" else b""
    salt = salt or secrets.token_bytes(16)
    header = bytes([keys.key_id]) + salt
    aead = Aead(init_string_key(kind, keys.crc_key, keys.p2p_key))
    return encode_text(header + aead.seal(int.from_bytes(salt, "big"), plaintext, header))

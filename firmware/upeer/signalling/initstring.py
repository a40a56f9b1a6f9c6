"""Opens InitStrings, the sealed lists of masters (protocol, chapter 2); devices and clients call it once at the start.

Text: base64url, no padding, of key_id (8 bits) | salt (128) | sealed; associated data key_id | salt. Opened:
    version (8 bits, 1) | count (8), then per master id (8) | host length (8) | host | port (16) | for clients
    its static public key (256)
"""

from binascii import a2b_base64, b2a_base64

from upeer.base.compat import const
from upeer.base.errors import CryptoError, ProtocolError
from upeer.crypto.aead import Aead, check_key, derive

VERSION = const(1)
HEADER_SIZE = const(17)
_MAX_TEXT = const(1500)


def init_string_key(kind: str, crc_key, p2p_key) -> bytes:
    """Return the key (32 bytes) that seals InitStrings of a kind, "device" or "client"; clients have no CRCKey."""
    check_key(p2p_key)
    if kind == "client":
        return derive(p2p_key, b"initstring client")
    check_key(crc_key)
    return derive(bytes(crc_key) + bytes(p2p_key), b"initstring device")


def open_init_string(text: str, kind: str, crc_key, p2p_key) -> list:
    """Return [(id, host, port)] for a device, [(id, host, port, static_public)] for a client.

    Any mistake in a key or in the text raises the same CryptoError.
    """
    try:
        if len(text) > _MAX_TEXT:
            raise ValueError
        data = _decode(text)
        sealed = Aead(init_string_key(kind, crc_key, p2p_key))
        return _parse(sealed.open(data[HEADER_SIZE:], data[:HEADER_SIZE]), 32 if kind == "client" else 0)
    except (ProtocolError, ValueError, IndexError, TypeError):
        pass
    raise CryptoError("InitString does not open: wrong key or damaged text")


def encode_text(data) -> str:
    """Return the base64url text without padding that stands for data."""
    text = b2a_base64(data).decode().strip().rstrip("=")
    return text.replace("+", "-").replace("/", "_")


def _decode(text: str) -> bytes:
    plain = text.replace("-", "+").replace("_", "/")
    data = a2b_base64((plain + "=" * (-len(plain) % 4)).encode())
    if encode_text(data) != text:  # decoders forgive much; one list has one text
        raise ValueError
    return data


def _parse(data, key_size: int) -> list:
    masters = []
    if data[0] != VERSION or not data[1]:
        raise ValueError
    offset = 2
    for _ in range(data[1]):
        host_end = offset + 2 + data[offset + 1]
        end = host_end + 2 + key_size
        if end > len(data) or not data[offset]:
            raise ValueError
        host = bytes(data[offset + 2 : host_end]).decode()
        port = data[host_end] << 8 | data[host_end + 1]
        if not host or not port:
            raise ValueError
        entry = (data[offset], host, port)
        masters.append(entry + (bytes(data[host_end + 2 : end]),) if key_size else entry)
        offset = end
    if offset != len(data):
        raise ValueError
    return masters

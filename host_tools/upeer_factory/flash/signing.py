"""RSA-3072 signatures of images, in the form that the chips' Secure Boot V2 checks (and espsecure reads).

The image is filled with FF to 4096 bytes; then a sector of 4096 bytes with one block of 1216 bytes, little-endian:
    E7 | 02 | 0 (16) | SHA-256 of the filled image (256) | n (3072) | e (32) | R^2 mod n (3072) | -1/n mod 2^32 (32) |
    RSASSA-PSS signature, salt of 32 bytes (3072) | CRC-32 of the 1196 bytes before (32) | 0 (128)
The private key is made and used away from the line, in a file of its owner's alone, under a passphrase.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
import zlib
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

SECTOR = 4096
KEY_BITS = 3072
BLOCK_SIZE = 1216
_BLOCK = struct.Struct("<BBxx32s384sI384sI384sI16x")
_MAGIC, _VERSION = 0xE7, 2
_KEY_BYTES = KEY_BITS // 8
_CRC_AT = 1196
_MIN_PASSPHRASE = 12


def generate_key(path: Path, passphrase: str) -> bytes:
    """Make a signing key at `path` (0600, encrypted) and `path`.pub.pem; return the public key in PEM."""
    if len(passphrase) < _MIN_PASSPHRASE:
        raise ValueError(f"a passphrase has {_MIN_PASSPHRASE} characters or more")
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    encryption = serialization.BestAvailableEncryption(passphrase.encode())
    data = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    _write_new(path, data, 0o600)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    _write_new(path.with_name(path.name + ".pub.pem"), public, 0o644)
    return public


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not exist yet, durable before anybody counts on it."""
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def load_key(path: Path, passphrase: str) -> rsa.RSAPrivateKey:
    """Return the signing key; ValueError when the passphrase is wrong or others may read the file."""
    if path.stat().st_mode & 0o077:
        raise ValueError(f"others may read {path}: chmod 600 it, and think about making a new key")
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), passphrase.encode())
    except TypeError:
        raise ValueError(f"{path} is not encrypted: make a key with 'upeer sign key'") from None
    except ValueError:
        raise ValueError(f"wrong passphrase, or {path} is no key") from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size != KEY_BITS:
        raise ValueError(f"{path} is no RSA-{KEY_BITS} key")
    return key


def load_public_key(pem: bytes) -> rsa.RSAPublicKey:
    """Return the public key in a PEM text; a private key is refused, for it has no business where one verifies."""
    if b"PRIVATE KEY" in pem:
        raise ValueError("this is a private key: it must not be here; give the .pub.pem file")
    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError:
        raise ValueError("no public key in PEM") from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != KEY_BITS:
        raise ValueError(f"no RSA-{KEY_BITS} public key")
    return key


def sign(data: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """Return the image, filled to 4096 bytes, with its signature sector; an image that is signed gets a new one."""
    image = bytes(_unsigned(data))
    image += b"\xff" * (-len(image) % SECTOR)
    digest = hashlib.sha256(image).digest()
    signature = key.sign(digest, _pss(), utils.Prehashed(hashes.SHA256()))
    numbers = key.public_key().public_numbers()
    block = _BLOCK.pack(_MAGIC, _VERSION, digest, *_key_fields(numbers), signature[::-1], 0)
    block = block[:_CRC_AT] + struct.pack("<I", zlib.crc32(block[:_CRC_AT])) + bytes(16)
    return image + block.ljust(SECTOR, b"\xff")


def _key_fields(numbers: rsa.RSAPublicNumbers) -> tuple[bytes, int, bytes, int]:
    """Return n, e and the two constants of Montgomery's multiplication, as the boot ROM wants them."""
    n = numbers.n
    return (
        n.to_bytes(_KEY_BYTES, "little"),
        numbers.e,
        pow(2, 2 * KEY_BITS, n).to_bytes(_KEY_BYTES, "little"),
        -pow(n, -1, 1 << 32) % (1 << 32),
    )


def _pss() -> padding.PSS:
    return padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)


def _unsigned(data: bytes) -> bytes:
    return data[:-SECTOR] if is_signed(data) else data


def is_signed(data: bytes) -> bool:
    """Tell whether the last sector looks like a signature; nothing is verified."""
    sector = data[-SECTOR:]
    return len(data) > SECTOR and len(data) % SECTOR == 0 and sector[:4] == bytes((_MAGIC, _VERSION, 0, 0))


def verify(data: bytes, pem: bytes) -> str:
    """Verify a signed image by a public key and return the key's fingerprint; ValueError says what is wrong."""
    key = load_public_key(pem)
    if not is_signed(data):
        raise ValueError("it is not signed")
    image, block = data[:-SECTOR], data[-SECTOR:][:BLOCK_SIZE]
    _, _, digest, *fields, signature, crc = _BLOCK.unpack(block)
    if crc != zlib.crc32(block[:_CRC_AT]):
        raise ValueError("its signature block is damaged")
    if tuple(fields) != _key_fields(key.public_numbers()):
        raise ValueError("it is signed by another key")
    if not hmac.compare_digest(digest, hashlib.sha256(image).digest()):
        raise ValueError("it was changed after it was signed")
    try:
        key.verify(signature[::-1], digest, _pss(), utils.Prehashed(hashes.SHA256()))
    except InvalidSignature:
        raise ValueError("its signature is wrong") from None
    return fingerprint(pem)


def signed_part(data: bytes, size: int) -> bytes:
    """Return the image of `size` bytes at the start of `data` with the signature sector that follows it."""
    end = -(-size // SECTOR) * SECTOR
    part = data[: end + SECTOR]
    if not is_signed(part):
        raise ValueError("bootloader or app is not signed: sign both with 'upeer sign image', or drop [signature]")
    return part


def fingerprint(pem: bytes) -> str:
    """Return the digest of a public key as the chips' eFuses hold it, in hex."""
    n, e, r, m = _key_fields(load_public_key(pem).public_numbers())
    return hashlib.sha256(n + struct.pack("<I", e) + r + struct.pack("<I", m)).hexdigest()

"""Names on paper: DIDs with check letters, licence codes, setup codes (protocol, chapter 2). The last alone is secret.

Letters come from an alphabet without I and O, which people take for digits.
"""

import hashlib
import re

from upeer.crypto.aead import derive
from upeer_office.errors import USAGE, OfficeError

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
LAST_SERIAL = 999_999
SETUP_CODE_SIZE = 10

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DID = re.compile(r"([A-Z]{4})-([0-9]{6})-([A-Z]{5})")
_ID = re.compile(r"(.{17}),([A-Z]{6})")
_CHECK_COUNT = 5
_CODE_COUNT = 6


def check_prefix(prefix: str) -> str:
    """Return a vendor prefix of four capital letters; OfficeError for anything else."""
    if re.fullmatch(r"[A-Z]{4}", prefix):
        return prefix
    raise OfficeError(f"{prefix!r} is no vendor prefix", "use four capital letters, such as ABCD", USAGE)


def make_did(prefix: str, serial: int) -> str:
    """Return the DID `ABCD-123456-GHKLM` of a prefix and a serial number up to 999999."""
    stem = f"{prefix}-{serial:06d}"
    return f"{stem}-{_letters(hashlib.sha256(stem.encode()).digest(), _CHECK_COUNT)}"


def parse_did(text: str) -> tuple[str, int]:
    """Return (prefix, serial) of a DID; OfficeError when it is malformed or its check letters do not fit."""
    match = _DID.fullmatch(text)
    if match and make_did(match[1], int(match[2])) == text:
        return match[1], int(match[2])
    raise OfficeError(
        f"{text[:40]!r} is no DID", "compare it with the label, letter by letter (ABCD-123456-GHKLM)", USAGE
    )


def licence_code(licence_key: bytes) -> str:
    """Return the six letters that let people check a licence key on paper; 27.5 bits, no credential."""
    return _letters(derive(licence_key, b"licence code"), _CODE_COUNT)


def make_id(did: str, code: str) -> str:
    """Return the ID form `ABCD-123456-GHKLM,PQRSTU`."""
    return f"{did},{code}"


def parse_id(text: str) -> tuple[str, str | None]:
    """Return (DID, licence code) of an ID form, (DID, None) of a bare DID; small letters and spaces around are fine."""
    text = text.strip().upper()
    match = _ID.fullmatch(text)
    did = match[1] if match else text
    parse_did(did)
    return did, match[2] if match else None


def encode_setup_code(code: bytes) -> str:
    """Return `XXXX-XXXX-XXXX-XXXX` (Crockford base 32) for the 10 bytes of a setup code."""
    number = int.from_bytes(code, "big")
    text = "".join(_CROCKFORD[number >> shift & 31] for shift in range(75, -1, -5))
    return "-".join(text[start : start + 4] for start in range(0, 16, 4))


def _letters(digest: bytes, count: int) -> str:
    number = int.from_bytes(digest[:16], "big")
    letters = ""
    for _ in range(count):
        number, index = divmod(number, len(LETTERS))
        letters += LETTERS[index]
    return letters

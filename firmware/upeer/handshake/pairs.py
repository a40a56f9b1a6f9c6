"""The clients a device is paired with (protocol, chapters 2 and 5.4), and the setup code that opens the first pairing.

Stored: one byte, whether pairing is open, then rows of
    client_id (64 bits) | role (8) | pair key (256) | size (8) | name
"""

from upeer.base.compat import const
from upeer.base.errors import LocalError
from upeer.base.wire import Reader, with_size
from upeer.crypto.aead import equal
from upeer.handshake.invite import SETUP_CLIENT_ID, lookup_token

OWNER = const(0)
USER = const(1)
GUEST = const(2)
SETUP = const(3)

_MAX_PAIRS = const(16)
_MAX_NAME = const(32)
_TOKEN_SIZE = const(16)
_ROW_TOKENS = const(48)


class Pairs:
    """Rows (client_id, role, pair key, name). `is_open` allows one more pairing by setup code."""

    def __init__(self, setup_key: bytes | None, saved: bytes | None = None):
        self.rows = []
        self.is_open = True
        self._setup = (SETUP_CLIENT_ID, SETUP, setup_key, b"") if setup_key else None
        if saved:
            self._load(Reader(saved))

    def _load(self, reader) -> None:
        self.is_open = bool(reader.u8())
        while reader.pos < reader.end:
            self.rows.append((reader.bytes(8), reader.u8(), reader.bytes(32), reader.bytes(reader.u8())))

    def save(self) -> bytes:
        """Return what the constructor takes back."""
        return bytes((self.is_open,)) + b"".join(
            [row[0] + bytes((row[1],)) + row[2] + with_size(row[3]) for row in self.rows]
        )

    def add(self, client_id: bytes, key: bytes, name: bytes) -> int:
        """Pair a client and return its role: the first is the owner. LocalError when there is no room, or not open."""
        others = [row for row in self.rows if row[0] != client_id]
        if not self.is_open or len(others) >= _MAX_PAIRS:
            raise LocalError("pairing is closed" if not self.is_open else "no room for another client")
        role = USER if others else OWNER
        self.rows = others
        self.rows.append((client_id, role, key, name[:_MAX_NAME]))
        self.is_open = False
        return role

    def open(self) -> None:
        """Let one more client pair by setup code."""
        self.is_open = True

    def remove(self, client_id: bytes) -> None:
        """Forget a client."""
        self.rows = [row for row in self.rows if row[0] != client_id]

    def tokens(self, epoch: int):
        """Yield the lookup tokens of each client that may come, 16 bytes for the epoch and for those around it."""
        for row in self.all():
            yield b"".join([lookup_token(row[2], epoch + offset) for offset in (-1, 0, 1)])

    def find(self, token: bytes, tokens: bytes) -> tuple | None:
        """Return the row whose token this is, None when there is none; `tokens`: what `tokens` gave, joined."""
        for number, row in enumerate(self.all()):
            for start in range(number * _ROW_TOKENS, (number + 1) * _ROW_TOKENS, _TOKEN_SIZE):
                if equal(tokens[start : start + _TOKEN_SIZE], token):
                    return row
        return None

    def all(self) -> list:
        """Return the rows of the clients that may come, with that of the setup code while pairing is open."""
        return self.rows + ([self._setup] if self._setup and self.is_open else [])

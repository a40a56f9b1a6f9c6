"""Noise handshakes (framework revision 34): NNpsk0 for sessions, NKpsk0 towards a peer whose static key is known.

25519, SHA256, and as cipher A128CBCHS256: ENCRYPT(k, n, ad, plaintext) = Aead(k).seal(n, plaintext, ad), 33 to 48 bytes
longer than the plaintext. A message is e (256 bits) | sealed payload. The psk goes first, so that a stranger's first
message fails before any curve work in NNpsk0. Both patterns have two messages, at most one curve operation in each, and
a new key, hence n = 0, for each payload.
"""

from upeer.base.errors import CryptoError, LocalError
from upeer.crypto.aead import Aead, check_key, derive, hkdf, sha256

# Protocol name; is the responder's static key known beforehand; tokens of the initiator's, of the responder's message.
NNPSK0 = (b"Noise_NNpsk0_25519_A128CBCHS256_SHA256", False, ("psk", "e"), ("e", "ee"))
NKPSK0 = (b"Noise_NKpsk0_25519_A128CBCHS256_SHA256", True, ("psk", "e", "es"), ("e", "ee"))


class Noise:
    """One side of a handshake; after a failure, and out of turn, its methods raise LocalError.

    `local_static` and `ephemeral` are (private, public) pairs, `remote_static` is a public key. An ephemeral pair
    serves one handshake only. `handshake_hash` identifies the handshake once both messages are through.
    """

    def __init__(self, pattern, is_initiator, psk, prologue, local_static=None, remote_static=None, ephemeral=None):
        check_key(psk)
        if len(psk) != 32 or not ephemeral:
            raise LocalError("handshake needs a psk of 32 bytes and an ephemeral key pair")
        if pattern[1] and not (remote_static if is_initiator else local_static):
            raise LocalError("handshake needs the responder's static key")
        self.peer_ephemeral = b""
        self._is_initiator = is_initiator
        self._psk = psk
        self._ephemeral = ephemeral
        self._static = local_static
        self._peer_static = remote_static
        self._messages = pattern[2:]
        self._started = 0  # messages; more than finished ones while one is under way, and for ever after a failure
        self._finished = 0
        self._key = None
        self._chaining_key = self.handshake_hash = sha256(pattern[0])
        self._mix_hash(prologue)
        if pattern[1]:
            self._mix_hash(remote_static if is_initiator else local_static[1])

    def write_message(self, payload, shared=None) -> bytes:
        """Return our message. `shared` is its Diffie-Hellman result, if the caller has made it already (`Ladder`)."""
        public = self._ephemeral[1]
        self._mix_tokens(self._is_initiator, public, shared)
        sealed = Aead(self._key).seal(0, payload, self.handshake_hash)
        self._finish(sealed)
        return public + sealed

    def read_message(self, message, shared=None) -> bytes:
        """Return the payload of the peer's message; CryptoError if that is not authentic.

        `shared` as in `write_message`; for it, the peer's ephemeral key is message[:32].
        """
        public = bytes(message[:32])
        sealed = bytes(message[32:])
        self._mix_tokens(not self._is_initiator, public, shared)
        payload = Aead(self._key).open(sealed, self.handshake_hash)
        self._finish(sealed)
        return payload

    def split(self) -> tuple:
        """Return the 32-byte keys (initiator to responder, responder to initiator)."""
        keys = hkdf(self._final_key(), b"", b"", 64)
        return keys[:32], keys[32:]

    def export(self, label: bytes) -> bytes:
        """Return a 32-byte secret for the purpose `label` that only the two ends of this handshake have."""
        return derive(self._final_key(), label)

    def _final_key(self) -> bytes:
        if self._finished < len(self._messages):
            raise LocalError("handshake not complete")
        return self._chaining_key

    def _mix_tokens(self, by_initiator: bool, public: bytes, shared) -> None:
        """Take the writer's ephemeral key and run the tokens of a message. Until `_finish` nothing else works."""
        index = self._finished
        if self._started != index or index != (0 if by_initiator else 1):
            raise LocalError("handshake message out of turn, or after a failure")
        self._started += 1
        if by_initiator != self._is_initiator:
            if len(public) < 32:
                raise CryptoError("handshake message too short")
            self.peer_ephemeral = public
        for token in self._messages[index]:
            if token == "psk":
                self._mix_hash(self._mix_key(self._psk, 96))
            elif token == "e":
                self._mix_hash(public)
                self._mix_key(public)
            else:
                secret = shared or self._agree(token)
                check_key(secret)
                self._mix_key(secret)

    def _agree(self, token: str) -> bytes:
        """Return the Diffie-Hellman result of "ee", or of "es" (initiator's ephemeral, responder's static key)."""
        from upeer.crypto.x25519 import shared_secret

        is_static = token == "es"
        ours = self._static if is_static and not self._is_initiator else self._ephemeral
        theirs = self._peer_static if is_static and self._is_initiator else self.peer_ephemeral
        return shared_secret(ours[0], theirs)

    def _mix_hash(self, data: bytes) -> None:
        self.handshake_hash = sha256(self.handshake_hash, data)

    def _mix_key(self, secret: bytes, size: int = 64) -> bytes:
        """Replace chaining key and cipher key; of MixKeyAndHash's three outputs (size 96) return the middle one."""
        output = hkdf(self._chaining_key, secret, b"", size)
        self._chaining_key = output[:32]
        self._key = output[-32:]
        return output[32:64]

    def _finish(self, sealed: bytes) -> None:
        self._mix_hash(sealed)
        self._finished += 1

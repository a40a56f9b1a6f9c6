"""Write noise.json: known answers for upeer.crypto.noise from an independent implementation.

The handshakes are those of the PyPI package noiseprotocol; the cipher A128CBCHS256 is written here from RFC 7518 5.2 on
top of `cryptography`. Nothing of upeer is imported. Run it again only to add cases.
"""

import hashlib
import hmac
import json
import warnings
from pathlib import Path

from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from noise.backends.default import DefaultNoiseBackend
from noise.backends.default.keypairs import KeyPair25519
from noise.connection import Keypair, NoiseConnection

CASES = (
    ("NNpsk0", b"", b"", b""),
    ("NNpsk0", b"prologue", b"first", bytes(range(200))),
    ("NNpsk0", bytes(64), bytes(600), b"."),
)
CASES += tuple(("NKpsk0", *case[1:]) for case in CASES)


class A128CbcHs256:
    """ENCRYPT and DECRYPT of the Noise framework; the IV is the nonce, in 16 bytes, encrypted with AES-128-ECB."""

    def initialize(self, key: bytes) -> None:
        self._mac_key, self._aes = key[:16], algorithms.AES(key[16:])

    def encrypt(self, k: bytes, n: int, ad: bytes, plaintext: bytes) -> bytes:
        self.initialize(k)
        ecb = Cipher(self._aes, modes.ECB()).encryptor()
        iv = ecb.update(n.to_bytes(16, "big")) + ecb.finalize()
        padder = padding.PKCS7(128).padder()
        cbc = Cipher(self._aes, modes.CBC(iv)).encryptor()
        ciphertext = cbc.update(padder.update(plaintext) + padder.finalize()) + cbc.finalize()
        return iv + ciphertext + self._tag(ad, iv, ciphertext)

    def decrypt(self, k: bytes, n: int, ad: bytes, ciphertext: bytes) -> bytes:
        self.initialize(k)
        iv, body, tag = ciphertext[:16], ciphertext[16:-16], ciphertext[-16:]
        if not hmac.compare_digest(tag, self._tag(ad, iv, body)):
            raise ValueError("tag does not match")
        cbc = Cipher(self._aes, modes.CBC(iv)).decryptor()
        unpadder = padding.PKCS7(128).unpadder()
        return unpadder.update(cbc.update(body) + cbc.finalize()) + unpadder.finalize()

    def _tag(self, ad: bytes, iv: bytes, ciphertext: bytes) -> bytes:
        text = ad + iv + ciphertext + (8 * len(ad)).to_bytes(8, "big")
        return hmac.new(self._mac_key, text, hashlib.sha256).digest()[:16]


class Backend(DefaultNoiseBackend):
    def __init__(self) -> None:
        super().__init__()
        self.ciphers["A128CBCHS256"] = A128CbcHs256


def secret(*words: object) -> bytes:
    """Return 32 bytes that depend on the words alone."""
    return hashlib.sha256(repr(words).encode()).digest()


def public_of(private: bytes) -> bytes:
    return KeyPair25519.from_private_bytes(private).public_bytes


def side(case: dict[str, bytes], name: bytes, is_initiator: bool) -> NoiseConnection:
    connection = NoiseConnection.from_name(name, backend=Backend())
    connection.set_psks(case["psk"])
    connection.set_prologue(case["prologue"])
    if is_initiator:
        connection.set_as_initiator()
        connection.set_keypair_from_private_bytes(Keypair.EPHEMERAL, case["initiator_ephemeral"])
        connection.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, public_of(case["responder_static"]))
    else:
        connection.set_as_responder()
        connection.set_keypair_from_private_bytes(Keypair.EPHEMERAL, case["responder_ephemeral"])
        connection.set_keypair_from_private_bytes(Keypair.STATIC, case["responder_static"])
    if b"_NN" in name:
        connection.noise_protocol.keypairs["rs"] = connection.noise_protocol.keypairs["s"] = None
    connection.start_handshake()
    return connection


def exporter(chaining_key: bytes, label: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=b"upeer 1", info=label).derive(chaining_key)


def answer(pattern: str, number: int, prologue: bytes, first: bytes, second: bytes) -> dict[str, str]:
    """Run one handshake and return its inputs and results in hex."""
    case = {
        key: secret(pattern, number, key)
        for key in ("psk", "initiator_ephemeral", "responder_ephemeral", "responder_static")
    }
    case |= {"prologue": prologue, "payload_1": first, "payload_2": second}
    name = f"Noise_{pattern}_25519_A128CBCHS256_SHA256".encode()
    initiator, responder = side(case, name, True), side(case, name, False)
    state = initiator.noise_protocol.symmetric_state
    case["message_1"] = bytes(initiator.write_message(first))
    assert responder.read_message(case["message_1"]) == first
    case["message_2"] = bytes(responder.write_message(second))
    assert initiator.read_message(case["message_2"]) == second
    protocol = initiator.noise_protocol
    case["handshake_hash"] = initiator.get_handshake_hash()
    case["key_to_responder"] = protocol.cipher_state_encrypt.k
    case["key_to_initiator"] = protocol.cipher_state_decrypt.k
    case["export_resume"] = exporter(state.ck, b"resume")
    return {"pattern": pattern, **{key: value.hex() for key, value in case.items()}}


def main() -> None:
    warnings.simplefilter("ignore")  # about fixed ephemeral keys, which known answers need
    answers = [answer(pattern, i, *texts) for i, (pattern, *texts) in enumerate(CASES)]
    target = Path(__file__).with_name("noise.json")
    target.write_text(json.dumps(answers, indent=1) + "\n")
    print(f"{target.name}: {len(answers)} handshakes")


if __name__ == "__main__":
    main()

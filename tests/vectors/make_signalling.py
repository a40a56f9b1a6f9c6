"""Writes signalling.json: every message of chapters 4 and 5 of docs/protocol.md from fixed keys.

A second implementation, written from that page and nothing of ours: `python tests/vectors/make_signalling.py`.
"""

import hashlib
import hmac
import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def block(name: str, size: int = 32) -> bytes:
    """Return fixed bytes for an input of that name."""
    return hashlib.shake_128(name.encode()).digest(size)


def hmac256(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def derive(key: bytes, label: bytes, *context: bytes, size: int = 32) -> bytes:
    info = label + b"".join(len(part).to_bytes(2, "big") + part for part in context)
    return HKDF(SHA256(), size, b"upeer 1", info).derive(key)


def seal(key: bytes, nonce: int, text: bytes, aad: bytes) -> bytes:
    """A128CBC-HS256 whose IV is the encrypted nonce."""
    mac_key, aes_key = key[:16], key[16:]
    iv = Cipher(algorithms.AES(aes_key), modes.ECB()).encryptor().update(nonce.to_bytes(16, "big"))
    padding = 16 - len(text) % 16
    encrypted = Cipher(algorithms.AES(aes_key), modes.CBC(iv)).encryptor().update(text + bytes((padding,)) * padding)
    tag = hmac256(mac_key, aad + iv + encrypted + (8 * len(aad)).to_bytes(8, "big"))[:16]
    return iv + encrypted + tag


def public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def agree(private: bytes, other: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(other))


class NkPsk0:
    """Noise NKpsk0, symmetric state only; the caller runs the tokens."""

    def __init__(self, prologue: bytes, static: bytes) -> None:
        self.chain = self.hash = hashlib.sha256(b"Noise_NKpsk0_25519_A128CBCHS256_SHA256").digest()
        self.key = b""
        self.mix_hash(prologue)
        self.mix_hash(static)

    def mix_hash(self, data: bytes) -> None:
        self.hash = hashlib.sha256(self.hash + data).digest()

    def mix_key(self, secret: bytes, count: int = 2) -> list[bytes]:
        output = HKDF(SHA256(), 32 * count, self.chain, b"").derive(secret)
        parts = [output[i : i + 32] for i in range(0, len(output), 32)]
        self.chain, self.key = parts[0], parts[-1]
        return parts

    def psk(self, psk: bytes) -> None:
        self.mix_hash(self.mix_key(psk, 3)[1])

    def ephemeral(self, key: bytes) -> bytes:
        self.mix_hash(key)
        self.mix_key(key)
        return key

    def payload(self, text: bytes) -> bytes:
        sealed = seal(self.key, 0, text, self.hash)
        self.mix_hash(sealed)
        return sealed


def with_size(data: bytes) -> bytes:
    return bytes((len(data),)) + data


def num(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")


KEY_ID = 7
DID = b"ABCD-123456-GHKLM"
CRC_KEY, P2P_KEY, LICENCE_KEY, PAIR_KEY = block("CRCKey"), block("P2PKey"), block("licence key"), block("pair key")
BOTH = CRC_KEY + P2P_KEY
NONCE, SECRET = block("nonce", 16), block("cookie secret")
UNIX = 1_800_000_000
DEVICE_ADDRESS = bytes((192, 0, 2, 33)) + num(40717, 2)
CLIENT_ADDRESS = bytes((198, 51, 100, 7)) + num(50000, 2)
P2P_ADDRESS = bytes((203, 0, 113, 5)) + num(7000, 2)
SESSION_ID, SESSION_KEY = block("session id", 7), block("session key")
P2P_TICKET_KEY, P2P_LOGIN_KEY = block("p2p ticket key"), block("p2p login key")
CLIENT_KEY, INVITE_ID = block("client key"), block("invite id", 8)
TOKEN = derive(PAIR_KEY, b"lookup", num(UNIX // 604800, 4), size=16)
STATIC = block("master static")
CLIENT_EPHEMERAL, MASTER_EPHEMERAL = block("client ephemeral"), block("master ephemeral")


def header(kind: int, role: int) -> bytes:
    return bytes((kind, 1, KEY_ID, role))


def make_cookie(address: bytes, kind: int) -> bytes:
    return num(UNIX, 4) + hmac256(SECRET, num(UNIX, 4) + address + NONCE + bytes((kind,)))[:16]


def hello(role: int, key: bytes) -> bytes:
    message = header(0x80, role) + NONCE + bytes(28)
    return message + hmac256(key, message)[:16]


def cookie_message(role: int, key: bytes, cookie: bytes) -> bytes:
    message = header(0x81, role) + NONCE + cookie
    return message + hmac256(key, message)[:16]


def login(role: int, login_key: bytes, cookie: bytes, epoch: int, did: bytes, ticket: bytes) -> bytes:
    before = header(0x82, role) + NONCE + cookie
    text = num(epoch, 4) + num(3, 2) + num(2, 1) + with_size(did) + with_size(ticket)
    proof = hmac256(login_key, b"proof" + before + text)
    return before + seal(derive(BOTH, b"login seal", NONCE, cookie), 0, text + proof, before)


def login_ok(role: int, login_key: bytes, cookie: bytes, entries: bytes) -> bytes:
    before = header(0x83, role) + NONCE
    text = SESSION_ID + SESSION_KEY + DEVICE_ADDRESS + num(25, 2) + num(UNIX, 4) + entries
    return before + seal(derive(login_key, b"login answer", NONCE, cookie), 0, text, before)


def control(sender: bytes, number: int, kind: int, request_id: int, body: bytes) -> bytes:
    head = b"\x88" + SESSION_ID + num(number, 4)
    key = derive(SESSION_KEY, b"control", sender)
    return head + seal(key, number, bytes((kind,)) + num(request_id, 2) + body, head)


def alive(kind: int, sender: bytes, number: int) -> bytes:
    head = bytes((kind,)) + SESSION_ID + num(number, 4)
    return head + hmac256(derive(SESSION_KEY, b"alive", sender), head)[:16]


def login_messages() -> dict[str, bytes]:
    device_hello = derive(BOTH, b"hello device")
    login_key = derive(LICENCE_KEY, b"login", CRC_KEY, DID, b"\2")
    cookie = make_cookie(DEVICE_ADDRESS, 0)
    ticket_text = num(UNIX + 3600, 4) + P2P_LOGIN_KEY + num(5, 4) + DID
    ticket_nonce = int.from_bytes(block("device ticket nonce", 16), "big")
    ticket = seal(P2P_TICKET_KEY, ticket_nonce, ticket_text, b"device ticket")
    entries = b"\1" + b"\3" + P2P_ADDRESS + P2P_LOGIN_KEY + with_size(ticket)
    refused = header(0x84, 1) + NONCE + b"\1"
    return {
        "login key": login_key,
        "device ticket": ticket,
        "entries": entries,
        "HELLO device to master": hello(1, device_hello),
        "COOKIE master to device": cookie_message(1, device_hello, cookie),
        "LOGIN to master": login(1, login_key, cookie, 5, DID, b""),
        "LOGIN_OK from master": login_ok(1, login_key, cookie, entries),
        "LOGIN_NO from master": refused + hmac256(device_hello, refused)[:16],
        "HELLO device to p2p": hello(2, device_hello),
        "COOKIE p2p to device": cookie_message(2, device_hello, cookie),
        "LOGIN to p2p": login(2, P2P_LOGIN_KEY, cookie, 6, b"", ticket),
        "LOGIN_OK from p2p": login_ok(2, P2P_LOGIN_KEY, cookie, b"\0"),
    }


def control_messages(entries: bytes) -> dict[str, bytes]:
    invite = INVITE_ID + CLIENT_ADDRESS + num(KEY_ID, 1) + TOKEN + b"Noise message 1"
    return {
        "ALIVE": alive(0x89, b"device", 1),
        "ALIVE_OK": alive(0x8A, b"server", 1),
        "CONTROL TOKENS": control(b"device", 2, 1, 1, b"\0\1" + TOKEN),
        "CONTROL ACK from server": control(b"server", 1, 0x80, 1, b""),
        "CONTROL INVITE": control(b"server", 2, 2, 0x1234, invite),
        "CONTROL ANSWER": control(b"device", 3, 3, 2, INVITE_ID + b"Noise message 2"),
        "CONTROL ADDRESS": control(b"server", 3, 5, 0x2345, CLIENT_ADDRESS),
        "CONTROL KEYS": control(b"server", 4, 6, 0x3456, b"\x08" + block("new CRCKey") + block("new P2PKey")),
        "CONTROL SERVERS": control(b"server", 5, 7, 0x4567, entries),
        "CONTROL ACK from device": control(b"device", 4, 0x80, 0x2345, b""),
        "CONTROL LOGOUT": control(b"server", 6, 4, 0x5678, b"\2"),
    }


def lookup_messages() -> dict[str, bytes]:
    client_hello = derive(P2P_KEY, b"hello client")
    cookie = make_cookie(CLIENT_ADDRESS, 1)
    before = header(0x90, 1) + NONCE + cookie
    noise = NkPsk0(before, public(STATIC))
    noise.psk(derive(P2P_KEY, b"lookup psk"))
    message_1 = noise.ephemeral(public(CLIENT_EPHEMERAL))
    noise.mix_key(agree(CLIENT_EPHEMERAL, public(STATIC)))
    message_1 += noise.payload(TOKEN + bytes(16))
    message_2 = noise.ephemeral(public(MASTER_EPHEMERAL))
    noise.mix_key(agree(MASTER_EPHEMERAL, public(CLIENT_EPHEMERAL)))
    ticket_text = num(UNIX + 60, 4) + INVITE_ID + CLIENT_ADDRESS[:4] + CLIENT_KEY + TOKEN
    ticket_nonce = int.from_bytes(block("client ticket nonce", 16), "big")
    ticket = seal(P2P_TICKET_KEY, ticket_nonce, ticket_text, b"client ticket")
    relay = b"\4" + P2P_ADDRESS + block("relay tag", 7) + block("relay keys", 32) + with_size(b"relay ticket")
    text = b"\0" + num(UNIX, 4) + CLIENT_ADDRESS + INVITE_ID + b"\1\1"
    text += b"\3" + P2P_ADDRESS + CLIENT_KEY + with_size(ticket) + relay
    message_2 += noise.payload(text.ljust(800, b"\0"))
    invite_head = header(0x92, 2) + INVITE_ID + with_size(ticket)
    answer_head = header(0x93, 2) + INVITE_ID
    answer = b"\0" + CLIENT_ADDRESS + b"Noise message 2"
    return {
        "lookup token": TOKEN,
        "client ticket": ticket,
        "HELLO client to master": hello(1, client_hello),
        "COOKIE master to client": cookie_message(1, client_hello, cookie),
        "LOOKUP": before + message_1,
        "LOOKUP_ANSWER": header(0x91, 1) + NONCE + message_2,
        "INVITE": invite_head + seal(CLIENT_KEY, 0, TOKEN + b"Noise message 1", invite_head),
        "INVITE_ANSWER": answer_head + seal(CLIENT_KEY, 1, answer, answer_head),
    }


def inputs() -> dict[str, bytes]:
    return {
        "key_id": num(KEY_ID, 1),
        "did": DID,
        "crc_key": CRC_KEY,
        "p2p_key": P2P_KEY,
        "licence_key": LICENCE_KEY,
        "pair_key": PAIR_KEY,
        "nonce": NONCE,
        "cookie_secret": SECRET,
        "unix_time": num(UNIX, 4),
        "device_address": DEVICE_ADDRESS,
        "client_address": CLIENT_ADDRESS,
        "p2p_address": P2P_ADDRESS,
        "session_id": SESSION_ID,
        "session_key": SESSION_KEY,
        "p2p_ticket_key": P2P_TICKET_KEY,
        "p2p_login_key": P2P_LOGIN_KEY,
        "client_key": CLIENT_KEY,
        "invite_id": INVITE_ID,
        "master_static_private": STATIC,
        "master_static_public": public(STATIC),
        "client_ephemeral": CLIENT_EPHEMERAL,
        "master_ephemeral": MASTER_EPHEMERAL,
    }


def main() -> None:
    messages = login_messages()
    messages |= control_messages(messages["entries"]) | lookup_messages()
    content = {
        "inputs": {name: value.hex() for name, value in inputs().items()},
        "messages": {name: value.hex() for name, value in messages.items()},
    }
    Path(__file__).with_name("signalling.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()

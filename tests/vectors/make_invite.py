"""Write invite.json: known answers for invite and lan of upeer.handshake and relay_end of upeer.session.

They are made without any of upeer: handshakes by the package noiseprotocol, the rest by hmac and `cryptography`, as in
make_noise.py. Run it again only to add cases.
"""

import hashlib
import hmac
import json
import warnings
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from make_noise import A128CbcHs256, exporter, secret, side

DID = b"ABCD-123456-GHKLM"
CLIENT_ID = bytes.fromhex("c1c2c3c4c5c6c7c8")
INVITE_ID = bytes.fromhex("e1e2e3e4e5e6e7e8")
RELAY_TAG = bytes.fromhex("a1a2a3a4a5a6a7")
SETUP_BYTES = bytes.fromhex("00112233445566778899")
EPOCH = 2952
KEY_ID = 7
BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def derive(key: bytes, label: bytes, *context: bytes, size: int = 32) -> bytes:
    info = label + b"".join(len(part).to_bytes(2, "big") + part for part in context)
    return HKDF(algorithm=hashes.SHA256(), length=size, salt=b"upeer 1", info=info).derive(key)


def tag(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()[:16]


def keys() -> dict[str, bytes]:
    pair, p2p = secret("pair"), secret("p2p")
    return {
        "pair_key": pair,
        "p2p_key": p2p,
        "setup_key": derive(SETUP_BYTES + bytes(6), b"setup", DID),
        "lookup_token": derive(pair, b"lookup", EPOCH.to_bytes(4, "big"), size=16),
        "lan_key": derive(pair, b"lan"),
        "session_psk": derive(pair, b"psk", p2p),
        "next_pair_key": derive(secret("exporter"), b"pair", DID, CLIENT_ID),
        "exporter": secret("exporter"),
    }


def handshake(psk: bytes) -> dict[str, bytes]:
    ticket = secret("ticket") * 3
    first = bytes.fromhex("00 010203 04b0 00010000 00004000 001e 00 03")
    first += bytes.fromhex("00 c0a80105 1388") + bytes.fromhex("01 cb007107 4e20")
    first += bytes.fromhex("03 c6336401 0d96") + RELAY_TAG + secret("device")[:16] + bytes((len(ticket),)) + ticket
    second = bytes.fromhex("00 fffefd 0578 00008000 00002000 003c 06 01 00 c0a80109 9f0d")
    case = {name: secret(name) for name in ("initiator_ephemeral", "responder_ephemeral", "responder_static")}
    case |= {"psk": psk, "prologue": b"upeer session 1" + bytes((KEY_ID,)) + INVITE_ID + DID + CLIENT_ID}
    name = b"Noise_NNpsk0_25519_A128CBCHS256_SHA256"
    initiator, responder = side(case, name, True), side(case, name, False)
    state = initiator.noise_protocol.symmetric_state
    message_1 = bytes(initiator.write_message(first))
    assert responder.read_message(message_1) == first
    message_2 = bytes(responder.write_message(second))
    assert initiator.read_message(message_2) == second
    return case | {
        "payload_1": first,
        "payload_2": second,
        "message_1": message_1,
        "message_2": message_2,
        "client_key": initiator.noise_protocol.cipher_state_encrypt.k,
        "device_key": initiator.noise_protocol.cipher_state_decrypt.k,
        "export": exporter(state.ck, b"export"),
    }


def lan(key: bytes, messages: dict[str, bytes]) -> dict[str, bytes]:
    start = bytes((0x98, 1, KEY_ID, 0)) + INVITE_ID
    answer = bytes((0x99, 1, KEY_ID, 0)) + INVITE_ID + messages["message_2"]
    return {
        "invite": start + tag(key, start + messages["message_1"]) + messages["message_1"],
        "answer": answer,
    }


def relay() -> dict[str, bytes]:
    client_key, device_key, ticket_key = secret("client")[:16], secret("device")[:16], secret("ticket key")
    text = (1800000000).to_bytes(4, "big") + RELAY_TAG + client_key + device_key
    text += (125).to_bytes(2, "big") + (64).to_bytes(4, "big")
    ticket = A128CbcHs256().encrypt(ticket_key, 0x1234, b"relay ticket", text)
    join = bytes((0xA0, 1, KEY_ID, 3)) + RELAY_TAG + b"\0" + (5).to_bytes(4, "big") + bytes((len(ticket),)) + ticket
    join_ok = bytes((0xA1, 1, KEY_ID, 3)) + RELAY_TAG + b"\1" + (9).to_bytes(4, "big") + bytes.fromhex("cb0071074e20")
    return {
        "ticket_key": ticket_key,
        "client_key": client_key,
        "device_key": device_key,
        "ticket": ticket,
        "join": join + tag(client_key, join),
        "join_ok": join_ok + tag(device_key, join_ok),
    }


def main() -> None:
    warnings.simplefilter("ignore")  # about fixed ephemeral keys, which known answers need
    digits = [int.from_bytes(SETUP_BYTES, "big") >> 5 * i & 31 for i in range(15, -1, -1)]
    pair = keys()
    messages = handshake(pair["session_psk"])
    parts = {"keys": pair, "handshake": messages, "lan": lan(pair["lan_key"], messages), "relay": relay()}
    answers: dict[str, object] = {"about": "protocol chapters 2, 5.2, 5.3, 5.4, 6", "key_id": KEY_ID, "epoch": EPOCH}
    answers |= {"did": DID.decode(), "setup_code": "".join(BASE32[digit] for digit in digits)}
    answers |= {"client_id": CLIENT_ID.hex(), "invite_id": INVITE_ID.hex(), "relay_tag": RELAY_TAG.hex()}
    answers |= {name: {key: value.hex() for key, value in part.items()} for name, part in parts.items()}
    target = Path(__file__).with_name("invite.json")
    target.write_text(json.dumps(answers, indent=1) + "\n")


if __name__ == "__main__":
    main()

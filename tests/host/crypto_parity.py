"""Print what the crypto core makes of seeded inputs, one line each; test_crypto_parity runs it on both interpreters."""

import sys
from binascii import hexlify

from upeer.base.errors import CryptoError
from upeer.crypto import aead as crypto
from upeer.crypto import noise, x25519


class Seeded:
    """Bytes and numbers that depend on the seed alone."""

    def __init__(self, seed):
        self._seed = b"%d" % seed
        self._count = 0

    def bytes(self, size):
        output = b""
        while len(output) < size:
            self._count += 1
            output += crypto.sha256(self._seed, b"/%d" % self._count)
        return output[:size]

    def below(self, limit):
        return int.from_bytes(self.bytes(4), "big") % limit


def show(name, *values):
    print(name, *(hexlify(value).decode() for value in values))


def hashes(seeded):
    key = seeded.bytes(seeded.below(150))
    parts = [seeded.bytes(seeded.below(200)) for _ in range(seeded.below(4))]
    show("sha256", crypto.sha256(*parts))
    message = parts or [b""]
    show("hmac", crypto.Hmac(key).digest(*message), crypto.Hmac(key).tag(*message))
    show("hkdf", crypto.hkdf(key, seeded.bytes(20), b"info", 1 + seeded.below(150)))
    show("derive", crypto.derive(seeded.bytes(16 + seeded.below(20)), b"label", *parts, size=1 + seeded.below(64)))


def sealed(seeded):
    aead, peer = crypto.Aead(seeded.bytes(32)), crypto.Aead(seeded.bytes(32))
    plaintext, aad = seeded.bytes(seeded.below(600)), seeded.bytes(seeded.below(300))
    text = aead.seal(int.from_bytes(seeded.bytes(16), "big") >> seeded.below(129), plaintext, aad)
    show("seal", text, aead.open(text, aad))
    try:
        peer.open(text, aad)
    except CryptoError as error:
        print("refused", error)


def packets(seeded):
    """A row of packets over one chain; some are tampered with before they are opened."""
    key = seeded.bytes(32)
    sender, receiver = crypto.Aead(key), crypto.Aead(key)
    buf = bytearray(1400)
    for number in range(8):
        header_size, size = 1 + seeded.below(30), seeded.below(1300)
        plain_end = header_size + crypto.IV_SIZE + size
        buf[:plain_end] = seeded.bytes(plain_end)
        end = sender.seal_packet(buf, header_size, plain_end, number << seeded.below(50))
        show("packet", buf[:end])
        if not seeded.below(3):
            buf[seeded.below(end)] ^= 1 + seeded.below(255)
        print("opened", receiver.open_packet(buf, header_size, end))
        show("left", buf[header_size + crypto.IV_SIZE : end])


def handshake(seeded):
    pattern = (noise.NNPSK0, noise.NKPSK0)[seeded.below(2)]
    static = x25519.key_pair(seeded.bytes)
    psk, prologue = seeded.bytes(32), seeded.bytes(seeded.below(100))
    ours = noise.Noise(pattern, True, psk, prologue, remote_static=static[1], ephemeral=x25519.key_pair(seeded.bytes))
    theirs = noise.Noise(pattern, False, psk, prologue, local_static=static, ephemeral=x25519.key_pair(seeded.bytes))
    first = ours.write_message(seeded.bytes(seeded.below(300)))
    show("message_1", first, theirs.read_message(first))
    second = theirs.write_message(seeded.bytes(seeded.below(300)))
    show("message_2", second, ours.read_message(second))
    show("noise", ours.handshake_hash, theirs.export(b"x"), *ours.split())


def main(seeds):
    for seed in range(seeds):
        seeded = Seeded(seed)
        hashes(seeded)
        sealed(seeded)
        packets(seeded)
        if seed % 4 == 0:
            handshake(seeded)


main(int(sys.argv[1]))

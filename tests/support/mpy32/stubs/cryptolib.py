"""AES as the chip's cryptolib has it, by node's OpenSSL: ECB (1), CBC (2), keys of 128 or 256 bits, one direction."""

from binascii import hexlify, unhexlify

import _node


def _hex(data):
    return hexlify(data).decode()


class aes:
    """cryptolib.aes(key, mode[, iv])."""

    def __init__(self, key, mode, iv=None):
        if len(key) not in (16, 32) or mode not in (1, 2) or (mode == 2 and len(iv) != 16):
            raise ValueError("mode")
        self._parts = (_hex(key), mode, _hex(iv or b""))
        self._cipher = None
        self._encrypts = None

    def _run(self, encrypts, data, out):
        if len(data) & 15:
            raise ValueError("blksize % 16")
        if self._encrypts is None:
            self._encrypts = encrypts
            self._cipher = _node.cipher(self._parts[0], self._parts[1], self._parts[2], encrypts)
        elif self._encrypts != encrypts:
            raise ValueError("can't encrypt & decrypt")
        result = unhexlify(_node.update(self._cipher, _hex(data)))
        if out is None:
            return result
        out[: len(result)] = result
        return out

    def encrypt(self, data, out=None):
        return self._run(True, data, out)

    def decrypt(self, data, out=None):
        return self._run(False, data, out)

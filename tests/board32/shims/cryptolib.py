"""AES-CBC of stock firmware, by node."""

from binascii import hexlify, unhexlify

import host32


class aes:
    def __init__(self, key, mode, iv=None):
        if mode != 2:
            raise ValueError("mode")
        self._key = hexlify(key).decode() + " " + hexlify(iv).decode()
        self._id = None

    def _crypt(self, data, out, decrypts):
        if self._id is None:
            key, iv = self._key.split(" ")
            self._id = host32.cipher(key, iv, decrypts)
        result = unhexlify(host32.crypt(self._id, hexlify(data).decode()))
        if out is None:
            return result
        out[: len(result)] = result

    def encrypt(self, data, out=None):
        return self._crypt(data, out, False)

    def decrypt(self, data, out=None):
        return self._crypt(data, out, True)

"""AES that changes nothing and allocates what the chip's does: 64 bytes an object."""


class aes:
    def __init__(self, key, mode, iv=None):
        self._size = bytearray(1)  # object, table of attributes, bytes: 64 in all

    def encrypt(self, data, out=None):
        if out is None:
            return bytes(data)
        if out is not data:
            out[:] = data
        return out

    decrypt = encrypt

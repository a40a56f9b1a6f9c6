"""Encrypt N times 1200 bytes with AES-128-CBC in place: the example of an instruction count, nearly all of it AES."""

import sys

from cryptolib import aes

count = int(sys.argv[1])
buffer = bytearray(1200)
cipher = aes(bytes(16), 2, bytes(16))
for _ in range(count):
    cipher.encrypt(buffer, buffer)

"""Hash N times 1200 bytes with SHA-256: the example of an instruction count, nearly all of it SHA."""

import sys
from hashlib import sha256

count = int(sys.argv[1])
buffer = bytearray(1200)
for _ in range(count):
    sha256(buffer).digest()

"""os with urandom, which the wasm port leaves out."""

from binascii import unhexlify

import _node
from uos import *  # noqa: F403


def urandom(size):
    return unhexlify(_node.random(size))

"""The port's own os, and entropy."""

from binascii import unhexlify

import host32
from uos import *


def urandom(count):
    return unhexlify(host32.random(count))

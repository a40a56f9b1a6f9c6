"""N datagrams of 1200 bytes at a device: received, opened and acknowledged."""

import sys

from session_1200 import ACKNOWLEDGE, main

main(int(sys.argv[1]), ACKNOWLEDGE)

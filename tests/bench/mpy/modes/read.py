"""N datagrams of 1200 bytes at a device: received, opened, acknowledged and read."""

import sys

from session_1200 import READ, main

main(int(sys.argv[1]), READ)

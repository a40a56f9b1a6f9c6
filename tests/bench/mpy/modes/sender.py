"""What `session_1200` does beside the device's part: to be subtracted."""

import sys

from session_1200 import SENDER, main

main(int(sys.argv[1]), SENDER)

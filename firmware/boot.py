# Runs first, on every start. Makes imports right and nothing more: it never waits and never stops the REPL.
import gc
import sys

if "/lib" not in sys.path:
    sys.path.append("/lib")
gc.collect()
del gc, sys

"""What differs between the interpreters before anything else is loaded.

mpy-cross folds `const(...)` by its name; elsewhere it is the identity. The interpreter's name decides, not a try at
`import micropython`: packages of that name exist for CPython too.
"""

import sys

MICROPYTHON = sys.implementation.name == "micropython"

if MICROPYTHON:
    from micropython import const
else:

    def const(value):
        """Return `value`; a mark for mpy-cross that it never changes."""
        return value

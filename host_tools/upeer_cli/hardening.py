"""No secret leaves memory in a core dump: `upeer` and every program it starts dump none when they crash.

Both settings are inherited by children, and across exec: esptool, espefuse, mpremote and interpreters have them too.
PR_SET_DUMPABLE would be lost across exec, and would close /proc/PID/fd, through which children read secrets.
"""

import contextlib
import sys
from pathlib import Path

_IS_LINUX = sys.platform == "linux"
_FILTER = Path("/proc/self/coredump_filter")


def forbid_core_dumps() -> None:
    """Forbid core dumps of this process and of all it will start; what the system refuses is passed over.

    A limit of 1 byte, not 0: Linux gives the dump to a program named in core_pattern ("|/usr/lib/...") at any limit
    but 1 (core(5)), and writes no file below one page. The filter takes all memory out of a dump that comes about
    nevertheless: where a hard limit of 0 stands already, or somebody lifts the limit of a running process.
    """
    limit = 1 if _IS_LINUX else 0
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
    if _IS_LINUX:
        with contextlib.suppress(OSError):
            _FILTER.write_text("0\n")

"""Run the tests of one module under MicroPython: `micropython -m run_mpy_main test_x`; exit code 1 if one fails.

A test whose name ends with `_cpython` is for CPython only.
"""

import gc
import sys
import time  # noqa: F401 - where it is a board's shim, it must come before asyncio


def main(module_name):
    module = __import__(module_name)
    passed = failed = 0
    for name in sorted(dir(module)):
        test = getattr(module, name)
        if not name.startswith("test_") or name.endswith("_cpython") or not callable(test):
            continue
        gc.collect()
        try:
            test()
            passed += 1
        except Exception as error:
            failed += 1
            print("FAILED", module_name + "." + name)
            sys.print_exception(error, sys.stdout)
    gc.collect()
    print(module_name + ":", passed, "passed,", failed, "failed,", gc.mem_alloc(), "bytes of heap in use")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

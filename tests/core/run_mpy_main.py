"""Run the tests of one module under MicroPython: `micropython -m run_mpy_main test_x [size count keep]`.

The exit code is 1 if one fails. With numbers, `count` blocks lie in the heap before, of which each keep-th stays:
another layout (mpy_tools.LAYOUTS).

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


def make_junk(size, count, keep):
    blocks = [bytearray(size) for _ in range(count)]
    return blocks[::keep]


if __name__ == "__main__":
    junk = make_junk(*[int(text) for text in sys.argv[2:]]) if len(sys.argv) > 2 else None
    sys.exit(main(sys.argv[1]))

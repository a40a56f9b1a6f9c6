"""Compile every file that goes to a board with mpy-cross: a lint step, and the proof that MicroPython can read it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import mpy_tools


def main() -> int:
    if mpy_tools.missing_reason():
        print("compile_firmware: skipped,", mpy_tools.missing_reason())
        return 0
    sources = mpy_tools.firmware_sources()
    for name in ("boot.py", "main.py"):
        if (mpy_tools.FIRMWARE / name).exists():
            sources[name] = mpy_tools.FIRMWARE / name
    faults = 0
    for name, source in sources.items():
        try:
            mpy_tools.compile_file(source, name)
        except mpy_tools.CompileError as error:
            print(error)
            faults += 1
    print(f"compile_firmware: {len(sources) - faults} of {len(sources)} files compile")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

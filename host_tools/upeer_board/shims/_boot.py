"""What MicroPython's frozen _boot.py does on the chip: the file system of the `vfs` partition becomes the root."""

import os
import sys

import _heap
import _terminal
import vfs
from esp32 import Partition


def mount() -> bool:
    """Mount the file system, made anew on blank flash; False and one line on the console if it is broken."""
    found = Partition.find(Partition.TYPE_DATA, label="vfs")
    if not found:
        print("no vfs partition in flash.bin: build the image again")
        return False
    device = found[0]
    head = bytearray(64)
    device.readblocks(0, head, 0)
    if head == b"\xff" * 64:
        vfs.VfsLfs2.mkfs(device)
    try:
        if "_timing" in sys.modules:
            vfs.mount(sys.modules["_timing"].Flash(vfs.VfsLfs2(device)), "/")
        else:
            vfs.mount(device, "/")
    except OSError as error:
        print("the file system does not mount (%s): build the image again" % error)
        return False
    os.chdir("/")
    return True


def _wants(name: str) -> bool:
    """Return whether the chip would run this file now: none after Ctrl-C, no main.py after a soft reset in raw mode."""
    if os.getenv("UPEER_PROMPT") or (name == "main.py" and os.getenv("UPEER_RAW")):
        return False
    try:
        os.stat(name)
    except OSError:
        return False
    return True


def start(scope: dict) -> None:
    """Run boot.py and main.py in the namespace that the REPL sees."""
    del scope["_boot"], sys.modules["_boot"]
    mounted = mount()
    _terminal.open()
    _heap.start()
    if mounted:
        for name in ("boot.py", "main.py"):
            if _wants(name):
                execfile(name, scope)  # noqa: F821 - a builtin of the unix port

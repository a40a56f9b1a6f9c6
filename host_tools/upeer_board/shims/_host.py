"""The board's folder on the host, out of its own file system's sight. Without one (tests), state lives in RAM."""

import sys

folder = None  # a VfsPosix, set by start.py, of the folder `path`
path = ""
_ram = {}


def read(name: str) -> bytes:
    """Return a state file's contents, nothing if there is none."""
    if folder is None:
        return _ram.get(name, b"")
    try:
        with folder.open("/state/" + name, "rb") as file:
            return file.read()
    except OSError:
        return b""


def write(name: str, data: bytes) -> None:
    """Write a state file."""
    if folder is None:
        _ram[name] = data
        return
    with folder.open("/state/" + name, "wb") as file:
        file.write(data)


def scratch():
    """Return an empty file that nobody else sees; it is gone when it is closed. What is in it takes no heap."""
    import os

    import vfs

    disk = folder or vfs.VfsPosix("/tmp")
    name = "/" + "".join(["%02x" % byte for byte in os.urandom(8)])
    file = disk.open(name, "w+b")
    disk.remove(name)
    return file


def load(name: str, is_kept: bool = True):
    """Return a module of the shims, loaded when it is first needed: what nobody uses costs no heap."""
    if name in sys.modules:
        return sys.modules[name]
    if folder is None:
        module = __import__(name)
    else:
        import gc

        import _heap
        import vfs

        before = gc.mem_alloc()
        vfs.mount(vfs.VfsPosix(path + "/state/shims"), "/.shims")
        sys.path.insert(0, "/.shims")
        try:
            module = __import__(name)
        finally:
            sys.path.pop(0)
            vfs.umount("/.shims")
        if is_kept:
            _heap.leave_out(max(gc.mem_alloc() - before, 0))
    if not is_kept:
        del sys.modules[name]
    return module

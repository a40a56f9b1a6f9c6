"""The board's folder on the host, out of its own file system's sight. Without one (tests), state lives in RAM."""

folder = None  # a VfsPosix, set by start.py
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

"""The names of all transient modules in one module, `device.names`, which a device loads and drops at its start.

MicroPython keeps every name that it ever met. Met one group of modules after the other, names end up between the
buffers of sessions, and no large hole is left in the heap; met all at once, at the start, they lie together.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

PATH = "lib/device/names.mpy"
_HEADER_SIZE = 4  # of a .mpy: "M", version, flags, bits of small integers; then the counts of names and of constants


def source(files: Mapping[str, bytes], loader: str) -> str:
    """Return the source of that module; `files` are an image's, `loader` the source of the loader with its table."""
    table = _transient(loader)
    modules = [f"device.{group}" for group in table] + [name for group in table.values() for name in group]
    paths = [f"lib/{name.replace('.', '/')}.mpy" for name in modules]
    names = {name for path in paths if path in files for name in _names(files[path])}
    lines = [f"    a.{name}" for name in sorted(names) if name.isidentifier()]
    return "\n".join(["def names(a):", *lines, "    pass", ""])


def _transient(loader: str) -> dict[str, tuple[str, ...]]:
    """Return the loader's table of groups."""
    for node in ast.parse(loader).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "TRANSIENT" and node.value:
            return dict(ast.literal_eval(node.value))
    return {}


def _names(code: bytes) -> Iterator[str]:
    """Yield the names in the table of a .mpy, but for those that MicroPython has in its flash."""
    at = _HEADER_SIZE
    count, at = _number(code, at)
    _, at = _number(code, at)
    for _ in range(count):
        size, at = _number(code, at)
        if not size & 1:
            yield code[at : at + (size >> 1)].decode()
            at += (size >> 1) + 1


def _number(code: bytes, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, the highest first, and where it ends."""
    value = 0
    while True:
        value = value << 7 | code[at] & 127
        at += 1
        if not code[at - 1] & 128:
            return value, at

"""Keeps the core's table of globals from being almost full.

MicroPython fills such a table up to its last slot, and looks for a name from its place on until it finds it or an empty
slot. A builtin is looked for there first, so that of a table with few empty slots each `len` walks through all of it:
with 90 names in 97 slots a datagram costs a tenth more than with room. More names make the table grow.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable

from upeer_board.linker.known import ROM

# How many slots a table of MicroPython's has (py/map.c): when one is full it gets the next size.
_SIZES = (37, 47, 59, 73, 97, 127, 167, 223, 293, 389, 521, 691)
_MOST_PERCENT = 80
_OWN = {"__name__", "__file__"}
_SPARE = 3  # names that a condition at the module's top may leave out


def make_room(tree: ast.Module) -> None:
    """Append names to a unit that nobody uses, if its table is fuller than it should be."""
    names = bound(tree)
    taken = names | set(dir(builtins)) | {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    taken |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg | ast.keyword) and node.arg}
    taken |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    added = unused(missing(len(names)), taken)
    if added:
        tree.body += ast.parse(" = ".join([*added, "None"])).body


def missing(count: int) -> int:
    """Return how many names make a table of `count` names grow, 0 if it has room."""
    size = next((size for size in _SIZES if size >= count), 0)
    return size + 1 + _SPARE - count if count * 100 > size * _MOST_PERCENT else 0


def unused(count: int, taken: Iterable[str]) -> list[str]:
    """Return names that MicroPython has in its flash and nothing uses."""
    return sorted(name for name in ROM if name.isidentifier() and name not in set(taken))[:count]


def bound(tree: ast.Module) -> set[str]:
    """Return the names that a module's top binds, under its conditions too."""
    names = set(_OWN)
    rest: list[ast.stmt] = list(tree.body)
    while rest:
        node = rest.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {item.asname or item.name for item in node.names}
        elif isinstance(node, ast.If):
            rest += node.body + node.orelse
        else:
            names |= {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and _is_stored(part)}
    return names


def _is_stored(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)

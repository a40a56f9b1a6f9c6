"""Has the core import the built-in functions that it calls, so that they are among its globals.

MicroPython looks for a name among a module's globals first, and one that is not there is found missing only at an empty
place of their table: where that is full, after a look at each of them. On a chip that takes as long as 15 calls.
"""

from __future__ import annotations

import ast
import builtins


def import_builtins(tree: ast.Module) -> None:
    """Put the import at the top of a unit whose names are written. Exceptions, which are used seldom, stay outside."""
    used: set[str] = set()
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.alias):
            bound.add(node.asname or node.name)
    names = sorted(name for name in used - bound if name in vars(builtins) and name.islower() and name[0] != "_")
    if names:
        tree.body.insert(0, ast.ImportFrom("builtins", [ast.alias(name) for name in names], 0))

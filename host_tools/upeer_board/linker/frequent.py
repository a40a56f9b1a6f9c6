"""Puts a unit's most used names first in its table of names: the first 128 take one byte wherever they are used.

mpy-cross numbers names as it meets them, so they stand in a statement at the unit's top, under a condition that never
holds. Only the code of functions stays in RAM; the top of a module is gone once it has run.
"""

from __future__ import annotations

import ast
from collections import Counter

_ONE_BYTE = 128


def mention_frequent(tree: ast.Module) -> None:
    """Put the statement at the top of a unit, if it has more names than take one byte."""
    uses: Counter[str] = Counter()
    for node in ast.walk(tree):
        uses.update(_names(node))
    if len(uses) > _ONE_BYTE:
        names = [name for name, _ in sorted(uses.items(), key=lambda item: (-item[1], item[0]))][:_ONE_BYTE]
        body = [
            ast.parse(f"_.{name}").body[0] if name.isidentifier() else ast.Expr(ast.Constant(name)) for name in names
        ]
        tree.body.insert(0, ast.If(ast.UnaryOp(ast.Not(), ast.Name("__name__", ast.Load())), body, []))


def _names(node: ast.AST) -> list[str]:
    """Return the names that a node has in bytecode; a function's own locals have none."""
    if isinstance(node, ast.Attribute):
        return [node.attr]
    if isinstance(node, ast.Name):
        return [] if node.id.endswith("__0") else [node.id]
    if isinstance(node, ast.arg | ast.keyword):
        return [node.arg] if node.arg else []
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name, node.name]
    if (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and len(node.value) < 11
        and node.value.isidentifier()
    ):
        return [node.value]
    return []

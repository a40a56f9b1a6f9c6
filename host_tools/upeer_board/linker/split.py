"""Takes statements apart that make a call only sometimes, so that the call stands in a statement of its own."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable

Has = Callable[[ast.AST], bool]


def split(node: ast.stmt, has_call: Has, new_name: Callable[[], str]) -> list[ast.stmt] | None:
    """Return statements that do the same, None if there is nothing to be taken apart.

    `x if a else f()` becomes two statements under an `if`; `a and f()` a variable and an `if`.
    """
    value = getattr(node, "value", None)
    is_plain = isinstance(node, ast.Return | ast.Expr | ast.Assign)
    if is_plain and isinstance(value, ast.IfExp) and (has_call(value.body) or has_call(value.orelse)):
        other = copy.deepcopy(node)
        node.value, other.value = value.body, value.orelse  # type: ignore[attr-defined]
        return [ast.If(value.test, [node], [other])]
    if isinstance(value, ast.BoolOp) and isinstance(node, ast.Return | ast.Assign) and _later(value, has_call):
        name = new_name()
        node.value = ast.Name(name, ast.Load())
        return [*_chain(value, has_call, name), node]
    if isinstance(node, ast.If):
        return _split_if(node, has_call, new_name)
    return None


def _later(value: ast.BoolOp, has_call: Has) -> int:
    """Return the place of the first operand with a call, but for the first: that is evaluated in any case."""
    return next((i for i, part in enumerate(value.values) if i and has_call(part)), 0)


def _split_if(node: ast.If, has_call: Has, new_name: Callable[[], str]) -> list[ast.stmt] | None:
    test = node.test
    if not isinstance(test, ast.BoolOp) or not _later(test, has_call):
        return None
    if isinstance(test.op, ast.And) and not node.orelse:
        first, rest = _cut(test, _later(test, has_call))
        return [ast.If(first, [ast.If(rest, node.body, [])], [])]
    name = new_name()
    node.test = ast.Name(name, ast.Load())
    return [*_chain(test, has_call, name), node]


def _cut(value: ast.BoolOp, at: int) -> tuple[ast.expr, ast.expr]:
    parts = value.values[:at], value.values[at:]
    first, rest = (part[0] if len(part) == 1 else ast.BoolOp(value.op, part) for part in parts)
    return first, rest


def _chain(value: ast.BoolOp, has_call: Has, name: str) -> list[ast.stmt]:
    """Return statements that put the value of `a and b` or `a or b` into a variable."""
    first, rest = _cut(value, _later(value, has_call))
    test: ast.expr = ast.Name(name, ast.Load())
    if isinstance(value.op, ast.Or):
        test = ast.UnaryOp(ast.Not(), test)
    return [
        ast.Assign([ast.Name(name, ast.Store())], first),
        ast.If(test, [ast.Assign([ast.Name(name, ast.Store())], rest)], []),
    ]

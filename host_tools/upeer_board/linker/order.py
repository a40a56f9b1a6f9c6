"""Order of evaluation: what happens before a call in its statement, whether arguments may move into an expression."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from upeer_board.linker.body import is_stable

Find = Callable[[ast.AST], ast.AST | None]


def replace_node(parent: ast.AST, old: ast.AST, new: ast.AST) -> None:
    """Put `new` in the place of `old`, a child of `parent`."""
    for name, value in ast.iter_fields(parent):
        if value is old:
            setattr(parent, name, new)
        elif isinstance(value, list):
            value[:] = [new if item is old else item for item in value]


@dataclass
class Place:
    """Where a call stands in a statement. `outer`: it, or `await` of it; `before`: (parent, part) evaluated earlier."""

    call: ast.AST
    outer: ast.expr
    before: list[tuple[ast.AST, ast.expr]]


def replace_in(node: ast.AST, old: ast.AST, new: ast.expr) -> None:
    """Put `new` in the place of `old`, wherever in the node that is."""
    for inner in ast.walk(node):
        if any(part is old for part in ast.iter_child_nodes(inner)):
            replace_node(inner, old, new)
            return


def find_place(node: ast.stmt, find: Find, stored: set[str]) -> Place | None:
    """Return the first call that `find` accepts among those that a statement makes in any case.

    What is evaluated before it is named in the order of evaluation, but for names and constants: no call changes them.
    """
    head = _head(node)
    if head is None:
        return None
    place = _search(head, find, stored, [])
    if place is None or any(isinstance(part, ast.Slice) for _, part in place.before):
        return None
    return place


def _search(node: ast.expr, find: Find, stored: set[str], before: list[tuple[ast.AST, ast.expr]]) -> Place | None:
    call = find(node)
    if call is not None:
        return Place(call, node, before)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in stored:
        return _search(node.func.value, find, stored, before)  # what is called could be exchanged by its arguments
    before = list(before)
    for parent, part in _places(node):
        place = _search(part, find, stored, before)
        if place is not None:
            return place
        if not isinstance(part, ast.Name | ast.Constant):
            before.append((parent, part))
    return None


def _head(node: ast.stmt) -> ast.expr | None:
    """Return the expression that a statement evaluates first."""
    if isinstance(node, ast.Expr | ast.Assign | ast.Return):
        return node.value
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        return node.value
    if isinstance(node, ast.If):
        return node.test
    if isinstance(node, ast.For):
        return node.iter
    if isinstance(node, ast.Raise):
        return node.exc
    return None


def _places(node: ast.expr) -> Iterator[tuple[ast.AST, ast.expr]]:
    """Yield (parent, part) of an expression's parts in order, as far as they are evaluated in any case."""
    if not isinstance(node, ast.Call):
        for part in _parts(node):
            yield node, part
        return
    if isinstance(node.func, ast.Attribute):
        yield node.func, node.func.value
    else:
        yield node, node.func
    for item in node.args:
        yield (item, item.value) if isinstance(item, ast.Starred) else (node, item)
    for keyword in node.keywords:
        yield keyword, keyword.value


def _parts(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the parts of an expression in order, as far as they are evaluated in any case."""
    if isinstance(node, ast.BoolOp):
        yield node.values[0]
    elif isinstance(node, ast.IfExp):
        yield node.test
    elif isinstance(node, ast.Compare):
        yield node.left
        yield node.comparators[0]
    elif isinstance(node, ast.BinOp):
        yield node.left
        yield node.right
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Attribute | ast.Await | ast.Starred):
        yield node.value
    elif isinstance(node, ast.Subscript):
        yield node.value
        yield node.slice
    elif isinstance(node, ast.Tuple | ast.List):
        yield from node.elts


def can_place(pairs: list[tuple[str, ast.expr]], value: ast.expr) -> bool:
    """Return whether arguments may stand where their parameters stand in an expression, and nothing changes.

    Stable ones may always. Others must be evaluated once, in the same order, before anything that could change them.
    """
    moving = [name for name, argument in pairs if not is_stable(argument)]
    if not moving:
        return True
    uses = [inner.id for inner in ast.walk(value) if isinstance(inner, ast.Name) and inner.id in moving]
    if sorted(uses) != sorted(moving):
        return False
    for node in _evaluated(value):
        if isinstance(node, ast.Name) and node.id in moving:
            if node.id != moving.pop(0):
                return False
            if not moving:
                return True
        elif not isinstance(node, ast.Name | ast.Constant):
            return False
    return False


def _evaluated(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the nodes of an expression in the order of evaluation, as far as that is certain."""
    if isinstance(node, ast.Call):
        yield from _evaluated(node.func.value if isinstance(node.func, ast.Attribute) else node.func)
        for item in node.args:
            yield from _evaluated(item)
    else:
        for part in _parts(node):
            yield from _evaluated(part)
    yield node

"""Folds what is known before a board runs: docstrings and annotations go, constants are put where they are used."""

from __future__ import annotations

import ast
import copy
from collections import Counter

from upeer_board.linker.program import COMPAT, FunctionNode, Program


def prepare(program: Program) -> None:
    """Take out of every module what MicroPython has no use for: docstrings, annotations, the branches for CPython."""
    for module in program.modules.values():
        if module.name != COMPAT:
            module.tree = _Stripper().visit(module.tree)


class _Stripper(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(True) if node.id == "MICROPYTHON" and isinstance(node.ctx, ast.Load) else node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: FunctionNode) -> FunctionNode:
        node.returns = None
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt | None:
        self.generic_visit(node)
        return ast.Assign([node.target], node.value) if node.value else None

    def visit_Expr(self, node: ast.Expr) -> ast.stmt | None:
        self.generic_visit(node)
        return None if isinstance(node.value, ast.Constant) else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        if node.module == COMPAT:
            node.names = [item for item in node.names if item.name not in ("MICROPYTHON", "const")]
        return node if node.names else None

    def visit_If(self, node: ast.If) -> ast.stmt | list[ast.stmt] | None:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return (node.body if node.test.value else node.orelse) or None
        node.body = node.body or [ast.Pass()]
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        is_and = isinstance(node.op, ast.And)
        while len(node.values) > 1 and isinstance(node.values[0], ast.Constant):
            if bool(node.values[0].value) != is_and:
                return node.values[0]
            node.values.pop(0)
        return node.values[0] if len(node.values) == 1 else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.op, ast.Not) and isinstance(node.operand, ast.Constant):
            return ast.Constant(not node.operand.value)
        return node

    def visit_Try(self, node: ast.Try) -> ast.Try:
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node


def fold_constants(program: Program) -> None:
    """Put the values of `X = const(...)` and of numbers, text and bytes named once into the places that name them.

    Runs on resolved names, so one table serves all modules.
    """
    values: dict[str, object] = {}
    stores = Counter(
        node.id
        for tree in program.trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )
    for module in program.in_order():
        for node in list(module.tree.body):
            name = _assigned_global(node)
            if name and stores[name] == 1 and (not module.keeps or _is_const_call(node)):
                value = _value(node.value, values)  # type: ignore[attr-defined]
                if value is not _UNKNOWN:
                    values[name] = value
                    if not module.keeps:
                        module.tree.body.remove(node)
    for module in program.modules.values():
        module.tree = _Folder(values).visit(module.tree)


_UNKNOWN = object()


def _assigned_global(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id if ":" in node.targets[0].id else None
    return None


def _is_const_call(node: ast.AST) -> bool:
    call = getattr(node, "value", None)
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "const"


def _value(node: ast.expr, known: dict[str, object]) -> object:
    """Return an integer or short text's value, _UNKNOWN for all else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "const":
        node = node.args[0]
    plain = _Folder(known).visit(copy.deepcopy(node))
    if any(isinstance(inner, ast.Name | ast.Call | ast.Attribute) for inner in ast.walk(plain)):
        return _UNKNOWN
    try:
        value = eval(
            compile(ast.fix_missing_locations(ast.Expression(plain)), "constant", "eval"), {"__builtins__": {}}
        )
    except (TypeError, ValueError, NameError):
        return _UNKNOWN
    return value if isinstance(value, int | str | bytes) else _UNKNOWN


class _Folder(ast.NodeTransformer):
    def __init__(self, values: dict[str, object]) -> None:
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if isinstance(node.ctx, ast.Load) and node.id in self._values:
            return ast.Constant(self._values[node.id])  # type: ignore[arg-type]
        return node

"""Turns list comprehensions into loops: each is a function of its own for MicroPython, called once for every list."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import count

from upeer_board.linker.order import find_place, replace_in, replace_node
from upeer_board.linker.program import FunctionNode, Program

_MOST_BEFORE = 3


def unroll_comprehensions(program: Program) -> None:
    """Unroll those that stand where statements can be put before them."""
    numbers = count()
    for module in program.modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, FunctionNode):
                _Unroller(numbers).run(node)


class _Unroller:
    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers

    def run(self, function: FunctionNode) -> None:
        """Unroll the comprehensions of one function."""
        function.body = self._block(function.body)

    def _block(self, nodes: list[ast.stmt]) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        todo = list(nodes)
        while todo:
            node = todo.pop(0)
            changed = self._unroll(node)
            if changed:
                todo = changed + todo
                continue
            if not isinstance(node, FunctionNode | ast.ClassDef):
                for name in ("body", "orelse", "finalbody"):
                    if getattr(node, name, None):
                        setattr(node, name, self._block(getattr(node, name)))
                for handler in getattr(node, "handlers", []):
                    handler.body = self._block(handler.body)
            out.append(node)
        return out

    def _unroll(self, node: ast.stmt) -> list[ast.stmt] | None:
        place = find_place(node, _plain_list, set())
        if place is None or len(place.before) > _MOST_BEFORE:
            return None
        before: list[ast.stmt] = []
        for parent, part in place.before:
            name = self._name()
            before.append(ast.Assign([ast.Name(name, ast.Store())], part))
            replace_node(parent, part, ast.Name(name, ast.Load()))
        name = self._name()
        replace_in(node, place.outer, ast.Name(name, ast.Load()))
        made = place.outer
        assert isinstance(made, ast.ListComp)
        add = ast.Attribute(ast.Name(name, ast.Load()), "append", ast.Load())
        inner: ast.stmt = ast.Expr(ast.Call(add, [made.elt], []))
        for generator in reversed(made.generators):
            for test in reversed(generator.ifs):
                inner = ast.If(test, [inner], [])
            inner = ast.For(generator.target, generator.iter, [inner], [])
        return [*before, ast.Assign([ast.Name(name, ast.Store())], ast.List([], ast.Load())), inner, node]

    def _name(self) -> str:
        return f"c__r{next(self._numbers)}"


def _plain_list(node: ast.AST) -> ast.AST | None:
    """Return a list comprehension whose variables no function inside it keeps."""
    if not isinstance(node, ast.ListComp) or any(generator.is_async for generator in node.generators):
        return None
    keepers = (ast.Lambda, ast.GeneratorExp, ast.SetComp, ast.DictComp)
    return None if any(isinstance(inner, keepers) for inner in ast.walk(node)) else node

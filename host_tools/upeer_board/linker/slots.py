"""Lets local variables whose times do not meet share a slot: inlined functions bring theirs along.

A variable's time is from where it first stands to where it last stands, in the order of the source, which is the order
of execution but for loops: a variable that may be carried from one round to the next lives for the whole loop.
"""

from __future__ import annotations

import ast

from upeer_board.linker.program import FunctionNode, is_local

_Closure = ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
_Loop = ast.For | ast.While | ast.AsyncFor


def share_slots(function: FunctionNode, own: set[str]) -> None:
    """Rename the locals of a function so that they are few. `own`: those that it had before anything was inlined."""
    times = _Times(own)
    for node in function.body:
        times.look(node)
    parameters = {item.arg for item in function.args.args}
    others = {item.arg for item in (function.args.vararg, function.args.kwarg) if item}
    others |= {item.arg for item in function.args.kwonlyargs}
    slots: list[int] = []  # the end of the time of what is in each
    names: dict[str, str] = {}
    for name, (start, end) in sorted(times.found.items(), key=lambda item: (item[1], item[0])):
        if name in parameters or name in others or name in times.fixed:
            continue
        slot = next((i for i, until in enumerate(slots) if until < start), len(slots))
        if slot == len(slots):
            slots.append(end)
        slots[slot] = end
        names[name] = f"v{slot}__0"
    _Renamer(names).visit(function)


class _Times(ast.NodeVisitor):
    """Goes through a function in order and notes where each local stands."""

    def __init__(self, own: set[str]) -> None:
        self.found: dict[str, tuple[int, int]] = {}
        self.fixed: set[str] = set()
        self._own = own
        self._now = 0

    def look(self, node: ast.AST) -> None:
        """Note all names in a node."""
        if isinstance(node, _Loop):
            self._look_at_loop(node)
        elif isinstance(node, FunctionNode | ast.ClassDef | _Closure):
            self.fixed |= {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
            self.fixed |= {node.name} if isinstance(node, FunctionNode | ast.ClassDef) else set()
        elif isinstance(node, ast.Assign):
            self._now += 1
            self._parts([node.value, *node.targets])
        else:
            self._note(node)
            self._parts(list(ast.iter_child_nodes(node)))

    def _parts(self, nodes: list[ast.AST]) -> None:
        for node in nodes:
            self._now += isinstance(node, ast.stmt)
            self.look(node)

    def _note(self, node: ast.AST) -> None:
        name = None
        if isinstance(node, ast.Name):
            name = node.id
        elif isinstance(node, ast.ExceptHandler):
            name = node.name
        elif isinstance(node, ast.alias):
            name = node.asname
        elif isinstance(node, ast.Global | ast.Nonlocal):
            self.fixed |= set(node.names)
        if name and is_local(name):
            start, _ = self.found.get(name, (self._now, 0))
            self.found[name] = start, self._now

    def _look_at_loop(self, node: ast.For | ast.While | ast.AsyncFor) -> None:
        self._now += 1
        begin, before = self._now, dict(self.found)
        self._parts(list(ast.iter_child_nodes(node)))
        self._now += 1
        inside = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
        for name in inside & self.found.keys():
            start, _ = self.found[name]
            if name in before:
                self.found[name] = start, self._now
            elif name in self._own:
                self.found[name] = begin, self._now


class _Renamer(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self._names.get(node.id, node.id)
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        node.name = self._names.get(node.name or "", node.name or "") or None
        self.generic_visit(node)
        return node

    def visit_alias(self, node: ast.alias) -> ast.alias:
        node.asname = self._names.get(node.asname or "", node.asname or "") or None
        return node

"""Finds what can be reached from where a board starts, and leaves out the rest: functions, methods, classes, tables."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from upeer_board.linker.known import BUILTIN
from upeer_board.linker.program import INTERFACE, ON_REQUEST, FunctionNode, Module, Program
from upeer_board.linker.scopes import bound_names

# Classes that applications hold beside those of the interface's modules.
APPLICATION_CLASSES = ("device.agent:DeviceConnection",)


def roots(program: Program, extra: bool = True) -> list[ast.stmt]:
    """Return the statements that are there whatever calls them: the interface, what is loaded by name, tests."""
    found = []
    for module in program.modules.values():
        if module.keeps and (extra or module.name in ON_REQUEST):
            found += module.tree.body
        for node in module.tree.body:
            names = defined(node)
            if (not names and not module.keeps) or any(map(is_interface, names)):
                found.append(node)
    return found


def is_interface(canonical: str) -> bool:
    """Return whether applications may import `module:name`."""
    module, _, name = canonical.rpartition(":")
    return name in INTERFACE.get(module, ()) if INTERFACE.get(module) else module in INTERFACE and name[0] != "_"


def defined(node: ast.stmt) -> set[str]:
    """Return the globals that a statement of a module's top binds."""
    return {name for name in bound_names(node) if ":" in name}


def is_application_class(node: ast.ClassDef) -> bool:
    """Return whether applications use this class's public methods."""
    return node.name.rpartition(":")[0] in INTERFACE or node.name in APPLICATION_CLASSES


def references(node: ast.AST) -> Iterator[str]:
    """Yield what a node names: `module:name`, `.attribute` that is read, and text as 'text'."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            yield inner.id
        elif isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Load):
            yield "." + inner.attr
        elif isinstance(inner, ast.AugAssign) and isinstance(inner.target, ast.Attribute) and not _is_plain(inner):
            yield "." + inner.target.attr  # it stays, and reads what must have been stored
        elif isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield "'" + inner.value
        elif isinstance(inner, ast.alias):
            yield inner.name


class Reach:
    """What is reached: `live` are statements (of a module's top, or methods) by id."""

    def __init__(self, program: Program, start: list[ast.stmt]) -> None:
        self.live: set[int] = set()
        self._names: set[str] = set()
        self._waiting: dict[str, list[ast.stmt]] = {}  # by the name that brings them to life
        self._todo: list[ast.stmt] = list(start)
        for module in program.modules.values():
            for node in module.tree.body:
                for name in defined(node):
                    self._waiting.setdefault(name, []).append(node)
        while self._todo:
            self._visit(self._todo.pop())

    def _visit(self, node: ast.stmt) -> None:
        if id(node) in self.live:
            return
        self.live.add(id(node))
        parts: list[ast.AST] = [node]
        if isinstance(node, ast.ClassDef):
            parts = [*node.bases, *node.decorator_list]
            for inner in node.body:
                if isinstance(inner, FunctionNode):
                    self._wait_method(node, inner)
                elif class_attribute(inner):
                    self._wait("." + class_attribute(inner), inner)
                else:
                    parts.append(inner)
        for part in parts:
            for name in references(part):
                self._add(name)

    def _wait_method(self, owner: ast.ClassDef, method: FunctionNode) -> None:
        is_called = is_application_class(owner) and not method.name.startswith("_")
        if method.name.startswith("__") or is_called or {"." + method.name, "'" + method.name} & self._names:
            self._todo.append(method)
        else:
            self._wait("." + method.name, method)
            self._wait("'" + method.name, method)

    def _wait(self, name: str, node: ast.stmt) -> None:
        if name in self._names:
            self._todo.append(node)
        else:
            self._waiting.setdefault(name, []).append(node)

    def _add(self, name: str) -> None:
        if name not in self._names:
            self._names.add(name)
            self._todo += self._waiting.pop(name, [])


def class_attribute(node: ast.stmt) -> str:
    """Return the attribute that a statement of a class sets, "" if it is none."""
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    return target.id[1:] if isinstance(target, ast.Name) else ""


def is_fixed(node: ast.stmt) -> bool:
    """Return whether a statement of a class is there as long as the class is."""
    return not isinstance(node, FunctionNode) and not class_attribute(node)


def drop_unreached(program: Program) -> None:
    """Leave out what cannot be reached. Modules of which nothing is left go too."""
    reach = Reach(program, roots(program))
    for module in list(program.modules.values()):
        module.tree.body = [node for node in module.tree.body if id(node) in reach.live]
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef):
                node.body = [inner for inner in node.body if is_fixed(inner) or id(inner) in reach.live]
                node.body = node.body or [ast.Pass()]
        if not module.tree.body and not _is_start(module):
            del program.modules[module.name]


def _is_start(module: Module) -> bool:
    return module.keeps or module.name in INTERFACE


def drop_unread(program: Program) -> None:
    """Leave out stores of attributes that nothing reads: figures that a board never tells."""
    read = {name for tree in program.trees() for name in references(tree) if name[:1] in ".'"}
    for module in program.modules.values():
        if not module.keeps:
            module.tree = _UnreadDropper(read).visit(module.tree)


def _is_plain(node: ast.AugAssign) -> bool:
    """Return whether an augmented assignment of an attribute may go if nothing else reads that."""
    is_own = isinstance(node.target, ast.Attribute) and isinstance(node.target.value, ast.Name)
    return is_own and isinstance(node.value, ast.Constant | ast.Name)


class _UnreadDropper(ast.NodeTransformer):
    def __init__(self, read: set[str]) -> None:
        self._read = read

    def _is_unread(self, target: ast.expr) -> bool:
        if not isinstance(target, ast.Attribute) or not isinstance(target.value, ast.Name):
            return False
        return not {"." + target.attr, "'" + target.attr} & self._read and target.attr not in BUILTIN

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        return node if is_application_class(node) else self.generic_visit(node)  # type: ignore[return-value]

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        if isinstance(node.value, ast.Constant | ast.Name):
            node.targets = [target for target in node.targets if not self._is_unread(target)]
        return node if node.targets else ast.Pass()

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        return ast.Pass() if _is_plain(node) and self._is_unread(node.target) else node

"""Shortens names that only the firmware itself sees, so that its code takes less RAM: MicroPython keeps every name
it meets.

Constants (`X = const(1)`) are put where they are used, in other modules too, and go away. Private names (`_x`) of a
module are numbered `_a`, `_b` ..., from the most used one on, in every module anew; modules whose
classes inherit from one another share their numbers. Parameters become `A0`, `A1` ..., but for those that some call
names and those of an application's interface. Who reads a traceback of a board finds the names in names.json.
"""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import product
from string import ascii_letters, digits

Names = dict[str, dict[str, str]]

# Applications call these with parameters by name.
_COMPAT = "upeer.base.compat"
_INTERFACE = ("device/api.py", "device/services/", "upeer/aio.py")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def shorten(trees: dict[str, ast.Module], together: Collection[str] = ()) -> Names:
    """Shorten the names in the trees and return {path: {short name: name}}; ValueError if one reaches into another.

    The modules of `together` are to be one: their private globals get names that no other one of them has.
    """
    _fold_constants(trees)
    keywords = {
        keyword.arg
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg
    }
    groups = _groups(trees)
    _check_apart([{path: trees[path] for path in group} for group in groups])
    names: Names = {}
    unique = _short_names(digits)
    for group in groups:
        renamed = _private_names([trees[path] for path in group])
        for path in group:
            shared = [name for name in sorted(_globals(trees[path])) if name in renamed and path in together]
            own = renamed | {name: next(unique) for name in shared}
            _rename(trees[path], own)
            names[path] = {short: name for name, short in own.items()}
    for path, tree in trees.items():
        if not path.startswith(_INTERFACE):
            _shorten_parameters(tree, keywords)
    return names


def _fold_constants(trees: dict[str, ast.Module]) -> None:
    """Put the values of constants in their places, those of other modules' too, and leave the constants out."""
    values: dict[str, dict[str, int]] = {_module(path): _take_constants(tree) for path, tree in trees.items()}
    values[_COMPAT] = {"MICROPYTHON": True, "const": 0}
    for path, tree in trees.items():
        if _module(path) == _COMPAT:
            continue
        found = dict(values[_module(path)])
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in values:
                known = values[node.module]
                found |= {item.asname or item.name: known[item.name] for item in node.names if item.name in known}
                node.names = [item for item in node.names if item.name not in known]
        found.pop("const", None)
        trees[path] = _Folder(found).visit(tree)


def _module(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


def _take_constants(tree: ast.Module) -> dict[str, int]:
    """Remove the integer constants of a module from it and return them."""
    found: dict[str, int] = {}
    for node in list(tree.body):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name):
            call = node.value
            if isinstance(call.func, ast.Name) and call.func.id == "const":
                value = eval(compile(ast.Expression(call.args[0]), "constant", "eval"), {"__builtins__": {}}, found)
                if isinstance(value, int):
                    found[node.targets[0].id] = value
                    tree.body.remove(node)
    return found


class _Folder(ast.NodeTransformer):
    """Puts values in place of constants, and leaves out what is not for MicroPython."""

    def __init__(self, values: dict[str, int]) -> None:
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(self._values[node.id]) if node.id in self._values else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        return node if node.names else None

    def visit_If(self, node: ast.If) -> ast.stmt | list[ast.stmt]:
        self.generic_visit(node)
        return node.body if isinstance(node.test, ast.Constant) and node.test.value else node


def _groups(trees: dict[str, ast.Module]) -> list[list[str]]:
    """Return the modules in groups: those whose classes inherit from one another are together.

    All is in order of the names: the same sources give the same image in every process.
    """
    classes = {
        node.name: path for path, tree in trees.items() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    }
    groups = {path: {path} for path in trees}
    for path, tree in trees.items():
        for node in ast.walk(tree):
            for base in node.bases if isinstance(node, ast.ClassDef) else []:
                other = classes.get(base.id) if isinstance(base, ast.Name) else None
                if other and groups[other] is not groups[path]:
                    groups[path] |= groups[other]
                    for member in sorted(groups[other]):
                        groups[member] = groups[path]
    return [sorted(group) for group in {id(group): group for group in groups.values()}.values()]


def _is_private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__") and name != "_"


def _private_names(trees: list[ast.Module]) -> dict[str, str]:
    """Return {private name: short name} of what these modules define."""
    uses: Counter[str] = Counter()
    for tree in trees:
        uses.update(name for name in map(_name_of, ast.walk(tree)) if name and _is_private(name))
    defined = _defined(trees)
    short = _short_names()
    return {name: next(short) for name, _ in uses.most_common() if name in defined}


def _defined(trees: list[ast.Module]) -> set[str]:
    """Return the private names that modules define, of any kind."""
    found = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        name = _name_of(node)
        is_definition = isinstance(node, _Function | ast.ClassDef) or isinstance(getattr(node, "ctx", None), ast.Store)
        if name and is_definition and _is_private(name):
            found.add(name)
    return found


def _short_names(alphabet: str = ascii_letters) -> Iterator[str]:
    for size in (1, 2, 3):
        for letters in product(alphabet, repeat=size):
            yield "_" + "".join(letters)


def _name_of(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.name if isinstance(node, _Function | ast.ClassDef) else None


def _rename(tree: ast.AST, names: dict[str, str]) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
        elif isinstance(node, ast.Attribute):
            node.attr = names.get(node.attr, node.attr)
        elif isinstance(node, _Function | ast.ClassDef):
            node.name = names.get(node.name, node.name)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            node.names = [names.get(name, name) for name in node.names]


def _check_apart(groups: list[dict[str, ast.Module]]) -> None:
    """Refuse a module that uses a private name of another one: after shortening that would be the wrong one."""
    defined = [_defined(list(group.values())) for group in groups]
    everywhere = set().union(*defined)
    for own, group in zip(defined, groups, strict=True):
        for path, tree in group.items():
            for node in ast.walk(tree):
                imported = [item.name for item in node.names] if isinstance(node, ast.ImportFrom) else []
                foreign = ({_name_of(node), *imported} & everywhere) - own
                if foreign:
                    raise ValueError(f"firmware/{path} uses {foreign.pop()}, which is private to another module")


def _shorten_parameters(tree: ast.Module, keywords: Iterable[str]) -> None:
    """Give the parameters of every function outside of others, and of those within, short names."""
    kept = {*keywords, "self", "cls", *dir(builtins), *_globals(tree)}
    for function in _outermost(tree):
        names: dict[str, str] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.arg) and node.arg not in kept:
                names.setdefault(node.arg, f"A{len(names)}")
        for node in ast.walk(function):
            if isinstance(node, ast.arg):
                node.arg = names.get(node.arg, node.arg)
        _rename_variables(function, names)


def _rename_variables(function: ast.AST, names: dict[str, str]) -> None:
    for node in ast.walk(function):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
        elif isinstance(node, ast.Nonlocal):
            node.names = [names.get(name, name) for name in node.names]
        elif isinstance(node, ast.ExceptHandler) and node.name:
            node.name = names.get(node.name, node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import) and any(item.name in names for item in node.names):
            for item in node.names:
                if item.name in names:
                    item.asname = names[item.name]


def _globals(tree: ast.Module) -> set[str]:
    """Return the names that the module itself binds."""
    found: set[str] = set()
    for node in tree.body:
        for inner in ast.walk(node) if not isinstance(node, _Function | ast.ClassDef) else [node]:
            if isinstance(inner, ast.ImportFrom | ast.Import):
                found |= {(item.asname or item.name).split(".")[0] for item in inner.names}
            elif isinstance(inner, _Function | ast.ClassDef):
                found.add(inner.name)
            elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                found.add(inner.id)
    return found


def _outermost(tree: ast.AST) -> Iterator[_Function]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, _Function):
            yield node
        else:
            yield from _outermost(node)

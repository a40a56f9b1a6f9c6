"""Shortens names that only the firmware itself sees, so that its code takes less RAM: MicroPython keeps every name it meets.

Constants (`X = const(1)`) are put where they are used, in other modules too, and go away. Private names (`_x`) of a module are numbered `_a`, `_b` ..., from the most used one on, in every module anew; modules whose
classes inherit from one another share their numbers. Parameters become `A0`, `A1` ..., but for those that some call
names and those of an application's interface. Who reads a traceback of a board finds the names in names.json.
"""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product
from string import ascii_letters

Names = dict[str, dict[str, str]]

# Applications call these with parameters by name.
_COMPAT = "upeer.compat"
_INTERFACE = ("device/api.py", "device/services/", "upeer/aio.py")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def shorten(sources: dict[str, str]) -> tuple[dict[str, str], Names]:
    """Return the sources with short names, and {path: {short name: name}}; ValueError if one reaches into another."""
    trees = {path: ast.parse(source) for path, source in sources.items()}
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
    for group in groups:
        renamed = _private_names([trees[path] for path in group])
        for path in group:
            _rename(trees[path], renamed)
            names[path] = {short: name for name, short in renamed.items()}
    for path, tree in trees.items():
        if not path.startswith(_INTERFACE):
            _shorten_parameters(tree, keywords)
    return {path: ast.unparse(tree) for path, tree in trees.items()}, names


def _fold_constants(trees: dict[str, ast.Module]) -> None:
    """Replace what modules import of one another's constants by the values, and make the constants private."""
    values: dict[str, dict[str, int]] = {_module(path): _public_constants(tree) for path, tree in trees.items()}
    values[_COMPAT] = {"MICROPYTHON": True, "const": 0}  # mpy-cross knows const by its name
    for path, tree in trees.items():
        if _module(path) == _COMPAT:
            continue
        own = {name: f"_{name}" for name in values[_module(path)]}
        found: dict[str, int] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in values:
                known = values[node.module]
                found |= {item.asname or item.name: known[item.name] for item in node.names if item.name in known}
                node.names = [item for item in node.names if item.name not in known]
        found.pop("const", None)
        _Folder(found, own).visit(tree)


def _module(path: str) -> str:
    return path[:-3].replace("/", ".")


def _public_constants(tree: ast.Module) -> dict[str, int]:
    """Return the public integer constants of a module that has none of the same private name."""
    private = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name):
            name, call = node.targets[0].id, node.value
            if isinstance(call.func, ast.Name) and call.func.id == "const" and isinstance(call.args[0], ast.Constant):
                if isinstance(call.args[0].value, int) and not name.startswith("_") and f"_{name}" not in private:
                    found[name] = call.args[0].value
    return found


class _Folder(ast.NodeTransformer):
    """Puts values in place of imported constants, and private names in place of a module's own."""

    def __init__(self, values: dict[str, int], own: dict[str, str]) -> None:
        self._values = values
        self._own = own

    def visit_Name(self, node: ast.Name) -> ast.expr:
        node.id = self._own.get(node.id, node.id)
        return ast.Constant(self._values[node.id]) if node.id in self._values else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        return node if node.names else None


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
                    for member in groups[other]:
                        groups[member] = groups[path]
    return [sorted(group) for group in {id(group): group for group in groups.values()}.values()]


def _is_private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__") and name != "_"


def _private_names(trees: list[ast.Module]) -> dict[str, str]:
    """Return {private name: short name} of what these modules define; mpy-cross does away with constants by itself."""
    uses: Counter[str] = Counter()
    constants: set[str] = set()
    for tree in trees:
        uses.update(name for name in map(_name_of, ast.walk(tree)) if name and _is_private(name))
        constants |= _constants(tree)
    defined = _defined(trees) - constants
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


def _constants(tree: ast.Module) -> set[str]:
    found = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            if isinstance(node.value.func, ast.Name) and node.value.func.id == "const":
                found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def _short_names() -> Iterator[str]:
    for size in (1, 2):
        for letters in product(ascii_letters, repeat=size):
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

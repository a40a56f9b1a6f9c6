"""Puts the modules that stay loaded on a board into one: they share its table of names, its constants, its globals.

A fifth of the code in RAM is saved by that. The one module, `device.core`, answers to the names of all its parts; a
part that is imported before it is a stub that loads it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

CORE = "device/core.py"
# What a logged-in device with a session keeps loaded; tests/device compares it with a real one.
STEADY = (
    "upeer/aio.py",
    "upeer/endpoint.py",
    *(f"upeer/base/{name}.py" for name in ("clock", "errors", "ranges", "varint", "wire")),
    "upeer/crypto/aead.py",
    *(f"upeer/signalling/{name}.py" for name in ("control", "registrar")),
    *(f"upeer/session/{name}.py" for name in ("acks", "framer", "frames", "paths", "pool", "receiving", "recovery")),
    *(f"upeer/session/{name}.py" for name in ("relay_end", "session", "stream")),
    *(f"device/{name}.py" for name in ("agent", "api", "heap", "identity", "loader", "log", "udp")),
)

_EPILOGUE = """
import sys
for _ in {names}:
    sys.modules[_] = sys.modules[{core}]
"""


def bundle(trees: dict[str, ast.Module]) -> dict[str, ast.Module]:
    """Return the trees with those of STEADY in one, and stubs in their places."""
    inside = [path for path in STEADY if path in trees]
    modules = {module_name(path) for path in inside}
    body: list[ast.stmt] = []
    seen: set[str] = set()
    for path in _in_order({path: trees[path] for path in inside}):
        for node in _without_imports(trees[path], modules).body:
            text = ast.unparse(node) if isinstance(node, ast.Import | ast.ImportFrom) else ""
            if not _is_docstring(node) and (not text or text not in seen):
                body.append(node)
                seen.add(text)
    _check_names(body)
    epilogue = _EPILOGUE.format(names=repr(tuple(sorted(modules))), core=repr(module_name(CORE)))
    stubs = {path: _stub(trees[path]) for path in inside}
    others = {path: tree for path, tree in trees.items() if path not in stubs}
    return others | stubs | {CORE: ast.Module(body + ast.parse(epilogue).body, [])}


def module_name(path: str) -> str:
    """Return the module's name for a path."""
    return path.removesuffix(".py").replace("/", ".")


def _in_order(trees: dict[str, ast.Module]) -> Iterator[str]:
    """Yield the paths so that each comes after those that it imports at its top."""
    left = {
        path: {node.module for node in tree.body if isinstance(node, ast.ImportFrom)} for path, tree in trees.items()
    }
    while left:
        waiting = {module_name(path) for path in left}
        ready = [path for path, imported in left.items() if not imported & waiting]
        if not ready:
            raise ValueError(f"modules import one another in a circle: {', '.join(left)}")
        for path in ready:
            del left[path]
            yield path


class _Remover(ast.NodeTransformer):
    def __init__(self, modules: set[str]) -> None:
        self._modules = modules

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        if node.module not in self._modules:
            return node
        if any(item.asname for item in node.names):
            raise ValueError(f"{ast.unparse(node)}: parts of one module cannot rename one another's names")
        return None


def _without_imports(tree: ast.Module, modules: set[str]) -> ast.Module:
    tree = _Remover(modules).visit(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.With | ast.Try) and not node.body:
            node.body = [ast.Pass()]
    return tree


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _top_names(body: list[ast.stmt]) -> list[str]:
    names = []
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.If):
            names += sorted({*_top_names(node.body), *_top_names(node.orelse)})
        elif isinstance(node, ast.ImportFrom):
            names += [item.asname or item.name for item in node.names]
    return names


def _check_names(body: list[ast.stmt]) -> None:
    """Refuse two things of one name; what is imported from elsewhere under the same name is the same thing."""
    names = _top_names([node for node in body if not isinstance(node, ast.ImportFrom)])
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"modules that stay loaded share the names {', '.join(sorted(twice))}: rename one of each")


def _stub(tree: ast.Module) -> ast.Module:
    own = [node for node in tree.body if not isinstance(node, ast.ImportFrom)]
    names = sorted({name for name in _top_names(own) if not name.startswith("_")})
    return ast.parse(f"from {module_name(CORE)} import {', '.join(names)}" if names else "")

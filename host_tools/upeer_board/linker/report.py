"""Tells what the names of an image stand for: names.json, by which a board's tracebacks are read."""

from __future__ import annotations

import ast
from typing import Any

from upeer_board.linker.names import Names
from upeer_board.linker.program import FunctionNode, Program
from upeer_board.linker.reach import defined


def describe_names(program: Program, names: Names) -> dict[str, Any]:
    """Return {"files": {file: {name there: what it is}}, "attributes": {name there: [names in the source]}}.

    A method is there under Class.method, both as a traceback tells them. Behind what a function is stands what was
    inlined into it.
    """
    files: dict[str, dict[str, str]] = {}
    for unit, modules in program.units().items():
        rows = files.setdefault(unit.replace(".", "/") + ".py", {})
        for module in modules:
            for node in module.tree.body:
                rows |= _rows(node, names)
    attributes: dict[str, list[str]] = {}
    for name, short in sorted(names.attributes.items()):
        attributes.setdefault(short, []).append(name)
    return {"files": files, "attributes": attributes}


def _rows(node: ast.stmt, names: Names) -> dict[str, str]:
    if isinstance(node, FunctionNode):
        return {names.globals[node.name]: _with_inlined(node.name, node)}
    if not isinstance(node, ast.ClassDef):
        return {names.globals[name]: name for name in sorted(defined(node)) if name in names.globals}
    short = names.globals[node.name]
    found = {short: node.name}
    for inner in node.body:
        if isinstance(inner, FunctionNode):
            member = names.attributes.get(inner.name, inner.name)
            found[f"{short}.{member}"] = _with_inlined(f"{node.name}.{inner.name}", inner)
    return found


def _with_inlined(name: str, node: FunctionNode) -> str:
    inside = sorted(key.rpartition(":")[2].lstrip(".") for key in getattr(node, "inlined", ()))
    return f"{name} (with {', '.join(inside)})" if inside else name

"""Chooses the names that things have in an image: few different ones, and such as MicroPython has in its flash anyway.

An attribute has one name in the whole program; two attributes share one where no class has both. Globals share theirs
with attributes: they stand in different tables. Parameters are numbered, but for those that some call names.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator

from upeer_board.linker.known import BUILTIN, ROM
from upeer_board.linker.program import FunctionNode, Program, is_local
from upeer_board.linker.reach import is_application_class, is_interface

_PARAMETERS = 24
_INNER = 6
_EVERYWHERE = "*"


class Names:
    """What everything is called in the image: `attributes`, `globals` (by module:name), `parameters` in order."""

    def __init__(self, program: Program, owners: dict[str, set[str]]) -> None:
        self._program = program
        self.attributes: dict[str, str] = {}
        self.globals: dict[str, str] = {}
        uses = _Uses(program)
        uses.owners = {name: owners[name] for name in uses.owners}
        free = [name for name in sorted(ROM, key=lambda name: (len(name), name)) if name not in uses.taken]
        self.keywords = uses.keywords
        self.parameters = free[:_PARAMETERS]
        self.inner = free[_PARAMETERS : _PARAMETERS + _INNER]  # of functions in functions
        free = free[_PARAMETERS + _INNER :] + [f"q{number}" for number in range(400)]
        self._name_attributes(uses, self.parameters + free)
        self._name_globals(uses, free)

    def _name_attributes(self, uses: _Uses, free: list[str]) -> None:
        """Give each attribute the first name that none which it may meet has."""
        taken: dict[str, set[str]] = {}  # by class family
        ours = [name for name in uses.owners if uses.is_ours(name)]
        for name in sorted(ours, key=lambda name: (-uses.attributes[name], name)):
            families = uses.owners[name]
            met = (
                taken.values()
                if _EVERYWHERE in families
                else [taken.get(key, set()) for key in (*families, _EVERYWHERE)]
            )
            used = set().union(*met)
            short = next(short for short in free if short not in used)
            self.attributes[name] = short
            for family in families:
                taken.setdefault(family, set()).add(short)

    def _name_globals(self, uses: _Uses, free: list[str]) -> None:
        """Number the globals of each unit, those that are used most first; the resident unit's before others."""
        units = self._program.units()
        core = {name for module in units.get("device.core", []) for name in _own(module.tree)}
        taken = self._number(core, uses, iter(free))
        for unit, modules in units.items():
            own = {name for module in modules for name in _own(module.tree)}
            if unit != "device.core":
                kept = any(module.keeps for module in modules)
                left = iter([name for name in free if name not in taken])
                if kept:
                    self.globals |= {name: name.rpartition(":")[2] for name in own}
                else:
                    taken |= self._number(own, uses, left)

    def _number(self, names: Iterable[str], uses: _Uses, free: Iterator[str]) -> set[str]:
        for name in sorted(names, key=lambda name: (-uses.globals[name], name)):
            self.globals[name] = name.rpartition(":")[2] if is_interface(name) else next(free)
        return {self.globals[name] for name in names}


def _own(tree: ast.Module) -> set[str]:
    """Return the globals that a module's top binds."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode | ast.ClassDef) and ":" in node.name:
            found.add(node.name)
        elif isinstance(node, ast.Name) and ":" in node.id and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.alias) and node.asname and ":" in node.asname:
            found.add(node.asname)
    return {name for name in found if not name.startswith("ext:")}


def find_owners(program: Program) -> dict[str, set[str]]:
    """Return the classes that have each attribute. Asked before inlining: later a method may stand in another class."""
    return _Uses(program).owners


class _Uses:
    """Who defines which attribute, and how often names are used."""

    def __init__(self, program: Program) -> None:
        self.owners: dict[str, set[str]] = {}
        self.attributes: Counter[str] = Counter()
        self.globals: Counter[str] = Counter()
        self.keywords: set[str] = set()
        self._kept: set[str] = set()
        self.taken: set[str] = {"self", "board"}
        self._family: dict[str, str] = {}
        for tree in program.trees():
            self._join_families(tree)
        for tree in program.trees():
            self._look(tree)
        foreign = {name for name in self.attributes if not self.is_ours(name)}
        self.taken |= foreign | self._kept | self.keywords

    def is_ours(self, name: str) -> bool:
        """Return whether an attribute may be renamed."""
        return name in self.owners and name not in self._kept and name not in BUILTIN and not name.startswith("__")

    def _join_families(self, tree: ast.Module) -> None:
        for node in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            for base in node.bases:
                if isinstance(base, ast.Name):
                    old, new = self._of(node.name), self._of(base.id)
                    self._family |= {key: new for key, value in self._family.items() if value == old} | {old: new}

    def _of(self, name: str) -> str:
        return self._family.setdefault(name, name)

    def _look(self, tree: ast.Module) -> None:
        for node in tree.body:
            for inner in ast.walk(node):
                if isinstance(inner, ast.ClassDef):
                    self._look_at_class(inner)
            mine = _selves(node)
            for inner in ast.walk(node):
                self._look_at(inner, mine)

    def _look_at_class(self, node: ast.ClassDef) -> None:
        family = self._of(node.name)
        for inner in node.body:
            if isinstance(inner, FunctionNode):
                self._define(inner.name, family)
                if is_application_class(node) and not inner.name.startswith("_"):
                    self._kept.add(inner.name)
            for name in (part for part in ast.walk(inner) if isinstance(part, ast.Name) and part.id[:1] == "."):
                self._define(name.id[1:], family)
        me = _selves(node)
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store) and _is_of(part, me):
                self._define(part.attr, family)
                if is_application_class(node) and not part.attr.startswith("_"):
                    self._kept.add(part.attr)

    def _define(self, name: str, family: str) -> None:
        self.owners.setdefault(name, set()).add(family)

    def _look_at(self, node: ast.AST, mine: set[str]) -> None:
        if isinstance(node, ast.Attribute) and not node.attr.startswith("="):
            self.attributes[node.attr] += 1
            if not isinstance(node.ctx, ast.Load) and not _is_of(node, mine):
                self._define(node.attr, _EVERYWHERE)
        elif isinstance(node, ast.Name):
            self.globals[node.id] += 1
            if not is_local(node.id) and (":" not in node.id or node.id.startswith("ext:")):
                self.taken.add(node.id.rpartition(".")[2].rpartition(":")[2])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            self._kept.add(node.value)
        elif isinstance(node, ast.keyword) and node.arg:
            self.keywords.add(node.arg)
        elif isinstance(node, ast.alias):
            self.taken |= {node.name.rpartition(".")[2]} if ":" not in node.name else set()


def _selves(node: ast.AST) -> set[str]:
    """Return the first parameters of the methods of the classes in a node."""
    return {
        method.args.args[0].arg
        for inner in ast.walk(node)
        if isinstance(inner, ast.ClassDef)
        for method in inner.body
        if isinstance(method, FunctionNode) and method.args.args
    }


def _is_of(node: ast.Attribute, mine: set[str]) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in mine

"""Finds what a call calls: functions of one name in the whole program, how often they are named, who may be inlined."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass

from upeer_board.linker.body import stored_names
from upeer_board.linker.program import CORE, FunctionNode, Module, Program
from upeer_board.linker.reach import Reach, is_application_class, is_interface, references

_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
_FORBIDDEN = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.Lambda,
    ast.ClassDef,
    ast.Yield,
    ast.YieldFrom,
    ast.Global,
    ast.Nonlocal,
    ast.Delete,
    ast.NamedExpr,
)


@dataclass
class Function:
    """A function or method of the program. `key` is what names it: `module:name`, or `.name` for a method."""

    key: str
    unit: str
    node: FunctionNode
    owner: str | None  # class
    eligible: bool
    is_beside: bool  # of a module that keeps its names


class Calls:
    """Every function of the live program, and counts of what names them."""

    def __init__(self, program: Program, reach: Reach, builtin: frozenset[str]) -> None:
        self._program = program
        self._mentions: dict[int, set[str]] = {}
        self._first_attribute: dict[str, str] = {}
        self.functions: list[Function] = []
        self.by_key: dict[str, Function] = {}
        self.builtin = builtin
        self.counts: Counter[str] = Counter()
        self.stored: set[str] = set()
        self._families = _families(program)
        methods: Counter[str] = Counter()
        for module in program.modules.values():
            for node in module.tree.body:
                if isinstance(node, ast.ClassDef):
                    methods.update(inner.name for inner in node.body if isinstance(inner, FunctionNode))
                    self._first_attribute |= _first_attribute(node)
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Attribute) and not isinstance(inner.ctx, ast.Load):
                        self.stored.add(inner.attr)
                    elif isinstance(inner, ast.Name) and inner.id.startswith("."):
                        self.stored.add(inner.id[1:])
        for module in program.modules.values():
            for node in module.tree.body:
                if id(node) not in reach.live:
                    continue
                if isinstance(node, FunctionNode):
                    is_public = module.keeps or is_interface(node.name)
                    self._take(Function(node.name, module.unit, node, None, not is_public, module.keeps))
                elif isinstance(node, ast.ClassDef):
                    self._take_class(node, module, reach, methods)
                else:
                    self._count(node)

    def _take_class(self, node: ast.ClassDef, module: Module, reach: Reach, methods: Counter[str]) -> None:
        for inner in node.body:
            if not isinstance(inner, FunctionNode):
                self._count(inner)
            elif id(inner) in reach.live:
                is_ours = methods[inner.name] == 1 and inner.name not in self.stored
                is_ours &= not inner.name.startswith("__")
                is_ours &= not (is_application_class(node) and not inner.name.startswith("_"))
                self._take(Function("." + inner.name, module.unit, inner, node.name, is_ours, module.keeps))
        for base in [*node.bases, *node.decorator_list]:
            self._count(base)

    def _take(self, function: Function) -> None:
        function.eligible &= _is_plain(function.node)
        self.functions.append(function)
        if function.eligible:
            self.by_key[function.key] = function
        self._count(function.node)

    def _count(self, node: ast.AST) -> None:
        self.counts.update(references(node))

    def inlined(self, function: Function, was: int) -> None:
        """Count what changed when a call of the function was replaced; `was`: how often it was named before."""
        self.counts[function.key] -= 1
        if was > 1:
            for part in function.node.body:
                self.counts.update(references(part))

    def mentions(self, function: Function) -> set[str]:
        """Return all that a function names."""
        key = id(function.node)
        if key not in self._mentions:
            self._mentions[key] = set(references(function.node))
        return self._mentions[key]

    def changed(self, function: Function) -> None:
        """Forget what a function names: its body is another one."""
        self._mentions.pop(id(function.node), None)

    def remove(self, function: Function) -> None:
        """Leave out a function that is no longer called."""
        self.functions.remove(function)
        del self.by_key[function.key]

    def named(self, function: Function) -> int:
        """Return how often a function is named."""
        texts = self.counts["'" + function.key[1:]] if function.owner else 0
        return self.counts[function.key] + 1000 * texts

    def target(self, call: ast.AST, caller: Function) -> tuple[Function, ast.expr | None] | None:
        """Return the function that a call calls for certain, and the receiver of a method's call."""
        if not isinstance(call, ast.Call):
            return None
        if isinstance(call.func, ast.Name):
            found = self.by_key.get(call.func.id)
            return (found, None) if found and found.unit in (caller.unit, CORE) else None
        if not isinstance(call.func, ast.Attribute):
            return None
        found = self.by_key.get("." + call.func.attr)
        if not found or found.unit not in (caller.unit, CORE):
            return None
        receiver = call.func.value
        if not self._is_self(found, receiver, caller) and call.func.attr in self.builtin:
            return None
        return found, receiver

    def _is_self(self, function: Function, receiver: ast.expr, caller: Function) -> bool:
        """Return whether a method is called on the caller's own object."""
        own = caller.node.args.args[0].arg if caller.owner and caller.node.args.args else ""
        is_self = isinstance(receiver, ast.Name) and receiver.id == own
        return is_self and function.owner in self._families.get(caller.owner or "", ())

    def touch(self, function: Function, receiver: ast.expr | None, caller: Function) -> str | None:
        """Return the attribute to look at before a method's body is put in place of its call, "" if none need be.

        None if there is no such attribute: then a call on None would no longer fail at once.
        """
        if receiver is None or self._is_self(function, receiver, caller) or _touches_self_first(function.node):
            return ""
        return self._first_attribute.get(function.owner or "")

    def unit(self, name: str) -> str:
        """Return the unit of `module:name`."""
        return self._program.unit(name.rpartition(":")[0])


def _families(program: Program) -> dict[str, set[str]]:
    """Return {class: itself and all classes that it inherits from}."""
    bases = {
        node.name: [base.id for base in node.bases if isinstance(base, ast.Name)]
        for tree in program.trees()
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }

    def above(name: str) -> set[str]:
        return {name}.union(*(above(base) for base in bases.get(name, ())))

    return {name: above(name) for name in bases}


def _first_attribute(node: ast.ClassDef) -> dict[str, str]:
    """Return {class: the first attribute that its constructor sets on every object}."""
    for method in node.body:
        if isinstance(method, FunctionNode) and method.name == "__init__":
            for part in method.body:
                target = part.targets[0] if isinstance(part, ast.Assign) else None
                if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                    return {node.name: target.attr}
    return {}


def _is_plain(node: FunctionNode) -> bool:
    """Return whether a function is of a kind that can be put in place of its calls."""
    arguments = node.args
    if node.decorator_list or arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs:
        return False
    if not all(isinstance(item, ast.Constant) for item in arguments.defaults):
        return False
    own = {item.arg for item in arguments.args} | stored_names(node)
    for part in node.body:
        for inner in ast.walk(part):
            if isinstance(inner, _FORBIDDEN):
                return False
            if isinstance(inner, ast.Name) and inner.id in ("super", "locals"):
                return False
            if isinstance(inner, _Comprehension) and _captures(inner, own):
                return False
    return True


def _captures(node: _Comprehension, own: set[str]) -> bool:
    """Return whether a comprehension sees a variable of the function around it: that would be a closure's cell."""
    inside = [node.generators[0].target, *node.generators[0].ifs, *node.generators[1:]]
    inside += [getattr(node, name) for name in ("elt", "key", "value") if hasattr(node, name)]
    names = {inner.id for part in inside for inner in ast.walk(part) if isinstance(inner, ast.Name)}
    targets = {name for generator in node.generators for name in stored_names(generator.target)}
    return bool(names & (own - targets))


def _touches_self_first(node: FunctionNode) -> bool:
    """Return whether a method fails at once where there is no object, before it does anything else."""
    me = node.args.args[0].arg if node.args.args else ""
    first = node.body[0]
    return any(
        isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id == me
        for inner in ast.walk(first if not hasattr(first, "body") else getattr(first, "test", ast.Pass()))
    )

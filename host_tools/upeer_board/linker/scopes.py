"""Gives every name of the program one meaning: what a module binds becomes `module:name`, a local `name__number`.

After it no two things share a name, whatever module or function they are in; `names` makes names of them again.
Imports between modules of one unit are gone then, and those at the top of modules, which `units` writes anew.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import count
from typing import Any

from upeer_board.linker.program import CORE, FunctionNode, Module, Program

_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
EXTERNAL = "ext:"


class Scope:
    """The names of a module, class, function or comprehension: what each stands for."""

    def __init__(self, kind: str, outer: Scope | None, names: dict[str, str]) -> None:
        self.kind = kind
        self.outer = outer
        self.names = names


def resolve(program: Program) -> None:
    """Resolve every name of every module."""
    tables = {name: _Table(program, module) for name, module in program.modules.items()}
    numbers = count()
    for module in program.modules.values():
        _Resolver(module, tables, numbers).run()
    for module in program.modules.values():
        module.imports = [name for name in module.imports if name in program.modules]


class _Table:
    """What the top of a module binds: its own names, names of other modules of ours, modules themselves."""

    def __init__(self, program: Program, module: Module) -> None:
        self.program = program
        self.own: dict[str, str] = {}
        self.imported: dict[str, tuple[str, str]] = {}
        self.modules: dict[str, str] = {}
        for node in top_statements(module.tree.body):
            self._bind(module, node)

    def _bind(self, module: Module, node: ast.stmt) -> None:
        if isinstance(node, ast.ImportFrom) and node.module in self.program.modules:
            module.imports.append(node.module)
            for item in node.names:
                self._bind_import(module, node.module, item)
        elif isinstance(node, ast.ImportFrom) and module.keeps is False and not node.level:
            self.own |= {item.asname or item.name: f"{EXTERNAL}{node.module}.{item.name}" for item in node.names}
        elif isinstance(node, ast.Import) and module.keeps is False:
            self.own |= {item.asname or item.name: f"{EXTERNAL}{item.name}" for item in node.names}
        else:
            self.own |= {name: f"{module.name}:{name}" for name in bound_names(node)}

    def _bind_import(self, module: Module, source: str, item: ast.alias) -> None:
        whole = f"{source}.{item.name}"
        if whole in self.program.modules:
            module.imports.append(whole)
            self.modules[item.asname or item.name] = whole
        else:
            self.imported[item.asname or item.name] = (source, item.name)


def top_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module's top, those inside `if` and `try` too."""
    for node in body:
        yield node
        for name in ("body", "orelse", "finalbody"):
            if isinstance(node, ast.If | ast.Try | ast.For | ast.While | ast.With):
                yield from top_statements(getattr(node, name, []))
        for handler in getattr(node, "handlers", []):
            yield from top_statements(handler.body)


def bound_names(node: ast.AST) -> set[str]:
    """Return the names that a statement itself binds, those inside functions and classes left out."""
    found: set[str] = set()
    if isinstance(node, FunctionNode | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {item.asname or item.name.partition(".")[0] for item in node.names}
    if isinstance(node, ast.ExceptHandler) and node.name:
        found.add(node.name)
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
        found.add(node.id)
    if not isinstance(node, ast.Lambda | _Comprehension):
        for inner in ast.iter_child_nodes(node):
            found |= bound_names(inner)
    return found


class _Resolver(ast.NodeTransformer):
    """Walks one module with the scopes around each name."""

    def __init__(self, module: Module, tables: dict[str, _Table], numbers: Iterator[int]) -> None:
        self._module = module
        self._tables = tables
        self._table = tables[module.name]
        self._numbers = numbers
        self._scope = Scope("module", None, {})

    def run(self) -> None:
        self._module.tree.body = [node for old in self._module.tree.body for node in _listed(self.visit(old))]

    # names

    def _global(self, name: str, table: _Table | None = None) -> str | None:
        """Return what a name at a module's top stands for, through imports; None for a builtin."""
        table = table or self._table
        if name in table.imported:
            source, other = table.imported[name]
            found = self._global(other, self._tables[source])
            if found is None:
                raise ValueError(f"{self._module.path}: {source} has no {other}")
            return found
        return table.own.get(name)

    def _find(self, name: str) -> str:
        scope: Scope | None = self._scope
        while scope and scope.kind != "module":
            if name in scope.names and (scope.kind != "class" or scope is self._scope):
                return scope.names[name]
            scope = scope.outer
        return self._global(name) or name

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if self._scope.kind == "class" and isinstance(node.ctx, ast.Store):
            self._scope.names[node.id] = "." + node.id  # an attribute, from here on
        node.id = self._find(node.id)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        node.value = self.visit(node.value)  # before a class gets the name
        node.targets = [self.visit(target) for target in node.targets]
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """Replace module.name by what that name stands for."""
        if isinstance(node.value, ast.Name) and self._find(node.value.id) == node.value.id:
            source = self._table.modules.get(node.value.id)
            if source:
                found = self._global(node.attr, self._tables[source])
                if found is None:
                    raise ValueError(f"{self._module.path}: {source} has no {node.attr}")
                return ast.Name(found, node.ctx) if isinstance(node.ctx, ast.Load) else self._exchanged(source, found)
        self.generic_visit(node)
        return node

    def _exchanged(self, source: str, name: str) -> ast.Attribute:
        """Return the place of a name in another module, which a test exchanges."""
        if not self._module.keeps:
            raise ValueError(f"{self._module.path} exchanges {name}, which may stand in many places of an image")
        found = ast.parse(f"__import__({source!r}, None, None, ('*',))", mode="eval").body
        return ast.Attribute(found, "=" + name, ast.Store())

    def visit_Global(self, node: ast.Global) -> ast.Global:
        node.names = [self._global(name) or name for name in node.names]
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.Nonlocal:
        node.names = [self._find(name) for name in node.names]
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        node.name = node.name and self._find(node.name)
        self.generic_visit(node)
        return node

    # imports

    def visit_Import(self, node: ast.Import) -> ast.stmt | None:
        if self._scope.kind == "module":
            return self._kept_import(node) if self._module.keeps else None
        for item in node.names:
            item.asname = self._find(item.asname or item.name)
        return node

    def _kept_import(self, node: ast.Import | ast.ImportFrom) -> ast.stmt:
        for item in node.names:
            item.asname = self._find(item.asname or item.name)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt | None:
        is_ours = node.module in self._tables
        if self._scope.kind == "module":
            return self._kept_import(node) if self._module.keeps and not is_ours else None
        names = []
        for item in node.names:
            local = self._find(item.asname or item.name)
            if ":" not in local:
                source = self._tables[node.module] if is_ours else None  # type: ignore[index]
                found = self._global(item.name, source) if source else item.name
                if found is None:
                    raise ValueError(f"{self._module.path}: {node.module} has no {item.name}")
                names.append(ast.alias(found, local))
        node.names = names
        return node if names else None

    # scopes

    def visit_FunctionDef(self, node: FunctionNode) -> FunctionNode:
        node.decorator_list = [self.visit(item) for item in node.decorator_list]
        if self._scope.kind == "class":
            self._scope.names[node.name] = "." + node.name
        node.name = self._find(node.name) if self._scope.kind != "class" else node.name
        self._function(node, node.body)
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        self._function(node, None)
        return node

    def _function(self, node: FunctionNode | ast.Lambda, body: list[ast.stmt] | None) -> None:
        arguments = node.args
        arguments.defaults = [self.visit(item) for item in arguments.defaults]
        arguments.kw_defaults = [item and self.visit(item) for item in arguments.kw_defaults]
        given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        given += [item for item in (arguments.vararg, arguments.kwarg) if item]
        names = {item.arg for item in given}
        for inner in body or ():
            names |= bound_names(inner)
        shared = {name for inner in body or () for name in _declared(inner)}
        scope = Scope("function", self._scope, self._locals(names - shared))
        self._hide_imports(body or [], scope)
        self._scope = scope
        for item in given:
            item.arg = scope.names[item.arg]
        if body is None:
            node.body = self.visit(node.body)  # type: ignore[arg-type, type-var]
        else:
            body[:] = [new for old in body for new in _listed(self.visit(old))] or [ast.Pass()]
        self._scope = scope.outer  # type: ignore[assignment]

    def _locals(self, names: set[str]) -> dict[str, str]:
        return {name: f"{name}__{next(self._numbers)}" for name in sorted(names)}

    def _hide_imports(self, body: list[ast.stmt], scope: Scope) -> None:
        """Let names that a function imports from its own unit, or from the resident one, stand for what they are."""
        program = self._table.program
        for outer in body:
            for node in ast.walk(outer):
                source = node.module if isinstance(node, ast.ImportFrom) else None
                if source in program.modules and program.unit(source) in (self._module.unit, CORE):
                    for item in node.names:  # type: ignore[attr-defined]
                        found = self._global(item.name, self._tables[source])
                        if found:
                            scope.names[item.asname or item.name] = found

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        node.name = self._find(node.name)
        node.bases = [self.visit(item) for item in node.bases]
        node.decorator_list = [self.visit(item) for item in node.decorator_list]
        self._scope = Scope("class", self._scope, {})
        node.body = [new for old in node.body for new in _listed(self.visit(old))] or [ast.Pass()]
        self._scope = self._scope.outer  # type: ignore[assignment]
        return node

    def _comprehension(self, node: _Comprehension) -> _Comprehension:
        first = node.generators[0]
        first.iter = self.visit(first.iter)
        names = set().union(*(bound_names(generator.target) for generator in node.generators))
        self._scope = Scope("comprehension", self._scope, self._locals(names))
        for generator in node.generators:
            if generator is not first:
                generator.iter = self.visit(generator.iter)
            generator.target = self.visit(generator.target)
            generator.ifs = [self.visit(item) for item in generator.ifs]
        for name in ("key", "value", "elt"):
            if hasattr(node, name):
                setattr(node, name, self.visit(getattr(node, name)))
        self._scope = self._scope.outer  # type: ignore[assignment]
        return node

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def _block(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        if hasattr(node, "body") and not node.body:
            node.body = [ast.Pass()]
        return node

    visit_If = visit_Try = visit_With = visit_For = visit_While = _block


def _declared(node: ast.AST) -> set[str]:
    found = set(node.names) if isinstance(node, ast.Global | ast.Nonlocal) else set()
    if not isinstance(node, FunctionNode | ast.Lambda | ast.ClassDef):
        for inner in ast.iter_child_nodes(node):
            found |= _declared(inner)
    return found


def _listed(result: Any) -> list[Any]:
    return result if isinstance(result, list) else [] if result is None else [result]

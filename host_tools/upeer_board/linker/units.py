"""Writes each unit as one source: names become those of the image, imports from other units are made anew."""

from __future__ import annotations

import ast

from upeer_board.linker.builtin import import_builtins
from upeer_board.linker.frequent import mention_frequent
from upeer_board.linker.names import Names
from upeer_board.linker.program import CORE, INTERFACE, FunctionNode, Module, Program, is_local
from upeer_board.linker.reach import defined, is_application_class, is_interface
from upeer_board.linker.scopes import EXTERNAL
from upeer_board.linker.slots import share_slots


class _Everything(set):  # type: ignore[type-arg]
    def __contains__(self, name: object) -> bool:
        return True


_EVERYTHING = _Everything()


def write_units(program: Program, names: Names) -> dict[str, str]:
    """Return {path: source} of every unit, and of the interface's modules, which stand for parts of the core."""
    files = {module.path: _stand_in(module) for module in program.modules.values() if module.name in INTERFACE}
    loaded: dict[str, str] = {}  # what the core imports of MicroPython: {name: name in the core}
    for unit, modules in sorted(program.units().items(), key=lambda item: item[0] != CORE):
        writer = _Writer(program, names, unit, modules, loaded)
        body = [writer.write(module, node) for module in modules for node in module.tree.body]
        tree = ast.Module(writer.imports() + body, [])
        if unit == CORE:
            import_builtins(tree)
        mention_frequent(tree)
        files[_path(unit, modules)] = ast.unparse(ast.fix_missing_locations(tree))
        if unit == CORE:
            loaded.update(writer.external)
    return files


def _stand_in(module: Module) -> str:
    """Return the source of a module of the interface: its names, out of the unit that they are in."""
    names = sorted(name.rpartition(":")[2] for node in module.tree.body for name in defined(node) if is_interface(name))
    return f"from {module.unit} import {', '.join(names)}" if names else ""


def _path(unit: str, modules: list[Module]) -> str:
    own = [module.path for module in modules if module.name == unit]
    return own[0] if own else unit.replace(".", "/") + ".py"


class _Writer(ast.NodeTransformer):
    """Renames all in the statements of one unit, and notes what it needs of others."""

    def __init__(
        self, program: Program, names: Names, unit: str, modules: list[Module], loaded: dict[str, str]
    ) -> None:
        self.external: dict[str, str] = {}
        self._program = program
        self._names = names
        self._unit = unit
        self._loaded = loaded
        self._keeps = any(module.keeps for module in modules)
        self._is_open = False  # what is written now is called by applications
        self._foreign: dict[str, str] = {}
        self._parameters: dict[str, str] = {}
        self._depth = 0  # of functions in functions
        self._own = {
            name.rpartition(":")[2] for module in modules for node in module.tree.body for name in defined(node)
        }

    def write(self, module: Module, node: ast.stmt) -> ast.stmt:
        """Return a statement of a module's top as it stands in the image."""
        is_theirs = isinstance(node, ast.ClassDef) and is_application_class(node)
        self._is_open = module.keeps or module.name in INTERFACE or is_theirs
        found: ast.stmt = self.visit(node)
        return found

    def imports(self) -> list[ast.stmt]:
        """Return the imports at the unit's top.

        What the core has as well comes from there: MicroPython looks for its own modules in the flash at each import.
        """
        lines = []
        groups: dict[str, list[str]] = {}
        for name, local in sorted(self.external.items()):
            source, _, item = name.removeprefix(EXTERNAL).rpartition(".")
            if name in self._loaded:
                groups.setdefault(CORE, []).append(_as(self._loaded[name], local))
            elif source:
                groups.setdefault(source, []).append(_as(item, local))
            else:
                lines.append(f"import {_as(item, local)}")
        for name, local in sorted(self._foreign.items()):
            unit = self._program.unit(name.rpartition(":")[0])
            if self._unit == CORE:
                raise ValueError(
                    f"what stays loaded needs {name} at its top, which is in {unit}: import it where it is used"
                )
            groups.setdefault(unit, []).append(_as(self._names.globals[name], local))
        lines += [f"from {unit} import {', '.join(items)}" for unit, items in sorted(groups.items())]
        return ast.parse("\n".join(lines)).body

    # names

    def _global(self, name: str) -> str:
        if name.startswith(EXTERNAL):
            return self.external.setdefault(name, name.removeprefix(EXTERNAL).rpartition(".")[2])
        if self._program.unit(name.rpartition(":")[0]) == self._unit:
            return self._names.globals[name]
        if name not in self._foreign:
            plain = name.rpartition(":")[2] if self._keeps else self._names.globals[name]
            while self._keeps and (plain in self._own or plain in self._foreign.values()):
                plain += "_"
            self._foreign[name] = plain
        return self._foreign[name]

    def _name(self, name: str) -> str:
        if name.startswith("."):
            return self._attribute(name[1:])
        if ":" in name:
            return self._global(name)
        return self._parameters.get(name, name)

    def _attribute(self, name: str) -> str:
        return self._names.attributes.get(name, name)

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self._name(node.id)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.Attribute:
        self.generic_visit(node)
        is_global = node.attr.startswith("=")
        node.attr = self._names.globals[node.attr[1:]] if is_global else self._attribute(node.attr)
        return node

    def visit_Global(self, node: ast.Global) -> ast.Global:
        node.names = [self._name(name) for name in node.names]
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.Nonlocal:
        node.names = [self._name(name) for name in node.names]
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        self.generic_visit(node)
        node.name = node.name and self._name(node.name)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        node.name = self._name(node.name)
        node.bases = [self.visit(base) for base in node.bases]
        node.decorator_list = [self.visit(item) for item in node.decorator_list]
        node.body = [self._member(inner) for inner in node.body]
        return node

    def _member(self, node: ast.stmt) -> ast.stmt:
        if isinstance(node, FunctionNode):
            return self._function(node, self._attribute(node.name))
        found: ast.stmt = self.visit(node)
        return found

    def visit_FunctionDef(self, node: FunctionNode) -> FunctionNode:
        if is_local(node.name):  # MicroPython keeps a function's name, though it is a variable of the one around it
            inner = sum(name in self._names.inner for name in self._parameters.values())
            self._parameters[node.name] = self._names.inner[inner]
        return self._function(node, self._name(node.name))

    visit_AsyncFunctionDef = visit_FunctionDef

    def _function(self, node: FunctionNode, name: str) -> FunctionNode:
        is_public = not node.name.startswith("_") or node.name == "__init__"
        node.name = name
        outer = self._parameters
        if not self._depth:
            share_slots(node, getattr(node, "own", _EVERYTHING))
        self._parameters = self._number(node.args, self._is_open and is_public)
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1
        self._parameters = outer
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        outer = self._parameters
        self._parameters = self._number(node.args, False)
        self.generic_visit(node)
        self._parameters = outer
        return node

    def _number(self, arguments: ast.arguments, is_kept: bool) -> dict[str, str]:
        """Return parameters' names: their place's, or their own if some call names them; with those of the function
        around this one.
        """
        found = dict(self._parameters)
        given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        given += [item for item in (arguments.vararg, arguments.kwarg) if item]
        for place, item in enumerate(given):
            plain = item.arg.rpartition("__")[0]
            is_named = plain in self._names.keywords or (is_kept and plain != "self")
            found[item.arg] = plain if is_named else self._names.parameters[place + len(self._parameters)]
        return found

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.arg = self._name(node.arg)
        return node

    # modules

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        for item in node.names:
            if ":" in item.name:
                node.module = self._program.unit(item.name.rpartition(":")[0])
                item.name = self._names.globals[item.name]
            if item.asname:
                item.asname = self._name(item.asname)
        return node

    visit_Import = visit_ImportFrom  # type: ignore[assignment]

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if isinstance(node.value, str) and "." in node.value and node.value in self._program.where:
            node.value = self._program.unit(node.value)
        return node

    def visit_Tuple(self, node: ast.Tuple) -> ast.Tuple:
        """Name each unit once in a row of modules."""
        self.generic_visit(node)
        texts = [item.value for item in node.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)]
        if len(texts) == len(node.elts) and any(text in self._units() for text in texts):
            node.elts = [ast.Constant(text) for text in dict.fromkeys(texts)]
        return node

    def _units(self) -> set[str]:
        return set(self._program.where.values())


def _as(item: str, local: str) -> str:
    return item if item == local else f"{item} as {local}"

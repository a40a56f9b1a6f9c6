"""What the linker works on: the modules of an image, and the unit, one file of the image, that each becomes part of.

The resident unit is `device.core`; each group of transient modules is one (`device.<group>`); what is loaded on request
is a unit of its own and keeps its names, since applications and the production line call it by name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from upeer_board.linker.known import MODULES

CORE = "device.core"
LOADER = "device/loader.py"
# Applications import these by name: an image has a module for each, with these names, or all public ones.
INTERFACE: dict[str, tuple[str, ...]] = {
    "device.api": (),
    "device.loader": ("drop_all",),
    "upeer.aio": (),
    "upeer.base.errors": (),
}
# Loaded on request, by name: the production line's, the services.
ON_REQUEST = (
    *(f"device.{name}" for name in ("prove", "selftest", "checks", "loop")),
    *(f"device.services.{name}" for name in ("echo", "files")),
)
# Loaded where limits allow large packets or windows: each is a unit.
OPTIONAL = ("upeer.session.mtu", "upeer.session.pacing")
# The client's and the host's half: no board loads it.
HOST_HALF = ("upeer.connect", "upeer.crypto.cpython", "upeer.signalling.lookup", "upeer.signalling.stun")
COMPAT = "upeer.base.compat"
WRITTEN = frozenset({"board"})  # by the image builder: the board's limits

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Module:
    """One source file. `keeps`: its globals keep their names, and all of it is kept."""

    path: str
    name: str
    unit: str
    tree: ast.Module
    keeps: bool = False
    imports: list[str] = field(default_factory=list)  # of our modules, at its top


@dataclass
class Program:
    """All modules by name. `where`: the unit of each, those too of which nothing is left."""

    modules: dict[str, Module]
    where: dict[str, str] = field(default_factory=dict)

    def unit(self, name: str) -> str:
        """Return the unit of a module."""
        return self.where[name]

    def units(self) -> dict[str, list[Module]]:
        """Return the modules of each unit, each after those that it imports at its top."""
        found: dict[str, list[Module]] = {}
        for module in self.in_order():
            found.setdefault(module.unit, []).append(module)
        return found

    def trees(self) -> Iterator[ast.Module]:
        """Yield the tree of every module."""
        for module in self.modules.values():
            yield module.tree

    def in_order(self) -> list[Module]:
        """Return the modules, each after those that it imports at its top."""
        left, done = dict(self.modules), []
        while left:
            ready = [m for m in left.values() if not any(name in left for name in m.imports)]
            if not ready:
                raise ValueError(f"modules import one another in a circle: {', '.join(left)}")
            for module in ready:
                done.append(left.pop(module.name))
        return done


def is_local(name: str) -> bool:
    """Return whether a resolved name is a function's own: `name__number`."""
    return name.rpartition("__")[2].lstrip("r").isdigit()


def module_name(path: str) -> str:
    """Return the module's name for a path."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def load_program(sources: Mapping[str, str], extra: Mapping[str, str]) -> Program:
    """Parse the firmware's sources, and those of modules beside it that are to see the same names (tests)."""
    groups = _groups(sources)
    modules = {}
    for path, source in {**sources, **extra}.items():
        name = module_name(path)
        if name in HOST_HALF and not extra:
            continue
        is_beside = path in extra or name in ON_REQUEST or name in HOST_HALF
        unit = name if is_beside or name in OPTIONAL else groups.get(name, CORE)
        modules[name] = Module(path, name, unit, parse(path, source), is_beside)
        if path in sources and name not in HOST_HALF:
            _check_imports(modules[name], {part.partition("/")[0].removesuffix(".py") for part in sources})
    return Program(modules, {name: module.unit for name, module in modules.items()})


def _check_imports(module: Module, ours: set[str]) -> None:
    """Raise ValueError for a module that is neither of `ours` nor one of MicroPython whose names are recorded."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom):
            names = [] if node.level else [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [item.name for item in node.names]
        else:
            continue
        for name in names:
            if name.partition(".")[0] not in ours | WRITTEN | MODULES:
                raise ValueError(f"{module.path}, line {node.lineno}: imports {name}; add its names to linker/known.py")


def parse(path: str, source: str) -> ast.Module:
    """Return the tree of a source; ValueError is a line for the user."""
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise ValueError(f"{path.rpartition('/')[2]}: SyntaxError: {error.msg}, line {error.lineno}") from None


def _groups(sources: Mapping[str, str]) -> dict[str, str]:
    """Return {module: unit} of the table of transient modules: a group of one module keeps the module's name."""
    table: dict[str, tuple[str, ...]] = _literal(sources.get(LOADER, ""), "TRANSIENT") or {}
    found: dict[str, str] = {}
    for group, names in table.items():
        found |= {name: f"device.{group}" if len(names) > 1 else name for name in names}
    return found


def _literal(source: str, name: str) -> Any:
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(targets[0], ast.Name) and targets[0].id == name and isinstance(node, ast.Assign | ast.AnnAssign):
            return ast.literal_eval(node.value) if node.value else ()
    return ()

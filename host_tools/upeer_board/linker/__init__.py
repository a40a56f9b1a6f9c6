"""The linker: makes the files of an image out of all sources at once, so that they take little RAM on a board.

`link` is called by the image builder, and by the tests that prove the result: these hand in their own sources, which
then see the image's names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from upeer_board.linker.fold import fold_constants, prepare
from upeer_board.linker.inline import inline_calls
from upeer_board.linker.known import BUILTIN
from upeer_board.linker.lazy import name_lazy_imports
from upeer_board.linker.loops import unroll_comprehensions
from upeer_board.linker.names import Names, find_owners
from upeer_board.linker.program import COMPAT, CORE, load_program, module_name
from upeer_board.linker.reach import drop_unreached, drop_unread
from upeer_board.linker.report import describe_names
from upeer_board.linker.scopes import resolve
from upeer_board.linker.units import write_units

__all__ = ["CORE", "Linked", "link", "module_name", "resident"]


@dataclass(frozen=True)
class Linked:
    """`files`: {path: source}. `names`: what stands in names.json."""

    files: Mapping[str, str]
    names: Mapping[str, Any]


def link(sources: Mapping[str, str], extra: Mapping[str, str] | None = None) -> Linked:
    """Link {path: source} of the firmware, and of what is beside it; ValueError is a line for the user."""
    program = load_program(sources, extra or {})
    prepare(program)
    program.modules.pop(COMPAT, None)
    name_lazy_imports(program)
    resolve(program)
    fold_constants(program)
    owners = find_owners(program)
    if "device.api" in program.modules:
        unroll_comprehensions(program)
        drop_unreached(program)
        drop_unread(program)
        inline_calls(program, BUILTIN)
        drop_unreached(program)
    names = Names(program, owners)
    described = describe_names(program, names)
    return Linked(write_units(program, names), described)


def resident(sources: Mapping[str, str]) -> list[str]:
    """Return the paths of those sources that stay loaded on a board: all of them are parts of CORE."""
    program = load_program(sources, {})
    return [module.path for module in program.modules.values() if module.unit == CORE and module.name != COMPAT]

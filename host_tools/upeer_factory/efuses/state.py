"""How far a chip is with a plan, told by espefuse's summary alone: which steps are missing, or why it is no such chip.

A step is done, blank, or half done where that is harmless: bits and digests can be burned again with the same value.
A flash key is never half done, for nobody has it any more: a key that is there without its protection ends the board.
Steps are burned in the plan's order, so a chip that is on its way has done the first ones and none of the later ones.
"""

from __future__ import annotations

import re
from typing import Any

from upeer_factory.efuses.plan import DIGEST_PURPOSE, FLASH_KEY_PURPOSE, Plan, PlanError, Step, crypt_count_name
from upeer_factory.errors import FUSES_DIFFER, FactoryError

Summary = dict[str, dict[str, Any]]
BLANK, HALF, DONE, WRONG = "blank", "half", "done", "wrong"
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_PURPOSE = re.compile(r"KEY_PURPOSE_(\d)")


def mac_of(state: Summary) -> str:
    """Return the MAC of the chip whose summary this is."""
    match = _MAC.match(str(state.get("MAC", {}).get("value", "")))
    if match is None:
        raise PlanError("espefuse told no MAC address", "run 'espefuse summary' at this port to see why")
    return match.group()


def is_blank(plan: Plan, state: Summary) -> bool:
    """Tell whether nothing of the plan is burned, and no key that would stand beside it."""
    return all(stage(step, state) == BLANK for step in plan.steps) and not foreign(plan, state)


def missing(plan: Plan, state: Summary, name: str) -> tuple[Step, ...]:
    """Return the steps that are left, in order; FactoryError unless the chip is on this plan's way, or at its end."""
    stages = [stage(step, state) for step in plan.steps]
    for step, found in zip(plan.steps, stages, strict=True):
        if found == WRONG:
            raise FactoryError(FUSES_DIFFER, f"{_wrong_field(step, state)} of {name} is not as this recipe has it")
    if field := foreign(plan, state):
        raise FactoryError(FUSES_DIFFER, f"{field} of {name} was burned, which is no part of this recipe")
    left = stages[stages.count(DONE) :]
    if DONE in left or any(found != BLANK for found in left[1:]):
        late = next(step for step, found in zip(plan.steps[::-1], stages[::-1], strict=True) if found != BLANK)
        raise FactoryError(FUSES_DIFFER, f"{late.fields[0]} of {name} was burned out of this recipe's order")
    return plan.steps[stages.count(DONE) :]


def stage(step: Step, state: Summary) -> str:
    """Return how far the chip is with one step."""
    marks = set(_marks(step, state).values())
    if WRONG in marks or len(marks) == 1:
        return WRONG if WRONG in marks else marks.pop()
    return WRONG if step.unreadable else HALF


def foreign(plan: Plan, state: Summary) -> str:
    """Return the name of a key that stands where the plan has none, or of a counter that tells of one; else ""."""
    kinds = [kind for kind in (FLASH_KEY_PURPOSE, DIGEST_PURPOSE) if kind in plan.expected.values()]
    others = {name: str(state[name]["value"]) for name in state if _PURPOSE.fullmatch(name)}
    for name in set(others) - set(plan.expected):
        if any(others[name].startswith(kind[:8]) for kind in kinds):
            return name.replace("KEY_PURPOSE_", "BLOCK_KEY")
    count = crypt_count_name(plan.chip)
    is_counted = count in state and _raw(state[count])
    key_is_there = all(stage(step, state) != BLANK for step in plan.steps if step.unreadable)
    return count if is_counted and plan.needs_key and not key_is_there else ""


def _marks(step: Step, state: Summary) -> dict[str, str]:
    """Return {field and what is asked of it: done, blank or wrong}."""
    marks = {}
    for name, value in step.expected.items():
        field = _field(name, state)
        marks[name] = DONE if field["value"] == value else WRONG if _raw(field) else BLANK
    for name in step.unreadable:
        field = _field(name, state)
        is_open = field["readable"] and field["writeable"]
        hidden = not field["readable"] and not field["writeable"]
        marks[name] = DONE if hidden else BLANK if is_open and not _raw(field) else WRONG
    for name in step.locked:
        marks[f"{name} locked"] = BLANK if _field(name, state)["writeable"] else DONE
    for name in step.expected:
        if marks[name] == BLANK and not state[name]["writeable"]:
            marks[name] = WRONG
    return marks


def _wrong_field(step: Step, state: Summary) -> str:
    marks = _marks(step, state)
    return next((name for name, mark in marks.items() if mark == WRONG), step.fields[0])


def _field(name: str, state: Summary) -> dict[str, Any]:
    if name not in state:
        raise PlanError(f"the chip has no eFuse {name}", "is this the recipe for this chip?")
    return state[name]


def _raw(field: dict[str, Any]) -> int:
    return int(field["raw_value"], 16)

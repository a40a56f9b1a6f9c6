"""Inlining by the linker: literal sources before and after, and what it refuses. Both must do the same under Python."""

import ast
import re

import pytest

from upeer_board.linker import fold, inline, loops, program, scopes
from upeer_board.linker.reach import drop_unreached


def linked(source, api="def start(*a): pass\n"):
    """Return a module's source after inlining, locals without their numbers; `start` and Device are kept."""
    made = program.load_program({"device/api.py": source + "\n" + api}, {})
    fold.prepare(made)
    scopes.resolve(made)
    fold.fold_constants(made)
    loops.unroll_comprehensions(made)
    inline.inline_calls(made, frozenset({"send"}))
    drop_unreached(made)
    tree = ast.fix_missing_locations(made.modules["device.api"].tree)
    text = ast.unparse(tree).replace("device.api:", "").replace("ext:", "")
    return re.sub(r"\b(\w+?)__r?\d+", r"\1", text).partition("\ndef start")[0].rstrip()


def body(source):
    """Return what is left of a method `go` of class Device."""
    text = linked(source)
    return text[text.index("def go") :]


def test_function_of_one_expression_stands_where_it_was_called():
    assert linked("def _double(x):\n    return x + x\ndef go(a):\n    return 1 + _double(a)") == (
        "def go(a):\n    return 1 + (a + a)"
    )


def test_argument_with_effects_moves_only_if_nothing_comes_before_it():
    text = linked("def _add(x, y):\n    return y + x\ndef go(a, b):\n    return _add(a(), b())")
    assert text == "def go(a, b):\n    x = a()\n    y = b()\n    return y + x"


def test_what_is_evaluated_before_a_call_stays_before_it():
    text = linked("def _f(x):\n    x.n = 2\n    return 3\ndef go(a):\n    return a.n + _f(a)")
    assert text == "def go(a):\n    r = a.n\n    a.n = 2\n    return r + 3"


def test_early_returns_become_branches():
    source = (
        "def _sign(x):\n    if x < 0:\n        return -1\n    return 1\ndef go(a):\n    b = _sign(a)\n    return b * 2"
    )
    assert linked(source) == ("def go(a):\n    if a < 0:\n        b = -1\n    else:\n        b = 1\n    return b * 2")


def test_nested_returns_become_breaks_of_one_round():
    source = """
def _f(x, y):
    if x:
        if y:
            return 1
        x.n = 3
    return 2
def go(a, b):
    c = _f(a, b)
    return c
"""
    assert linked(source) == (
        "def go(a, b):\n    while True:\n        if a:\n            if b:\n"
        "                c = 1\n                break\n"
        "            a.n = 3\n        c = 2\n        break\n    return c"
    )


def test_return_of_a_loop_becomes_its_break_and_the_rest_its_else():
    source = """
def _find(rows):
    for row in rows:
        if row:
            return row
    return None
def go(a):
    b = _find(a)
    return b
"""
    assert linked(source) == (
        "def go(a):\n    for row in a:\n        if row:\n            b = row\n            break\n"
        "    else:\n        b = None\n    return b"
    )


def test_call_in_a_condition_is_made_only_when_it_was():
    source = "def _f(x):\n    x.n = 1\n    return 5\ndef go(a, b):\n    if a and _f(b):\n        return 1\n    return 2"
    assert linked(source) == (
        "def go(a, b):\n    if a:\n        b.n = 1\n        if 5:\n            return 1\n    return 2"
    )


METHODS = """
class Device:
    def __init__(self, other):
        self.n = other
        self.other = other
    def _bump(self, by):
        self.n += by
    def go(self):
        {call}
"""


def test_method_of_one_class_called_once_is_inlined():
    assert body(METHODS.format(call="self._bump(2)")) == "def go(self):\n        self.n += 2"


def test_method_of_another_object_still_fails_at_once_on_none():
    source = METHODS.format(call="self.other._bump(2)").replace("self.n += by", "print(by)\n        self.n = by")
    assert body(source) == (
        "def go(self):\n        self = self.other\n        self.n\n        print(2)\n        self.n = 2"
    )


@pytest.mark.parametrize(
    "change",
    [
        ("def go(self)", "def more(self):\n        return self._bump\n    def go(self)"),  # a callback
        ("def go(self)", "def more(self):\n        self._bump = 1\n    def go(self)"),  # exchanged
        ("class Device", "class Other:\n    def _bump(self, by):\n        pass\nclass Device"),  # of two classes
        ("def _bump", "@staticmethod\n    def _bump"),
        ("self.n += by", "yield by"),
        ("self.n += by", "self.n = lambda: by"),
        ("def _bump(self, by)", "def _bump(self, *by)"),
        ("self._bump(2)", 'getattr(self, "_bump")\n        self._bump(2)'),  # called by its name as text
    ],
)
def test_what_cannot_be_proved_stays_a_call(change):
    source = METHODS.format(call="self._bump(2)").replace(*change)
    source = source.replace("class Device", "Kept = 1\nclass Device") if "Other" in source else source
    assert "self._bump(2)" in body(source)


def test_method_with_a_name_of_micropythons_is_left_where_another_object_may_be_meant():
    source = METHODS.format(call="self.other._bump(2)").replace("_bump", "send")
    assert "self.other.send(2)" in body(source)


def test_coroutine_awaited_once_is_inlined_and_one_that_is_a_task_is_not():
    source = "import asyncio\nasync def _wait(x):\n    await x\nasync def go(a):\n    {}"
    assert linked(source.format("await _wait(a)")) == "async def go(a):\n    await a"
    assert "create_task(_wait(a))" in linked(source.format("asyncio.create_task(_wait(a))"))


def test_try_of_an_inlined_function_keeps_its_handlers():
    source = """
def _read(f):
    try:
        return f()
    except OSError:
        return None
    finally:
        f.done = True
def go(a):
    b = _read(a)
    return b
"""
    assert linked(source) == (
        "def go(a):\n    try:\n        r = a()\n    except OSError:\n        r = None\n    finally:\n"
        "        a.done = True\n    b = r\n    return b"
    )


def test_list_comprehension_becomes_a_loop():
    assert linked("def go(a):\n    return [x + 1 for x in a if x]") == (
        "def go(a):\n    c = []\n    for x in a:\n        if x:\n            c.append(x + 1)\n    return c"
    )


def test_small_function_is_copied_only_where_all_its_calls_can_be():
    source = "def _f(x):\n    x.n = 1\n    x.m = 2\ndef go(a):\n    _f(a)\n    {}"
    assert linked(source.format("_f(a.b)")).count("_f(") == 0
    assert linked(source.format("while _f(a):\n        pass")).count("_f(a)") == 2

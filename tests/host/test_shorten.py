"""The image builder's shortening and bundling: what a board runs means the same as what stands in firmware/."""

import ast

import pytest

from upeer_board import bundle, image
from upeer_board.shorten import shorten

COUNTER = """
from upeer.base.compat import MICROPYTHON, const
STEP = const(2)
_LIMIT = const(STEP * 5)
_TABLE = (1, 2)

class Counter:
    def __init__(self, start, limit=_LIMIT):
        self._value = start
        self._limit = limit

    def _clamp(self, value):
        return min(value, self._limit)

    def add(self, step=STEP):
        self._value = self._clamp(self._value + step)
        return self._value + (_TABLE[0] if MICROPYTHON else 9)
"""
USER = """
from upeer.counter import STEP, Counter
def run(first, second):
    def inner(second):
        return first + second
    counter = Counter(first, limit=50)
    return inner(counter.add(STEP) + counter.add()) + second
"""


def trees(**sources):
    return {f"upeer/{name}.py": ast.parse(source) for name, source in sources.items()}


def run(code):
    """Run both modules, one after the other, without the imports between them."""
    scope: dict = {"MICROPYTHON": True, "const": int}
    for tree in code.values():
        body = [node for node in tree.body if not isinstance(node, ast.ImportFrom)]
        exec(compile(ast.fix_missing_locations(ast.Module(body, [])), "x", "exec"), scope)
    scope["STEP"] = 2
    return scope["run"](3, 4)


def test_short_code_does_the_same():
    plain, short = trees(counter=COUNTER, user=USER), trees(counter=COUNTER, user=USER)
    names = shorten(short)
    assert run(short) == run(plain)
    text = "".join(ast.unparse(tree) for tree in short.values())
    assert "_clamp" not in text and "STEP" not in text and "_LIMIT" not in text and "MICROPYTHON" not in text
    assert "limit=" in text  # somebody names that parameter
    assert set(names["upeer/counter.py"].values()) == {"_value", "_limit", "_clamp", "_TABLE"}


def test_private_names_of_other_modules_are_refused():
    with pytest.raises(ValueError, match=r"upeer/user.py uses _clamp, which is private to another module"):
        shorten(trees(counter=COUNTER, user="def f(x):\n    return x._clamp(1)\n"))


def test_base_classes_of_other_modules_share_their_names():
    code = trees(
        counter=COUNTER,
        user="from upeer.counter import Counter\nclass Two(Counter):\n    def get(self):\n        return self._value\n",
    )
    names = shorten(code)
    inverse = {name: short for short, name in names["upeer/user.py"].items()}
    assert f"self.{inverse['_value']}" in ast.unparse(code["upeer/user.py"])
    assert inverse["_value"] in ast.unparse(code["upeer/counter.py"])


def test_bundle_has_every_steady_module_and_stubs_for_them():
    sources, names = image.shipped_sources()
    assert set(bundle.STEADY) <= set(sources) and bundle.CORE in sources
    assert sources["device/api.py"] == "from device.core import Device"
    for path in bundle.STEADY:
        assert f"'{bundle.module_name(path)}'" in sources[bundle.CORE]
    assert "class Session" in sources[bundle.CORE] and "upeer.session.stream" not in sources["upeer/session/session.py"]
    assert "_write_packet" in names["upeer/session/session.py"].values()


def test_two_steady_things_of_one_name_are_refused():
    code = {path: ast.parse("x = 1\n") for path in bundle.STEADY[:2]}
    with pytest.raises(ValueError, match="share the names x"):
        bundle.bundle(code)

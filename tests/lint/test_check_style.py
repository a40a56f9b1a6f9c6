"""The style checker reports what it is there for."""

import ast

import check_style
import pytest
import rules


def _faults(name, source):
    checker = check_style.Checker()
    checker.check_file(name, source)
    return checker.faults


@pytest.mark.parametrize(
    ("name", "source", "fault"),
    [
        ("upeer/base/wire.py", "import socket\n", "upeer/base/wire.py:1: the core must not import socket"),
        ("upeer/base/wire.py", "import time\n", "upeer/base/wire.py:1: the core must not import time"),
        ("upeer/base/wire.py", "def f():\n    print(1)\n", "upeer/base/wire.py:2: the core must not call print()"),
        ("device/x.py", "from upeer_board import y\n", "device/x.py:1: device must not import upeer_board: imports"),
        ("device/x.py", "import typing\n", "device/x.py:1: MicroPython has no module typing"),
        ("device/x.py", "def f(n):\n    return n.bit_length()\n", "device/x.py:2: MicroPython has no n.bit_length"),
        ("device/x.py", "def f(a):\n    raise OSError from a\n", "device/x.py:2: MicroPython has no `raise ... from`"),
        ("upeer_client/x.py", "import upeer_server.y\n", "upeer_client/x.py:1: upeer_client must not import"),
        ("upeer_client/x.py", "def f(a, b, c, d, e, g): pass\n", "upeer_client/x.py:1: f: 6 parameters, at"),
        ("upeer_client/x.py", "def f():\n" + "    g()\n" * 40, "upeer_client/x.py:1: f: 41 lines, at most 40"),
        ("upeer_client/x.py", "a = 1\n" * 401, "upeer_client/x.py:1: module of 401 lines, at most 400"),
    ],
)
def test_fault_is_reported(name, source, fault):
    faults = _faults(name, source)
    assert len(faults) == 1
    assert faults[0].startswith(fault)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("upeer/base/clock.py", "upeer.crypto.aead"),
        ("upeer/session/stream.py", "upeer.signalling.control"),
        ("upeer/signalling/login.py", "upeer.endpoint"),
        ("upeer_factory/pool/pool.py", "upeer_factory.station.lane"),
    ],
)
def test_chapter_knows_only_those_below_it(name, module):
    package, chapter, _ = name.split("/")
    assert _faults(name, f"import {module}\n") == [
        f"{name}:1: {package}/{chapter} must not import {module}: it is not on a lower floor"
    ]


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("import esptool\n", "esptool"),
        ("def f():\n    from espefuse.efuse_interface import X\n", "espefuse.efuse_interface"),
        ("import importlib\nimportlib.import_module('espsecure')\n", "espsecure"),
    ],
)
def test_program_is_imported_nowhere(source, module):
    checker = check_style.Checker()
    checker.check_programs("tests/x.py", ast.parse(source))
    line = source.count("\n")
    assert checker.faults == [f"tests/x.py:{line}: {module} is run as a program, never imported: it is GPL"]
    assert _faults("upeer_client/x.py", source)[0].endswith("it is GPL")


def test_module_of_tests_is_imported_nowhere():
    checker = check_style.Checker()
    checker.check_test_imports("tests/x.py", ast.parse("import helpers\nfrom test_y import Thing\n"))
    assert checker.faults == ["tests/x.py:2: test_y is a module of tests: what others use of it goes to a helper"]


def test_clean_code_passes():
    source = 'class A:\n    def f(self, a, b, c, d, e):\n        """Docs.\n\n' + "        more\n" * 50 + '        """\n'
    assert _faults("upeer/x.py", "import struct\nfrom upeer.base.compat import const\n" + source) == []


def test_exception_covers_one_function_and_must_be_needed(monkeypatch):
    monkeypatch.setattr(rules, "EXCEPTIONS", {"upeer/x.py:f": "why", "upeer/y.py": "no longer"})
    checker = check_style.Checker()
    checker.check_file("upeer/x.py", "def f(a, b, c, d, e, f):\n    pass\n")
    assert checker.faults == []
    assert checker.stale_exceptions() == ["tests/lint/rules.py: the exception for upeer/y.py is not needed"]


def test_circle_of_imports_is_reported(monkeypatch):
    sources = {
        "a/__init__.py": "from a.one import x\n",
        "a/one.py": "from a import two\n",  # the package's __init__ does not count
        "a/two.py": "def f():\n    import a.three\n",
        "a/three.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a.one import x\n",
        "b.py": "import a\n",
    }
    assert check_style.check_circles(sources) == ["imports go in a circle: a.one - a.three - a.two"]
    monkeypatch.setattr(rules, "CIRCLES", {("a.three", "a.one"): "why"})
    assert check_style.check_circles(sources) == []
    sources["a/three.py"] = ""
    assert check_style.check_circles(sources) == ["tests/lint/rules.py: the circle ('a.three', 'a.one') is not there"]


def test_circle_through_a_package_is_reported():
    sources = {"a/__init__.py": "from a.one import x\n", "a/one.py": "from a import y\n"}
    assert check_style.check_circles(sources) == ["imports go in a circle: a - a.one"]

"""A8: every parser of what strangers send is reached by a fuzz target; a new one without a target fails here."""

import ast
import inspect
import re
import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
import targets
from mpy_tools import ROOT

PARSER = re.compile(r"_?(parse|open|receive|handle|decode|read|take_binding|on_message|load|check_did)(_|$)")
FILES = [
    *sorted((ROOT / "firmware" / "upeer").rglob("*.py")),
    *sorted((ROOT / "host_tools" / "upeer_server").glob("*.py")),
    *(ROOT / "host_tools" / "upeer_client" / name for name in ("calls.py", "connector.py", "netcheck.py")),
    *(ROOT / "host_tools" / "upeer_office" / name for name in ("names.py", "exchange.py")),
    *(ROOT / "host_tools" / "upeer_board" / name for name in ("fctry.py", "partitions.py", "esp_image.py")),
    ROOT / "firmware" / "device" / "fctry.py",
]

# What has a parser's name and takes nothing from a stranger, or is reached behind a socket only.
NO_PARSERS = {
    "upeer/aio.py": {"readinto", "read", "readexactly", "readline", "open"},  # the application's calls
    "upeer/session/receiving.py": {"read_into", "read"},
    "upeer/session/stream.py": {"read_into", "read"},
    "upeer/handshake/pairs.py": {"open"},  # opens pairing
    "upeer/signalling/registrar.py": {"receive_datagram", "handle_timer"},  # passes on to Login and Control
    "upeer_server/admin.py": {"_receive"},  # bytes of a socket, by count
    "upeer_server/pump.py": {"open_udp", "received_buffer", "receive_datagram", "handle_timer"},
    "upeer_server/serve.py": {"_open", "_handle"},
    "upeer_board/partitions.py": {"parse_size", "load_csv", "_parse_row"},  # files of the project itself
    "device/fctry.py": {"load"},  # reads the chip's partition through `read`
}
# Answers to what we asked for ourselves, told apart by more than chance: the tests of these exchanges cover them.
COVERED_ELSEWHERE = {
    "upeer_server/master.py": {"handle_ack"},
    "upeer_server/registrar.py": {"handle_ack", "handle_answer", "_handle_old_epoch"},
    "upeer_server/session.py": {"_handle_ack"},
    "upeer_server/p2p.py": {"handle_answer"},
}


def _name(path: Path) -> str:
    """Return a file's path below firmware/ or host_tools/, the last two parts of any other."""
    for tree in (ROOT / "firmware", ROOT / "host_tools"):
        if path.is_relative_to(tree):
            return path.relative_to(tree).as_posix()
    return "/".join(path.parts[-2:])


def parsers(path: Path) -> dict[str, int]:
    """Return {function: first line} of what by its name reads foreign bytes."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and PARSER.match(node.name):
            found[node.name] = node.lineno
    for name in NO_PARSERS.get(_name(path), set()) | COVERED_ELSEWHERE.get(_name(path), set()) | {"handle_timer"}:
        found.pop(name, None)
    return found


@pytest.fixture(scope="module")
def reached() -> set[tuple[str, str]]:
    """(file, function) of all that the targets call on their seeds and on a few damaged ones."""
    codes: set[CodeType] = set()

    def on_call(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call":
            codes.add(frame.f_code)

    for target in targets.load_all().values():
        for seed in (b"", *target.seeds, *(seed[:-1] for seed in target.seeds[:8])):
            previous = sys.getprofile()
            sys.setprofile(on_call)
            try:
                target.run(seed)
            except target.allowed:
                pass
            finally:
                sys.setprofile(previous)
    return {(_name(Path(code.co_filename)), code.co_name) for code in codes}


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_a08_every_parser_has_a_fuzz_target(path: Path, reached: set[tuple[str, str]]) -> None:
    missing = [f"{name} (line {line})" for name, line in parsers(path).items() if (_name(path), name) not in reached]
    assert not missing, f"no fuzz target reaches these of {path}: add one in tests/fuzz/targets_*.py"


def test_a08_exemptions_are_still_there() -> None:
    for names in (NO_PARSERS, COVERED_ELSEWHERE):
        for name, functions in names.items():
            path = next(path for path in FILES if _name(path) == name)
            there = {node.name for node in ast.walk(ast.parse(path.read_text())) if hasattr(node, "name")}
            assert functions - {"handle_timer"} <= there, name


def test_a08_a_parser_without_a_target_is_noticed(tmp_path: Path, reached: set[tuple[str, str]]) -> None:
    planted = tmp_path / "upeer" / "planted.py"
    planted.parent.mkdir()
    planted.write_text("def parse_something(data):\n    return data[0]\n")
    assert parsers(planted) == {"parse_something": 1}
    with pytest.raises(AssertionError, match="no fuzz target"):
        inspect.unwrap(test_a08_every_parser_has_a_fuzz_target)(planted, reached)

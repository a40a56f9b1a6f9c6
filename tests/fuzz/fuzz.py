"""Fuzz every parser for a given time: `python tests/fuzz/fuzz.py [--seconds 60] [--target NAME] [--engine ENGINE]`.

The time is shared between the targets. `--engine atheris` uses libFuzzer through Atheris where that is installed
(`.venv/bin/pip install -e '.[fuzz]'`); `own`, the default, needs nothing. An input that breaks a target is written to
build/fuzz/; `--input FILE --target NAME` tries it again and shows the whole stack trace.
"""

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path

import engine
from targets import Target, load_all

_OUTPUT = Path(__file__).resolve().parents[2] / "build" / "fuzz"


def main() -> int:
    arguments = _parse_arguments()
    targets = load_all()
    if arguments.target:
        if arguments.target not in targets:
            print(f"fuzz: no target {arguments.target!r}; there are: {', '.join(targets)}", file=sys.stderr)
            return 2
        targets = {arguments.target: targets[arguments.target]}
    if arguments.input:
        return _try_again(next(iter(targets.values())), arguments.input)
    share = max(1.0, arguments.seconds / len(targets))
    if arguments.engine == "atheris":
        return max(_run_atheris(name, share) for name in targets)
    return max(_run_own(target, share, arguments.seed) for target in targets.values())


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together (default: %(default)s)")
    parser.add_argument("--target", help="one target by name")
    parser.add_argument("--engine", choices=("own", "atheris"), default="own")
    parser.add_argument("--seed", type=int, default=None, help="for the random numbers (default: a new one each run)")
    parser.add_argument("--input", type=Path, help="try this file once on --target")
    arguments = parser.parse_args()
    if arguments.input and not arguments.target:
        parser.error("--input needs --target")
    if arguments.seed is None:
        arguments.seed = int.from_bytes(hashlib.sha256(str(id(arguments)).encode()).digest()[:3], "big")
    return arguments


def _run_own(target: Target, seconds: float, seed: int) -> int:
    result = engine.fuzz_target(target, seconds=seconds, seed=seed)
    print(
        f"{target.name:<28} {result.tries:>8} tries {result.inputs:>5} inputs {result.line_pairs:>5} line pairs "
        f"{len(result.faults)} faults",
        flush=True,
    )
    for fault in result.faults:
        print(f"  {fault.error}: {_save(fault)}")
    return 1 if result.faults else 0


def _save(fault: engine.Fault) -> Path:
    _OUTPUT.mkdir(parents=True, exist_ok=True)
    path = _OUTPUT / f"{fault.target}-{hashlib.sha256(fault.data).hexdigest()[:12]}.bin"
    path.write_bytes(fault.data)
    return path


def _try_again(target: Target, path: Path) -> int:
    try:
        target.run(path.read_bytes())
    except target.allowed as error:
        print(f"{target.name}: {type(error).__name__}, which it may raise: {error}")
    else:
        print(f"{target.name}: accepted")
    return 0


def _run_atheris(name: str, seconds: float) -> int:
    """Run libFuzzer on one target in a process of its own, which it ends itself."""
    corpus = _OUTPUT / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={int(seconds)}", "-timeout=5", f"-artifact_prefix={_OUTPUT}/{name}-", str(corpus)]
    command = [sys.executable, str(Path(__file__).with_name("atheris_target.py")), name, *options]
    return 1 if subprocess.run(command, timeout=seconds + 120, check=False).returncode else 0


if __name__ == "__main__":
    sys.exit(main())

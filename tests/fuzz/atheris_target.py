"""Runs one target under libFuzzer: `python atheris_target.py NAME [libFuzzer options] CORPUS`. Called by fuzz.py."""

import contextlib
import sys
from pathlib import Path


def main() -> None:
    try:
        import atheris
    except ImportError:
        sys.exit("fuzz: Atheris is not installed: run .venv/bin/pip install -e '.[fuzz]', or leave --engine away")
    with atheris.instrument_imports(include=["upeer", "upeer_server", "upeer_client", "upeer_board", "upeer_office"]):
        from targets import load_all

        target = load_all()[sys.argv[1]]
    corpus = Path(sys.argv[-1])
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed{number}").write_bytes(seed)

    def run(data: bytes) -> None:
        with contextlib.suppress(*target.allowed):
            target.run(data)

    atheris.Setup([sys.argv[0], f"-max_len={target.max_size}", *sys.argv[2:]], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

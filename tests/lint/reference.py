"""docs/reference.md: one line for each public module, which is the first sentence of its docstring.

`make reference` writes it; a test fails when it is not what this file would write.
"""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference.md"
_HEAD = """# Reference

One line for each module, the first sentence of its docstring; the docstring itself says more. Written by
`make reference`: change the docstring, not this page. Modules whose names begin with an underscore are their package's.
"""
# Folder, and what it is; in the order of the layers, from the ground up.
_SECTIONS = (
    ("firmware", "what runs first on the device"),
    ("firmware/upeer", "the protocol core, the same source on MicroPython and CPython"),
    ("firmware/device", "the device's shell, MicroPython only"),
    ("host_tools/upeer_client", "the client library"),
    ("host_tools/upeer_server", "masters, p2p servers and relays"),
    ("host_tools/upeer_office", "the licence office"),
    ("host_tools/upeer_board", "boards, images, the virtual board"),
    ("host_tools/upeer_factory", "the production line"),
    ("host_tools/upeer_cli", "the command line"),
)


def modules(folder: Path) -> list[Path]:
    """Return the public modules of a section."""
    found = folder.glob("*.py") if folder.name == "firmware" else folder.rglob("*.py")
    return sorted(path for path in found if not path.name.startswith("_"))


def sentence(path: Path) -> str:
    """Return the first sentence of a module's docstring; ValueError if it has none."""
    text = ast.get_docstring(ast.parse(path.read_text())) or _comment(path)
    words = " ".join(text.split("\n\n")[0].split())
    if not words:
        raise ValueError(f"{path.relative_to(ROOT)}: no docstring")
    return words.partition(". ")[0].rstrip(".:").replace("|", "\\|") + "."


def _comment(path: Path) -> str:
    """Return the comment that begins a file: what is kept small on the device has that instead of a docstring."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("# "))
    return "\n".join(lines)


def page() -> str:
    """Return the whole page."""
    parts = [_HEAD]
    for section, what in _SECTIONS:
        folder = ROOT / section
        rows = [f"| `{path.relative_to(folder)}` | {sentence(path)} |" for path in modules(folder)]
        parts.append(f"## `{section}`: {what}\n\n| module | |\n| --- | --- |\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def main() -> int:
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())

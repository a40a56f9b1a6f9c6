"""Writes docs/figures.md: below its mark, one table for each benchmark out of `figures.TABLE` and what was measured.

`make bench UPDATE=1` puts the measured values in; those that were not measured keep what stands there. By hand:
`python tests/bench/figures_page.py` writes the rest of it anew, after a change to the table. A test holds
everything else on the page to the table.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import figures

PAGE = Path(__file__).resolve().parents[2] / "docs" / "figures.md"
MARK = "<!-- below: written by `make bench UPDATE=1` -->\n"
_ROW = re.compile(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", re.MULTILINE)
_HEAD = "| `ONLY=` | what | unit | goal | beside | measured |\n| --- | --- | --- | --- | --- | --- |\n"


def measured_on(text: str) -> dict[str, str]:
    """Return {name: value} of what a page says was measured."""
    return {name: value for name, value in _ROW.findall(text) if value != "-"}


def written(text: str, rows: Iterable[Mapping[str, Any]] = ()) -> str:
    """Return the page with everything below its mark written anew, new rows of bench.json put in."""
    values = measured_on(text)
    values |= {row["name"]: figures.number(row["value"]) for row in rows if row["value"] is not None}
    sections = [_section(bench, values) for bench in sorted({figure.bench for figure in figures.TABLE})]
    return text.partition(MARK)[0] + MARK + "".join(sections)


def update(rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the page with new rows of bench.json."""
    PAGE.write_text(written(PAGE.read_text(), rows))


def _section(bench: str, values: Mapping[str, str]) -> str:
    """Return one benchmark's heading, what its docstring says, and its table."""
    module = ast.parse(Path(__file__).with_name(f"bench_{bench}.py").read_text())
    told = " ".join((ast.get_docstring(module) or "").split())
    lines = [_line(figure, values) for figure in figures.TABLE if figure.bench == bench]
    return f"\n## {bench}\n\n{told}\n\n{_HEAD}{''.join(lines)}"


def _line(figure: figures.Figure, values: Mapping[str, str]) -> str:
    limit = "at most" if figure.less_is_better else "at least"
    goal = "-"
    if figure.goal is not None:
        goal = f"{limit} {figures.number(figure.goal)}"
    elif figure.times is not None:
        goal = f"{figure.times:g} x as good"
    peer = figure.peer or "-"
    if figure.peer_value is not None:
        peer += f": {figures.number(figure.peer_value)}"
    cells = (f"`{figure.name}`", figure.title, figure.unit, goal, peer, values.get(figure.name, "-"))
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    update([])

"""docs/security.md is true: every test it names is there, every row of this project has one, none here is left out."""

import ast
import re
from pathlib import Path

import pytest

ROWS = [1, 2, 3, 4, 6, 7, 8, 10, 11, 12, 13, 14, 16, 18, 19, 20, 21, 22]
_REFERENCE = re.compile(r"`([\w/]+\.py)(?:::(\w+))?`")


@pytest.fixture(scope="module")
def table(project_root: Path) -> dict[int, list[tuple[str, str]]]:
    """Row number -> [(file below tests/, test or "")]."""
    rows: dict[int, list[tuple[str, str]]] = {}
    for line in (project_root / "docs" / "security.md").read_text().splitlines():
        match = re.match(r"\| A(\d+) \|", line)
        if match:
            rows[int(match[1])] = _REFERENCE.findall(line)
    return rows


def names_in(path: Path) -> set[str]:
    """Return the names of a file's tests."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    return {function.name for function in functions if function.name.startswith("test_")}


def test_every_row_has_a_test(table: dict[int, list[tuple[str, str]]]) -> None:
    assert [row for row in ROWS if not table.get(row)] == []


def test_every_named_test_is_there(table: dict[int, list[tuple[str, str]]], project_root: Path) -> None:
    for references in table.values():
        for file, name in references:
            found = names_in(project_root / "tests" / file)
            assert name in found if name else found, f"{file}::{name} is named in docs/security.md"


def test_no_security_test_is_left_out(table: dict[int, list[tuple[str, str]]], project_root: Path) -> None:
    named = {reference for references in table.values() for reference in references}
    for path in (project_root / "tests" / "security").glob("test_*.py"):
        file = f"security/{path.name}"
        for test in names_in(path) if path != Path(__file__) else ():
            assert {(file, ""), (file, test)} & named, f"docs/security.md does not name {file}::{test}"


def test_names_carry_the_row_they_belong_to(table: dict[int, list[tuple[str, str]]]) -> None:
    for row, references in table.items():
        for file, name in references:
            numbers = re.findall(r"(?:^|_)a0?(\d+)_", name or file.rpartition("/")[2])
            assert not numbers or row in map(int, numbers), f"{file}::{name} stands in row A{row}"

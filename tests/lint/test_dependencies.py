"""Every pinned package has its line in docs/dependencies.md, and every package is pinned to one version."""

import re
import tomllib


def _requirements(project_root):
    project = tomllib.loads((project_root / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    return lines + (project_root / "tests/lint/stubs.txt").read_text().split()


def test_every_version_is_pinned(project_root):
    assert [line for line in _requirements(project_root) if not re.match(r"[A-Za-z0-9-]+==\d[\w.]*(;|$)", line)] == []


def test_every_package_says_why(project_root):
    table = (project_root / "docs/dependencies.md").read_text()
    named = {name.strip() for row in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE) for name in row.split(",")}
    assert [line for line in _requirements(project_root) if line.partition("==")[0] not in named] == []

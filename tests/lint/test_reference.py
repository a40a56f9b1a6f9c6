"""docs/reference.md is what `make reference` writes, every page of docs/ is linked, and what they name exists."""

import re

import pytest
import reference


def test_reference_is_what_the_docstrings_say():
    assert reference.PAGE.read_text() == reference.page(), "docstrings changed: run 'make reference'"


def test_every_public_module_has_its_line():
    text = reference.PAGE.read_text()
    places = [*(reference.ROOT / "firmware").rglob("*.py"), *(reference.ROOT / "host_tools").rglob("*.py")]
    modules = [path for path in places if not path.name.startswith("_")]
    assert len(modules) > 100
    assert [path for path in modules if text.count(f"{path.name}` |") == 0] == []
    assert text.count("\n| `") == len(modules)


def test_a_module_without_docstring_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    (tmp_path / "bare.py").write_text("x = 1\n")
    with pytest.raises(ValueError, match=r"bare\.py: no docstring"):
        reference.sentence(tmp_path / "bare.py")


def test_first_sentence_is_taken_whole(tmp_path):
    (tmp_path / "m.py").write_text('"""One | two,\nthree (RFC 1.2). Four.\n\nFive."""\n')
    assert reference.sentence(tmp_path / "m.py") == "One \\| two, three (RFC 1.2)."
    (tmp_path / "n.py").write_text("# Runs first. And more.\nimport gc\n")
    assert reference.sentence(tmp_path / "n.py") == "Runs first."


def test_readme_links_every_page(project_root):
    text = (project_root / "README.md").read_text()
    assert [path.name for path in (project_root / "docs").glob("*.md") if f"docs/{path.name}" not in text] == []


def test_links_between_the_docs_lead_somewhere(project_root):
    for page in [project_root / "README.md", *(project_root / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_paths_in_contributing_exist(project_root):
    text = (project_root / "docs" / "contributing.md").read_text()
    paths = re.findall(r"`((?:firmware|host_tools|tests|docs)/[a-z_/.]+)`", text)
    assert len(paths) > 10 and [path for path in paths if not (project_root / path).exists()] == []

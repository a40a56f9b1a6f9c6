"""The proof of the gate tells red from green, and its loops end with the run that they kept busy."""

import multiprocessing
import subprocess
import sys

import clones


def git(folder, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=folder, check=True)


def run(tmp_path, code: int, loops: int = 0) -> str:
    source = tmp_path / "source"
    source.mkdir()
    (source / "Makefile").write_text("test:\n")
    git(source, "init", "-q")
    git(source, "add", "Makefile")
    git(source, "commit", "-qm", "one")
    command = [sys.executable, "-c", f"print('in', {code}); raise SystemExit({code})"]
    return clones.run_clone(tmp_path / "clone", "HEAD", loops, command, source)


def test_green_clone_is_removed_and_its_log_stays(tmp_path):
    line = run(tmp_path, 0, loops=2)
    assert line.startswith("green") and "beside 2 loops" in line
    assert not (tmp_path / "clone").exists() and (tmp_path / "clone.log").read_text() == "in 0\n"
    assert not multiprocessing.active_children()


def test_red_clone_stays_to_be_looked_at(tmp_path):
    line = run(tmp_path, 3)
    assert line.startswith("RED") and "quiet" in line
    assert (tmp_path / "clone" / "Makefile").exists()


def test_folders_have_different_lengths():
    names = [clones.folder_name(number) for number in range(1, 6)]
    assert len({len(name) for name in names}) == 5 and len(set(names)) == 5
    assert [name[0] for name in names] == list("12345")

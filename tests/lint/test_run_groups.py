"""Every group of tests runs, and one red group makes the result red."""

import os
import signal
import sys

import pytest
import run_groups
from run_groups import Group, Outcome

_SAY = "import sys; print(sys.argv[1]); sys.exit(int(sys.argv[2]))"


def say(text, code=0):
    return [sys.executable, "-c", _SAY, text, str(code)]


def test_group_tells_its_code_last_line_and_failures():
    shown = []
    text = "ERROR a.py\nFAILED b.py::c - why\n\n== 1 failed, 2 passed in 3s ==\n"
    outcome = run_groups.run_group(Group("some", say(text, 1)), shown.append)
    assert outcome._replace(seconds=0) == Outcome(
        "some", 1, 0, "1 failed, 2 passed in 3s", ["ERROR a.py", "FAILED b.py::c - why"]
    )
    assert shown[1:] == [line + "\n" for line in text.split("\n")]


def test_group_ends_with_its_program_though_a_process_was_left_behind():
    leave = "import subprocess; print('left', subprocess.Popen(['sleep', '600']).pid, end='')"
    shown = []
    outcome = run_groups.run_group(Group("some", [sys.executable, "-c", leave]), shown.append)
    word, pid = outcome.summary.split()
    assert (outcome.code, word, shown[1:]) == (0, "left", [outcome.summary])
    os.kill(int(pid), signal.SIGKILL)  # it was alive


def test_report_has_what_failed_and_a_line_per_group():
    lines = run_groups.report([Outcome("one", 1, 2.4, "1 failed", ["FAILED x"]), Outcome("two", 0, 61, "9 passed", [])])
    assert lines == ["one: FAILED x", "RED   one          2 s  1 failed", "green two         61 s  9 passed"]


@pytest.mark.parametrize(("codes", "expected"), [((0, 0, 0), 0), ((1, 0, 0), 1), ((0, 5, 0), 1), ((0, 0, -9), 1)])
def test_all_groups_run_and_one_red_makes_it_red(codes, expected, monkeypatch, capsys):
    made = [Group(f"g{at}", say("end", code)) for at, code in enumerate(codes)]
    if codes[2] < 0:
        made[2] = Group("g2", [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    monkeypatch.setattr(run_groups, "groups", lambda _workers: made)
    monkeypatch.setattr(sys, "argv", ["run_groups.py"])
    assert run_groups.main() == expected
    closing = capsys.readouterr().out.splitlines()[-3:]
    assert [line.split()[1] for line in closing] == ["g0", "g1", "g2"]
    assert [line.startswith("RED") for line in closing] == [code != 0 for code in codes]


def test_the_groups_leave_no_test_out():
    commands = {group.name: " ".join(group.command[1:]) for group in run_groups.groups(2)}
    assert list(commands) == ["lint", "parallel", "serial", "console"]
    assert commands["parallel"].endswith("-m not serial") and commands["serial"].endswith("-m serial")

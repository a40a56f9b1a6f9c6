"""The command line's frame: lazy loading, one-line errors, exit codes, help that shows examples."""

import errno
import json
import re
import subprocess
import sys

import click
import pytest

from upeer_cli import common, exit_codes, main

# Commands that report nothing: they serve, or carry a byte stream on stdout.
_NO_JSON = {"serve", "connect", "board run"}


def _run_with(monkeypatch, error, *arguments):
    """Run `upeer boom` with a command that raises error; return the exit code."""

    @click.command("boom")
    def boom():
        raise error

    monkeypatch.setattr(main, "load_command", lambda name: boom)
    return main.run([*arguments, "ping"])


def _leaf_commands():
    """Yield (full name, command) of every command that does something."""
    for name in main.COMMANDS:
        command = main.load_command(name)
        if isinstance(command, click.Group):
            for sub_name, sub_command in command.commands.items():
                yield f"{name} {sub_name}", sub_command
        else:
            yield name, command


def test_help_needs_no_module(capsys):
    assert main.run(["--help"]) == exit_codes.OK
    text = capsys.readouterr().out
    assert "licence" in text
    assert "netcheck" in text


def test_help_imports_no_command():
    code = "import sys, upeer_cli.main as m; m.run(['--help']); print([n for n in sys.modules if 'upeer' in n])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "upeer_client" not in result.stdout.splitlines()[-1]


def test_missing_module_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(main.COMMANDS, "ping", ("upeer_cli.not_there:ping", "gone"))
    assert main.run(["ping"]) == exit_codes.FAILURE
    assert capsys.readouterr().err == (
        "upeer: the command 'ping' cannot be loaded: No module named 'upeer_cli.not_there'; "
        "install it again with 'make setup'\n"
    )
    assert main.run(["version"]) == exit_codes.OK


def test_version_as_json(capsys):
    assert main.run(["version", "--json"]) == exit_codes.OK
    assert json.loads(capsys.readouterr().out)["version"] == main.installed_version()


def test_usage_error_names_the_help(capsys):
    assert main.run(["version", "--what"]) == exit_codes.USAGE
    assert capsys.readouterr().err == "upeer: No such option '--what'; see 'upeer version --help'\n"


class _LibraryError(Exception):
    exit_code = exit_codes.INTEGRITY
    hint = "fetch it again"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (common.UserError("no such DID", "run 'upeer devices'", 3), 3, "no such DID; run 'upeer devices'"),
        (common.UserError("two\nlines"), 1, "two lines"),
        (_LibraryError("hash differs"), 6, "hash differs; fetch it again"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), 7, "No space left on device: /a/b; free some space"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), 3, "Connection refused"),
        (TimeoutError(), 5, "no answer in time"),
        (ZeroDivisionError("oh"), 1, "unexpected failure: ZeroDivisionError: oh; run it again"),
    ],
)
def test_failure_is_one_line_and_a_code(monkeypatch, capsys, error, code, line):
    assert _run_with(monkeypatch, error) == code
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("upeer: " + line)
    assert output.err.count("\n") == 1


def test_protocol_error_is_expected(monkeypatch, capsys):
    errors = pytest.importorskip("upeer.base.errors")
    assert _run_with(monkeypatch, errors.ProtocolError("bad packet")) == exit_codes.FAILURE
    assert capsys.readouterr().err == "upeer: bad packet\n"


def test_debug_shows_the_trace(monkeypatch, capsys):
    assert _run_with(monkeypatch, ZeroDivisionError("x"), "--debug") == exit_codes.FAILURE
    assert "Traceback" in capsys.readouterr().err


def test_interrupt_is_130(monkeypatch, capsys):
    assert _run_with(monkeypatch, KeyboardInterrupt()) == exit_codes.INTERRUPTED
    assert capsys.readouterr().err.strip() == "upeer: interrupted"


def test_reader_that_goes_away_is_quiet():
    code = (
        "import click, upeer_cli.main as m;"
        "write = lambda: [click.echo('b' * 99999) for _ in range(99)];"
        "m.load_command = lambda name: click.Command('x', callback=write);"
        "m.sys.exit(m.run(['ping']))"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout.read(1) == b"b"
    writer.stdout.close()
    assert writer.stderr.read() == b""
    writer.stderr.close()
    assert writer.wait(60) == exit_codes.FAILURE


def test_documented_exit_codes_are_the_real_ones(project_root):
    rows = re.findall(r"^\| (\d+) \| (\w+) \| (.+) \|$", (project_root / "docs/errors.md").read_text(), re.MULTILINE)
    names = {name: value for name, value in vars(exit_codes).items() if isinstance(value, int)}
    assert {name: int(number) for number, name, _text in rows} == names
    assert {int(number): text for number, _name, text in rows} == exit_codes.MEANINGS


@pytest.mark.parametrize("name", list(main.COMMANDS))
def test_command_loads(name):
    assert main.load_command(name).get_short_help_str()


def test_every_command_shows_examples():
    without = [name for name, command in _leaf_commands() if "Examples:" not in (command.epilog or "")]
    assert without == []


def test_every_reporting_command_speaks_json():
    options = {name: {option for item in command.params for option in item.opts} for name, command in _leaf_commands()}
    assert [name for name in options if name not in _NO_JSON and "--json" not in options[name]] == []


def test_progress_is_silent_off_a_terminal(capsys):
    with common.progress("copy", 100) as advance:
        advance(100)
    assert capsys.readouterr().err == ""

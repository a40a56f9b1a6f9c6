"""A platform for tests: made in a folder, with the command line or without."""

import json
from pathlib import Path

from click.testing import CliRunner

from upeer_cli import main
from upeer_office import bundle
from upeer_office.licences import Office
from upeer_office.platforms import Addresses, init_platform

MASTERS = ("127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003")


def make_office(folder: Path, masters: tuple[str, ...] = MASTERS, prefix: str = "TEST") -> Office:
    """Make a platform in a folder and return its open office."""
    platform = init_platform(folder, Addresses(list(masters)), prefix)
    bundle.write_bundles(platform)
    return Office.open(folder)


def upeer(*arguments: object, stdin: str | None = None, code: int = 0) -> str:
    """Run a command line in this process; return stdout and check the exit code (0 by default)."""
    result = CliRunner().invoke(_Program(), [str(item) for item in arguments], input=stdin)
    assert result.exit_code == code, (result.exit_code, result.output)
    return result.output


def upeer_json(*arguments: object, stdin: str | None = None) -> dict:
    """Run a command with --json and return its document."""
    return json.loads(upeer(*arguments, "--json", stdin=stdin))


class _Program:
    """What CliRunner wants of a click command, around the real entry point with its error lines and exit codes."""

    name = "upeer"

    def main(self, args: list[str], prog_name: str, **_settings: object) -> None:
        raise SystemExit(main.run(args))

"""Entry point of `upeer`: a table of commands, each loaded from its own module when it is called.

A module that is missing or does not import hurts its own commands only. Exit codes: `exit_codes`.
"""

import importlib
import os
import sys
import traceback
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from upeer_cli import exit_codes
from upeer_cli.common import UserError, as_user_error, examples, fail, json_option, one_line, report
from upeer_cli.hardening import forbid_core_dumps

# command: (module:attribute, one line for `upeer --help`)
COMMANDS = {
    "platform": ("upeer_cli.office:platform", "Make a platform and rotate its keys."),
    "licence": ("upeer_cli.office:licence", "Issue, show, list, revoke, export and import licences."),
    "relay": ("upeer_cli.office:relay", "Add, remove and list relay servers."),
    "serve": ("upeer_cli.serve:serve", "Run master, p2p and relay servers."),
    "status": ("upeer_cli.serve:status", "Show what running servers report."),
    "image": ("upeer_cli.board:image", "Build flash images for boards."),
    "board": ("upeer_cli.board:board", "Run a virtual board under MicroPython."),
    "flash": ("upeer_cli.flash:flash", "Flash boards by a recipe."),
    "security": ("upeer_cli.security:security", "Rehearse and burn the eFuses of a recipe."),
    "sign": ("upeer_cli.sign:sign", "Make a signing key; sign and verify images."),
    "pool": ("upeer_cli.pool:pool", "Keep the licence pool of a production line."),
    "burn": ("upeer_cli.burn:burn", "Burn a licence into a board and have it proved."),
    "selftest": ("upeer_cli.selftest:selftest", "Have a burned board test itself."),
    "label": ("upeer_cli.label:label", "Print the label of a burned board."),
    "audit": ("upeer_cli.audit:audit", "Verify, export and push the line's records."),
    "station": ("upeer_cli.station:station", "Run the production line: a lane per port."),
    "pair": ("upeer_cli.client:pair", "Pair with a device by its setup code."),
    "connect": ("upeer_cli.client:connect", "Join stdin and stdout to a device's channel."),
    "get": ("upeer_cli.client:get", "Copy a file from a device."),
    "put": ("upeer_cli.client:put", "Copy a file to a device."),
    "ls": ("upeer_cli.client:ls", "List a device's files."),
    "ping": ("upeer_cli.client:ping", "Measure the way to a device."),
    "info": ("upeer_cli.client_info:info", "Show a device's servers, sessions and memory."),
    "netcheck": ("upeer_cli.client:netcheck", "Show this network's NAT class and which masters answer."),
    "devices": ("upeer_cli.client:devices", "List the devices paired with this client."),
    "version": ("upeer_cli.main:version_command", "Show the version of the host tools."),
}


class LazyGroup(click.Group):
    """A click group that imports a command's module only when that command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return load_command(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_target, text) in COMMANDS.items()])


def load_command(name: str) -> click.Command:
    """Import and return a command of the table; UserError when its module does not import."""
    module_name, _, attribute = COMMANDS[name][0].partition(":")
    try:
        command = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        message = f"the command {name!r} cannot be loaded: {error}"
        raise UserError(message, "install it again with 'make setup'") from error
    if not isinstance(command, click.Command):
        raise UserError(f"the command {name!r} cannot be loaded: {module_name}:{attribute} is no command")
    return command


def installed_version() -> str:
    """Return the version of the installed host tools."""
    try:
        return version("upeer")
    except PackageNotFoundError:
        return "unknown"


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=examples("upeer platform init shop --master 192.0.2.1:7000", "upeer serve shop", "upeer COMMAND --help"),
)
@click.option("--debug", is_flag=True, help="Show the stack trace of a failure (UPEER_DEBUG=1 does the same).")
@click.version_option(installed_version(), prog_name="upeer", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Reach MicroPython devices peer to peer, over servers of your own."""
    ctx.ensure_object(dict)["debug"] = debug


@click.command("version", epilog=examples("upeer version", "upeer version --json"))
@json_option
def version_command(json_mode: bool) -> None:
    """Show the version of the host tools."""
    text = installed_version()
    report({"version": text, "python": sys.version.split()[0]}, json_mode, f"upeer {text}")


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; every failure is one line on stderr."""
    state: dict[str, Any] = {"debug": False}
    try:
        result = cli.main(args=arguments, prog_name="upeer", standalone_mode=False, obj=state)
    except BaseException as error:  # noqa: BLE001 - the top of the program: everything becomes one line
        if state["debug"] or os.environ.get("UPEER_DEBUG") == "1":
            traceback.print_exc()
        return _exit_code(error)
    return result if isinstance(result, int) and not isinstance(result, bool) else exit_codes.OK


def main() -> None:
    """Run the command line and leave the process with its exit code; no crash leaves a core dump."""
    forbid_core_dumps()
    sys.exit(run())


def _exit_code(error: BaseException) -> int:
    """Report what ended a command and return its exit code."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else exit_codes.FAILURE
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return exit_codes.USAGE
    if isinstance(error, click.UsageError):
        return fail(UserError(error.format_message(), _usage_hint(error), exit_codes.USAGE))
    if isinstance(error, click.ClickException):
        return fail(UserError(error.format_message(), code=error.exit_code))
    if isinstance(error, KeyboardInterrupt | click.Abort):
        click.echo("upeer: interrupted", err=True)
        return exit_codes.INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return _reader_gone()
    return _report_failure(error)


def _report_failure(error: BaseException) -> int:
    expected = as_user_error(error)
    if expected is not None:
        return fail(expected)
    text = one_line(f"{type(error).__name__}: {error}")
    return fail(UserError(f"unexpected failure: {text}", "run it again as 'upeer --debug ...' for the details"))


def _usage_hint(error: click.UsageError) -> str | None:
    return f"see '{error.ctx.command_path} --help'" if error.ctx is not None else None


def _reader_gone() -> int:
    """Keep the interpreter from failing once more when it flushes stdout, whose reader has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return exit_codes.FAILURE


if __name__ == "__main__":
    main()

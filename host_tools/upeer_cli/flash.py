"""`upeer flash`: a recipe onto one or many boards, with a bar per board, a report, and one merged image."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from upeer_cli import exit_codes
from upeer_cli.common import UserError, examples, fail, json_option, report

_PIN_HELP = "SHA-256 of the recipe file; another recipe is refused (UPEER_RECIPE_PIN)."


def recipe_options(function: Any) -> Any:
    """Add --recipe and --pin."""
    path = click.Path(path_type=Path, dir_okay=False)
    function = click.option("--pin", metavar="SHA256", envvar="UPEER_RECIPE_PIN", help=_PIN_HELP)(function)
    return click.option("--recipe", "recipe_path", type=path, metavar="FILE", help="The recipe (TOML).")(function)


@click.command(
    epilog=examples(
        "upeer flash --list",
        "upeer flash --recipe line.toml --pin SHA256 --port /dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0",
        "upeer flash --recipe line.toml --pin SHA256 --all --json",
        "upeer flash --recipe line.toml --merge-only merged.bin",
    )
)
@recipe_options
@click.option("--port", "port_names", multiple=True, metavar="PORT", help="A board's port; may be given many times.")
@click.option("--all", "all_ports", is_flag=True, help="Every serial port there is.")
@click.option("--list", "list_only", is_flag=True, help="List the ports, by the names that stay with the socket.")
@click.option("--merge-only", type=click.Path(path_type=Path, dir_okay=False), help="Write one image; flash nothing.")
@click.option("--full", is_flag=True, help="Send everything, also what the board holds already.")
@click.option("--verify", is_flag=True, help="Verify once more after writing, in a run of its own.")
@click.option("--erase-licence", is_flag=True, help="Erase the licence, too; else it survives.")
@click.option("--yes", is_flag=True, help="Do not ask before the licence is erased.")
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), help="Folder with what boards got last.")
@click.option("--log", type=click.Path(path_type=Path, dir_okay=False), help="Append esptool's output to this file.")
@json_option
def flash(
    recipe_path: Path | None,
    pin: str | None,
    port_names: tuple[str, ...],
    all_ports: bool,
    list_only: bool,
    merge_only: Path | None,
    full: bool,
    verify: bool,
    erase_licence: bool,
    yes: bool,
    state: Path | None,
    log: Path | None,
    json_mode: bool,
) -> int:
    """Flash the boards at the given ports by a recipe; their licences survive.

    What a board holds already is not sent again. Exit code 0 means that every board was written and verified.
    """
    from upeer_factory.flash import flash as flasher_module

    if list_only:
        return _list(json_mode)
    prepared = load_recipe(recipe_path, pin)
    if merge_only is not None:
        return _merge(prepared, merge_only, json_mode)
    ports = _ports(port_names, all_ports)
    if erase_licence:
        confirm(f"Erase the licences of the boards at {', '.join(ports)}? They can be burned again.", yes)
    options = flasher_module.Options(state, verify, erase_licence, full, log=log)
    return _flash(flasher_module.Flasher(prepared, options), ports, json_mode)


def confirm(question: str, yes: bool) -> None:
    """Ask before what cannot be undone; without a terminal to ask at, --yes is needed."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("this asks first, and there is no terminal to ask at", "add --yes", exit_codes.USAGE)
    if not click.confirm(question, err=True):
        raise click.Abort


def load_recipe(path: Path | None, pin: str | None) -> Any:
    """Return the prepared recipe; without a pin its own is shown."""
    from upeer_factory.flash.parts import prepare

    if path is None:
        raise UserError("no recipe", "name it with --recipe FILE", exit_codes.USAGE)
    prepared = prepare(path, pin)
    if pin is None:
        click.echo(f"upeer: the recipe is not pinned; its pin is --pin {prepared.recipe.pin}", err=True)
    return prepared


def _list(json_mode: bool) -> int:
    from upeer_factory.flash.ports import list_ports

    rows = [{"port": port.name, "device": port.device} for port in list_ports()]
    report(rows, json_mode, lambda: "\n".join(f"{row['port']}  ({row['device']})" for row in rows) or "no serial ports")
    return exit_codes.OK


def _merge(prepared: Any, out: Path, json_mode: bool) -> int:
    import hashlib

    from upeer_board.image import write_file

    data = prepared.merged()
    write_file(out, data)
    row = {
        "file": str(out),
        "offset": 0,
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "chip": prepared.board.chip,
        "layout": prepared.board.layout,
        "micropython": prepared.micropython,
        "recipe": prepared.recipe.pin,
    }
    report(row, json_mode, f"{out}: {len(data)} bytes for {row['chip']}, from flash address 0, SHA-256 {row['sha256']}")
    return exit_codes.OK


def _ports(names: tuple[str, ...], all_ports: bool) -> list[str]:
    from upeer_factory.flash import ports

    if all_ports == bool(names):
        raise UserError("name the boards", "with --port PORT, or --all for every port", exit_codes.USAGE)
    if not all_ports:
        try:
            return ports.without_twins(names)
        except ValueError as error:
            raise UserError(str(error), "name it once", exit_codes.USAGE) from None
    found = [port.name for port in ports.list_ports()]
    if not found:
        raise UserError("no serial ports", "plug the boards in", exit_codes.UNREACHABLE)
    return found


def _flash(flasher: Any, ports: list[str], json_mode: bool) -> int:
    from upeer_factory.flash.many import flash_many

    cancel = threading.Event()
    with _ended_by(cancel), _bars(ports, flasher.total) as on_progress:
        outcomes = flash_many(flasher, ports, on_progress, cancel)
    recipe = flasher.prepared.recipe
    rows = [outcome.as_dict() for outcome in outcomes]
    data = {
        "recipe": recipe.pin,
        "board": recipe.board,
        "layout": recipe.layout,
        "micropython": flasher.prepared.micropython,
        "naive_bytes": flasher.prepared.naive_size,
        "boards": rows,
    }
    report(data, json_mode, lambda: "\n".join(_describe(row) for row in rows))
    faults = [outcome.fault for outcome in outcomes if outcome.fault is not None]
    if not faults:
        return exit_codes.OK
    codes = {fault.exit_code for fault in faults}
    code = codes.pop() if len(codes) == 1 else exit_codes.FAILURE
    if len(ports) == 1:
        return fail(UserError(str(faults[0]), faults[0].hint, code))
    failed = ", ".join(f"{fault.port} ({fault.code})" for fault in faults)
    return fail(UserError(f"{len(faults)} of {len(ports)} boards failed: {failed}", "see the report", code))


def _describe(row: dict[str, Any]) -> str:
    if not row["ok"]:
        error = row["error"]
        return f"FAIL  {row['port']}  {error['code']}: {error['text']}; {error['hint']}"
    sent = f"{row['bytes_written']} of {row['bytes_total']} bytes written"
    again = f", attempt {row['attempts']}" if row["attempts"] > 1 else ""
    return f"PASS  {row['port']}  {row['mac']}  {row['seconds']:.1f} s, {sent}, MicroPython {row['micropython']}{again}"


@contextmanager
def _ended_by(cancel: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the boards' processes in good order; each board is then reported as stopped."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: cancel.set()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _bars(ports: list[str], total: int) -> Iterator[Callable[[Any], None]]:
    """Yield `on_progress`: a bar per board on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = {port: bars.add_task(f"{port} waiting", total=total) for port in ports}
        yield lambda at: bars.update(
            tasks[at.port], completed=at.done, description=f"{at.port} {at.mac or '-'} {at.stage} {at.part}"
        )

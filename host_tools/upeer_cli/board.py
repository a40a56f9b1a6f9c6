"""`upeer image` and `upeer board`: flash images of boards, and the virtual board."""

import json
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import click

from upeer_board import boards, fctry
from upeer_cli import exit_codes
from upeer_cli.common import UserError, examples, json_option, report
from upeer_cli.recipe import fetch, frozen_option, layout_option, recipe_command

_DID = re.compile(r"[A-Z]{1,8}-\d{6}-[A-Z]{5}")
_LICENCE_HELP = "Licence file, - for stdin, or a DID of --platform."
_PASSWORD_VARIABLE = "UPEER_WIFI_PASSWORD"


def licence_options(function: Any) -> Any:
    """Add --licence, --platform and --office-key."""
    function = click.option("--office-key", type=click.Path(path_type=Path), help="Key file of the platform.")(function)
    function = click.option("--platform", type=click.Path(path_type=Path), help="Platform that has the DID.")(function)
    return click.option("--licence", "licence_text", metavar="DID|FILE|-", help=_LICENCE_HELP)(function)


@click.group(epilog=examples("upeer image build --board UNIX --out build/board1"))
def image() -> None:
    """Build flash images for boards."""


@image.command(
    epilog=examples(
        "upeer image build --board UNIX --out build/board1 --platform shop --licence ABCD-000001-GHKLM",
        "upeer image build --board ESP32_GENERIC --out build/esp32 --micropython ESP32_GENERIC.bin --wifi home,-",
    )
)
@click.option("--board", "board_name", required=True, metavar="NAME", help="One of `upeer board list`.")
@layout_option
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the image.")
@click.option(
    "--micropython",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Stock MicroPython .bin, for a flash.bin that boots.",
)
@click.option(
    "--wifi",
    metavar="SSID[,PASSWORD]",
    help="Store a network in clear, for development only. `SSID,-` reads the password from stdin; with the SSID alone "
    f"it comes from {_PASSWORD_VARIABLE}, else the network is open.",
)
@click.option(
    "--app", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder with the application."
)
@frozen_option
@licence_options
@json_option
def build(
    board_name: str,
    layout: str,
    out: Path,
    micropython: Path | None,
    wifi: str | None,
    app: Path | None,
    frozen: bool,
    licence_text: str | None,
    platform: Path | None,
    office_key: Path | None,
    json_mode: bool,
) -> None:
    """Compile the firmware and build BOARD's image: partition table, file system, licence, and flash.bin."""
    from upeer_board import image as builder

    if wifi and wifi.endswith(",-") and licence_text == "-":
        raise UserError("--wifi and --licence cannot both read stdin", code=exit_codes.USAGE)
    record = licence_record(licence_text, platform, office_key)
    network = _network(wifi)
    try:
        board = boards.load_board(board_name, layout=layout)
        if network and not board.wifi:
            raise ValueError(f"{board.name} has no Wi-Fi: leave --wifi out")
        stock = micropython.read_bytes() if micropython else None
        manifest = builder.build(board, out, builder.Options(stock, network, record, app, frozen))
    except ValueError as error:
        raise UserError(str(error), code=exit_codes.FAILURE) from error
    if network:
        click.echo("upeer: the image holds the Wi-Fi password in clear: for development only", err=True)
    report(manifest, json_mode, lambda: _describe_image(manifest, out))


image.add_command(fetch)
image.add_command(recipe_command)


def _describe_image(manifest: dict[str, Any], out: Path) -> str:
    rows = [f"{part['offset']:#9x} {part['size']:9} {part['file']}" for part in manifest["parts"]]
    if "flash" in manifest:
        rows.append(f"{0:#9x} {manifest['flash']['size']:9} flash.bin (all of it)")
    rows.append(f"{manifest['vfs']['free'] >> 10} of {manifest['vfs']['size'] >> 10} KiB of the file system are free")
    if "flash" in manifest and manifest["chip"] != "unix":
        rows.append(f"Write it: esptool --chip {manifest['chip']} write-flash 0 {out / 'flash.bin'}")
    title = f"{manifest['board']} in {out}, {len(manifest['files'])} files, licence {manifest['did'] or 'none'}"
    if manifest["versions"]["micropython"]:
        title += f", MicroPython {manifest['versions']['micropython']}"
    return "\n".join([title, "   offset     bytes file", *rows])


def _network(text: str | None) -> tuple[str, str] | None:
    """Return (ssid, password) of --wifi."""
    if text is None:
        return None
    ssid, comma, password = text.partition(",")
    if comma and password == "-":
        password = (
            sys.stdin.readline().rstrip("\r\n") if not sys.stdin.isatty() else click.prompt("Password", hide_input=True)
        )
    elif not comma:
        password = os.environ.get(_PASSWORD_VARIABLE, "")
    if not 0 < len(ssid.encode()) <= 32 or (password and not 8 <= len(password.encode()) <= 64):
        raise UserError("an SSID has 1 to 32 bytes, a Wi-Fi password 8 to 63", code=exit_codes.USAGE)
    return ssid, password


def licence_record(text: str | None, platform: Path | None, office_key: Path | None = None) -> fctry.Record | None:
    """Return the licence record that --licence names: a file, stdin, or a DID that the platform's office has."""
    if text is None:
        return None
    if text != "-" and not Path(text).is_file():
        if platform is None and _DID.fullmatch(text):
            raise UserError(f"--licence {text} needs --platform", "name the platform's folder", exit_codes.USAGE)
        if platform is None:
            raise UserError(f"no licence file {text}", "check the path", exit_codes.FAILURE)
        from upeer_office.licences import device_record

        return device_record(platform, text, office_key)
    data = sys.stdin.buffer.read() if text == "-" else Path(text).read_bytes()
    try:
        return fctry.parse_licence(data)
    except ValueError as error:
        raise UserError(f"licence {text}: {error}", code=exit_codes.INTEGRITY) from None


@click.group(epilog=examples("upeer board list", "upeer board run build/board1 --heap 176K"))
def board() -> None:
    """Run a virtual board under MicroPython."""


@board.command("list", epilog=examples("upeer board list", "upeer board list --json"))
@json_option
def list_command(json_mode: bool) -> None:
    """List the boards that images can be built for."""
    try:
        found = [boards.load_board(name) for name in boards.list_boards()]
    except ValueError as error:
        raise UserError(str(error)) from error
    rows = [
        {
            "name": row.name,
            "chip": row.chip,
            "flash_size": row.flash_size,
            "title": row.title,
            "limits": row.limits,
            "layouts": boards.list_layouts(row.name),
        }
        for row in found
    ]
    report(rows, json_mode, lambda: "\n".join(_describe_board(row) for row in rows))


def _describe_board(row: dict[str, Any]) -> str:
    return f"{row['name']:18} {row['chip']:8} {row['title']}; layouts {', '.join(row['layouts'])}"


@board.command(
    epilog=examples(
        "upeer board run build/board1",
        "upeer board run build/board1 --platform shop --licence ABCD-000001-GHKLM --link /tmp/board1",
        "mpremote connect /tmp/board1 repl",
    )
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@licence_options
@click.option("--heap", metavar="SIZE", help="MicroPython's heap, as `-X heapsize` takes it.")
@click.option("--name", default="", help="Name in messages.")
@click.option("--link", type=click.Path(path_type=Path), help="Symbolic link to the board's port.")
@click.option("--bind", default="", metavar="IP", help="Address of this host for the board's sockets.")
@click.option(
    "--queue", type=click.IntRange(0, 64), default=6, help="Datagrams that wait per UDP socket; 0: any number."
)
@click.option("--netns", default="", metavar="NAME", help="Network namespace to run in (root).")
@click.option("--chip-timing", is_flag=True, help="Load modules, wait and collect garbage as slowly as a chip.")
@json_option
def run(
    folder: Path,
    licence_text: str | None,
    platform: Path | None,
    office_key: Path | None,
    heap: str | None,
    name: str,
    link: Path | None,
    bind: str,
    queue: int,
    netns: str,
    chip_timing: bool,
    json_mode: bool,
) -> None:
    """Boot the image in FOLDER under the MicroPython unix port, as a serial port that mpremote takes for a chip.

    Its flash is FOLDER/flash.bin and keeps what is written. Ctrl-C switches the board off.
    """
    from upeer_board.virtual import VirtualBoard

    if heap and not re.fullmatch(r"\d+[KkMm]?w?", heap):
        raise UserError(f"--heap {heap} is no size", "say 176K", exit_codes.USAGE)
    record = licence_record(licence_text, platform, office_key)
    off = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: off.set())
    settings = {"netns": netns, "link": link, "bind": bind, "datagram_queue": queue, "name": name}
    running = VirtualBoard.start(
        folder,
        heap=heap or boards.load_board("UNIX").heap,
        licence=record,
        chip_timing=chip_timing,
        echo=None if json_mode else _show,
        **settings,
    )
    try:
        _announce(running, json_mode)
        while running.alive and not off.wait(0.2):
            pass
    finally:
        running.stop()
    if running.error:
        raise UserError(running.error, "look at the console's last lines")


def _announce(running: Any, json_mode: bool) -> None:
    """Say where the port is: one line, at once, for people and for programs."""
    if json_mode:
        print(json.dumps({"name": running.name, "port": running.pty, "folder": str(running.folder)}), flush=True)
    else:
        click.echo(f"upeer: {running.name}: mpremote connect {running.pty}; Ctrl-C switches it off", err=True)


def _show(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()

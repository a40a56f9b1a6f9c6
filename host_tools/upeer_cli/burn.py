"""`upeer burn`: one licence into one board, proved."""

from pathlib import Path

import click

from upeer_board import boards
from upeer_cli.common import UserError, examples, json_option, report
from upeer_cli.factory_common import opened_pool, pool_options
from upeer_cli.labels_common import label_options, print_label
from upeer_cli.selftest import describe_tests, read_tests, step_shower, test_options
from upeer_factory.board.burn import Burner, Options, Result
from upeer_factory.board.targets import ChipTarget, ReplTarget


@click.command(
    epilog=examples(
        "upeer burn --pool line --port /dev/ttyUSB0",
        "upeer burn --pool line --port /dev/ttyUSB0 --board ESP32_GENERIC --selftest --printer 192.0.2.9:9100",
        "upeer burn --pool line --port a0 --selftest --wifi line --wifi-password-file pw --server 192.0.2.1",
    )
)
@pool_options
@click.option("--port", required=True, metavar="PORT", help="Serial port, or a virtual board's.")
@click.option("--board", metavar="NAME", help="Write through the ROM bootloader (esptool), as this board's data say.")
@click.option("--baud", type=int, default=460800, show_default=True, help="For --board.")
@click.option("--rewrite", is_flag=True, help="Write anew even if the board proves its licence.")
@click.option("--selftest", is_flag=True, help="Have the board test itself; the signed result joins the record.")
@test_options
@label_options
@json_option
def burn(
    pool: str, station_key: Path | None, station: str, operator: str, port: str, board: str | None, baud: int,
    rewrite: bool, selftest: bool, min_aps: int, wifi: str | None, wifi_password_file: str | None,
    server: str | None, printer: str | None, brand: str, category: str, json_mode: bool,
) -> None:  # fmt: skip
    """Take a licence for the board at PORT, write it, have the board prove it, and mark it as burned.

    A board that has a licence keeps it. Run it again after any failure: nothing is lost.
    """
    tests, place = read_tests(min_aps, wifi, wifi_password_file, server) if selftest else (None, None)
    target = _target(port, board, baud)
    with opened_pool(pool, station_key, station, operator) as opened:
        options = Options(tests, rewrite, place=place)
        result = Burner(target, opened, options).run(step_shower(json_mode))
        printed = print_label(opened, result.did, printer, (brand, category)) if printer else 0
    report(result.as_dict() | {"label": printed}, json_mode, lambda: _describe(result))


def _describe(result: Result) -> str:
    how = "burned" if not result.was_burned else "rewritten" if result.written else "proved again"
    rows = [f"PASS {result.did} at {result.mac}: {how} in {result.seconds:.1f} s"]
    return "\n".join(rows + describe_tests(result.selftest))


def _target(port: str, board: str | None, baud: int) -> ReplTarget:
    if board is None:
        return ReplTarget(port)
    try:
        found = boards.load_board(board)
    except ValueError as error:
        raise UserError(str(error)) from error
    return ChipTarget(port, found.chip, found.partitions["fctry"].offset, baud)

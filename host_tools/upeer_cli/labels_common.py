"""What `upeer burn` and `upeer label` share about labels."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from upeer_factory.pool.pool import Pool
from upeer_factory.records import labels

_Function = TypeVar("_Function", bound=Callable[..., Any])


def label_options(function: _Function) -> _Function:
    """Add --printer, --brand and --category."""
    options = [
        click.option(
            "--printer", envvar="UPEER_PRINTER", show_envvar=True, metavar="HOST[:PORT]|DEVICE",
            help="ZPL printer: port 9100 by default, or a device such as /dev/usb/lp0.",
        ),
        click.option(
            "--brand", envvar="UPEER_BRAND", default="UPEER", show_default=True, help="For the SoftAP's name."
        ),
        click.option(
            "--category", envvar="UPEER_CATEGORY", default="device", show_default=True, help="For the SoftAP's name."
        ),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def print_label(pool: Pool, name: str, printer: str, words: tuple[str, str]) -> int:
    """Print the label of a DID or MAC; return which print of it this is."""
    licence = pool.label_secrets(name)
    data = labels.zpl(labels.make_label(licence, *words))
    count = labels.note_print(pool, licence, "zpl", printer)
    labels.send(data, printer)
    return count

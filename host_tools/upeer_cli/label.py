"""`upeer label`: print or draw the label of a burned board; every time is in the audit."""

from pathlib import Path

import click

from upeer_cli.common import UserError, examples, json_option, report
from upeer_cli.factory_common import opened_pool, pool_options
from upeer_cli.labels_common import label_options, print_label
from upeer_factory.records import labels
from upeer_office.errors import USAGE
from upeer_office.files import create_private_file


@click.command(
    epilog=examples(
        "upeer label --pool line ABCD-000001-GHKLM --printer 192.0.2.9:9100",
        "upeer label --pool line --mac 24:0a:c4:00:00:01 --out label.png",
    )
)
@click.argument("did", metavar="[DID]", required=False)
@click.option("--mac", metavar="MAC", help="Instead of the DID.")
@pool_options
@label_options
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="New private file: .zpl, .svg or .png.")
@json_option
def label(
    did: str | None, mac: str | None, pool: str, station_key: Path | None, station: str, operator: str,
    printer: str | None, brand: str, category: str, out: Path | None, json_mode: bool,
) -> None:  # fmt: skip
    """Print a label, or draw it into a file: QR code, DID, MAC, setup code, SoftAP name.

    The setup code on it is its buyer's secret: a file with it is for the printer, remove it afterwards.
    """
    name = did or mac
    if name is None or (did and mac):
        raise UserError("name the board by its DID or by --mac", code=USAGE)
    if (printer is None) == (out is None):
        raise UserError("choose --printer or --out FILE", code=USAGE)
    with opened_pool(pool, station_key, station, operator) as opened:
        entry = opened.find(name)
        if printer is not None:
            count = print_label(opened, entry.did, printer, (brand, category))
        else:
            assert out is not None
            form = out.suffix.removeprefix(".").lower()
            if form not in labels.FORMATS:
                raise UserError(f"{out.name} is none of .zpl, .svg, .png", code=USAGE)
            if out.exists():
                raise UserError(f"{out} exists already", "choose another file")
            licence = opened.label_secrets(entry.did)
            data = labels.RENDER[form](labels.make_label(licence, brand, category))
            count = labels.note_print(opened, licence, form, "file")
            create_private_file(out, data)
    text = f"label of {entry.did}" + ("" if count == 1 else f", print {count}: noted as a reprint")
    report({"did": entry.did, "mac": entry.mac, "print": count}, json_mode, text)

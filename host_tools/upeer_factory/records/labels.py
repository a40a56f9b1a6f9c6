"""Labels: QR code, DID, MAC, setup code and SoftAP name, as ZPL for the printer, as SVG and PNG.

The QR code's text is `UPEER:<DID>;<MAC>;<setup code>;<SoftAP name>`: what an app needs to find, provision and pair. The
setup code stands on the label alone: in no record, log or file that this package keeps.
"""

import io
import re
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

import segno

from upeer_factory.errors import PRINTER, FactoryError
from upeer_factory.pool.pool import Pool, Reserved
from upeer_factory.pool.sql import Transaction
from upeer_office.names import encode_setup_code

FORMATS = ("zpl", "svg", "png")
_DOTS_PER_MM = 8  # 203 dpi
_WIDTH_MM, _HEIGHT_MM = 57, 25
_QR_MM = 21
_LINE_MM = 4.2
_TEXT_X_MM = 25
_LETTER_MM = 2.2
_LETTER_WIDTH = 0.58  # of its height, on average
_PRINTER_PORT = 9100
_TIME_OUT_S = 10
_SSID_PART = re.compile(r"[^A-Za-z0-9-]")


@dataclass(frozen=True)
class Label:
    """What stands on one label; `repr` does not show the setup code."""

    did: str
    mac: str
    ssid: str
    setup_code: str = field(repr=False)

    @property
    def qr_text(self) -> str:
        return f"UPEER:{self.did};{self.mac.replace(':', '').upper()};{self.setup_code.replace('-', '')};{self.ssid}"

    @property
    def lines(self) -> list[str]:
        return [self.did, f"MAC {self.mac.upper()}", f"Setup {self.setup_code}", f"Wi-Fi {self.ssid}"]

    @property
    def letter_mm(self) -> float:
        """The letters' size at which the longest line fits."""
        room = _WIDTH_MM - _TEXT_X_MM - 1
        return min(_LETTER_MM, room / (_LETTER_WIDTH * max(map(len, self.lines))))


def make_label(licence: Reserved, brand: str = "UPEER", category: str = "device") -> Label:
    """Return the label of a board; the SoftAP is named brand_category_ and the MAC's last three bytes."""
    names = [_SSID_PART.sub("", part) for part in (brand, category)]
    ssid = "_".join([*names, licence.mac.replace(":", "")[6:]])
    if not all(names) or len(ssid) > 32:
        raise FactoryError(PRINTER, f"{ssid[:40]} is no network's name", "choose shorter words of letters and digits")
    return Label(licence.did, licence.mac, ssid, encode_setup_code(licence.setup_code))


def zpl(label: Label) -> bytes:
    """Return a label of 57 x 25 mm in ZPL II, for 203 dpi."""
    rows = ["^XA", "^CI28", f"^PW{_WIDTH_MM * _DOTS_PER_MM}", f"^LL{_HEIGHT_MM * _DOTS_PER_MM}"]
    rows.append(f"^FO{_DOTS_PER_MM},{_DOTS_PER_MM}^BQN,2,4^FH^FDMA,{_zpl_text(label.qr_text)}^FS")
    height = round(label.letter_mm * _DOTS_PER_MM * 1.1)
    for number, text in enumerate(label.lines):
        x, y = _TEXT_X_MM * _DOTS_PER_MM, round((3 + number * _LINE_MM) * _DOTS_PER_MM)
        rows.append(f"^FO{x},{y}^A0N,{height},{height}^FH^FD{_zpl_text(text)}^FS")
    return "\n".join([*rows, "^XZ", ""]).encode()


def svg(label: Label) -> bytes:
    """Return the same label as SVG, in millimetres."""
    rows = _modules(label)
    scale = _QR_MM / len(rows)
    runs = "".join(f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, dark in enumerate(row) if dark)
    texts = [
        f'<text x="{_TEXT_X_MM}" y="{4.5 + number * _LINE_MM:.2f}">{escape(text)}</text>'
        for number, text in enumerate(label.lines)
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH_MM}mm" height="{_HEIGHT_MM}mm" '
    head += f'viewBox="0 0 {_WIDTH_MM} {_HEIGHT_MM}"><rect width="100%" height="100%" fill="#fff"/>'
    group = f'<g font-family="sans-serif" font-size="{label.letter_mm:.2f}">'
    code = f'<path transform="translate(2 2) scale({scale:.4f})" d="{runs}"/>'
    return "\n".join([head, code, group, *texts, "</g></svg>", ""]).encode()


def png(label: Label, dots_per_mm: int = 12) -> bytes:
    """Return the same label as a black and white PNG (300 dpi by default)."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("1", (_WIDTH_MM * dots_per_mm, _HEIGHT_MM * dots_per_mm), 1)
    draw = ImageDraw.Draw(image)
    rows = _modules(label)
    module = _QR_MM * dots_per_mm // len(rows)
    for y, row in enumerate(rows):
        for x, dark in enumerate(row):
            if dark:
                left, top = 2 * dots_per_mm + x * module, 2 * dots_per_mm + y * module
                draw.rectangle((left, top, left + module - 1, top + module - 1), fill=0)
    font = ImageFont.load_default(label.letter_mm * dots_per_mm)
    for number, text in enumerate(label.lines):
        draw.text((_TEXT_X_MM * dots_per_mm, (2.5 + number * _LINE_MM) * dots_per_mm), text, font=font, fill=0)
    output = io.BytesIO()
    image.save(output, "png", dpi=(25.4 * dots_per_mm, 25.4 * dots_per_mm))
    return output.getvalue()


RENDER: dict[str, Callable[[Label], bytes]] = {"zpl": zpl, "svg": svg, "png": png}


def note_print(pool: Pool, licence: Reserved, form: str, place: str) -> int:
    """Put a print into the audit, before it happens; return which print of this label it is, 1 for the first."""

    def work(tx: Transaction) -> int:
        query = "SELECT COUNT(*) FROM audit WHERE did = ? AND event IN ('label', 'label again')"
        found = tx.row(query, licence.did)
        count = 1 + (found[0] if found else 0)
        event = "label" if count == 1 else "label again"
        pool.append(tx, event, did=licence.did, mac=licence.mac, form=form, place=place, print=count)
        return count

    return pool.database.run(work)


def send(data: bytes, printer: str) -> None:
    """Send a label to a printer: HOST, HOST:9100, or a device such as /dev/usb/lp0."""
    try:
        if printer.startswith("/"):
            _send_to_device(data, Path(printer))
            return
        host, _, port = printer.partition(":")
        with socket.create_connection((host, int(port or _PRINTER_PORT)), _TIME_OUT_S) as line:
            line.sendall(data)
            line.shutdown(socket.SHUT_WR)
    except (OSError, ValueError) as error:
        raise FactoryError(PRINTER, f"the printer {printer[:60]} does not take the label") from error


def _send_to_device(data: bytes, path: Path) -> None:
    """Write to a printer's device file; an ordinary file would keep the setup code."""
    mode = path.stat().st_mode
    if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
        raise FactoryError(PRINTER, f"{path} is no printer", "name a device, or use --out for a file")
    with path.open("wb", buffering=0) as device:
        device.write(data)


def _modules(label: Label) -> list[bytes]:
    """Return the QR code's rows, a byte per module, 1 for dark."""
    return [bytes(row) for row in segno.make(label.qr_text, error="m", micro=False).matrix]


def _zpl_text(text: str) -> str:
    """Return a text as ^FH wants it: what ZPL takes for commands, as hex."""
    return "".join(f"_{ord(char):02X}" if char in "^~_\\" else char for char in text)

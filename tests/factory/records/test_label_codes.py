"""The QR code of every label form, read by another library (zxing-cpp) or as a printer reads it, holds one text."""

import io
import random
import re
import xml.etree.ElementTree as ElementTree

import pytest
import zxingcpp
from factory_lab import mac_of
from office_tools import upeer
from PIL import Image, ImageDraw

from upeer_factory.records import labels
from upeer_factory.records.labels import Label
from upeer_office.names import encode_setup_code, make_did

_SVG = "{http://www.w3.org/2000/svg}"
_DOTS_PER_MM = 12
_chance = random.Random(4711)


def _random_label(number):
    code = encode_setup_code(_chance.randbytes(10))
    ssid = "_".join(("Brand-"[: 1 + number % 6], "x" * (number % 18 + 1), f"{number:06x}"))
    return Label(make_did("TEST", number), mac_of(number), ssid, code)


LABELS = [
    Label("ABCD-000001-GHKLM", "24:0a:c4:00:00:01", "ACME_plug_000001", "0123-4567-89AB-CDEF"),
    Label("ABCD-000001-GHKLM", "24:0a:c4:00:00:01", "A" * 32, "0123-4567-89AB-CDEF"),
    *[_random_label(number) for number in range(1, 20)],
]


def decode(image):
    """Return the text of the only code in an image, as zxing-cpp reads it."""
    found = zxingcpp.read_barcodes(image.convert("L"))
    assert [code.format for code in found] == [zxingcpp.BarcodeFormat.QRCode]
    return found[0].text


def draw_svg(data):
    """Draw the filled path of a label's SVG, which knows M, h, v, z, translate and scale."""
    root = ElementTree.fromstring(data)
    width, height = (float(number) for number in root.get("viewBox").split()[2:])
    path = root.find(f"{_SVG}path")
    left, top, scale = map(float, re.findall(r"[\d.]+", path.get("transform")))
    image = Image.new("L", (round(width * _DOTS_PER_MM), round(height * _DOTS_PER_MM)), 255)
    draw = ImageDraw.Draw(image)
    for shape in re.findall(r"M[^Mz]*z", path.get("d")):
        x, y = map(float, re.match(r"M([\d.]+) ([\d.]+)", shape).groups())
        corners = [(x, y)]
        for way, by in re.findall(r"([hv])(-?[\d.]+)", shape):
            x, y = (x + float(by), y) if way == "h" else (x, y + float(by))
            corners.append((x, y))
        draw.polygon([((left + x * scale) * _DOTS_PER_MM, (top + y * scale) * _DOTS_PER_MM) for x, y in corners], 0)
    return image


def zpl_fields(data):
    """Return [(commands, text)] of a label's fields, hex escapes undone, as a ZPL II interpreter reads them."""
    fields, commands, escapes = [], [], False
    for part in data.decode().replace("\n", "").split("^")[1:]:
        name, rest = part[:2], part[2:]
        if name == "FH":
            escapes = True
        elif name == "FD":
            text = re.sub("_([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), rest) if escapes else rest
            fields.append((commands, text))
        elif name == "FS":
            commands, escapes = [], False
        else:
            commands.append(part)
    return fields


def zpl_code(data):
    """Return (magnification, error correction, payload) of the only ^BQ in a label."""
    ((commands, text),) = [field for field in zpl_fields(data) if any(name.startswith("BQ") for name in field[0])]
    orientation, model, magnification = next(name for name in commands if name.startswith("BQ"))[2:].split(",")
    assert (orientation, model) == ("N", "2")
    correction, mode, payload = text[0], text[1:3], text[3:]
    assert mode == "A,", "automatic data input"
    return int(magnification), correction, payload


@pytest.mark.parametrize("label", LABELS, ids=lambda label: label.ssid)
def test_every_form_of_a_label_holds_the_same_code(label):
    wanted = label.qr_text
    assert decode(Image.open(io.BytesIO(labels.png(label)))) == wanted
    assert decode(draw_svg(labels.svg(label))) == wanted
    assert zpl_code(labels.zpl(label))[1:] == ("M", wanted)


def test_text_of_the_code_is_what_an_app_takes_apart():
    kind, rest = decode(Image.open(io.BytesIO(labels.png(LABELS[0])))).split(":", 1)
    did, mac, code, ssid = rest.split(";")
    assert (kind, did, mac, ssid) == ("UPEER", LABELS[0].did, "240AC4000001", LABELS[0].ssid)
    assert code == LABELS[0].setup_code.replace("-", "")


def test_printed_code_fits_beside_the_text():
    """The printer draws the modules that zxing-cpp counts, so many dots each, left of the text."""
    for label in LABELS:
        (found,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(labels.png(label))).convert("L"))
        magnification = zpl_code(labels.zpl(label))[0]
        dots = (17 + 4 * int(found.extra["Version"])) * magnification
        texts = [commands[0] for commands, text in zpl_fields(labels.zpl(label)) if text in label.lines]
        assert len(texts) == 4
        assert all(8 + dots + 4 * magnification <= int(place[2:].split(",")[0]) for place in texts)


def test_damaged_code_is_not_read():
    image = Image.open(io.BytesIO(labels.png(LABELS[0]))).convert("L")
    ImageDraw.Draw(image).rectangle((24, 100, 280, 200), fill=255)
    assert zxingcpp.read_barcodes(image) == []


def test_label_of_the_command_line_is_the_boards_own(factory, tmp_path):
    taken = factory.pool.reserve(mac_of(1))
    factory.pool.burned(taken.mac, taken.did)
    options = ("--pool", factory.url, "--station-key", factory.key_file)
    files = {form: tmp_path / f"label.{form}" for form in labels.FORMATS}
    for out in files.values():
        upeer("label", *options, taken.did, "--out", out)
    texts = [
        zpl_code(files["zpl"].read_bytes())[2],
        decode(draw_svg(files["svg"].read_bytes())),
        decode(Image.open(files["png"])),
    ]
    code = encode_setup_code(taken.setup_code).replace("-", "")
    assert set(texts) == {f"UPEER:{taken.did};027570000001;{code};UPEER_device_000001"}

"""Labels: what stands on them, how they reach the printer, and that every print is in the audit."""

import socket
import threading
import xml.etree.ElementTree as ElementTree

import pytest
import segno
from factory_lab import mac_of
from PIL import Image

from upeer_factory.errors import FactoryError
from upeer_factory.pool import audit
from upeer_factory.records import labels
from upeer_factory.records.labels import Label
from upeer_office.names import encode_setup_code

LABEL = Label("ABCD-000001-GHKLM", "24:0a:c4:00:00:01", "ACME_plug_000001", "0123-4567-89AB-CDEF")
QR_TEXT = "UPEER:ABCD-000001-GHKLM;240AC4000001;0123456789ABCDEF;ACME_plug_000001"


@pytest.fixture
def burned(factory):
    taken = factory.pool.reserve(mac_of(1))
    factory.pool.burned(taken.mac, taken.did)
    return taken


def test_label_says_what_the_buyer_needs(burned, factory):
    made = labels.make_label(factory.pool.label_secrets(burned.mac), "ACME Inc.", "plug")
    assert made.ssid == "ACMEInc_plug_000001"
    assert made.lines == [
        burned.did,
        f"MAC {burned.mac}",
        f"Setup {encode_setup_code(burned.setup_code)}",
        "Wi-Fi ACMEInc_plug_000001",
    ]
    assert LABEL.qr_text == QR_TEXT


def test_repr_does_not_show_the_setup_code(burned, factory):
    made = labels.make_label(burned)
    assert made.setup_code not in repr(made)
    assert burned.setup_code.hex() not in repr(burned) and str(burned.setup_code) not in repr(burned)


def test_zpl_escapes_what_the_printer_takes_for_commands():
    text = labels.zpl(Label("A^XZ~JA", "24:0a:c4:00:00:01", "a_b", "c")).decode()
    assert text.startswith("^XA\n") and text.endswith("^XZ\n")
    assert "^FDA_5EXZ_7EJA^FS" in text
    assert text.count("^XZ") == 1 and "~" not in text
    assert f"^BQN,2,4^FH^FDMA,{QR_TEXT.replace('_', '_5F')}^FS" in labels.zpl(LABEL).decode()


def test_svg_holds_the_qr_code_and_the_lines():
    root = ElementTree.fromstring(labels.svg(LABEL))
    names = "{http://www.w3.org/2000/svg}"
    assert [text.text for text in root.iter(f"{names}text")] == LABEL.lines
    path = next(root.iter(f"{names}path")).get("d")
    dark = {(x, y) for y, row in enumerate(_code()) for x, bit in enumerate(row) if bit}
    assert {tuple(map(int, part[: part.index("h")].split())) for part in path.split("M")[1:]} == dark
    assert b"<text" not in labels.svg(Label("<b>", "m", "&", "c")).split(b"<text", 1)[0]
    ElementTree.fromstring(labels.svg(Label("<b>", "m", "&", "c")))


def test_png_holds_the_qr_code():
    import io

    image = Image.open(io.BytesIO(labels.png(LABEL)))
    assert (image.format, image.size) == ("PNG", (684, 300))
    module = 21 * 12 // len(_code())
    for y, row in enumerate(_code()):
        for x, bit in enumerate(row):
            assert (image.getpixel((24 + x * module + 1, 24 + y * module + 1)) == 0) == bool(bit)


def _code():
    return [bytes(row) for row in segno.make(QR_TEXT, error="m", micro=False).matrix]


def test_longest_name_still_fits():
    long = Label(LABEL.did, LABEL.mac, "A" * 32, LABEL.setup_code)
    assert long.letter_mm < LABEL.letter_mm <= 2.2
    with pytest.raises(FactoryError, match="no network's name"):
        labels.make_label(_Licence(), "A" * 20, "B" * 20)
    with pytest.raises(FactoryError, match="no network's name"):
        labels.make_label(_Licence(), "!!", "B")


class _Licence:
    mac = "24:0a:c4:00:00:01"


def test_reprints_are_counted_in_the_audit(factory, burned):
    counts = [labels.note_print(factory.pool, burned, "zpl", "printer") for _ in range(3)]
    assert counts == [1, 2, 3]
    rows = [row for row in audit.entries(factory.pool.database) if row["event"].startswith("label")]
    assert [(row["event"], row["print"]) for row in rows] == [("label", 1), ("label again", 2), ("label again", 3)]
    text = str(rows)
    assert encode_setup_code(burned.setup_code) not in text and burned.setup_code.hex() not in text


def test_free_licence_has_no_label(factory):
    free = next(factory.pool.entries("free"))
    with pytest.raises(FactoryError, match="has no label"):
        factory.pool.label_secrets(free.did)


def test_printer_at_a_port_gets_the_label():
    listener = socket.create_server(("127.0.0.1", 0))
    got = []

    def printer():
        line, _ = listener.accept()
        with line:
            got.append(b"".join(iter(lambda: line.recv(4096), b"")))

    thread = threading.Thread(target=printer)
    thread.start()
    labels.send(b"^XA^XZ", f"127.0.0.1:{listener.getsockname()[1]}")
    thread.join(5)
    listener.close()
    assert got == [b"^XA^XZ"]


def test_printer_that_is_not_there_is_one_line(tmp_path):
    for place in ("127.0.0.1:1", "127.0.0.1:x", str(tmp_path / "lp0")):
        with pytest.raises(FactoryError, match="does not take the label") as caught:
            labels.send(b"secret", place)
        assert "secret" not in str(caught.value)
    (tmp_path / "file").touch()
    with pytest.raises(FactoryError, match="is no printer"):
        labels.send(b"secret", str(tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == b""

"""Names, reach and units of the linker: what is renamed, kept, left out, and where it is found in an image."""

import re

import pytest

from upeer_board import image, linker
from upeer_board.linker.known import ROM

API = """
from upeer.base.compat import const
from upeer.work import Engine, LIMIT
_SPAN = const(7)
class Device:
    def __init__(self, watchdog_s=0):
        self.did = "x"
        self._engine = Engine(self)
    def start(self, when):
        from upeer.seldom import act
        return act(self._engine, limit=_SPAN + LIMIT)
    def _unused(self):
        return 1
"""
WORK = """
from upeer.base.compat import MICROPYTHON, const
LIMIT = const(5)
class Engine:
    def __init__(self, owner):
        self.owner_of_it = owner
        self.sent_bytes = 0
    def move(self, amount):
        self.sent_bytes += amount if MICROPYTHON else 9
        self.never_read = 4
        return self.sent_bytes, self.owner_of_it
    def unused(self):
        return LIMIT
"""
SELDOM = "def act(engine, limit):\n    for _ in range(2):\n        engine.move(limit)\n    return engine.move(1)\n"
LOADER = 'TRANSIENT = {"act": ("upeer.seldom", "upeer.other"), "echo": ("device.services.echo",)}\n'
SOURCES = {
    "device/api.py": API + "from device.loader import TRANSIENT\nTABLE = [TRANSIENT]\n",
    "device/loader.py": LOADER,
    "upeer/__init__.py": "",
    "upeer/work.py": WORK,
    "upeer/seldom.py": SELDOM,
    "upeer/other.py": "",
    "upeer/connect.py": "def client():\n    pass\n",
}


@pytest.fixture(scope="module")
def made():
    return linker.link(SOURCES)


def test_the_interface_keeps_its_names_and_parameters(made):
    core = made.files["device/core.py"]
    assert made.files["device/api.py"] == "from device.core import Device, TABLE"
    assert "class Device" in core and "watchdog_s=0" in core and ".did = 'x'" in core and "def start(" in core


def test_all_other_names_are_among_those_that_micropython_has(made):
    core = made.files["device/core.py"]
    assert not {"Engine", "owner_of_it", "sent_bytes", "LIMIT", "_SPAN", "self"} & set(core.replace(".", " ").split())
    described = made.names["files"]["device/core.py"]
    engine = next(name for name, what in described.items() if what == "upeer.work:Engine")
    assert engine in ROM and f"class {engine}" in core
    assert made.names["files"]["device/act.py"] and "sent_bytes" in str(made.names["attributes"])


def test_what_nothing_reaches_is_left_out(made):
    text = str(made.names)
    assert "unused" not in text and "never_read" not in text and " = 4" not in made.files["device/core.py"]
    assert "upeer.connect" not in text and "client" not in "".join(made.files.values())
    assert set(made.files) == {"device/core.py", "device/act.py", "device/api.py", "device/loader.py"}


def test_the_core_has_the_built_in_functions_it_calls_among_its_globals():
    work = WORK + "def size_of(data, int):\n    for i in range(9):\n        int += len(data)\n    raise OSError(int)\n"
    source = "from upeer.work import size_of\nsize_of(b'', 0)\nsize_of(b'1', 1)\n"
    sources = SOURCES | {"upeer/work.py": work, "device/api.py": SOURCES["device/api.py"] + source}
    core = linker.link(sources).files["device/core.py"]
    assert "from builtins import len, range\n" in core


def test_a_count_that_nothing_reads_goes_only_with_all_its_additions():
    counts = """
class Engine:
    def __init__(self, owner):
        self.peer = owner
        self.lost = self.seen = 0
    def move(self, amount):
        self.seen += 1
        self.peer.lost += amount
"""
    made = linker.link(SOURCES | {"upeer/work.py": counts + "LIMIT = 5\n"})
    text = "\n".join(made.files.values())
    added = set(re.findall(r"\.(\w+) \+= ", text))
    assert len(added) == 1 and set(re.findall(r"\.(\w+) = 0", text)) == added, text


def test_constants_stand_where_they_are_used(made):
    assert "limit=7 + 5)" in made.files["device/core.py"]


def test_a_group_of_transient_modules_is_one_file_and_its_table_names_it(made):
    core = made.files["device/core.py"]
    assert "from device.act import" in core and "'act': ('device.act',)" in core
    assert "'echo': ('device.services.echo',)" in core


def test_micropythons_modules_are_taken_from_the_core_where_it_has_them(made):
    needs = "import asyncio\nimport struct\nfrom binascii import crc32, hexlify\n"
    use = SELDOM.replace("range(2)", "range(asyncio, struct, crc32, hexlify)")
    api = "import asyncio\n" + API.replace('"x"', "asyncio.x")
    found = linker.link(SOURCES | {"upeer/seldom.py": needs + use, "device/api.py": api}).files["device/act.py"]
    lines = [line for line in found.splitlines() if line.startswith(("import", "from"))]
    assert lines == ["import struct", "from binascii import crc32, hexlify", "from device.core import asyncio"]


def test_attributes_share_a_name_only_where_no_class_has_both():
    source = SOURCES | {
        "upeer/work.py": WORK + "class Second:\n    def __init__(self):\n        self.third_thing = 1\n",
        "upeer/seldom.py": SELDOM.replace("range(2)", "range(Second().third_thing)")
        + "from upeer.work import Second\n",
    }
    attributes = linker.link(source).names["attributes"]
    home = {name: short for short, names in attributes.items() for name in names}
    assert home["owner_of_it"] != home["sent_bytes"]
    assert home["third_thing"] in (home["owner_of_it"], home["sent_bytes"])


def test_a_name_of_micropythons_is_never_another_ones():
    """What the program calls on MicroPython's own objects keeps its name, and none of ours gets it."""
    source = SOURCES | {"upeer/seldom.py": SELDOM.replace("range(2)", "limit.popleft().isalpha().write(3)")}
    made = linker.link(source)
    given = set(made.names["attributes"]) | {name for rows in made.names["files"].values() for name in rows}
    assert ".popleft().isalpha().write(3)" in made.files["device/act.py"]
    assert not {"popleft", "isalpha", "write"} & given


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("upeer/seldom.py", "from upeer.work import Nothing\nx = Nothing\ndef act(): pass\n", "has no Nothing"),
        ("upeer/seldom.py", "def act():\n    from upeer import work\n    return work\n", "used as a value"),
        ("upeer/seldom.py", "from upeer import work\ndef act():\n    work.Engine = 1\n", "exchanges"),
        ("device/api.py", API + "from upeer.seldom import act\nTABLE = [act]\n", "import it where it is used"),
        ("upeer/work.py", WORK + "from upeer.late import x\n", "in a circle"),
        (
            "upeer/seldom.py",
            "def act():\n    from bluetooth import BLE\n    return BLE()\n",
            "line 2: imports bluetooth;",
        ),
    ],
)
def test_what_cannot_be_linked_is_one_line(name, text, line):
    source = SOURCES | {name: text, "upeer/late.py": "from upeer.work import Engine\nx = Engine\n"}
    with pytest.raises(ValueError, match=line):
        linker.link(source)


def test_names_tell_what_a_traceback_means():
    shipped = image.shipped_sources()
    rows = shipped.names["files"]["device/core.py"]
    found = [what for what in rows.values() if what.startswith("upeer.session.session:Session.receive_packet")]
    assert len(found) == 1 or any("receive_packet" in what for what in rows.values())
    assert all("  " not in what for what in rows.values())


def test_every_resident_module_is_in_the_core_and_the_groups_are_files():
    files = image.shipped_sources().files
    assert {"device/core.py", "device/login.py", "device/handshake.py", "device/api.py"} <= set(files)
    assert not [name for name in files if name.startswith("upeer/signalling")]
    assert linker.resident(image.firmware_sources()).count("upeer/session/session.py") == 1

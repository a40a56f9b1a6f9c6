"""The licence partition on the host: the device's own tests run here too, then what only the host does with it."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from upeer_board import fctry
from upeer_board.boards import project_root

_DEVICE_TESTS = Path(__file__).resolve().parents[1] / "device" / "mpy" / "test_fctry.py"
_RECORD = {
    "did": "ABCD-000001-GHKLM",
    "licence_key": b"L" * 32,
    "key_id": 7,
    "crc_key": b"C" * 32,
    "p2p_key": b"P" * 32,
    "init_string": "BwAA",
}


def _device_tests():
    sys.path.insert(0, str(project_root() / "firmware"))
    try:
        spec = importlib.util.spec_from_file_location("device_test_fctry", _DEVICE_TESTS)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return {name: test for name, test in vars(module).items() if name.startswith("test_")}


@pytest.mark.parametrize("name", sorted(_device_tests()))
def test_device_codec_on_cpython(name):
    _device_tests()[name]()


def test_image_has_two_equal_copies_and_blank_without_a_licence():
    data = fctry.image(_RECORD)
    assert len(data) == 8192 and data[:4096] == data[4096:]
    assert fctry.decode_image(data) == (_RECORD, 1, [])
    assert fctry.image(None) == b"\xff" * 8192


def test_image_with_one_bad_copy_still_opens():
    data = bytearray(fctry.image(_RECORD))
    data[20] ^= 1
    assert fctry.decode_image(bytes(data)) == (_RECORD, 2, ["fctry copy 1: wrong checksum"])


def test_parse_licence_takes_json_and_images():
    text = json.dumps({name: value.hex() if isinstance(value, bytes) else value for name, value in _RECORD.items()})
    assert fctry.parse_licence(text.encode()) == _RECORD
    assert fctry.parse_licence(fctry.image(_RECORD)) == _RECORD


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff" * 4096, b'{"did": 1}', b'{"licence_key": "zz"}'])
def test_parse_licence_refuses_in_one_line_without_quoting(data):
    with pytest.raises(ValueError) as error:
        fctry.parse_licence(data)
    assert "\n" not in str(error.value) and "zz" not in str(error.value)

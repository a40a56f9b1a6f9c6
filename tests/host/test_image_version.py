"""Which MicroPython an app is, read from its texts: many matches, other texts, and every way that it can be wrong."""

import pytest
from board_images import interpreter_texts

from upeer_board import version

_BANNER = b"MicroPython v1.26.1 on 2025-09-11; Generic ESP32 module with ESP32\0"


@pytest.mark.parametrize(
    ("app", "found"),
    [
        (interpreter_texts("v1.26.1"), "v1.26.1"),
        (interpreter_texts("v1.26.1") * 500, "v1.26.1"),
        (b"\xff" * 70_000 + _BANNER, "v1.26.1"),
        (interpreter_texts("v1.27.0-preview.123.gabcdef0-dirty"), "v1.27.0-preview.123.gabcdef0-dirty"),
        (interpreter_texts("v1.26.1") + b"tested with MicroPython v1.19.1 on 2022-06-18\0", "v1.26.1"),
        (_BANNER + b"tested with MicroPython v1.19.1 on 2022-06-18\0", ""),
        (interpreter_texts("v1.26.1") + interpreter_texts("v1.25.0"), ""),
        (b"MicroPython v1.26.1\0", ""),
        (b"MicroPython v1.26.1 on Thursday\0", ""),
        (b"MicroPython 1.26.1 on 2025-09-11\0", ""),
        (b"MicroPython v1.26.1-" + b"x" * 41 + b" on 2025-09-11\0", ""),
        (b"", ""),
    ],
)
def test_version_is_found_in_the_texts(app, found):
    assert version.find(app) == found


@pytest.mark.parametrize("found", ["v1.24", "v1.24.0", "v1.24.1", "v1.25.0-preview.1.gabc", "v1.100.0", "v2.0.0"])
def test_versions_from_1_24_on_are_taken(found):
    version.check(found)


@pytest.mark.parametrize("found", ["", "v1.23.0", "v1.9.4", "v0.30.0", "v1.24.0-preview.1", "v1.24-preview", "1.26"])
def test_others_are_refused_in_a_line_that_says_what_to_do(found):
    with pytest.raises(ValueError, match="take a .bin of MicroPython 1.24 or later from https://") as error:
        version.check(found)
    assert "\n" not in str(error.value)

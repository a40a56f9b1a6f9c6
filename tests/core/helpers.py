"""What the core's tests share; runs on CPython and on MicroPython."""

import json

try:
    from pathlib import Path

    _VECTORS = str(Path(__file__).resolve().parents[1] / "vectors") + "/"
except ImportError:  # MicroPython: the runner starts it in the project's root
    _VECTORS = "tests/vectors/"


def raises(exception, function, *args):
    """Call function(*args); return the exception of the given class that it raises, fail if it raises none."""
    try:
        function(*args)
    except exception as error:
        return error
    raise AssertionError("no " + exception.__name__ + " raised")


def unhex(text):
    """Return the bytes that a hex text with any white space stands for."""
    return bytes.fromhex("".join(text.split()))


def tohex(data):
    """Return data as lower-case hex."""
    return "".join("%02x" % byte for byte in data)


def load_json(name):
    """Return the content of tests/vectors/<name>."""
    with open(_VECTORS + name) as file:
        return json.load(file)


def load_lines(name):
    """Return the lines of tests/vectors/<name> that are neither empty nor comments."""
    with open(_VECTORS + name) as file:
        lines = [line.strip() for line in file]
    return [line for line in lines if line and not line.startswith("#")]

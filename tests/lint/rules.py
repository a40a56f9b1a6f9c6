"""The style rules that ruff cannot check, as data for `check_style.py`: sizes, layers, the core's imports."""

MODULE_LINES = 400
FUNCTION_LINES = 40  # without the docstring
PARAMETERS = 5  # beside self

# "file" or "file:Class.function" -> why it may break a size rule. Keep it short; an entry that no longer applies fails.
EXCEPTIONS = {
    "upeer/crypto/noise.py:Noise.__init__": "what the Noise framework's Initialize takes",
    "upeer/session/session.py:Session.__init__": "both ends' identities, keys and limits come out of one handshake",
}

# What each package may import of the others: imports go downward only.
LAYERS = {
    "upeer": set(),
    "device": {"upeer"},
    "upeer_client": {"upeer"},
    "upeer_server": {"upeer"},
    "upeer_office": {"upeer", "upeer_server"},
    "upeer_board": {"upeer", "upeer_server", "upeer_office"},
    "upeer_factory": {"upeer", "upeer_client", "upeer_server", "upeer_office", "upeer_board"},
    "upeer_cli": {"upeer", "upeer_client", "upeer_office", "upeer_server", "upeer_board", "upeer_factory"},
}

# Chapters of a package, from the ground up: each knows those of the floors below it. What stands beside the chapters
# (the doors) is above all of them.
CHAPTERS = {
    "upeer": (("base",), ("crypto",), ("signalling", "session"), ("handshake",)),
    "upeer_factory": (("errors",), ("flash",), ("pool",), ("board", "records"), ("efuses",), ("station",)),
}

# Imports that would close a circle, and why they may: (importer, imported) -> reason. An entry that closes none fails.
CIRCLES: dict[tuple[str, str], str] = {}

# The core knows no IO: what any module of it may import, and what single modules may in addition.
CORE_IMPORTS = {"struct", "array", "binascii", "micropython", "sys"}
CORE_EXTRA_IMPORTS = {
    "upeer/crypto/aead.py": {"cryptolib", "hashlib", "os"},
    "upeer/crypto/cpython.py": {"cryptography", "hashlib", "hmac"},
    "upeer/base/clock.py": {"time"},
    "upeer/aio.py": {"asyncio"},
}
CORE_FORBIDDEN_CALLS = {"print", "open", "input", "exec", "eval"}

# GPL: run as programs, imported by no file of the project, tests included.
PROGRAMS = {"esptool", "espefuse", "espsecure"}

# Not in stock ESP32 firmware, or there without these parts: no module that goes to a board may use them.
ABSENT_MODULES = {
    "typing", "__future__", "enum", "dataclasses", "abc", "functools", "contextlib", "logging", "hmac", "pathlib",
    "itertools", "threading", "queue", "subprocess", "secrets", "ipaddress", "datetime", "copy", "inspect", "warnings",
}  # fmt: skip
ABSENT_ATTRIBUTES = {
    "asyncio.Queue", "asyncio.Future", "asyncio.timeout", "asyncio.TaskGroup", "asyncio.to_thread",
    "asyncio.open_datagram_endpoint", "asyncio.get_running_loop", "time.monotonic", "time.monotonic_ns", "os.path",
}  # fmt: skip
ABSENT_METHODS = {"bit_length", "hexdigest", "call_later", "call_soon", "removeprefix", "removesuffix", "casefold"}
ABSENT_NAMES = {"TimeoutError", "ConnectionError", "ConnectionResetError", "ConnectionRefusedError", "BrokenPipeError"}
# Used only where a test for the interpreter says CPython.
ABSENT_ALLOWED = {"upeer/base/clock.py": {"time.monotonic_ns"}}
NOT_ON_BOARD = {"upeer/crypto/cpython.py"}

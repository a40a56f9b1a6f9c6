"""The order of the tests: files that take longest first.

`make test` gives whole files to its workers in the order of collection. A long file that is begun last is the one that
all other workers wait for.
"""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]

# 10 s and more each, the longest first, as `pytest --durations=0` tells.
FILES = (
    "factory/station/test_line_e2e.py",
    "factory/station/test_station_secure.py",
    "factory/station/test_station_secure_ports.py",
    "natlab/test_connect.py",
    "natlab/test_connect_boards.py",
    "device/test_board_agent.py",
    "factory/efuses/test_security_line.py",
    "factory/station/test_station_crash.py",
    "interop/test_board_streams.py",
    "host/test_client_connect.py",
    "soak/test_soak.py",
    "bench/test_instructions.py",
    "natlab/test_lab.py",
    "device/test_board_budget.py",
    "interop/test_board_trouble.py",
    "factory/board/test_burn_boards.py",
    "hil/test_bench_of_boards.py",
    "factory/flash/test_flash_cable.py",
    "factory/flash/test_flash.py",
    "factory/station/test_station_screen.py",
    "host/test_board_virtual.py",
    "security/test_a22_line.py",
    "security/test_a22_factory.py",
    "factory/records/test_core_dumps.py",
    "factory/board/test_line_server.py",
    "factory/pool/test_pool_crash.py",
    "host/test_serve.py",
    "factory/flash/test_flash_chips.py",
    "host/test_client_cli.py",
)

_PLACES = {TESTS / name: number for number, name in enumerate(FILES)}


def place(path: Path) -> int:
    """Return the place of a test's file in the order; all short ones share the last."""
    return _PLACES.get(path, len(FILES))

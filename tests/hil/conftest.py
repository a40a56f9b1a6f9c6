"""A bench of boards: real ones at the ports of `make hil PORTS=...`, and virtual ones for the same tests without any.

Boards are flashed, burned and proved by our own tools, which are what is tested; their consoles are read by
pytest-embedded, which `make hil` and `make test` load for this folder only.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest
from station_lab import StationLab, make_recipe

_NO_BOARDS = "no boards: make hil PORTS=/dev/ttyUSB0,/dev/ttyUSB1 MICROPYTHON=ESP32_GENERIC-OTA-....bin"


@dataclass
class Bench:
    """Ports with a board each, and a line whose licences are for tests only."""

    lab: StationLab
    ports: list[str]
    is_real: bool


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hil", "hardware in the loop")
    group.addoption("--ports", default="", help="ports of real boards, with commas; their licence is replaced")
    group.addoption("--hil-board", default="ESP32_GENERIC", help="their board, a folder below boards/")
    group.addoption("--micropython", default="", help="the stock MicroPython image for that board")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tests of the console where pytest-embedded is not loaded."""
    if not config.pluginmanager.hasplugin("pytest_embedded.plugin"):
        reason = pytest.mark.skip(reason="the console needs pytest-embedded: run 'make hil'")
        for item in items:
            if item.path.name == "test_console.py":
                item.add_marker(reason)


@pytest.fixture(scope="module", params=["virtual", "real"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """Boards to work with; the real ones lose their licence at the end, for it was a test's."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "virtual":
        request.getfixturevalue("micropython")
        lab = StationLab(folder)
        with lab.board(1) as one, lab.board(2) as two:
            yield Bench(lab, [str(one.link), str(two.link)], False)
    else:
        bench = _real(request.config, folder)
        lab = bench.lab
        yield bench
        lab.upeer("flash", *lab.recipe_options, "--erase-licence", "--yes", *_each_port(bench.ports))
    lab.factory.pool.close()


def _each_port(ports: list[str]) -> list[str]:
    return [text for port in ports for text in ("--port", port)]


def _real(config: pytest.Config, folder: Path) -> Bench:
    ports = [port for port in config.getoption("--ports", default="").split(",") if port]
    if not ports:
        pytest.skip(_NO_BOARDS)
    image = config.getoption("--micropython")
    if not image:
        pytest.skip("no MicroPython image: add MICROPYTHON=FILE, from https://micropython.org/download/")
    recipe = make_recipe(folder / "recipe", config.getoption("--hil-board"), Path(image).read_bytes())
    return Bench(StationLab(folder, licences=len(ports) + 2, recipe=recipe), ports, True)

"""What a board says on its console, read by pytest-embedded: one `dut` a port, all ports of the bench at once."""

import re

import pytest
from pytest_embedded import plugin

_CTRL_C, _CTRL_D = b"\r\x03", b"\x04"
_PROMPT_S = 60


@pytest.fixture(scope="module")
def flashed(bench):
    """The bench, with our firmware on every board."""
    ports = [text for port in bench.ports for text in ("--port", port)]
    done = bench.lab.upeer("flash", *bench.lab.recipe_options, *ports)
    assert done.returncode == 0, done.stdout + done.stderr
    return bench


@pytest.fixture(autouse=True)
def count(bench):
    """Tell pytest-embedded how many boards there are."""
    plugin._COUNT = len(bench.ports)


@pytest.fixture
@plugin.multi_dut_argument
def embedded_services():
    return "serial"


@pytest.fixture
@plugin.multi_dut_argument
def port(flashed):
    return "|".join(flashed.ports)


@pytest.fixture
def duts(dut):
    return dut if isinstance(dut, list | tuple) else [dut]


def _interrupt(dut):
    dut.serial.proc.write(_CTRL_C)
    dut.expect_exact(">>> ", timeout=_PROMPT_S)


def test_soft_reset_starts_the_agent_again(duts):
    for one in duts:
        _interrupt(one)
    for one in duts:
        one.serial.proc.write(_CTRL_D)
    for one in duts:
        one.expect_exact("MPY: soft reboot", timeout=_PROMPT_S)
        one.expect(re.compile(rb"upeer: (no licence|no network stored|network up)"), timeout=_PROMPT_S)


def test_console_runs_what_is_typed(duts):
    for number, one in enumerate(duts):
        _interrupt(one)
        one.serial.proc.write(b"print('sum', %d + 4000)\r" % number)
        one.expect_exact(f"sum {4000 + number}", timeout=_PROMPT_S)

"""The cable is pulled at every stage: one retry if it comes back, else one clear line; no half board."""

import contextlib
import threading

import line
import pytest
from mock_chip import MockChip

from upeer_factory.flash.faults import Fault
from upeer_factory.flash.flash import Flasher, Options
from upeer_factory.flash.many import flash_many

# (command at which it is pulled, which one of them, stage that the fault names)
STAGES = [
    ("SYNC", 1, "connecting"),
    ("READ_REG", 3, "loading"),
    ("MEM_DATA", 1, "loading"),
    ("CHANGE_BAUDRATE", 1, "loading"),
    ("SPI_FLASH_MD5", 1, "comparing"),
    ("FLASH_DEFL_BEGIN", 1, "writing"),
    ("FLASH_DEFL_DATA", 2, "writing"),
    ("SPI_FLASH_MD5", 2, "verifying"),
    ("FLASH_DEFL_END", 1, "writing"),
]


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory):
    with line.project(line.small_project(tmp_path_factory.mktemp("project"))) as folder:
        yield folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return line.prepared(tmp_path_factory.mktemp("recipe"))


def _flash_all(prepared, state, serial, replug):
    """Flash a board per stage at once, each with its cable pulled there; return (chips, outcomes)."""
    with contextlib.ExitStack() as stack:
        chips = [
            stack.enter_context(
                MockChip(mac=f"24:0a:c4:00:02:{row:02x}", serial=serial, pull={name: count}, replug=replug)
            )
            for row, (name, count, _) in enumerate(STAGES)
        ]
        options = Options(state, wait_for_port=5 if replug else 0.2)
        ports = [chip.port for chip in chips]
        return chips, flash_many(Flasher(prepared, options), ports, lambda _: None, threading.Event())


def test_cable_pulled_for_good_is_one_clear_line(prepared, tmp_path):
    _, outcomes = _flash_all(prepared, tmp_path, serial=True, replug=None)
    for (name, _, stage), outcome in zip(STAGES, outcomes, strict=True):
        assert outcome.fault is not None, name
        assert (outcome.fault.code, outcome.fault.stage) == ("F07", stage), (name, str(outcome.fault))
        assert f"the cable was lost while {stage}" in str(outcome.fault)


@pytest.mark.parametrize("serial", [False, True], ids=["socket", "pty"])
def test_cable_pulled_and_put_back_costs_one_retry(prepared, tmp_path, serial):
    chips, outcomes = _flash_all(prepared, tmp_path, serial, replug=0.3)
    for stage, chip, outcome in zip(STAGES, chips, outcomes, strict=True):
        assert outcome.result is not None, (stage, str(outcome.fault))
        assert outcome.result.attempts <= 2 and len(outcome.result.warnings) == 1, (stage, outcome)
        assert outcome.result.mac == chip.mac
        for part in prepared.parts:
            assert chip.flash.data[part.offset : part.offset + len(part.data)] == part.data, stage


@pytest.mark.parametrize(("name", "count"), [("SPI_FLASH_MD5", 1), ("FLASH_DEFL_DATA", 2)])
def test_board_swapped_while_the_cable_was_out_is_noticed(prepared, tmp_path, name, count):
    with MockChip(pull={name: count}, replug=0.3) as chip:

        def swap(event=chip.pulled, before=chip.saw):
            def saw(command):
                before(command)
                if event.is_set():
                    chip.mac_bytes = (0x24, 0x0A, 0xC4, 9, 9, 9)

            return saw

        chip.saw = swap()
        with pytest.raises(Fault) as caught:
            Flasher(prepared, Options(tmp_path)).flash(chip.port)
    assert caught.value.code == "F13"
    assert "24:0a:c4:00:00:01 before, 24:0a:c4:09:09:09 now" in str(caught.value)

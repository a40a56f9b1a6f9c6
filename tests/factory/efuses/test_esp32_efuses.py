"""The emulated eFuse controller of an ESP32, at its registers; real espefuse drives it in test_station_secure_ports."""

import pytest
from esp32_efuses import BASE, Esp32Efuses

_CONF, _CMD = BASE + 0xFC, BASE + 0x104
_KEY_WRITTEN, _KEY_READ = [range(BASE + start, BASE + start + 32, 4) for start in (0x98, 0x38)]
_WORD_0_WRITTEN, _WORD_0_READ = BASE + 0x1C, BASE
_KEY_LOCKED, _KEY_HIDDEN = 1 << 7, 1 << 16


@pytest.fixture
def chip(tmp_path):
    return Esp32Efuses(tmp_path / "chip")


def _command(chip, conf, number):
    chip.write(_CONF, conf)
    chip.write(_CMD, number)
    assert chip.read(_CMD) == 0


def _burn(chip, registers, values):
    for address, value in zip(registers, values, strict=True):
        chip.write(address, value)
    _command(chip, 0x5A5A, 2)
    for address in registers:
        chip.write(address, 0)


def _shown(chip, registers=_KEY_READ):
    _command(chip, 0x5AA5, 1)
    return [chip.read(address) for address in registers]


def test_burned_bits_are_shown_by_the_next_load_and_stay(chip, tmp_path):
    _burn(chip, _KEY_WRITTEN, range(1, 9))
    assert [chip.read(address) for address in _KEY_READ] == [0] * 8
    assert _shown(chip) == list(range(1, 9))
    _burn(chip, _KEY_WRITTEN, [0x10] * 8)
    assert _shown(chip) == [0x10 | word for word in range(1, 9)]
    again = Esp32Efuses(tmp_path / "chip")
    assert [again.read(address) for address in _KEY_READ] == [0x10 | word for word in range(1, 9)]


@pytest.mark.parametrize(("conf", "number"), [(0x5AA5, 2), (0, 2), (0x5A5A, 1), (0x5A5A, 3)])
def test_command_without_its_word_burns_nothing(chip, conf, number):
    chip.write(_WORD_0_WRITTEN, 1 << 20)
    _command(chip, conf, number)
    assert _shown(chip, [_WORD_0_READ]) == [0]


def test_write_protected_block_stays_as_it_is(chip):
    _burn(chip, _KEY_WRITTEN, [1] * 8)
    _burn(chip, [_WORD_0_WRITTEN], [_KEY_LOCKED])
    assert _shown(chip) == [1] * 8
    _burn(chip, _KEY_WRITTEN, [2] * 8)
    assert _shown(chip) == [1] * 8


def test_read_protected_block_reads_as_zeros(chip):
    _burn(chip, _KEY_WRITTEN, [1] * 8)
    assert _shown(chip) == [1] * 8
    _burn(chip, [_WORD_0_WRITTEN], [_KEY_HIDDEN])
    assert _shown(chip) == [0] * 8


def test_locked_read_protection_hides_nothing_more(chip):
    """Bit 0 of WR_DIS locks RD_DIS: a digest that must stay readable cannot be hidden any more."""
    _burn(chip, [_WORD_0_WRITTEN], [1])
    _command(chip, 0x5AA5, 1)
    _burn(chip, [_WORD_0_WRITTEN], [_KEY_HIDDEN << 1])
    assert _shown(chip, [_WORD_0_READ]) == [1]

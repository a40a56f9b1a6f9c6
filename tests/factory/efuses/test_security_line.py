"""eFuse plans: rehearsed on virtual chips, compared, burned once; refused where the firmware cannot live with them."""

import json

import line
import pytest
import secure
import virtual_efuses
from mock_chip import MockChip

from upeer_cli import main
from upeer_factory.efuses import plan as security
from upeer_factory.efuses import run as security_run
from upeer_factory.efuses.plan import PlanError
from upeer_factory.flash import parts
from upeer_factory.flash.flash import Flasher, Options
from upeer_factory.flash.recipe import RecipeError

CHIPS = ("esp32", "esp32s2", "esp32s3", "esp32c3", "esp32c6")
ALL = virtual_efuses.ALL
pytestmark = pytest.mark.usefixtures("memory")


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory):
    with line.project(line.small_project(tmp_path_factory.mktemp("project"), (*CHIPS, "esp32c2"))) as folder:
        yield folder


def _plan(folder, made, chip="esp32s3", wanted=ALL, build=None):
    path, pin = secure.write_recipe(folder, f"LINE_{chip.upper()}", made, wanted, build)
    return security.plan(parts.prepare(path, pin))


def test_flash_key_is_in_no_file_and_no_argument(tmp_path, made, monkeypatch, memory):
    """First, for it has to forget what it does not burn itself; the others have all that it makes espefuse do."""
    memory.forget()
    key, seen = bytes.fromhex(line.sha256(b"planted")), []
    monkeypatch.setattr(security_run.os, "urandom", lambda size: key[:size])
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    _record(monkeypatch, seen)
    security_run.rehearse(_plan(tmp_path / "recipe", made))
    assert any("burn-key" in text and "=== Run" not in text for text in seen) and any("Successful" in t for t in seen)
    for text in seen:
        for form in (key.hex(), key.hex(" "), key[::-1].hex(), key[::-1].hex(" ")):
            assert form not in text.lower()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or key not in path.read_bytes()


def _record(monkeypatch, seen):
    """Note the arguments of all programs that are run, and what they print."""
    popen, close = security_run.subprocess.Popen, security_run._Output.__exit__
    monkeypatch.setattr(
        security_run.subprocess, "Popen", lambda *a, **k: seen.append(repr((a, k)).lower()) or popen(*a, **k)
    )
    monkeypatch.setattr(
        security_run._Output, "__exit__", lambda output, *error: seen.append(output.text()) or close(output, *error)
    )


@pytest.mark.parametrize("chip", CHIPS)
def test_rehearsal_ends_in_the_planned_state_and_runs_once(tmp_path, made, chip):
    plan = _plan(tmp_path / "recipe", made, chip)
    changed = security_run.rehearse(plan, tmp_path / "efuses")
    assert set(plan.expected) | set(plan.unreadable) <= set(changed)
    with pytest.raises(PlanError, match="is burned already"):
        security_run.rehearse(plan, tmp_path / "efuses")
    state = security_run.summary(security_run.Target(chip, file=tmp_path / "efuses"))
    assert not state[plan.unreadable[0]]["readable"]
    assert not state["RD_DIS"]["writeable"]


def test_partly_burned_chip_is_refused(tmp_path, made):
    file = tmp_path / "efuses"
    security_run.rehearse(_plan(tmp_path / "1", made, wanted="jtag_off = true"), file)
    before = file.read_bytes()
    with pytest.raises(PlanError, match="DIS_PAD_JTAG of the virtual chip .* is burned already"):
        security_run.rehearse(_plan(tmp_path / "2", made), file)
    assert file.read_bytes() == before


def test_stock_image_is_refused_with_the_reason(tmp_path):
    path, _ = line.write_recipe(tmp_path / "stock", "LINE_ESP32S3", extra="[efuses]\nflash_encryption = true\n")
    with pytest.raises(PlanError, match="was not built with flash encryption, as no stock MicroPython is"):
        security.plan(parts.prepare(path))


def test_unsigned_image_is_refused(tmp_path, made):
    public = made[1]
    (tmp_path / "key.pem").write_bytes(public)
    extra = f'[signature]\npublic_key = "key.pem"\nsha256 = "{line.sha256(public)}"\n[efuses]\nsecure_boot = true\n'
    path, _ = line.write_recipe(tmp_path, "LINE_ESP32S3", extra=extra)
    with pytest.raises((RecipeError, PlanError), match="not signed"):
        parts.prepare(path)


def test_image_signed_by_another_key_is_refused(tmp_path, made):
    (tmp_path / "other").mkdir()
    other = secure.make_key(tmp_path / "other")
    build = secure.signed_build(parts.boards.load_board("LINE_ESP32S3"), other[2])
    with pytest.raises(RecipeError, match="the bootloader in micropython.bin: it is signed by another key"):
        _plan(tmp_path / "recipe", made, build=build)


def test_private_key_has_no_place_in_a_recipe(tmp_path, made):
    path, _ = secure.write_recipe(tmp_path, "LINE_ESP32S3", made, ALL)
    private = made[0].read_bytes()
    (tmp_path / "release.pub.pem").write_bytes(private)
    path.write_text(path.read_text().replace(line.sha256(made[1]), line.sha256(private)))
    with pytest.raises(RecipeError, match="this is a private key"):
        parts.prepare(path)


@pytest.mark.parametrize("wanted", ["secure_boot = true", "flash_encryption = true"])
def test_chip_without_rsa_is_refused(tmp_path, made, wanted):
    with pytest.raises(PlanError, match="esp32c2"):
        _plan(tmp_path, made, "esp32c2", wanted)


def test_jtag_can_be_turned_off_under_stock_firmware(tmp_path):
    path, _ = line.write_recipe(tmp_path / "stock", "LINE_ESP32C2", extra="[efuses]\njtag_off = true\n")
    assert security_run.rehearse(security.plan(parts.prepare(path))) == {"DIS_PAD_JTAG": [False, True]}


def test_recipe_without_efuses_has_no_plan(tmp_path):
    path, _ = line.write_recipe(tmp_path)
    with pytest.raises(PlanError, match="burns no eFuses"):
        security.plan(parts.prepare(path))


def test_signed_build_is_flashed_as_it_was_signed(tmp_path, made):
    path, pin = secure.write_recipe(tmp_path / "recipe", "LINE_ESP32S3", made, ALL)
    prepared = parts.prepare(path, pin)
    build = (tmp_path / "recipe" / "micropython.bin").read_bytes()
    with MockChip("esp32s3") as chip:
        Flasher(prepared, Options(tmp_path / "state")).flash(chip.port)
        assert chip.flash.data[:0x7000] == build[:0x7000]
        assert chip.flash.data[0x10000 : len(build)] == build[0x10000:]


def _run(capsys, *arguments):
    code = main.run(["security", *map(str, arguments)])
    output = capsys.readouterr()
    return code, output.out, output.err


def test_cli_shows_and_burns_once(tmp_path, made, capsys):
    path, pin = secure.write_recipe(tmp_path / "recipe", "LINE_ESP32S3", made, ALL)
    code, out, _ = _run(capsys, "plan", "--recipe", path, "--pin", pin, "--json")
    assert code == 0 and json.loads(out)["expected"]["SECURE_BOOT_EN"] is True
    burn = ["burn", "--recipe", path, "--pin", pin, "--efuse-file", tmp_path / "chip"]
    code, out, err = _run(capsys, *burn)
    assert (code, out) == (2, "") and "add --yes" in err
    code, out, _ = _run(capsys, *burn, "--yes", "--json")
    assert code == 0 and json.loads(out)["changed"]["DIS_USB_JTAG"] == [False, True]
    code, out, err = _run(capsys, *burn, "--yes")
    assert (code, out) == (1, "") and "burned already" in err and err.count("\n") == 1


def test_cli_rehearses(tmp_path, capsys):
    path, pin = line.write_recipe(tmp_path / "recipe", "LINE_ESP32C2", extra="[efuses]\njtag_off = true\n")
    code, out, _ = _run(capsys, "rehearse", "--recipe", path, "--pin", pin)
    assert code == 0 and "the state is as planned" in out


def test_cli_burns_nothing_without_a_pin(tmp_path, made, capsys):
    path, _ = secure.write_recipe(tmp_path / "recipe", "LINE_ESP32S3", made, ALL)
    code, _, err = _run(capsys, "burn", "--recipe", path, "--efuse-file", tmp_path / "chip", "--yes")
    assert code == 2 and "--pin" in err
    assert not (tmp_path / "chip").exists()

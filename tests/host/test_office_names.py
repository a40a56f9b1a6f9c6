"""DIDs, licence codes and setup codes as people read and type them."""

import pytest

from upeer.base.errors import LocalError
from upeer.connect import parse_setup_code
from upeer_office import names
from upeer_office.errors import OfficeError


def test_make_did_known():
    assert names.make_did("ABCD", 123456) == "ABCD-123456-" + names.make_did("ABCD", 123456)[-5:]
    assert names.parse_did(names.make_did("ABCD", 1)) == ("ABCD", 1)


def test_parse_did_every_wrong_letter():
    did = names.make_did("ABCD", 123456)
    for i, letter in enumerate(did):
        for other in "A9Z-":
            if other != letter:
                with pytest.raises(OfficeError):
                    names.parse_did(did[:i] + other + did[i + 1 :])


@pytest.mark.parametrize("text", ["", "ABCD-123456", "abcd-123456-GHKLM", "ABCD-١٢٣٤٥٦-GHKLM", "ABCD-123456-GHKLM\n"])
def test_parse_did_malformed(text):
    with pytest.raises(OfficeError):
        names.parse_did(text)


def test_letters_have_no_look_alikes():
    text = "".join(names.make_did("ABCD", serial)[-5:] for serial in range(500))
    assert set(text) == set("ABCDEFGHJKLMNPQRSTUVWXYZ")


def test_id_form_round_trip():
    did = names.make_did("ABCD", 7)
    assert names.parse_id(f" {did.lower()},pqrstu ") == (did, "PQRSTU")
    assert names.parse_id(did) == (did, None)


def test_setup_code_round_trip():
    code = bytes(range(10))
    text = names.encode_setup_code(code)
    assert text == "000G-40R4-0M30-E209"
    assert parse_setup_code(text) == parse_setup_code("ooog4or4om3oe2o9") == code


@pytest.mark.parametrize("text", ["", "0000-0000-0000-000", "0000-0000-0000-000U", "0000-0000-0000-00000"])
def test_setup_code_malformed(text):
    with pytest.raises(LocalError):
        parse_setup_code(text)


def test_licence_code_depends_on_the_whole_key():
    key = bytes(range(32))
    codes = {names.licence_code(key[:i] + b"\xff" + key[i + 1 :]) for i in range(31)}
    assert len(codes) == 31 and len(names.licence_code(key)) == 6

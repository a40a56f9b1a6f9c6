"""A22: no secret of the office in output, argv, temporary files, error texts, or readable on disk."""

import pytest
from office_tools import upeer

from upeer_office import names
from upeer_office.licences import Office
from upeer_office.platforms import load_platform


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A platform with two licences; the folder for temporary files is one that the tests can search."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    upeer("platform", "init", tmp_path / "shop", "--master", "127.0.0.1:7001")
    upeer("licence", "issue", tmp_path / "shop", "-n", "2")
    return tmp_path / "shop"


def _secrets(shop):
    """Return every secret of the platform as the texts it could show up as."""
    with Office.open(shop) as office:
        licences = list(office.all())
    platform = load_platform(shop)
    raw = [licence.licence_key for licence in licences] + [platform.admin_root]
    raw += [key for generation in platform.generations for key in (generation.crc_key, generation.p2p_key)]
    raw += [server.secret for server in platform.masters + platform.p2p_servers + platform.relays]
    texts = [names.encode_setup_code(licence.setup_code) for licence in licences]
    texts += [licence.setup_code.hex() for licence in licences]
    return texts + [item.hex() for item in raw] + [repr(item)[2:-1] for item in raw]


def test_output_shows_no_secret(shop, tmp_path):
    did = upeer("licence", "list", shop)[:17]
    shown = [
        upeer("licence", "show", shop, did),
        upeer("licence", "show", shop, did, "--json"),
        upeer("licence", "list", shop, "--json"),
        upeer("platform", "show", shop, "--json"),
        upeer("platform", "client", shop, "--out", tmp_path / "client"),
        upeer("licence", "record", shop, did, "--out", tmp_path / "record"),
        upeer("platform", "rotate", shop),
        upeer("relay", "add", shop, "127.0.0.1:9"),
        upeer("relay", "list", shop, "--json"),
    ]
    secrets = _secrets(shop)
    assert len(secrets) > 12
    assert not [secret for secret in secrets if secret in "".join(shown)]


def test_temporary_files_are_not_left(shop, tmp_path):
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not [path for path in shop.rglob("*") if path.name.startswith(".") and path.name != ".lock"]


def test_licences_at_rest_are_sealed(shop):
    with Office.open(shop) as office:
        licences = list(office.all())
    data = b"".join(path.read_bytes() for path in shop.glob("licences.db*"))
    for licence in licences:
        for secret in (licence.licence_key, licence.setup_code):
            assert secret not in data and secret.hex().encode() not in data


def test_sealed_licences_are_bound_to_their_did(shop):
    with Office.open(shop) as office:
        first, second = (row["did"] for row in office.rows())
        office._database.execute(
            "UPDATE licences SET sealed = (SELECT sealed FROM licences WHERE did = ?) WHERE did = ?", (first, second)
        )
    assert "damaged" in upeer("licence", "show", shop, second, code=6)


def test_objects_do_not_print_secrets(shop):
    with Office.open(shop) as office:
        licences = list(office.all())
        text = (
            repr(licences) + repr(office.platform) + repr(office.platform.generations) + repr(office.platform.masters)
        )
    assert not [secret for secret in _secrets(shop) if secret in text]


def test_errors_do_not_quote_secrets(shop, tmp_path):
    passphrase = "planted passphrase 4711"
    (tmp_path / "pass").write_text(passphrase)
    out = tmp_path / "out"
    shown = upeer("licence", "export", shop, "--out", out, "--passphrase-file", tmp_path / "pass")
    shown += upeer("licence", "import", shop, out, "--passphrase-file", tmp_path / "pass", code=1)
    (tmp_path / "office.key").write_text("planted key 4712")
    shown += upeer("licence", "list", shop, "--office-key", tmp_path / "office.key", code=1)
    assert "planted" not in shown
    assert passphrase.encode() not in out.read_bytes()


def test_no_option_takes_a_passphrase(shop):
    assert "--passphrase " not in upeer("licence", "export", "--help")
    upeer("licence", "export", shop, "--out", "x", "--passphrase", "secret", code=2)

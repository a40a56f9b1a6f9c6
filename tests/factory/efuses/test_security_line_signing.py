"""Signatures: RSA-3072 as Secure Boot V2 has them; espsecure agrees, and every change is refused."""

import io
import json
import subprocess
import sys

import pytest
import secure

from upeer_cli import main
from upeer_factory.flash import signing

IMAGE = bytes(range(256)) * 20


def _espsecure(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "espsecure", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_espsecure_accepts_our_signature(tmp_path, made):
    (tmp_path / "signed.bin").write_bytes(signing.sign(IMAGE, made[2]))
    (tmp_path / "pub.pem").write_bytes(made[1])
    code, text = _espsecure(
        "verify-signature", "--version", 2, "--keyfile", tmp_path / "pub.pem", tmp_path / "signed.bin"
    )
    assert code == 0 and "verification successful" in text


def test_we_accept_the_signature_of_espsecure(tmp_path):
    assert _espsecure("generate-signing-key", "--version", 2, "--scheme", "rsa3072", tmp_path / "key.pem")[0] == 0
    (tmp_path / "image.bin").write_bytes(IMAGE)
    signed = ["sign-data", "--version", 2, "--keyfile", tmp_path / "key.pem", "--output", tmp_path / "signed.bin"]
    assert _espsecure(*signed, tmp_path / "image.bin")[0] == 0
    private = signing.serialization.load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    public = private.public_key().public_bytes(
        signing.serialization.Encoding.PEM, signing.serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = signing.verify((tmp_path / "signed.bin").read_bytes(), public)
    assert digest == signing.fingerprint(public)


def test_fingerprint_is_the_digest_that_espsecure_makes(tmp_path, made):
    (tmp_path / "pub.pem").write_bytes(made[1])
    assert (
        _espsecure("digest-sbv2-public-key", "--keyfile", tmp_path / "pub.pem", "--output", tmp_path / "digest")[0] == 0
    )
    assert (tmp_path / "digest").read_bytes().hex() == signing.fingerprint(made[1])


@pytest.mark.parametrize("at", [0, 5000, 8191, 8192, 8192 + 3, 8192 + 4, 8192 + 36, 8192 + 900, 8192 + 1196])
def test_every_change_is_refused(made, at):
    data = bytearray(signing.sign(IMAGE, made[2]))
    assert len(data) == 12288
    data[at] ^= 1
    with pytest.raises(ValueError, match="changed|signed|damaged|wrong"):
        signing.verify(bytes(data), made[1])


@pytest.mark.parametrize("data", [b"", b"\xe7\x02\0\0", b"\xff" * 4096, b"\xe7\x02\0\0" * 1024, IMAGE])
def test_what_is_not_signed_is_refused(made, data):
    with pytest.raises(ValueError, match="not signed|damaged"):
        signing.verify(data, made[1])


def test_signing_again_replaces_the_signature(made):
    once = signing.sign(IMAGE, made[2])
    assert len(signing.sign(once, made[2])) == len(once)


def test_key_file_is_its_owners_and_encrypted(made):
    path = made[0]
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED PRIVATE KEY" in path.read_bytes()
    with pytest.raises(ValueError, match="wrong passphrase"):
        signing.load_key(path, "something else")


def test_key_that_others_may_read_is_refused(tmp_path):
    path, _, _ = secure.make_key(tmp_path)
    path.chmod(0o640)
    with pytest.raises(ValueError, match="others may read"):
        signing.load_key(path, secure.PASSPHRASE)


def _sign(monkeypatch, capsys, *arguments, stdin=""):
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    code = main.run(["sign", *map(str, arguments)])
    output = capsys.readouterr()
    return code, output.out, output.err


def test_cli_makes_a_key_signs_and_verifies(tmp_path, monkeypatch, capsys):
    key, image, out = tmp_path / "k.pem", tmp_path / "a.bin", tmp_path / "a.signed.bin"
    image.write_bytes(IMAGE)
    stdin = secure.PASSPHRASE + "\n"
    code, text, _ = _sign(monkeypatch, capsys, "key", key, "--json", stdin=stdin)
    assert code == 0
    fingerprint = json.loads(text)["fingerprint"]
    assert _sign(monkeypatch, capsys, "image", image, "--key", key, "--out", out, stdin=stdin)[0] == 0
    code, text, _ = _sign(monkeypatch, capsys, "verify", out, "--public-key", f"{key}.pub.pem", "--json")
    assert (code, json.loads(text)["fingerprint"]) == (0, fingerprint)
    code, text, err = _sign(monkeypatch, capsys, "verify", image, "--public-key", f"{key}.pub.pem")
    assert (code, text) == (6, "") and "it is not signed" in err
    code, _, err = _sign(monkeypatch, capsys, "verify", out, "--public-key", key)
    assert code == 4 and "private key" in err


def test_cli_refuses_weak_passphrase_wrong_passphrase_and_overwriting(tmp_path, monkeypatch, capsys):
    key, image = tmp_path / "k.pem", tmp_path / "a.bin"
    image.write_bytes(IMAGE)
    assert _sign(monkeypatch, capsys, "key", key, stdin="short\n")[0] == 1
    assert _sign(monkeypatch, capsys, "key", key, stdin=secure.PASSPHRASE + "\n")[0] == 0
    code, _, err = _sign(monkeypatch, capsys, "key", key, stdin=secure.PASSPHRASE + "\n")
    assert code == 1 and "never overwritten" in err
    code, _, err = _sign(monkeypatch, capsys, "image", image, "--key", key, "--out", image, stdin="planted-secret\n")
    assert code == 4 and "planted-secret" not in err

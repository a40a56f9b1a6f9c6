"""`upeer sign`: an RSA-3072 key under a passphrase, signatures as Secure Boot V2 checks them, verification."""

import sys
from pathlib import Path

import click

from upeer_cli import exit_codes
from upeer_cli.common import UserError, examples, json_option, report

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(
    epilog=examples("upeer sign key release.pem", "upeer sign image app.bin --key release.pem --out app.signed.bin")
)
def sign() -> None:
    """Make a signing key, sign images, verify them. The key stays away from the line: that only verifies."""


@sign.command(epilog=examples("upeer sign key release.pem", "pass show release | upeer sign key release.pem"))
@click.argument("path", type=_FILE)
@json_option
def key(path: Path, json_mode: bool) -> None:
    """Make an RSA-3072 key in PATH, readable by you alone and encrypted; its public part goes to PATH.pub.pem.

    The passphrase is asked for, or is the first line of stdin.
    """
    from upeer_factory.flash import signing

    try:
        public = signing.generate_key(path, _passphrase(new=True))
    except FileExistsError as error:
        raise UserError(f"{error.filename} exists", "a key is never overwritten: choose another name") from None
    except ValueError as error:
        raise UserError(str(error)) from None
    row = {"key": str(path), "public_key": f"{path}.pub.pem", "fingerprint": signing.fingerprint(public)}
    report(row, json_mode, f"{row['key']} and {row['public_key']}\nfingerprint {row['fingerprint']}")


@sign.command(epilog=examples("upeer sign image app.bin --key release.pem --out app.signed.bin"))
@click.argument("path", type=_FILE)
@click.option("--key", "key_path", required=True, type=_FILE, help="The private key.")
@click.option("--out", required=True, type=_FILE, help="The signed image; PATH stays as it is.")
@json_option
def image(path: Path, key_path: Path, out: Path, json_mode: bool) -> None:
    """Sign a bootloader, app or file system image: filled to 4096 bytes, then one sector with the signature."""
    from upeer_board.image import write_file
    from upeer_factory.flash import signing

    data = path.read_bytes()
    try:
        private = signing.load_key(key_path, _passphrase())
        signed = signing.sign(data, private)
    except ValueError as error:
        raise UserError(str(error), code=exit_codes.AUTHENTICATION) from None
    write_file(out, signed)
    row = {"file": str(out), "size": len(signed)}
    report(row, json_mode, f"{out}: {len(signed)} bytes, signed by {key_path}")


@sign.command(epilog=examples("upeer sign verify app.signed.bin --public-key release.pem.pub.pem"))
@click.argument("path", type=_FILE)
@click.option("--public-key", required=True, type=_FILE, help="The public key (PEM); a private one is refused.")
@json_option
def verify(path: Path, public_key: Path, json_mode: bool) -> None:
    """Verify a signed image by the public key."""
    from upeer_factory.flash import signing

    data, pem = path.read_bytes(), public_key.read_bytes()
    try:
        signing.load_public_key(pem)
    except ValueError as error:
        raise UserError(f"{public_key}: {error}", code=exit_codes.AUTHENTICATION) from None
    try:
        fingerprint = signing.verify(data, pem)
    except ValueError as error:
        raise UserError(f"{path}: {error}", "do not use it", exit_codes.INTEGRITY) from None
    row = {"file": str(path), "fingerprint": fingerprint, "valid": True}
    report(row, json_mode, f"{path}: signed by {fingerprint}")


def _passphrase(new: bool = False) -> str:
    """Return the passphrase from the terminal, unseen, or the first line of stdin."""
    if sys.stdin.isatty():
        text: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True)
        return text
    return sys.stdin.readline().rstrip("\r\n")

"""Shared by the security tests of the line: a signing key, and a build of MicroPython that is signed and encrypts."""

import board_images
import line

from upeer_board import boards
from upeer_factory.flash import signing

PASSPHRASE = "correct horse battery staple"


def make_key(folder):
    """Make a key in `folder`; return (path, public PEM, private key)."""
    path = folder / "release.pem"
    public = signing.generate_key(path, PASSPHRASE)
    return path, public, signing.load_key(path, PASSPHRASE)


def signed_build(board, key, encrypting=True):
    """Return a MicroPython file in the stock layout whose bootloader and app are signed."""
    chip_id = line.CHIP_IDS[board.chip]
    base = board.image_offset
    tag = b"flash_encrypt " if encrypting else b"bootloader... "
    boot = signing.sign(board_images.esp_image(chip_id, tag * 600), key)
    app = signing.sign(board_images.esp_image(chip_id, board_images.app_segment(0x20000)), key)
    head = bytearray(board_images.stock_file(chip_id, base)[: 0x10000 - base])
    head[: len(boot)] = boot
    return bytes(head) + app


def write_recipe(folder, board_name, made, wanted, build=None):
    """Write a recipe with [signature] and [efuses]; `made` is of make_key, `wanted` lines of [efuses]."""
    _, public, key = made
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "release.pub.pem").write_bytes(public)
    extra = f'[signature]\npublic_key = "release.pub.pem"\nsha256 = "{line.sha256(public)}"\n[efuses]\n{wanted}\n'
    build = build or signed_build(boards.load_board(board_name), key)
    return line.write_recipe(folder, board_name, micropython=build, extra=extra)

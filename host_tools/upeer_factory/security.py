"""eFuses of a recipe: what is burned for ever on which chip, whether this firmware can live with it, and in what order.

`plan` is data made from tables; nothing here touches a chip (that is security_run). What a plan asks of the firmware:
secure boot - bootloader and app signed by the recipe's key; flash encryption - a bootloader built for it. Stock
MicroPython has neither, and a chip locked for firmware that it cannot start is scrap: such plans are refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from upeer_factory.parts import Prepared

# What each chip calls them: JTAG's fuses, the fuse that turns secure boot on, the block and purpose of keys.
_JTAG = {
    "esp32": ("JTAG_DISABLE",),
    "esp32s2": ("HARD_DIS_JTAG",),
    "esp32s3": ("DIS_PAD_JTAG", "DIS_USB_JTAG"),
    "esp32c2": ("DIS_PAD_JTAG",),
    "esp32c3": ("DIS_PAD_JTAG", "DIS_USB_JTAG"),
    "esp32c6": ("DIS_PAD_JTAG", "DIS_USB_JTAG"),
}
_SECURE_BOOT_FUSES = {
    "esp32": ("ABS_DONE_1",),
    **dict.fromkeys(
        ("esp32s2", "esp32s3", "esp32c3", "esp32c6"),
        ("SECURE_BOOT_EN", "SECURE_BOOT_KEY_REVOKE1", "SECURE_BOOT_KEY_REVOKE2"),
    ),
}
_DIGEST_BLOCK = {"esp32": "BLOCK2", **dict.fromkeys(("esp32s2", "esp32s3", "esp32c3", "esp32c6"), "BLOCK_KEY0")}
_FLASH_KEY_BLOCK = {"esp32": "BLOCK1", **dict.fromkeys(("esp32s2", "esp32s3", "esp32c3", "esp32c6"), "BLOCK_KEY1")}
_CRYPT_COUNT = {"esp32": "FLASH_CRYPT_CNT"}
_LOCKED = ("RD_DIS",)
_ENCRYPTING_BOOTLOADER = b"flash_encrypt"  # the log tag of ESP-IDF's code that encrypts the flash at first boot


class PlanError(ValueError):
    """This plan is not burned: one line says why."""

    def __init__(self, message: str, hint: str = "set jtag_off only, or build MicroPython with these features") -> None:
        super().__init__(message)
        self.hint, self.exit_code = hint, 1


@dataclass(frozen=True)
class Step:
    """One act that cannot be undone: arguments of espefuse, where KEY and PUBLIC stand for what is passed in memory."""

    why: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What is burned, and how the eFuses look afterwards: {name: value of espefuse's summary}."""

    chip: str
    steps: tuple[Step, ...]
    expected: dict[str, object]
    unreadable: tuple[str, ...] = ()
    locked: tuple[str, ...] = ()
    must_be_blank: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    needs_key: bool = False
    public_key: bytes = b""

    def as_dict(self) -> dict[str, object]:
        """Return it for JSON; it holds no secret."""
        return {
            "chip": self.chip,
            "steps": [{"why": step.why, "espefuse": list(step.arguments)} for step in self.steps],
            "expected": self.expected,
            "unreadable_afterwards": list(self.unreadable),
            "locked_afterwards": list(self.locked),
            "warnings": list(self.warnings),
        }


def plan(prepared: Prepared) -> Plan:
    """Return the recipe's plan; PlanError when there is none, or the firmware or the chip cannot do it."""
    wanted, chip = prepared.recipe.efuses, prepared.board.chip
    if not (wanted.jtag_off or wanted.secure_boot or wanted.flash_encryption):
        raise PlanError("this recipe burns no eFuses", "add [efuses] to it")
    steps: list[Step] = []
    expected: dict[str, object] = {}
    unreadable: tuple[str, ...] = ()
    if wanted.flash_encryption:
        _check_encrypting(prepared)
        steps.append(_flash_key_step(chip))
        unreadable = (_FLASH_KEY_BLOCK[chip],)
    if wanted.secure_boot:
        _check_secure_boot(prepared)
        steps += _secure_boot_steps(chip)
        expected |= _digest_expected(chip, prepared)
        expected |= dict.fromkeys(_SECURE_BOOT_FUSES[chip], True)
    if wanted.jtag_off:
        steps.append(_burn_step("turn JTAG off", _JTAG[chip]))
        expected |= dict.fromkeys(_JTAG[chip], True)
    blank = tuple(name for name in (*expected, *unreadable) if not name.startswith("KEY_PURPOSE"))
    warnings = () if wanted.flash_encryption == wanted.secure_boot else (_HALF,)
    return Plan(
        chip=chip, steps=tuple(steps), expected=expected, unreadable=unreadable,
        locked=_LOCKED if wanted.secure_boot else (), must_be_blank=blank, warnings=warnings,
        needs_key=wanted.flash_encryption, public_key=prepared.public_key,
    )  # fmt: skip


_HALF = "secure boot without flash encryption, or the other way round, leaves a door open: burn both or know why not"


def _check_encrypting(prepared: Prepared) -> None:
    """Refuse flash encryption for a bootloader that was not built for it, and for chips it is not offered on."""
    if prepared.board.chip not in _FLASH_KEY_BLOCK:
        raise PlanError(f"flash encryption is not offered for {prepared.board.chip}")
    bootloader = next(part.data for part in prepared.parts if part.name == "bootloader")
    if _ENCRYPTING_BOOTLOADER not in bootloader:
        raise PlanError(
            f"the bootloader of {prepared.micropython} was not built with flash encryption, "
            "as no stock MicroPython is: with the key burned it would go on writing plain flash"
        )


def _check_secure_boot(prepared: Prepared) -> None:
    """Refuse secure boot on chips without RSA; that bootloader and app are signed was checked with the recipe."""
    if prepared.board.chip not in _SECURE_BOOT_FUSES:
        raise PlanError(f"{prepared.board.chip} has no secure boot with RSA-3072")
    if not prepared.public_key:
        raise PlanError("the recipe has no [signature]: stock MicroPython is not signed and would never start again")


def _flash_key_step(chip: str) -> Step:
    # On ESP32 only this name of BLOCK1 makes espefuse put the bytes in order and protect the key from being read.
    where = ("flash_encryption", "KEY") if chip == "esp32" else (_FLASH_KEY_BLOCK[chip], "KEY", "XTS_AES_128_KEY")
    why = "burn a key of this board alone, unreadable from then on; the bootloader encrypts the flash at first boot"
    return Step(why, ("burn-key", *where))


def _secure_boot_steps(chip: str) -> list[Step]:
    """Return the digest, then the fuse that turns secure boot on; unused digests are revoked."""
    block = _DIGEST_BLOCK[chip]
    arguments = ("PUBLIC",) if chip == "esp32" else (block, "PUBLIC", "SECURE_BOOT_DIGEST0")
    why = "only bootloaders signed by the recipe's key start from then on"
    return [
        Step("burn the digest of the public key", ("burn-key-digest", *arguments)),
        _burn_step(why, _SECURE_BOOT_FUSES[chip]),
        # Bit 0 of WR_DIS locks RD_DIS; `write-protect-efuse RD_DIS` would say so, but not among other commands (5.6).
        Step("nobody can hide the digest from the boot ROM", ("burn-efuse", "WR_DIS", "1")),
    ]


def _digest_expected(chip: str, prepared: Prepared) -> dict[str, object]:
    from upeer_factory import signing

    digest = bytes.fromhex(signing.fingerprint(prepared.public_key)).hex(" ")
    expected: dict[str, object] = {_DIGEST_BLOCK[chip]: digest}
    return expected if chip == "esp32" else {**expected, "KEY_PURPOSE_0": "SECURE_BOOT_DIGEST0"}


def _burn_step(why: str, names: tuple[str, ...]) -> Step:
    return Step(why, ("burn-efuse", *[text for name in names for text in (name, "1")]))


def crypt_count_name(chip: str) -> str:
    """Return the counter that is odd once the flash is encrypted."""
    return _CRYPT_COUNT.get(chip, "SPI_BOOT_CRYPT_CNT")

"""eFuses of a recipe: what is burned for ever on which chip, whether this firmware can live with it, and in what order.

`plan` is data made from tables; nothing here touches a chip (that is security_run), and how far a chip is with it is
told by security_state. What a plan asks of the firmware:
secure boot - bootloader and app signed by the recipe's key; flash encryption - a bootloader built for it. Stock
MicroPython has neither, and a chip locked for firmware that it cannot start is scrap: such plans are refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from upeer_factory.flash.parts import Prepared

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
FLASH_KEY_PURPOSE, DIGEST_PURPOSE = "XTS_AES_128_KEY", "SECURE_BOOT_DIGEST0"
_ENCRYPTING_BOOTLOADER = b"flash_encrypt"  # the log tag of ESP-IDF's code that encrypts the flash at first boot


class PlanError(ValueError):
    """This plan is not burned: one line says why."""

    def __init__(self, message: str, hint: str = "set jtag_off only, or build MicroPython with these features") -> None:
        super().__init__(message)
        self.hint, self.exit_code = hint, 1


@dataclass(frozen=True)
class Step:
    """One act that cannot be undone: arguments of espefuse, where KEY and PUBLIC stand for what is passed in memory.

    Afterwards the fields of `expected` have these values of espefuse's summary, those of `unreadable` can be neither
    read nor written, and those of `locked` cannot be written.
    """

    why: str
    arguments: tuple[str, ...]
    expected: dict[str, object] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    locked: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of all that it changes or protects."""
        return tuple(dict.fromkeys((*self.unreadable, *self.expected, *self.locked)))


@dataclass(frozen=True)
class Plan:
    """What is burned, in which order, and so how the eFuses look afterwards."""

    chip: str
    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()
    public_key: bytes = b""

    @property
    def expected(self) -> dict[str, object]:
        """{name: value of espefuse's summary} when all is burned."""
        return {name: value for step in self.steps for name, value in step.expected.items()}

    @property
    def unreadable(self) -> tuple[str, ...]:
        return tuple(name for step in self.steps for name in step.unreadable)

    @property
    def locked(self) -> tuple[str, ...]:
        return tuple(name for step in self.steps for name in step.locked)

    @property
    def must_be_blank(self) -> tuple[str, ...]:
        return tuple(name for name in (*self.expected, *self.unreadable) if not name.startswith("KEY_PURPOSE"))

    @property
    def needs_key(self) -> bool:
        return bool(self.unreadable)

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
    if not has_plan(prepared):
        raise PlanError("this recipe burns no eFuses", "add [efuses] to it")
    steps: list[Step] = []
    if wanted.flash_encryption:
        _check_encrypting(prepared)
        steps.append(_flash_key_step(chip))
    if wanted.secure_boot:
        _check_secure_boot(prepared)
        steps += _secure_boot_steps(chip, prepared.public_key)
    if wanted.jtag_off:
        steps.append(_burn_step("turn JTAG off", _JTAG[chip]))
    warnings = () if wanted.flash_encryption == wanted.secure_boot else (_HALF,)
    return Plan(chip, tuple(steps), warnings, prepared.public_key)


def has_plan(prepared: Prepared) -> bool:
    """Tell whether a recipe asks for eFuses at all."""
    wanted = prepared.recipe.efuses
    return wanted.jtag_off or wanted.secure_boot or wanted.flash_encryption


_HALF = "secure boot without flash encryption, or the other way round, leaves a door open: burn both or know why not"


def _check_encrypting(prepared: Prepared) -> None:
    """Refuse flash encryption for a bootloader that was not built for it, and for chips it is not offered on."""
    if prepared.board.chip not in _FLASH_KEY_BLOCK:
        raise PlanError(f"flash encryption is not offered for {prepared.board.chip}")
    bootloader = next(part.data for part in prepared.parts if part.name == "bootloader")
    if _ENCRYPTING_BOOTLOADER not in bootloader:
        raise PlanError(
            f"the bootloader of MicroPython {prepared.micropython} was not built with flash encryption, "
            "as no stock MicroPython is: with the key burned it would go on writing plain flash"
        )


def _check_secure_boot(prepared: Prepared) -> None:
    """Refuse secure boot on chips without RSA; that bootloader and app are signed was checked with the recipe."""
    if prepared.board.chip not in _SECURE_BOOT_FUSES:
        raise PlanError(f"{prepared.board.chip} has no secure boot with RSA-3072")
    if not prepared.public_key:
        raise PlanError("the recipe has no [signature]: stock MicroPython is not signed and would never start again")


def _flash_key_step(chip: str) -> Step:
    block = _FLASH_KEY_BLOCK[chip]
    why = "burn a key of this board alone, unreadable from then on; the bootloader encrypts the flash at first boot"
    if chip == "esp32":  # only this name of BLOCK1 makes espefuse put the bytes in order and protect the key
        return Step(why, ("burn-key", "flash_encryption", "KEY"), unreadable=(block,))
    purpose: dict[str, object] = {block.replace("BLOCK_KEY", "KEY_PURPOSE_"): FLASH_KEY_PURPOSE}
    return Step(why, ("burn-key", block, "KEY", FLASH_KEY_PURPOSE), purpose, (block,))


def _secure_boot_steps(chip: str, public_key: bytes) -> list[Step]:
    """Return the digest, then the fuse that turns secure boot on; unused digests are revoked."""
    from upeer_factory.flash import signing

    block = _DIGEST_BLOCK[chip]
    expected: dict[str, object] = {block: bytes.fromhex(signing.fingerprint(public_key)).hex(" ")}
    arguments: tuple[str, ...] = ("PUBLIC",)
    if chip != "esp32":
        arguments = (block, "PUBLIC", DIGEST_PURPOSE)
        expected[block.replace("BLOCK_KEY", "KEY_PURPOSE_")] = DIGEST_PURPOSE
    digest = Step("burn the digest of the public key", ("burn-key-digest", *arguments), expected, locked=(block,))
    why = "only bootloaders signed by the recipe's key start from then on; nobody can hide the digest from the boot ROM"
    turn_on = _burn_step(why, _SECURE_BOOT_FUSES[chip])
    # Bit 0 of WR_DIS locks RD_DIS. Two commands make espefuse burn both at once, without its check of WR_DIS as a whole
    # (5.6), which the bits of other steps would fail; `write-protect-efuse RD_DIS` does not work behind `summary`.
    arguments = (*turn_on.arguments, "burn-efuse", "WR_DIS", "1")
    return [digest, replace(turn_on, arguments=arguments, locked=_LOCKED)]


def _burn_step(why: str, names: tuple[str, ...]) -> Step:
    arguments = ("burn-efuse", *[text for name in names for text in (name, "1")])
    return Step(why, arguments, dict.fromkeys(names, True))


def crypt_count_name(chip: str) -> str:
    """Return the counter that is odd once the flash is encrypted."""
    return _CRYPT_COUNT.get(chip, "SPI_BOOT_CRYPT_CNT")

"""The shim for the port: a lane's eFuses are espefuse's virtual chip in a file, with the MAC of the board there."""

import factory_lab
import secure
from espefuse.efuse_interface import SUPPORTED_CHIPS

from upeer_factory import parts, security_run
from upeer_factory.securing import Securing

CHIP = "esp32s3"
ALL = "jtag_off = true\nsecure_boot = true\nflash_encryption = true"


def make_securing(folder, made, wanted=ALL):
    """Return what a station has of a recipe with this plan; rehearsed."""
    path, pin = secure.write_recipe(folder, f"LINE_{CHIP.upper()}", made, wanted)
    return VirtualSecuring.of(Securing.prepare(parts.prepare(path, pin)))


def new_chip(file, mac=None):
    """Write the eFuses of a factory-new chip."""
    mac = mac or factory_lab.mac_of(1)
    chip = SUPPORTED_CHIPS[CHIP].efuse_lib.EmulateEfuseController(str(file))
    digits = bytes.fromhex(mac.replace(":", ""))
    for word, data in ((0, digits[2:]), (1, digits[:2])):
        chip.direct_write_efuse(word, int.from_bytes(data, "big"), 1)
    chip.save_to_file()
    return file


def run_espefuse(file, *arguments):
    """Burn by hand, as somebody else did."""
    target = security_run.Target(CHIP, file=file)
    return security_run._espefuse(target, ["--do-not-confirm", *map(str, arguments)])


class VirtualSecuring(Securing):
    """`chip` is the file of the chip that is at every port; `resets` counts how often the board was started anew."""

    chip = None
    resets = 0

    @classmethod
    def of(cls, other):
        return cls(other.plan, other.pin, other._rehearsed)

    def _target(self, port):
        return security_run.Target(self.plan.chip, file=self.chip)

    def _reset(self, port):
        self.resets += 1

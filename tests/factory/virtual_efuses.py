"""The shim for the port: a lane's eFuses are espefuse's virtual chip in a file, with the MAC of the board there."""

import contextlib
import copy
import functools
import tempfile
from pathlib import Path

import factory_lab
import pytest
import secure

from upeer_factory.efuses import run as security_run
from upeer_factory.efuses import state as security_state
from upeer_factory.efuses.securing import Securing
from upeer_factory.flash import parts

CHIP = "esp32s3"
ALL = "jtag_off = true\nsecure_boot = true\nflash_encryption = true"
_MAC_AT = 438  # where espefuse keeps the MAC of this chip in a virtual chip's file; _blank looks that it is so


def make_securing(folder, made, wanted=ALL):
    """Return what a station has of a recipe with this plan; rehearsed."""
    path, pin = secure.write_recipe(folder, f"LINE_{CHIP.upper()}", made, wanted)
    return VirtualSecuring.of(Securing.prepare(parts.prepare(path, pin)))


def new_chip(file, mac=None):
    """Write the eFuses of a factory-new chip."""
    file.write_bytes(_with_mac(_blank(), mac or factory_lab.mac_of(1)))
    return file


@functools.cache
def _blank():
    """Let espefuse make a virtual chip; it must read a MAC where `new_chip` writes it."""
    with tempfile.TemporaryDirectory() as folder:
        file, mac = Path(folder) / "efuses", "02:75:70:12:34:56"
        run_espefuse(file, "summary")
        data = file.read_bytes()
        file.write_bytes(_with_mac(data, mac))
        assert security_state.mac_of(security_run.summary(security_run.Target(CHIP, file=file))) == mac
    return data


def _with_mac(data, mac):
    return data[:_MAC_AT] + bytes.fromhex(mac.replace(":", "")) + data[_MAC_AT + 6 :]


def run_espefuse(file, *arguments):
    """Burn by hand, as somebody else did."""
    target = security_run.Target(CHIP, file=file)
    return security_run._espefuse(target, ["--do-not-confirm", *map(str, arguments)])


class Memory:
    """What espefuse told of virtual chips and made of them: it is run once per command and state of a file.

    A virtual chip is its file, so espefuse does the same at the same file, and the file that it left behind is copied
    from then on; a chip that is not there yet is a factory-new one. Flash keys alone would differ: the first one serves
    for all, until `forget`. What failed is run again.
    """

    def __init__(self):
        self._summary, self._burn_step = security_run.summary, security_run._burn_step
        self._done = {}

    @contextlib.contextmanager
    def used(self):
        """Let the station's code go through this memory."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(security_run, "summary", self.summary)
            patch.setattr(security_run, "_burn_step", self.burn_step)
            yield self

    def forget(self):
        """Run everything anew from here on."""
        self._done.clear()

    def summary(self, target):
        return self._once(target, ("summary",), lambda: self._summary(target))

    def burn_step(self, plan, step, mac, target):
        command = (step.arguments, plan.public_key, mac)
        return self._once(target, command, lambda: self._burn_step(plan, step, mac, target))

    def _once(self, target, command, run):
        if target.chip == CHIP and not target.file.exists():
            new_chip(target.file)
        before = target.file.read_bytes() if target.file.exists() else None
        key = (target.chip, before, command)
        if key not in self._done:
            self._done[key] = (run(), target.file.read_bytes())
        told, after = self._done[key]
        if after != before:
            target.file.write_bytes(after)
        return copy.deepcopy(told)


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

"""Modules that are loaded for a while: a login, a handshake, a request. Code sits in RAM, so they are dropped when
done.
"""

import gc
import sys

LATE = (
    "upeer.handshake.answer",
    "upeer.signalling.enrol",
    "upeer.handshake.messages",
    "upeer.signalling.initstring",
    "upeer.handshake.invite",
    "upeer.handshake.lan",
    "upeer.signalling.login",
    "upeer.crypto.noise",
    "upeer.handshake.pairs",
    "upeer.signalling.question",
    "upeer.session.stats",
    "upeer.crypto.x25519",
    "device.commands",
    "device.curve",
    "device.fctry",
    "device.invites",
    "device.late",
    "device.link",
    "device.memory",
    "device.pairing",
    "device.startup",
    "device.store",
    "device.wifi",
    "board",
)
SERVICES = ("device.late", "device.services.echo", "device.services.files")


def preload() -> None:
    """Load and drop each module once, before anything else is made: what stays of them, their names, lies together
    then.
    """
    for name in LATE + SERVICES:
        try:
            __import__(name)
        except ImportError:
            continue  # this firmware left it out
        if name != "device.late":
            drop((name,))


def drop(names: tuple = LATE) -> None:
    """Drop those of the modules that are loaded; the next import loads them again."""
    for name in names:
        if sys.modules.pop(name, None):
            package, _, module = name.rpartition(".")
            if package in sys.modules:
                delattr(sys.modules[package], module)
    gc.collect()

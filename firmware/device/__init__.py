"""µpeer on a device: `Device` is what applications use."""

from device.api import Device

__all__ = ("Device",)

"""µpeer on a device: `from device import Device` is what applications use; it is loaded when asked for."""


def __getattr__(name: str):
    if name != "Device":
        raise AttributeError(name)
    from device.api import Device

    return Device

"""µpeer on a device. Applications use `from device.api import Device`."""

"""Stands in for the chip's esp32, which is C in flash, while modules are imported and measured."""

NVS = Partition = None

"""Stands in for the chip's machine, which is C in flash, while modules are imported and measured."""

"""Stands in for the chip's network, which is C in flash, while modules are imported and measured."""

"""Stands in for the chip's socket, which is C in flash, while modules are imported and measured."""

AF_INET = 2
SOCK_DGRAM = 2

"""Stands in for the chip's asyncio, whose code lies in flash, while modules are imported and measured."""


class Event:
    pass


def create_task(coroutine):
    pass


def sleep_ms(ms):
    pass

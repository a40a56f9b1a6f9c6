"""What is stored in several turns of the loop: in which order, and what may come between."""

import asyncio
import os

from helpers import raises

from device import memory
from upeer.base.errors import LocalError

PATH = "/tmp/upeer-test-wifi.json"


class Store:
    """Values by name; `seen` tells what was done."""

    def __init__(self, seen, fails=False):
        self.values = {}
        self.seen = seen
        self.fails = fails

    def announce(self, name):
        self.seen.append("announced " + name)

    def set(self, name, value):
        if self.fails:
            raise OSError
        self.seen.append("stored, file there: %s" % exists())
        self.values[name] = value

    def get(self, name):
        return self.values.get(name)


def exists():
    try:
        os.stat(PATH)
        return True
    except OSError:
        return False


class Identity:
    saved_pairs = b"\1"
    flags = 0


def with_store(store, work):
    """Return what work() returns with this store."""
    real, memory.open_store = memory.open_store, lambda identity: store
    path, memory._WIFI = memory._WIFI, PATH
    try:
        return asyncio.run(work())
    finally:
        memory.open_store = real
        memory._WIFI = path


def write_network():
    with open(PATH, "w") as file:
        file.write('{"ssid": "home", "password": "secret"}')


def test_network_of_a_file_is_stored_before_the_file_goes():
    write_network()
    seen = []
    store = Store(seen)
    assert with_store(store, lambda: memory.credentials(Identity())) == ("home", "secret")
    assert seen == ["stored, file there: True"] and not exists()
    assert with_store(store, lambda: memory.credentials(Identity())) == ("home", "secret")


def test_network_that_cannot_be_stored_stays_in_its_file():
    write_network()
    raises(OSError, with_store, Store([], fails=True), lambda: memory.credentials(Identity()))
    assert exists()
    os.remove(PATH)
    raises(ValueError, with_store, Store([]), lambda: memory.credentials(Identity()))


def test_second_change_of_the_pairs_meanwhile_is_refused_and_undoes_nothing():
    identity = Identity()
    store = Store([])
    before = identity.saved_pairs
    refused = []

    async def change(saved):
        try:
            await memory.store_pairs(identity, (before, saved, True))
        except LocalError:
            refused.append(saved)

    async def main():
        await asyncio.gather(change(b"\1first"), change(b"\1second"))

    with_store(store, main)
    assert refused == [b"\1second"] and store.values["pairs"] == identity.saved_pairs == b"\1first"

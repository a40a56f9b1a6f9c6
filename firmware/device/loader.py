"""Transient modules: what is loaded for one act, what that costs in RAM, when it is dropped again.

Code sits in RAM on a chip, so what only a login or a handshake needs is loaded for it and dropped after. This is the
whole table of them, and the only place that touches sys.modules. An image has one file for each group of several
modules, `device.<group>`, which one read of the flash brings; a tree of plain modules loads them one by one.

Who needs a group says so (`load_group`, or `use_groups` for as long as a task runs), then imports from its modules as
usual. What lives longer than a group is of a class that stays loaded: an object keeps its class, and that its module.
"""

import asyncio
import sys

from device.heap import RESERVE, collect, figures, free_bytes, limit_garbage, reserve
from upeer.base.clock import ticks_add, ticks_diff, ticks_ms
from upeer.base.compat import const

# A module stands behind those that it imports, so that each is loaded in a turn of its own.
TRANSIENT: "dict[str, tuple[str, ...]]" = {
    # read the licence, once after a start
    "start": ("device.fctry", "upeer.signalling.initstring", "device.startup"),
    # join the network, log in at masters and p2p servers
    "login": (
        "device.wifi",
        "upeer.signalling.question",
        "upeer.signalling.login",
        "upeer.signalling.enrol",
        "device.link",
    ),
    # read and write what is kept in NVS
    "storage": ("device.store", "device.memory"),
    # find a paired client, change the pairs, make their lookup tokens
    "pairs": ("upeer.handshake.invite", "upeer.handshake.pairs", "device.pairing"),
    # answer an invite, make the key pair of the next handshake: who wants one of them soon wants the other
    "handshake": (
        "upeer.crypto.x25519",
        "device.curve",
        "upeer.crypto.noise",
        "upeer.handshake.messages",
        "upeer.handshake.answer",
        "upeer.handshake.lan",
        "device.invites",
    ),
    # answer a built-in command
    "command": ("upeer.session.stats", "device.commands"),
    # the built-in services
    "echo": ("device.services.echo",),
    "files": ("device.services.files",),
}

# Bytes of the chip's heap that a group takes while it is loaded; tests/size compares them with what is measured.
COST = {
    "start": 3900,
    "login": 6800,
    "storage": 2800,
    "pairs": 2500,
    "handshake": 8300,
    "command": 1900,
    "echo": 530,
    "files": 2800,
}

_COMFORT = const(16384)  # bytes: holes between what stays are too small for much of what comes
_ROOMY = const(24576)  # with so much free, what no task uses any more may stay for a while
_KEEP_MS = const(2000)  # what no task uses any more stays so long, unless its room is wanted: it may come again

_TURNS = const(8)  # in which datagrams that fill the reserve of ESP-IDF's heap are read, before an act is refused

_READY = ("handshake",)  # what the next client needs first: it stays while there is much room and no session

_users: "dict[str, int]" = {}  # how many tasks use a group now
_until: "dict[str, int]" = {}  # when a group that is loaded may be dropped


def plan(group: str, loaded, users, free: int) -> "list[str] | None":
    """Decide which of the loaded groups are dropped before `group` is loaded; None if it does not fit even then.

    Those without a user are dropped in the order of `loaded`, until what is then left of `free` bytes is comfortable.
    """
    victims: "list[str]" = []
    free -= COST[group]
    for other in loaded:
        if free >= _COMFORT:
            break
        if other != group and other not in users:
            victims.append(other)
            free += COST[other]
    return victims if free >= 0 else None


def expired(until, users, now: int) -> "list[str]":
    """Decide which groups are dropped now: nobody uses them, and their time is over."""
    return [group for group in until if group not in users and ticks_diff(until[group], now) <= 0]


def load_group(group: str) -> None:
    """Load a group's modules, unless they are loaded, and keep them for a while. MemoryError if they do not fit."""
    for _ in load_steps(group):
        pass


async def use_groups(groups: tuple, work, *args):
    """Load groups, a module in a turn of the loop, and await work(*args); they stay loaded until that ends.

    A while after that they are dropped; where there is little room, as soon as the agent has time for it.
    """
    for group in groups:
        _users[group] = _users.get(group, 0) + 1
    try:
        for group in groups:
            for _ in load_steps(group):
                await asyncio.sleep_ms(0)
        return await work(*args)
    finally:
        for group in groups:
            _users[group] -= 1
            if not _users[group]:
                del _users[group]
            if group in _until:
                _until[group] = ticks_add(ticks_ms(), _KEEP_MS if free_bytes() >= _ROOMY else 0)


def load_steps(group: str):
    """Load a group, unless that is done or under way; yield after each act that takes a while."""
    if group not in _until:
        for _ in _make_room(group):
            yield
    is_new = group not in _until  # no other task has loaded it meanwhile
    _until[group] = ticks_add(ticks_ms(), _KEEP_MS)
    if is_new:
        for name in _files(group):
            __import__(name)
            yield
        yield
        if free_bytes() < _COMFORT:
            collect()  # the next one has to come sooner than was set before the load
            yield


def _make_room(group: str):
    """Collect garbage, and drop what no task uses as far as a group needs it; yield around each collection."""
    yield
    free = collect()
    yield
    victims = plan(group, list(_until), _users, free)
    for victim in victims or ():
        drop_group(victim)
    if victims or free < COST[group] or reserve() < RESERVE:
        collect()
        yield
        yield from read_mailboxes()
        if group not in _until and not admit(COST[group]):
            raise MemoryError("no room for " + group)


def read_mailboxes():
    """Yield for turns in which datagrams are read that fill ESP-IDF's heap, as long as its reserve lacks."""
    for _ in range(_TURNS):
        if reserve() >= RESERVE:
            break
        yield


def _files(group: str) -> tuple:
    """Load the group's one file where an image brings it; return the names of the modules that are to be loaded."""
    if len(TRANSIENT[group]) > 1:
        try:
            __import__("device." + group)
            return ()
        except ImportError:
            pass  # a tree of plain modules
    return TRANSIENT[group]


def drop_group(group: str) -> None:
    """Drop a group's modules, unless a task uses them; `load_group` or an import loads them again."""
    if group not in _users:
        _until.pop(group, None)
        for name in ("device." + group,) + TRANSIENT[group]:
            forget(name)


def drop_expired(now: int, is_quiet: bool = False) -> bool:
    """Drop what was not used for a while; return whether that leaves garbage.

    The agent calls this when it has time, `is_quiet` if it has no session.
    """
    groups = expired(_until, _users, now)
    is_ready = is_quiet and groups and (free_bytes() >= _ROOMY or collect() >= _ROOMY)
    is_dropped = False
    for group in groups:
        if is_ready and group in _READY:
            _until[group] = ticks_add(now, _KEEP_MS)
        else:
            drop_group(group)
            is_dropped = True
    return is_dropped


def drop_all() -> int:
    """Drop everything that no task uses: memory ran out, or an application wants it. Return what is free then."""
    for group in TRANSIENT:
        drop_group(group)
    return collect()


def admit(size: int) -> bool:
    """Tell whether an act that allocates `size` bytes may begin: a session, a channel. Refusals are counted.

    Garbage and transient modules that no task uses make room for it. Where garbage only makes it tight, the agent
    collects that soon, in a turn of its own.
    """
    if reserve() >= RESERVE:
        left = free_bytes() - size
        if left < 0:
            left = drop_all() - size
        if left >= 0:
            figures[3] = left < _COMFORT
            limit_garbage(left)
            return True
    figures[2] += 1
    return False


def forget(name: str) -> None:
    """Drop one module, if it is loaded."""
    if sys.modules.pop(name, None):
        package, _, module = name.rpartition(".")
        if package in sys.modules:
            delattr(sys.modules[package], module)

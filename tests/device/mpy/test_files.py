"""The files service on a small LittleFS: whole files or none, a full disk, what a power cut left behind."""

import asyncio
import os
from binascii import hexlify
from hashlib import sha256

import vfs

from device.services import files

_BLOCK = 512
_BLOCKS = 32


class Disk:
    """A RAM disk of 16 KiB."""

    def __init__(self):
        self.data = bytearray(_BLOCK * _BLOCKS)

    def readblocks(self, block, buf, offset=0):
        at = block * _BLOCK + offset
        buf[:] = self.data[at : at + len(buf)]

    def writeblocks(self, block, buf, offset=0):
        at = block * _BLOCK + offset
        self.data[at : at + len(buf)] = buf

    def ioctl(self, command, arg):
        return {4: _BLOCKS, 5: _BLOCK}.get(command, 0)


class Connection:
    role = 0
    closed = None


class Channel:
    """Plays one request of a client, and keeps the answer."""

    def __init__(self, request):
        self.connection = Connection()
        self.request = request
        self.at = 0
        self.answer = b""
        self.is_closed = False

    async def readline(self, limit=256):
        end = self.request.index(b"\n", self.at) + 1
        line = self.request[self.at : end]
        self.at = end
        return line

    async def readinto(self, buf):
        part = self.request[self.at : self.at + len(buf)]
        buf[: len(part)] = part
        self.at += len(part)
        return len(part)

    async def write(self, data):
        self.answer += bytes(data)

    def close(self):
        self.is_closed = True

    def reset(self, code=8):
        self.is_closed = True


def serve(request):
    """Return what the service answers."""
    channel = Channel(request)
    asyncio.run(files.serve(channel))
    assert channel.is_closed
    return channel.answer


def put(name, data, digest=None):
    """Return what the service answers to a file: after its OK to the size, when it gave one."""
    digest = digest or hexlify(sha256(data).digest())
    answer = serve(b"STORE %d %s\n" % (len(data), name) + data + digest + b"\n")
    return answer[3:] if answer.startswith(b"OK\n") else answer


def room(size=1 << 28, path=files.ROOT):
    """Return (needed, free, in all), the folders counted since so much does not fit."""
    return asyncio.run(files.room(size, path))


def free():
    return room()[1]


def on_fresh_disk(work):
    """Run work() with an empty disk at the service's root."""
    disk = Disk()
    vfs.VfsLfs2.mkfs(disk)
    vfs.mount(disk, files.ROOT)
    files.MOUNT = files.ROOT
    try:
        work()
    finally:
        vfs.umount(files.ROOT)


def names():
    return sorted([entry[0] for entry in os.ilistdir(files.ROOT)])


def test_file_is_kept_whole_and_listed_with_its_hash():
    def work():
        data = bytes(range(256)) * 8
        assert put(b"a.bin", data).startswith(b"OK ")
        assert serve(b"GET a.bin\n") == b"OK 2048\n" + data + hexlify(sha256(data).digest()) + b"\n"
        head = b"OK %d %d\n" % (free(), _BLOCK * _BLOCKS)
        assert serve(b"LIST\n") == head + b"%s 2048 a.bin\n" % hexlify(sha256(data).digest())

    on_fresh_disk(work)


def test_wrong_hash_leaves_the_old_file():
    def work():
        put(b"a.bin", b"old")
        assert put(b"a.bin", b"new", b"0" * 64).startswith(b"ERR 5 ")
        assert serve(b"GET a.bin\n").startswith(b"OK 3\nold")
        assert names() == ["a.bin"]

    on_fresh_disk(work)


def test_what_does_not_fit_is_refused_before_a_byte_is_read():
    def work():
        put(b"a.bin", bytes(8000))
        for name in (b"big.bin", b"a.bin", b"new/folder/big.bin"):  # beside the old one, too
            channel = Channel(b"STORE 8000 %s\n" % name)  # the test would fail at a read behind the line
            asyncio.run(files.serve(channel))
            needed = ((8000 // 504) + 3 + 2 * (name.count(b"/"))) * 512
            assert channel.answer == b"ERR 28 %d %d\n" % (needed, free()) and channel.is_closed
        assert names() == ["a.bin"]  # and no folder
        assert put(b"b.bin", b"there is room for this").startswith(b"OK ")

    on_fresh_disk(work)


def test_room_is_what_the_blocks_say_and_folders_count_once():
    def work():
        assert room()[1:] == (30 * _BLOCK, 32 * _BLOCK)
        for count in range(1, 9):  # in the end VfsLfs2 says that more is used than there is
            os.mkdir(files.ROOT + "/folder%d" % count)
            assert free() == (30 - 2 * count) * _BLOCK
        assert serve(b"LIST\n").startswith(b"OK 7168 16384\n")

    on_fresh_disk(work)


def test_what_is_said_to_fit_does_fit_and_little_room_is_wasted():
    def work(folder, filled):
        put(b"filled", bytes(filled))
        path, size = files.path_of(folder + "big"), free()
        while room(size, path)[0] > room(size, path)[1]:
            size -= 64
        assert size > free() - (5 + 2 * folder.count("/")) * _BLOCK
        assert put(path[len(files.ROOT) :].encode(), bytes(size)).startswith(b"OK ")
        assert free() < 3 * _BLOCK

    for folder in ("", "x/", "x/y/"):
        for filled in (0, 3000, 9000):
            on_fresh_disk(lambda folder=folder, filled=filled: work(folder, filled))


def test_folders_are_counted_only_where_it_matters():
    def work():
        os.mkdir(files.ROOT + "/folder")
        counted = []
        true, files._folders = files._folders, lambda path: counted.append(path)
        try:
            assert put(b"a.bin", bytes(12000)).startswith(b"OK ")
        finally:
            files._folders = true
        assert counted == []

    on_fresh_disk(work)


async def enough(size, path):
    return 0, 0, 0


def test_disk_that_others_fill_meanwhile_is_an_error_and_leaves_nothing_behind():
    def work():
        put(b"a.bin", b"old")
        true, files.room = files.room, enough
        try:
            assert put(b"big.bin", bytes(17000)) == b"ERR 28 file error\n"
        finally:
            files.room = true
        assert names() == ["a.bin"]
        assert put(b"b.bin", b"there is room again").startswith(b"OK ")

    on_fresh_disk(work)


def test_bad_sizes_and_old_requests_are_refused():
    def work():
        for request in (b"STORE -1 a.bin\n", b"STORE x a.bin\n", b"STORE a.bin\n", b"PUT 1 a.bin\n"):
            assert serve(request).startswith(b"ERR 22 ")
        assert names() == []

    on_fresh_disk(work)


def test_upload_that_ends_early_leaves_nothing_behind():
    def work():
        assert serve(b"STORE 1000 a.bin\nonly this").startswith(b"OK\nERR 5 ")
        assert names() == []

    on_fresh_disk(work)


def test_parts_of_interrupted_uploads_are_removed_at_the_start():
    def work():
        os.mkdir(files.ROOT + "/folder")
        for path in ("/a.part", "/folder/b.part", "/folder/keep"):
            with open(files.ROOT + path, "wb") as file:
                file.write(b"x")
        files.remove_parts()
        assert names() == ["folder"]
        assert [entry[0] for entry in os.ilistdir(files.ROOT + "/folder")] == ["keep"]

    on_fresh_disk(work)


def test_paths_do_not_lead_out_and_guests_do_not_write():
    def work():
        assert serve(b"GET ../main.py\n").startswith(b"ERR 22 ")
        Connection.role = 2
        assert put(b"a.bin", b"x").startswith(b"ERR 1 ")
        Connection.role = 0
        assert names() == []

    on_fresh_disk(work)

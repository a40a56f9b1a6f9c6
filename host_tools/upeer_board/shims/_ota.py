"""The `otadata` partition in ESP-IDF's form: which app slot boots. Loaded when somebody asks.

Two sectors, each with: sequence (32, little-endian) | FF (160) | state (32) | CRC-32 of the sequence (32); the higher
sequence counts, and slot (sequence - 1) modulo the number of slots boots.
"""

import struct
from binascii import crc32

import esp32

_SECTOR = 4096


def app_slots():
    """Return the OTA slots."""
    slots = [row for row in esp32._rows() if row[0] == 0 and row[1] & 0xF0 == 0x10]
    if not slots:
        raise OSError(-0x105, "ESP_ERR_NOT_FOUND")
    return slots


def read_otadata():
    """Return (sequence, sector, offset of the partition); sequence 0 when no slot was ever chosen."""
    best, sector = 0, 1
    base = [row for row in esp32._rows() if row[0] == 1 and row[1] == 0]
    if not base:
        raise OSError(-0x105, "ESP_ERR_NOT_FOUND")
    for at in (0, 1):
        esp32._flash.seek(base[0][2] + at * _SECTOR)
        entry = esp32._flash.read(32)
        sequence, crc = struct.unpack("<I24xI", entry)
        # ESP-IDF: CRC of the sequence alone, started from all ones: 4743989A for sequence 1
        if sequence != 0xFFFFFFFF and crc == crc32(entry[:4], 0xFFFFFFFF) and sequence > best:
            best, sector = sequence, at
    return best, sector, base[0][2]


def boot_app():
    """Return the row that boots: what otadata says, else the first app."""
    apps = [row for row in esp32._rows() if row[0] == 0]
    try:
        sequence = read_otadata()[0]
        slots = app_slots()
    except OSError:
        return apps[0]
    return slots[(sequence - 1) % len(slots)] if sequence else apps[0]


def write_otadata(sequence, state):
    """Write the entry of `sequence`, in the sector that does not hold the one before."""
    current, sector, base = read_otadata()
    if not sequence:
        return
    if sequence != current:
        sector ^= 1
    head = struct.pack("<I", sequence)
    esp32._flash.seek(base + sector * _SECTOR)
    esp32._flash.write(head + b"\xff" * 20 + struct.pack("<II", state, crc32(head, 0xFFFFFFFF)))


def set_boot(info):
    slots = app_slots()
    sequence = read_otadata()[0] + 1
    while slots[(sequence - 1) % len(slots)] != info:
        if info not in slots:
            raise OSError(-0x102, "ESP_ERR_INVALID_ARG")
        sequence += 1
    write_otadata(sequence, 0)


def next_app():
    """Return the label of the slot that an update goes to."""
    slots = app_slots()
    current = boot_app()
    at = slots.index(current) if current in slots else -1
    return slots[(at + 1) % len(slots)][4]


def mark_valid():
    """Note that the app which runs works."""
    write_otadata(read_otadata()[0], 2)

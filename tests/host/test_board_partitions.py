"""Partition tables against bytes that ESP-IDF's own generator is pinned to, and every fault in a CSV."""

import pytest

from upeer_board import partitions
from upeer_board.partitions import Partition, PartitionTable


def test_binary_row_and_md5_are_esp_idfs():
    data = PartitionTable([Partition("first", 0x30, 0xEE, 0x100400, 0x300000)]).encode()
    assert data[:32] == b"\xaa\x50\x30\xee\x00\x04\x10\x00\x00\x00\x30\x00first" + bytes(15)
    assert data[32:48] == b"\xeb\xeb" + b"\xff" * 14
    assert data[48:64] == bytes.fromhex("43033f334087575169839b4061b12726")
    assert len(data) == 0xC00 and set(data[64:]) == {0xFF}


def test_longer_table_has_esp_idfs_md5():
    rows = [
        ("factory", 0, 0, 0x10000, 0x100000),
        ("data", 1, 0x20, 0x110000, 0x200),
        ("second", 0x10, 0, 0x150000, 0x1000),
    ]
    data = PartitionTable(Partition(*row) for row in rows).encode()
    assert data[112:128] == bytes.fromhex("f9bd061b45686f86571a2cd52a1da65b")
    assert partitions.decode(data) == [Partition(*row) for row in rows]


def test_decode_refuses_other_bytes():
    data = bytearray(PartitionTable([Partition("nvs", 1, 2, 0x9000, 0x4000)]).encode())
    for at in (0, 5, 40, 50):
        bad = bytearray(data)
        bad[at] ^= 1
        with pytest.raises(ValueError):
            partitions.decode(bytes(bad))
    for junk in (b"", b"\xff" * 0xC00, bytes(0xC00)):
        with pytest.raises(ValueError):
            partitions.decode(junk)


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ("a, data, nvs, 0x9000, 0x4000\nb, data, phy, 0xc000, 0x1000", "b at 0xc000 overlaps a, which ends at 0xd000"),
        ("a, data, nvs, 0x8000, 0x4000", "overlaps the partition table"),
        ("a, data, nvs, 0x9800, 0x4000", "no multiple of 0x1000"),
        ("a, app, ota_0, 0x11000, 0x4000", "no multiple of 0x10000"),
        ("a, data, nvs, 0x9000, 0x4100", "the size of a, 0x4100, is no multiple"),
        ("a, data, nvs, 0x9000, 0", "the size of a"),
        ("a, data, nvs, 0x100000, 0x301000", "behind the end of the flash (0x400000)"),
        ("a, data, nvs, 0x9000, 0x1000\na, data, phy, 0xa000, 0x1000", "used twice"),
        ("a, data, nothing, 0x9000, 0x1000", "subtype 'nothing' is not known"),
        ("a, what, nvs, 0x9000, 0x1000", "type 'what' is not known"),
        ("a, data, nvs, , 0x1000", "offset '' is not known"),
        ("a, data, nvs, 0x9000", "a row is"),
        ("a, data, nvs, 0x9000, 0x1000, plain", "a row is"),
        ("a_name_that_is_long, data, nvs, 0x9000, 0x1000", "1 to 16 characters"),
    ],
)
def test_faults_in_a_csv_are_one_line(tmp_path, rows, fault):
    path = tmp_path / "partitions.csv"
    path.write_text("# name, type\n" + rows + "\n")
    with pytest.raises(ValueError) as error:
        partitions.load_csv(path, 4 << 20)
    assert fault in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_csv_with_units_comments_and_encrypted(tmp_path):
    path = tmp_path / "partitions.csv"
    path.write_text("nvs, data, nvs, 36K, 16K,  # settings\n\nkeys, data, nvs_keys, 0xd000, 4096, encrypted\n")
    table = partitions.load_csv(path, 4 << 20)
    assert table == [Partition("nvs", 1, 2, 0x9000, 0x4000), Partition("keys", 1, 4, 0xD000, 0x1000, True)]
    assert partitions.decode(table.encode()) == table

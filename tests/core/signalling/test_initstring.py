"""InitStrings open with the right keys and whole text only; the same error for every mistake."""

from helpers import load_json, raises, unhex

from upeer.base.errors import CryptoError
from upeer.signalling.initstring import encode_text, open_init_string

VECTORS = load_json("initstring.json")
CRC_KEY = unhex(VECTORS["crc_key"])
P2P_KEY = unhex(VECTORS["p2p_key"])
DEVICE = VECTORS["device"]
CLIENT = VECTORS["client"]


def _message(*arguments):
    return str(raises(CryptoError, open_init_string, *arguments))


def test_open_device():
    expected = [(1, "192.0.2.1", 7000), (2, "m2.example.org", 443)]
    assert open_init_string(DEVICE, "device", CRC_KEY, P2P_KEY) == expected


def test_open_client():
    masters = open_init_string(CLIENT, "client", None, P2P_KEY)
    assert masters == [(1, "192.0.2.1", 7000, b"\x11" * 32), (2, "m2.example.org", 443, b"\x22" * 32)]


def test_open_wrong_keys():
    for crc_key, p2p_key in ((P2P_KEY, CRC_KEY), (CRC_KEY, CRC_KEY), (bytes(31) + b"1", P2P_KEY)):
        raises(CryptoError, open_init_string, DEVICE, "device", crc_key, p2p_key)


def test_open_missing_keys():
    for crc_key, p2p_key in (
        (None, P2P_KEY),
        (CRC_KEY, None),
        (b"", P2P_KEY),
        (bytes(32), P2P_KEY),
        (CRC_KEY, bytes(32)),
    ):
        raises(CryptoError, open_init_string, DEVICE, "device", crc_key, p2p_key)


def test_open_wrong_kind():
    raises(CryptoError, open_init_string, DEVICE, "client", CRC_KEY, P2P_KEY)
    raises(CryptoError, open_init_string, CLIENT, "device", CRC_KEY, P2P_KEY)


def test_open_any_changed_character():
    for i in range(len(DEVICE)):
        other = "A" if DEVICE[i] != "A" else "B"
        raises(CryptoError, open_init_string, DEVICE[:i] + other + DEVICE[i + 1 :], "device", CRC_KEY, P2P_KEY)


def test_open_cut_or_longer():
    for size in range(len(DEVICE)):
        raises(CryptoError, open_init_string, DEVICE[:size], "device", CRC_KEY, P2P_KEY)
    for extra in ("A", "AAAA", "=", "\n", " ", DEVICE, "A" * 4000):
        raises(CryptoError, open_init_string, DEVICE + extra, "device", CRC_KEY, P2P_KEY)


def test_open_garbage_text():
    for text in ("", "*", "\u00e9" * 40, "-_" * 40, "=" * 40, DEVICE.replace("_", "/").replace("-", "+") + "="):
        raises(CryptoError, open_init_string, text, "device", CRC_KEY, P2P_KEY)


def test_open_errors_are_one():
    texts = {
        _message(DEVICE, "device", CRC_KEY, None),
        _message(DEVICE, "device", P2P_KEY, P2P_KEY),
        _message(DEVICE[:-1], "device", CRC_KEY, P2P_KEY),
        _message("", "device", CRC_KEY, P2P_KEY),
    }
    assert len(texts) == 1


def test_open_authentic_nonsense():
    for text in VECTORS["device_nonsense"]:
        raises(CryptoError, open_init_string, text, "device", CRC_KEY, P2P_KEY)


def test_encode_text_has_no_padding():
    assert encode_text(b"\xfb\xff\xfe\x00") == "-__-AA"

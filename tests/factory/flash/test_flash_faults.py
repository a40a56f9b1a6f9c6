"""What esptool prints, word for word, and the error code that a worker reads."""

import pytest

from upeer_factory.flash.faults import KINDS, Fault, classify

_PREFACE = "esptool v5.6.0\nSerial port /dev/ttyUSB0:\n"
# (what esptool printed, whether the chip had answered, code)
LINES = [
    ("([Errno 2] could not open port /dev/ttyUSB7: [Errno 2] No such file or directory: '/dev/ttyUSB7')", False, "F01"),
    ("(Could not open port socket://127.0.0.1:1: [Errno 111] Connection refused)", False, "F01"),
    ("(Could not exclusively lock port /dev/ttyUSB0: [Errno 11] Resource temporarily unavailable)", False, "F02"),
    ("([Errno 16] could not open port /dev/ttyUSB0: [Errno 16] Device or resource busy: '/dev/ttyUSB0')", False, "F02"),
    ("([Errno 13] could not open port /dev/ttyUSB0: [Errno 13] Permission denied: '/dev/ttyUSB0')", False, "F03"),
    ("ERROR: A fatal error occurred: This chip is ESP32, not ESP32-S3. Wrong chip argument?", False, "F04"),
    ("A fatal error occurred: 'boot.bin' is not an ESP32-C3 image. Use --force to flash anyway.", True, "F04"),
    ("A fatal error occurred: Failed to connect to ESP32: No serial data received.", False, "F05"),
    ("A fatal error occurred: Failed to connect to ESP32: Wrong boot mode detected (0x13)!", False, "F05"),
    ("getting no sync reply: The serial TX path seems to be down.", False, "F05"),
    ("A fatal error occurred: MD5 of file does not match data in flash!", True, "F06"),
    ("A fatal error occurred: Write failed, the written flash region is empty.", True, "F06"),
    ("A fatal error occurred: Verification failed (digest mismatch).", True, "F06"),
    ("Failed to write to target flash after seq 3 (result was 0108: Flash write error)", True, "F06"),
    ("device reports readiness to read but returned no data (device disconnected or multiple access?)", True, "F07"),
    ("write failed: [Errno 5] Input/output error", True, "F07"),
    ("A fatal error occurred: No more data to read from the serial port.", True, "F07"),
    ("A fatal error occurred: The chip stopped responding.", True, "F07"),
    ("A fatal error occurred: Failed to connect to ESP32: No serial data received.", True, "F07"),
    ("A fatal error occurred: Timed out waiting for packet header", False, "F08"),
    ("File 'vfs.bin' (length 9) at offset 0x00390000 will not fit in 2097152 bytes of flash.", True, "F09"),
    ("A fatal error occurred: Secure Boot V1 detected, writing to flash regions < 0x8000 is disabled", True, "F10"),
    ("A fatal error occurred: Detected flash encryption enabled and download manual encrypt disabled.", True, "F10"),
    ("'boot.bin' requires chip revision v3.0 or higher (this chip is revision v1.0). Use --force", True, "F15"),
    ("Failed to write to target RAM (result was 0107: Checksum error)", True, "F16"),
    ("Failed to write compressed data to flash after seq 0 (result was 01C1: Unknown result)", True, "F16"),
    ("Serial data stream stopped: Possible serial noise or corruption.", True, "F16"),
    ("A fatal error occurred: something that nobody has seen yet", True, "F14"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "connected", "code"), LINES)
def test_classify_knows(text, connected, code):
    fault = classify(_PREFACE + text + "\n", "writing", connected, "/dev/ttyUSB0")
    assert fault.code == code
    assert str(fault).startswith("/dev/ttyUSB0: ") and str(fault).endswith(f"({code})") and "\n" not in str(fault)


def test_silence_after_the_chip_answered_is_the_cable():
    assert classify(_PREFACE, "writing", True).code == "F07"


def test_every_fault_says_what_to_do():
    assert all(kind.hint and kind.text for kind in KINDS.values())
    assert Fault("F04", "This chip is ESP32").as_dict()["text"] == "wrong chip for this recipe: This chip is ESP32"

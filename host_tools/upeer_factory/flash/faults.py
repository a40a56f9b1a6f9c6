"""What goes wrong at a port, as data: each fault has a code for the worker's screen, one line, and what to do next.

`classify` reads it out of what esptool printed. A fault is an exception that the command line shows as one line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FAILURE, UNREACHABLE, TIME_OUT, INTEGRITY, INTERRUPTED = 1, 3, 5, 6, 130  # exit codes: docs/errors.md


@dataclass(frozen=True)
class Kind:
    """One row of the table: name, text with {detail}, what to do, exit code, and whether a second try may help."""

    code: str
    text: str
    hint: str
    exit_code: int = FAILURE
    again: bool = False


KINDS = {
    kind.code: kind
    for kind in (
        Kind("F01", "no such port", "plug the board in, or see 'upeer flash --list'", UNREACHABLE),
        Kind("F02", "the port is in use by another program", "close the terminal or station that has it open"),
        Kind("F03", "no right to open the port", "add this user to the group that owns it (dialout), log in again"),
        Kind("F04", "wrong chip for this recipe: {detail}", "take the recipe of this board, or the right board"),
        Kind("F05", "the board does not answer", "hold BOOT, tap RESET, and start again", UNREACHABLE, True),
        Kind("F06", "the flash does not hold what was written", "change the cable, then the module", INTEGRITY, True),
        Kind("F07", "the cable was lost while {detail}", "plug the board in and start it again", UNREACHABLE, True),
        Kind("F08", "no progress for {detail}", "unplug the board, plug it in and start again", TIME_OUT, True),
        Kind("F09", "the board's flash is too small: {detail}", "take the recipe for this flash size"),
        Kind("F10", "the chip's security eFuses forbid it: {detail}", "this board has been locked; set it aside"),
        Kind("F11", "stopped", "start it again; a half-written board is written whole then", INTERRUPTED),
        Kind("F12", "esptool cannot be run: {detail}", "install it with 'pip install upeer[factory]'"),
        Kind("F13", "another board was plugged in meanwhile: {detail}", "start again with one board per port", FAILURE),
        Kind("F14", "esptool failed: {detail}", "run it again with --log FILE and read its output", FAILURE, True),
        Kind("F15", "the image does not fit this chip: {detail}", "take the MicroPython image for this chip revision"),
        Kind("F16", "the data on the cable was damaged while {detail}", "change the cable or the hub", INTEGRITY, True),
    )
}  # fmt: skip

# Looked for in esptool's output from the top; (.*) is the detail. The order matters: the first that matches counts.
_PATTERNS = (
    ("F03", r"Permission denied"),
    ("F02", r"exclusively lock|Device or resource busy|multiple access on port"),
    ("F01", r"No such file or directory|Connection refused|No such device\b.*could not open"),
    ("F04", r"(This chip is .*?, not [\w-]+)"),
    ("F04", r"(?:error occurred: )?(.* is not an ESP[\w-]* image)"),
    ("F15", r"(requires chip revision .*?)\. Use --force"),
    ("F09", r"(will not fit in \d+ bytes of flash)"),
    (
        "F10",
        r"(Secure Boot\b[^\n]* detected|Detected flash encryption\b[^\n]*|Flash Encryption with Key Manager[^\n]*)",
    ),
    ("F06", r"MD5 of file does not match|written flash region is empty|Verification failed(?:\.| \(dig)"),
    ("F16", r"Checksum error|Bad data checksum|result was (?:01)?C1|Invalid SLIP|noise or corruption|Inflate error"),
    ("F06", r"Flash write error|Flash read error|Failed SPI operation"),
    ("F05", r"Failed to connect to|No serial data received|Wrong boot mode detected|TX path seems to be down"),
    ("F07", r"device disconnected|Input/output error|write failed|[Ss]erialException|Bad file descriptor|read failed"),
    ("F07", r"socket disconnected|connection failed|Broken pipe|reset by peer|Write timeout|No more data to read"),
    ("F07", r"could not open port|Could not configure port|the port is busy or doesn't exist"),
    ("F07", r"chip stopped responding|Failed to start stub flasher|Packet content transfer stopped"),
    ("F16", r"Invalid head of packet|Response doesn't match|Only got \d+ byte"),
    ("F08", r"[Tt]imed out|timeout"),
)


class Fault(Exception):
    """A board could not be flashed; `code` is F01 to F16, `stage` where it happened, `hint` what to do."""

    def __init__(self, code: str, detail: str = "", port: str = "", stage: str = "") -> None:
        kind = KINDS[code]
        text = kind.text.format(detail=detail or stage or "at work")
        super().__init__(f"{port}: {text} ({code})" if port else f"{text} ({code})")
        self.code, self.text, self.hint, self.exit_code = code, text, kind.hint, kind.exit_code
        self.port, self.stage, self.is_worth_a_retry = port, stage, kind.again

    def as_dict(self) -> dict[str, object]:
        """Return what a JSON report says."""
        return {"code": self.code, "text": self.text, "hint": self.hint, "stage": self.stage}


def classify(output: str, stage: str, connected: bool, port: str = "") -> Fault:
    """Return the fault that esptool's output tells of; before the chip answered a lost line is a port's fault."""
    for code, pattern in _PATTERNS:
        match = re.search(pattern, output)
        if match is None:
            continue
        if connected and code in ("F01", "F05", "F08"):
            code = "F07"
        detail = match.group(1).strip() if match.groups() and code not in ("F07", "F08") else ""
        return Fault(code, detail or (stage if code in ("F07", "F16") else ""), port, stage)
    return Fault("F07" if connected and "error occurred" not in output else "F14", _last_line(output), port, stage)


def _last_line(output: str) -> str:
    """Return the line that says why, without esptool's preface."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    found = next((line for line in reversed(lines) if "rror" in line), lines[-1] if lines else "it said nothing")
    return re.sub(r"^(ERROR: )?(A fatal error occurred: )?", "", found)[:200]

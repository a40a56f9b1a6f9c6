"""What a lane of the station is at: a board's way from the plug to PASS or FAIL, without threads, ports or clocks.

The table says what may happen when; an event that has no row changes nothing. `station` feeds it, the screen reads it.
While the label is printed the board may go and the next one come: that one is not taken for the one that passes.
"""

from dataclasses import dataclass, field
from typing import Any

EMPTY, WAITING, CONNECTING = "empty", "waiting", "connecting"
FLASHING, BURNING, PROVING, TESTING, LABELLING = "flashing", "burning", "proving", "self-test", "label"
SECURING = "securing"
NEXT_IS_THERE = "label, then the next"
PASS, FAIL = "PASS", "FAIL"

STEPS = {
    "flash": FLASHING, "burn": BURNING, "prove": PROVING, "selftest": TESTING, "secure": SECURING, "label": LABELLING,
}  # fmt: skip
RUNNING = (CONNECTING, *STEPS.values(), NEXT_IS_THERE)

_IN_A_RUN = {**STEPS, "done": PASS, "failed": FAIL}
_AT_THE_END = {"plugged": WAITING, "again": WAITING}
_NEXT: dict[str, dict[str, str]] = {
    EMPTY: {"plugged": WAITING},
    WAITING: {"unplugged": EMPTY, "start": CONNECTING},
    **dict.fromkeys(RUNNING, _IN_A_RUN),
    LABELLING: {**_IN_A_RUN, "plugged": NEXT_IS_THERE},
    NEXT_IS_THERE: {"unplugged": LABELLING, "done": WAITING, "failed": FAIL},
    PASS: _AT_THE_END,
    FAIL: _AT_THE_END,
}

_OF_ONE_BOARD = ("mac", "did", "part", "code", "text", "hint", "step", "secured")


@dataclass
class LaneState:
    """One lane. `state` is changed by `handle` only; the other fields are what the screen shows of this board."""

    number: int
    port: str
    state: str = EMPTY
    has_board: bool = False
    mac: str = ""
    did: str = ""
    part: str = ""
    done: int = 0
    total: int = 0
    code: str = ""
    text: str = ""
    hint: str = ""
    step: str = ""
    secured: str = ""
    began: float = 0.0
    seconds: float = 0.0
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def is_running(self) -> bool:
        return self.state in RUNNING

    def can(self, event: str) -> bool:
        """Tell whether an event changes the state now."""
        return event in _NEXT[self.state]

    def handle(self, event: str, now: float, **fields: Any) -> bool:
        """Take an event at `now` (seconds) with what it tells of the board; False when it does not apply here."""
        self._note_board(event)
        if not self.can(event):
            return False
        if event == "start":
            self._forget_board(now)
        for name, value in fields.items():
            setattr(self, name, value)
        self.seconds = round(now - self.began, 1) if self.is_running else self.seconds
        self._to(_NEXT[self.state][event])
        return True

    def show(self, done: int, total: int, part: str = "", mac: str = "") -> None:
        """Take a progress report: bytes of flash that are as they should be."""
        if self.is_running:
            self.done, self.total, self.part, self.mac = done, total, part, mac or self.mac

    def _note_board(self, event: str) -> None:
        if event in ("plugged", "unplugged"):
            self.has_board = event == "plugged"

    def _forget_board(self, now: float) -> None:
        for name in _OF_ONE_BOARD:
            setattr(self, name, "")
        self.done = self.total = 0
        self.began = now

    def _to(self, state: str) -> None:
        self.state = state

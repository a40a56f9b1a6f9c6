"""What a key means at the station: two modes, a selected lane, and a prompt. No terminal in here.

`Keys.press(key, now)` returns an action of ACTIONS or None. The operator starts, stops, retries and prints a label
again; the engineer, after a password, sees the log, runs single steps and scraps a licence.
"""

from collections.abc import Callable

OPERATOR, ENGINEER = "operator", "engineer"
ENTER, ESCAPE, BACKSPACE = "\r", "\x1b", "\x7f"

_OPERATOR_KEYS = {"s": "start or stop", "r": "retry", "l": "label again", "e": "engineer", "q": "quit"}
_ENGINEER_KEYS = {
    "s": "start or stop", "r": "retry", "l": "label again", "f": "flash only", "b": "burn only",
    "x": "scrap", "g": "log", "o": "operator", "q": "quit",
}  # fmt: skip
_FIRST_LOCK_S = 1.0
_LONGEST_LOCK_S = 60.0
_MAX_TEXT = 64


class Keys:
    """The station's keyboard; `check` tells whether a password is the engineer's."""

    def __init__(self, check: Callable[[str], bool]) -> None:
        self.mode = OPERATOR
        self.selected = 1
        self.shows_log = False
        self.message = ""
        self.prompt = ""
        self._check = check
        self._text = ""
        self._wrong = 0
        self._locked_until = 0.0

    @property
    def table(self) -> dict[str, str]:
        """The keys of this mode and what they do."""
        return _ENGINEER_KEYS if self.mode == ENGINEER else _OPERATOR_KEYS

    @property
    def typed(self) -> str:
        """What the prompt shows of what was typed: a password as dots."""
        return "•" * len(self._text) if self.prompt == "password" else self._text

    def press(self, key: str, now: float) -> str | None:
        """Take a key at `now` (seconds); return the action that it asks for: one of the table's, "select" or None."""
        if self.prompt:
            return self._type(key, now)
        self.message = ""
        if key in "123456789" and key:
            self.selected = int(key)
            return "select"
        action = self.table.get(key)
        if action == "engineer":
            self._ask_password(now)
        elif action == "operator":
            self.mode, self.shows_log = OPERATOR, False
        elif action == "log":
            self.shows_log = not self.shows_log
        elif action == "scrap":
            self.prompt, self._text = f"scrap the licence of lane {self.selected} for good: type SCRAP", ""
        else:
            return action
        return None

    def _ask_password(self, now: float) -> None:
        if now < self._locked_until:
            self.message = f"wrong password: wait {self._locked_until - now:.0f} s"
        else:
            self.prompt, self._text = "password", ""

    def _type(self, key: str, now: float) -> str | None:
        if key == ESCAPE:
            self.prompt = self._text = ""
        elif key == BACKSPACE:
            self._text = self._text[:-1]
        elif key in (ENTER, "\n"):
            return self._answer(now)
        elif key.isprintable() and len(self._text) < _MAX_TEXT:
            self._text += key
        return None

    def _answer(self, now: float) -> str | None:
        prompt, text = self.prompt, self._text
        self.prompt = self._text = ""
        if prompt == "password":
            self._take_password(text, now)
            return None
        if text == "SCRAP":
            return "scrap"
        self.message = "nothing was scrapped"
        return None

    def _take_password(self, text: str, now: float) -> None:
        if self._check(text):
            self.mode, self._wrong = ENGINEER, 0
            return
        self._wrong += 1
        wait = min(_FIRST_LOCK_S * 2**self._wrong, _LONGEST_LOCK_S)
        self._locked_until = now + wait
        self.message = f"wrong password: wait {wait:.0f} s"

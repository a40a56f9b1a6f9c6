"""The office's own error: one plain line, a hint what to do next, and the command line's exit code."""

FAILURE = 1
USAGE = 2
UNREACHABLE = 3
AUTHENTICATION = 4
INTEGRITY = 6


class OfficeError(Exception):
    """An expected failure of the licence office or of a server's configuration."""

    def __init__(self, message: str, hint: str | None = None, exit_code: int = FAILURE) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code

"""What can go wrong for a client: one class per outcome, each with its number and exit code (docs/errors.md).

`str(error)` is one line that says what is wrong; `hint` says what to do next.
"""

from typing import ClassVar


class ClientError(Exception):
    """Base of all errors of this library; `code` is its number, `exit_code` that of the command line."""

    code: ClassVar[int] = 100
    exit_code: ClassVar[int] = 1
    hint: str | None = None

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


class CannotReach(ClientError):
    """No server has the device: it is unknown, offline or not ours; nobody tells which."""

    code = 101
    exit_code = 3
    hint = "check the DID, that the device is on and online, and that it is still paired with this client"


class NoAnswer(ClientError):
    """No master answers."""

    code = 102
    exit_code = 3
    hint = "check this computer's network with 'upeer netcheck'"


class WrongKeys(ClientError):
    """The platform's keys do not fit: the configuration is damaged, or older than the platform's keys."""

    code = 103
    exit_code = 4
    hint = "get a new client.json ('upeer platform client')"


class DeviceBusy(ClientError):
    """The device has no room for another session; `passes` tells that it may have some in a second."""

    code = 104
    passes = False
    exit_code = 7
    hint = "close another connection to it, or try again in a minute"


class TimedOut(ClientError, TimeoutError):
    """No answer in time; `partial` holds what a read had got by then."""

    code = 105
    exit_code = 5
    hint = "try again; 'upeer netcheck' shows how this network is"
    partial: bytes = b""


class ClosedByPeer(ClientError):
    """The device closed the connection; `reason` is its number (protocol, chapter 7.7)."""

    code = 106
    exit_code = 1
    reason: int = 0


class ConnectionLost(ClientError):
    """Nothing comes through any more: the device, or the network, is gone."""

    code = 107
    exit_code = 3
    hint = "check that the device is on; then run the command again"


class NoRelay(ClientError):
    """There is no direct path, or none is wanted, and no relay carries the session."""

    code = 108
    exit_code = 7
    hint = "see 'upeer relay list', and that a relay is running"


class NoPath(ClientError):
    """The device answered, but no datagram passes between it and us in the chosen mode."""

    code = 109
    exit_code = 3
    hint = "allow relays with '--mode all'"


class NotPaired(ClientError):
    """This client has no pair key for the device."""

    code = 110
    exit_code = 4
    hint = "pair first: 'upeer pair DID --setup-code CODE'"


class NotAllowed(ClientError):
    """The device knows us and refuses."""

    code = 111
    exit_code = 4
    hint = "ask its owner"


class ConfigError(ClientError):
    """The client's own files are missing or damaged."""

    code = 112
    exit_code = 1


class UsageError(ClientError):
    """The call is wrong: a malformed DID, setup code, mode or channel."""

    code = 113
    exit_code = 2


class ServiceRefused(ClientError):
    """The device has no such service, or does not open it to us."""

    code = 114
    exit_code = 1


class FileRefused(ClientError):
    """The device's file service refused; `number` is its errno."""

    code = 115
    exit_code = 1
    number: int = 0


class DeviceFull(FileRefused):
    """The device has no room for the file; an old file of that name stays until the new one is whole."""

    code = 117
    exit_code = 7
    hint = "see 'upeer ls' for what it holds; a file is replaced only once the new one is whole beside it"


class DamagedData(ClientError):
    """What arrived is not what was sent: the hashes differ."""

    code = 116
    exit_code = 6
    hint = "run the command again"


ALL = [
    ClientError, CannotReach, NoAnswer, WrongKeys, DeviceBusy, TimedOut, ClosedByPeer, ConnectionLost, NoRelay, NoPath,
    NotPaired, NotAllowed, ConfigError, UsageError, ServiceRefused, FileRefused, DeviceFull,
    DamagedData,
]  # fmt: skip

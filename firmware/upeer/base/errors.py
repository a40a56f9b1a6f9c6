"""Exceptions of the core. Nothing that a stranger sends raises one out of `receive_datagram`."""


class ProtocolError(Exception):
    """Base of all errors that the core raises."""


class LocalError(ProtocolError):
    """Our caller misused us: a missing key, a call out of turn, a value out of range."""


class CryptoError(ProtocolError):
    """Something sealed did not open, or a peer's public key is worthless. Says no more than that on purpose."""


class RemoteError(ProtocolError):
    """An authenticated peer reported `code` (int) and `reason` (text)."""

    def __init__(self, code: int, reason: str = ""):
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

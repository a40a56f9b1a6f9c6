"""The search for larger packets than 1200 bytes on a path: RFC 8899, with few sizes. Loaded only where limits allow it.

Shells set the don't-fragment flag, and drop silently what the system refuses to send.
"""

from upeer.base.compat import const

_BASE = const(1200)
_SIZES = (32000, 16384, 8952, 1452)  # loopback, jumbo frames, Ethernet with a PPPoE header
_TRIES = const(2)


class MtuSearch:
    """`size` is the packet size to be probed now, 0 if none is."""

    def __init__(self, limit: int):
        self._sizes = [limit] + [size for size in _SIZES if size < limit]
        self._begin()

    def _begin(self) -> None:
        self.size = self._sizes[0]
        self._next = 0
        self._tries = 0
        self._probed = 0

    def restart(self, recovery) -> None:
        """Search anew: another path."""
        recovery.packet_size = _BASE
        self._begin()

    def write(self, view, pos: int) -> int:
        """Write a PING and padding that fill a packet of `size`, all prefixes counted; return the plaintext's end."""
        end = 31 + ((self.size - 48) & ~15)
        view[pos] = 1
        view[pos + 1 : end] = bytes(end - pos - 1)
        self._probed = self.size
        self.size = 0
        return end

    def on_result(self, is_acked: bool, recovery) -> None:
        """Handle the fate of a probe: use the size, or try the next one."""
        probed = self._probed
        self._probed = 0
        if not probed:
            return
        if is_acked:
            recovery.packet_size = probed
            recovery.window = max(recovery.window, 10 * probed)
            return
        self._tries += 1
        if self._tries == _TRIES:
            self._tries = 0
            self._next += 1
        if self._next < len(self._sizes):
            self.size = self._sizes[self._next]

"""A UDP socket of the ESP32 that reads into one buffer and cannot be silenced by a stranger.

A datagram of zero bytes makes the chip's socket report the end of its stream for ever, so on an empty read the socket
is closed and opened anew on the same port (attack A18). A datagram comes as an object of its own and is copied:
`readinto` would save that, but it is a stream's method and reads on, into the next datagrams, until its buffer is
full.
"""

import errno
import socket
from random import getrandbits

from upeer.base.compat import const

BUFFER_SIZE = const(1280)  # no message to a device is larger
_SMALL = const(256)  # holds acknowledgements and what else keeps a session alive
_FIRST_PORT = const(49152)
_QUIET = (errno.EAGAIN, errno.ETIMEDOUT)


class Udp:
    """One non-blocking socket on `port` (0: any). `buf` (1280 bytes) holds what `receive` read, `addr` is its source.

    Two may share a buffer: what one has read is used up before another reads. `sock` is None while the chip gives none.
    """

    def __init__(self, port: int = 0, shared: bool = False, buf: bytearray | None = None):
        self.buf = bytearray(BUFFER_SIZE) if buf is None else buf
        self.addr = None
        self.port = port
        self.reopened = 0
        self.unsent = 0
        self._most = BUFFER_SIZE
        self._shared = shared
        self.sock: "socket.socket" = None
        self._open()

    def _open(self) -> None:
        """Open and bind; a random port is kept from then on, so that the NAT's mapping outlives a reopened socket."""
        for _ in range(8):
            port = self.port or _FIRST_PORT + getrandbits(14)
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                if self._shared:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_BROADCAST", 0x20), 1)
                sock.bind(("0.0.0.0", port))
                sock.setblocking(False)
            except OSError:
                sock.close()
                continue
            self.sock = sock
            self.port = port
            return
        if not self._shared:
            self.port = 0  # try another one next time
        raise OSError(errno.EADDRINUSE)

    def reopen(self) -> None:
        """Replace the socket by a new one on the same port."""
        self.close()
        self.reopened += 1
        self._open()

    def receive(self) -> int:
        """Read one datagram into `buf` and return its size, 0 when there is none.

        OSError if no socket is to be had. MemoryError if no piece is left for a whole datagram: the next call is
        content with a small one, say an acknowledgement, which frees what it is for; a larger one is cut off: lost.
        """
        if self.sock is None:
            self.reopen()
        try:
            data, self.addr = self.sock.recvfrom(self._most)
            self._most = BUFFER_SIZE
            size = len(data)
            self.buf[:size] = data
        except MemoryError:
            self._most = _SMALL
            raise
        except OSError as error:
            if error.errno in _QUIET:
                return 0
            self.reopen()
            return 0
        if not size:
            self.reopen()
        return size or 0

    def send(self, data, addr) -> bool:
        """Send one datagram; when the chip has no room it is lost, as on any network. Return whether it went."""
        try:
            self.sock.sendto(data, addr)
            return True
        except (OSError, AttributeError):  # no room, no route, no socket
            self.unsent += 1
            return False

    def close(self) -> None:
        """Give the socket back."""
        if self.sock:
            self.sock.close()
            self.sock = None

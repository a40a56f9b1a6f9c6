"""The socket module as on ESP32 (ports/esp32/modsocket.c), over the unix port's sockets.

Addresses are (ip, port); poll waits on the real descriptor; an empty datagram latches end of file, as on the chip.
UPEER_BIND=IP puts every socket on that address of the host, but for those with SO_REUSEADDR, which wait for broadcasts.
UPEER_QUEUE=N is how many datagrams wait per UDP socket, 6 as in lwIP's mailbox, what comes to a full one is lost; with
0 the host's buffers are used. They wait in a file, since on the chip they take nothing of MicroPython's heap. Where the
chip's memory is gone there are no sockets, and nothing is sent. What few programs use is in `_socket`.
"""

import io
import os
import select

import _heap
import _host as _board
import usocket as _host

AF_INET = 2
SOCK_STREAM = 1
SOCK_DGRAM = 2
SOL_SOCKET = 1
SO_REUSEADDR = 2
SO_BROADCAST = 6
MSG_PEEK = 2

_ENOMEM = 12
_ENOBUFS = 105
_ETIMEDOUT = 110
_EHOSTUNREACH = 113
_EAGAIN = 11
_LARGEST = 1280  # what a datagram is cut to if its reader asks for no more
_SOCKADDR = 16  # bytes, of IPv4
_SLOT = 0x10100  # of the file of a mailbox: holes in it take nothing
_bind_ip = os.getenv("UPEER_BIND") or ""
_queue = int(os.getenv("UPEER_QUEUE") or 6)
_down = False  # set by `network` when the station has no link
_last_address = _last_packed = _last_sockaddr = _last_unpacked = None


def _pack(address):
    """Return the sockaddr of (ip, port); the last one is kept."""
    global _last_address, _last_packed
    if address != _last_address:
        _last_packed = _resolve(address[0], address[1])
        _last_address = address
    return _last_packed


def _resolve(host, port):
    if host == "" or host == "localhost" or host == "255.255.255.255":
        host = {"": "0.0.0.0", "localhost": "127.0.0.1"}.get(host, host)
    try:
        ip = _host.inet_pton(AF_INET, host)
        return b"\x02\0" + bytes((port >> 8, port & 255)) + ip + bytes(8)
    except OSError:
        found = _host.getaddrinfo(host, port, AF_INET)
    if not found:
        raise OSError(-2)
    return bytes(found[0][4])


def _unpack(sockaddr):
    """Return (ip, port) of a sockaddr; the last one is kept."""
    global _last_sockaddr, _last_unpacked
    if sockaddr != _last_sockaddr:
        _last_unpacked = ("%d.%d.%d.%d" % tuple(sockaddr[4:8]), sockaddr[2] << 8 | sockaddr[3])
        _last_sockaddr = bytes(sockaddr)
    return _last_unpacked


def getaddrinfo(host, port, *options):
    try:
        address = _unpack(_resolve(host, int(port)))
    except OSError:
        raise OSError(-2)
    return [(AF_INET, SOCK_STREAM, 0, host, address)]


class _Mail:
    """The `count` datagrams that wait: a file with a slot for each, (sockaddr, bytes), and their sizes."""

    def __init__(self):
        self.count = 0
        self._first = 0
        self._sizes = [0] * _queue  # all of it now: memory may have run out when they come
        self._file = _board.scratch()

    def _seek(self, index):
        slot = (self._first + index) % _queue
        self._file.seek(slot * _SLOT)
        return slot

    def put(self, data, sockaddr):
        self._sizes[self._seek(self.count)] = len(data)
        self._file.write(sockaddr)
        self._file.write(data)
        self.count += 1
        _heap.waiting += 1

    def look(self, size):
        """Return (data, sockaddr) of the oldest. As on the chip, a buffer of `size` bytes has to be there for it."""
        count = self._sizes[self._seek(0)]
        sockaddr = self._file.read(_SOCKADDR)
        data = self._file.read(size if count >= size else size - 1)  # a read takes a byte more than it is asked for
        return (data[:count] if count < len(data) else data), sockaddr

    def drop(self):
        """Forget the oldest."""
        self._first = (self._first + 1) % _queue
        self.count -= 1
        _heap.waiting -= 1

    def close(self):
        _heap.waiting -= self.count
        self.count = 0
        self._file.close()


class _Socket(io.IOBase):
    """One socket; methods, results and errors are the chip's. TCP and what is rare with UDP is in `_socket`."""

    def __init__(self, af=AF_INET, type=SOCK_STREAM, proto=0, _sock=None):
        self._sock = _sock or _host.socket(af, type, proto)
        self._udp = type == SOCK_DGRAM
        self._eof = False
        self._placed = _sock is not None or not _bind_ip
        self._shared = False
        self._mail = None
        if self._udp and _queue:
            self._mail = _Mail()
            self._poll = select.poll()
            self._poll.register(self._sock, 1)
            self._lost = bytearray(1)
        self._is_open = True
        _heap.sockets += 1

    def _place(self):
        """Put a socket that was never bound on the board's own address."""
        self._placed = True
        self._sock.bind(_resolve(_bind_ip, 0))

    def bind(self, address):
        ip = address[0]
        if _bind_ip and not self._shared and (ip == "" or ip == "0.0.0.0"):
            ip = _bind_ip
        self._sock.bind(_resolve(ip, address[1]))
        self._placed = True

    def sendto(self, data, address):
        if _down:
            raise OSError(_EHOSTUNREACH)
        if not self._placed:
            self._place()
        if _heap.lacks(_heap.SEND_NEEDS):
            raise OSError(_ENOMEM)
        try:
            sent = self._sock.sendto(data, _pack(address))
        except OSError as error:
            if error.errno != _EAGAIN:
                raise
            sent = 0
        if not sent:
            raise OSError(_ETIMEDOUT)
        return sent

    def _collect(self, size=_LARGEST, room=_queue):
        """Put what has come since the last call into the mailbox, and lose what it does not hold; False if it is empty.

        lwIP does so as datagrams come. What is lost is the same: between two calls nobody has read.
        """
        mail = self._mail
        while True:
            for _ in self._poll.ipoll(0):
                break
            else:
                break
            if mail.count < room:
                try:
                    data, sockaddr = self._sock.recvfrom(max(size, _LARGEST))
                except MemoryError:
                    break  # the chip holds it elsewhere; here it stays with the host
                mail.put(data, sockaddr)
            else:
                self._sock.readinto(self._lost)
        return bool(mail.count)

    def recvfrom(self, size, flags=0):
        data, address = self._read(size, flags)
        return data, _unpack(address) if len(address) == _SOCKADDR else ("0.0.0.0", 0)

    def recv(self, size, flags=0):
        return self._read(size, flags)[0]

    def _read(self, size, flags):
        """Return (data, sockaddr) of the next datagram, or of what a stream has."""
        if self._eof:
            return b"", b""
        mail = self._mail
        if mail and (mail.count or flags & MSG_PEEK) and self._collect(size):
            data, address = mail.look(size)
            if not flags & MSG_PEEK:
                mail.drop()
        else:
            data, address = self._sock.recvfrom(size, flags)
            if mail:
                self._collect(size, _queue - 1)  # this one has waited with them
        if not data and size:
            self._eof = True
        return data, address

    def readinto(self, buf, size=-1):
        """Read as a stream does: on, into the next datagrams, until `buf` is full."""
        if self._eof:
            return 0
        size = len(buf) if size < 0 else size
        if self._mail is None:
            count = self._sock.readinto(buf if size == len(buf) else memoryview(buf)[:size])
        else:
            count = self._join(memoryview(buf)[:size])
        if count == 0:
            self._eof = True
        return count

    def _join(self, view):
        mail = self._mail
        count = 0
        while count < len(view) and self._collect():
            data = mail.look(len(view) - count)[0]
            mail.drop()
            view[count : count + len(data)] = data
            if not data:
                self._eof = True
                return count
            count += len(data)
        return count or self._sock.readinto(view)

    def setsockopt(self, level, option, value):
        if option == SO_REUSEADDR and level == SOL_SOCKET:
            self._shared = bool(value)
        self._sock.setsockopt(level, option, value)

    def setblocking(self, flag):
        self._sock.setblocking(flag)

    def fileno(self):
        return self._sock.fileno()

    def ioctl(self, request, arg):
        if request == 10 and not (self._mail and self._mail.count):
            return self._sock.fileno()
        if request == 3:  # poll: only with something in the mailbox, else the host waits on the descriptor
            return arg & 5
        if request == 4:
            self.close()
            return 0
        return -22

    def close(self):
        if self._mail:
            self._mail.close()
        if self._is_open:
            self._is_open = False
            _heap.sockets -= 1
        self._sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def __getattr__(self, name):
        """Load what few programs use when it is asked for."""
        method = getattr(_board.load("_socket").Stream, name)
        return lambda *arguments: method(self, *arguments)


def socket(af=AF_INET, type=SOCK_STREAM, proto=0):
    """Return a new socket."""
    if _heap.lacks(_heap.SOCKET_NEEDS):
        raise OSError(_ENOBUFS)
    if type == SOCK_DGRAM:
        return _Socket(af, type, proto)
    return _board.load("_socket").Stream(af, type, proto)


def __getattr__(name):
    """Load what few programs use when it is asked for."""
    return getattr(_board.load("_socket"), name)

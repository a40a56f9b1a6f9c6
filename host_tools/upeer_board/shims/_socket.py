"""The rest of the module `socket`: TCP, what is rare with UDP, constants. Loaded when somebody asks."""

import socket

AF_INET6 = 10
SOCK_RAW = 3
SO_RCVBUF = 8
IPPROTO_IP = 0
IPPROTO_TCP = 6
IPPROTO_UDP = 17
IP_ADD_MEMBERSHIP = 35
IP_DROP_MEMBERSHIP = 36
MSG_DONTWAIT = 0x40
TCP_NODELAY = 1

_ETIMEDOUT = 110
_EHOSTUNREACH = 113
_EAGAIN = 11


class Stream(socket._Socket):
    """A TCP socket. UDP sockets borrow its methods."""

    def connect(self, address):
        if socket._down:
            raise OSError(_EHOSTUNREACH)
        if not self._placed:
            self._place()
        self._sock.connect(socket._resolve(address[0], address[1]))

    def listen(self, backlog=2):
        self._sock.listen(backlog)

    def accept(self):
        made, address = self._sock.accept()
        return Stream(2, 1, 0, made), socket._unpack(bytes(address))

    def send(self, data):
        if socket._down:
            raise OSError(_EHOSTUNREACH)
        try:
            return self._sock.send(data)
        except OSError as error:
            raise OSError(_ETIMEDOUT) if error.errno == _EAGAIN else error

    def sendall(self, data):
        if self.send(data) < len(data):
            raise OSError(_ETIMEDOUT)

    def write(self, data, size=-1):
        return self._sock.write(data if size < 0 else memoryview(data)[:size])

    def read(self, size=-1):
        if self._eof:
            return b""
        data = self._sock.read() if size < 0 else self._sock.read(size)
        if data == b"" and size:
            self._eof = True
        return data

    def readline(self):
        return b"" if self._eof else self._sock.readline()

    def makefile(self, *options):
        return self

    def settimeout(self, seconds):
        self._sock.settimeout(seconds)

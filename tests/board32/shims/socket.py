"""UDP sockets as on ESP32, over those of the host; the counted board has them too, over a `wire` of its own."""

import host32
import wire

AF_INET = 2
SOCK_STREAM = 1
SOCK_DGRAM = 2
SOL_SOCKET = 0xFFF
SO_REUSEADDR = 4
SO_BROADCAST = 0x20


class _Socket:
    def __init__(self):
        self._id = None
        self._shared = False

    def setsockopt(self, level, option, value):
        if option == SO_REUSEADDR:
            self._shared = True

    def bind(self, address):
        self._id = host32.open_socket(address[1], self._shared)

    def setblocking(self, flag):
        pass

    def waiting(self):
        return self._id is not None and host32.waiting(self._id) > 0

    def sendto(self, data, address):
        return wire.send(self._id, data, address)

    def recvfrom(self, size, flags=0):
        found = wire.receive(self._id)
        if found is None:
            raise OSError(11)
        return found

    def close(self):
        if self._id is not None:
            host32.close_socket(self._id)


def socket(af=AF_INET, type=SOCK_STREAM, proto=0):
    return _Socket()


def getaddrinfo(host, port, *options):
    return [(AF_INET, SOCK_DGRAM, 0, "", (host, int(port)))]

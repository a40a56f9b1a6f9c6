"""A UDP socket of the firmware when memory runs out: what is small still comes in."""

import socket
import time

from helpers import raises

from device.udp import BUFFER_SIZE, Udp

LOCAL = "127.0.0.1"


class Short:
    """A socket that finds no piece of memory of more than 300 bytes."""

    def __init__(self, sock):
        self.sock = sock
        self.asked = []

    def recvfrom(self, size):
        self.asked.append(size)
        if size > 300:
            raise MemoryError
        return self.sock.recvfrom(size)


def test_without_memory_for_a_whole_datagram_small_ones_are_read():
    udp = Udp()
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for size in (60, 1200, 61):
        sender.sendto(b"x" * size, (LOCAL, udp.port))
    time.sleep_ms(20)
    real = udp.sock
    udp.sock = Short(real)
    for size in (60, 256):  # the second is cut off, and not authentic any more
        raises(MemoryError, udp.receive)
        assert udp.receive() == size
    assert udp.sock.asked == [BUFFER_SIZE, 256] * 2
    udp.sock = real
    assert udp.receive() == 61 and udp.receive() == 0
    sender.close()
    udp.close()

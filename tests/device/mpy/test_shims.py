"""The virtual board's socket and network modules behave as the chip's."""

import errno
import select
import socket
import time

import network
from helpers import raises

LOCAL = "127.0.0.1"


def pair(port):
    """Return two UDP sockets on loopback, the second on port."""
    one, two = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for sock in (one, two):
        sock.setblocking(False)
    one.bind((LOCAL, port + 1))
    two.bind((LOCAL, port))
    return one, two


def test_addresses_are_tuples():
    one, two = pair(50110)
    assert one.sendto(b"hello", (LOCAL, 50110)) == 5
    assert two.recvfrom(100) == (b"hello", (LOCAL, 50111))
    assert socket.getaddrinfo("localhost", 80)[0][-1] == (LOCAL, 80)
    one.close()
    two.close()


def test_poll_waits_on_the_real_descriptor():
    one, two = pair(50120)
    poller = select.poll()
    poller.register(two, select.POLLIN)
    begun = time.ticks_ms()
    assert not poller.poll(60)
    assert time.ticks_diff(time.ticks_ms(), begun) >= 50
    one.sendto(b"x", (LOCAL, 50120))
    assert poller.poll(1000)[0][0] is two
    one.close()
    two.close()


def test_peek_then_readinto():
    one, two = pair(50130)
    one.sendto(b"datagram", (LOCAL, 50130))
    buf = bytearray(20)
    assert two.recvfrom(1, socket.MSG_PEEK)[0] == b"d"
    assert two.readinto(buf) == 8 and buf[:8] == b"datagram"
    assert two.readinto(buf) is None
    assert raises(OSError, two.recvfrom, 10).errno == errno.EAGAIN
    one.close()
    two.close()


def test_a_zero_length_datagram_latches_end_of_file():
    one, two = pair(50140)
    one._sock.sendto(b"", socket._pack((LOCAL, 50140)))
    one.sendto(b"after", (LOCAL, 50140))
    time.sleep_ms(20)
    for _ in range(3):
        assert two.recvfrom(100)[0] == b""
        assert two.readinto(bytearray(10)) == 0
    assert raises(OSError, one.sendto, b"", (LOCAL, 50140)).errno == errno.ETIMEDOUT
    one.close()
    two.close()


def test_tcp_streams_work():
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((LOCAL, 50150))
    server.listen(1)
    client = socket.socket()
    client.connect((LOCAL, 50150))
    peer, address = server.accept()
    assert address[0] == LOCAL
    client.sendall(b"line\nrest")
    assert peer.readline() == b"line\n" and peer.read(4) == b"rest"
    client.close()
    assert peer.recv(10) == b"" and peer.recv(10) == b""
    peer.close()
    server.close()


def test_a_station_joins_and_loses_its_network():
    import _host

    wlan = network.WLAN(network.STA_IF)
    assert wlan is network.WLAN(network.WLAN.IF_STA) and not wlan.isconnected()
    raises(OSError, wlan.connect, "home", "password")
    wlan.active(True)
    wlan.connect("home", "password")
    assert wlan.status() == network.STAT_CONNECTING
    time.sleep_ms(30)
    assert wlan.isconnected() and wlan.ifconfig()[0] == LOCAL and len(wlan.config("mac")) == 6
    _host.write("air.json", b'{"up": false}')
    time.sleep_ms(110)
    assert not wlan.isconnected() and wlan.status() == network.STAT_NO_AP_FOUND
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    raises(OSError, sock.sendto, b"x", (LOCAL, 50160))
    _host.write("air.json", b'{"aps": [["home", "other", -60]]}')
    time.sleep_ms(110)
    assert not wlan.isconnected() and wlan.status() == network.STAT_WRONG_PASSWORD
    assert wlan.scan()[0][0] == b"home"
    _host.write("air.json", b"{}")
    time.sleep_ms(110)
    assert wlan.isconnected()
    assert sock.sendto(b"x", (LOCAL, 50160)) == 1
    sock.close()

"""What the agent's loop allocates for each datagram, named and counted; Session's own part is counted in tests/core."""

import asyncio
import gc
import socket

from device.agent import Agent, DeviceConnection
from device.udp import Udp

_MOST_IN = 1900  # of 1280: the datagram as recvfrom gives it, its address, the shim's text of it, two slices
_MOST_OUT = 512  # of a datagram: the view of the buffer, and the shim's sockaddr of a new address


class Owner:
    on_command = None

    def on_tick(self):
        pass


class Identity:
    did = "ABCD-123456-GHKLM"
    flags = nat_class = 0


class Session:
    user = (b"client 1", 1)


class Stream:
    start = next = 0


class Endpoint:
    """Takes all that comes, and has one datagram to send for each."""

    ephemeral = ()
    sessions = ()
    send_start = 8
    dropped = 0

    def __init__(self, addr):
        self.send_addr = addr
        self.taken = 0
        self.due = False

    def receive_datagram(self, buf, size, addr, now):
        self.taken += 1
        self.due = True
        return True

    def write_datagram(self, buf, now):
        due = self.due
        self.due = False
        return 1200 if due else 0

    def next_event(self):
        return None


def allocated(work, *args):
    """Return how many bytes a call allocates."""
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    work(*args)
    after = gc.mem_alloc()
    gc.enable()
    return after - before


def made():
    """Return (agent, its socket, a socket that sends to it)."""
    agent = Agent(Identity(), (2, 16384, 4096), Owner())
    agent.udp = Udp()
    agent.endpoint = Endpoint(("127.0.0.1", 9))
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    return agent, agent.udp, other


def test_dispatching_a_datagram_allocates_nothing():
    agent, udp, _ = made()
    udp.addr = ("127.0.0.1", 9)
    agent._take(udp, 1200)
    assert allocated(agent._take, udp, 1200) == 0
    assert agent.endpoint.taken == 2


def test_flush_without_anything_to_do_allocates_nothing():
    agent, _, _ = made()
    agent.flush()
    assert allocated(agent.flush) == 0


def test_what_is_written_leaves_at_once_or_when_its_writer_waits():
    connection = DeviceConnection(Session(), made()[0])
    flushed = []
    connection.flush = lambda: flushed.append(1)
    stream = Stream()
    connection.on_written(stream)
    assert flushed == [1]
    stream.next = 9  # something is on its way
    connection.on_written(stream)
    assert flushed == [1]

    async def wait():
        for _ in range(2):
            task = asyncio.create_task(connection.changed())
            await asyncio.sleep_ms(0)
            task.cancel()

    asyncio.run(wait())
    assert flushed == [1, 1]


def test_what_the_flush_of_a_waiting_writer_tells_wakes_it():
    connection = DeviceConnection(Session(), made()[0])
    connection.flush = connection.on_change  # a flush delivers events
    connection.is_corked = True
    asyncio.run(asyncio.wait_for(connection.changed(), 1))


def test_receiving_allocates_the_datagram_and_its_address():
    agent, udp, other = made()
    other.sendto(bytes(1200), ("127.0.0.1", udp.port))
    assert udp.receive() == 1200
    other.sendto(bytes(1200), ("127.0.0.1", udp.port))
    used = allocated(udp.receive)
    assert 1200 <= used <= _MOST_IN, used


def test_sending_allocates_a_view():
    agent, udp, _ = made()
    agent._take(udp, 1200)
    agent.flush()
    agent._take(udp, 1200)
    used = allocated(agent.flush)
    assert used <= _MOST_OUT, used


def test_an_empty_socket_costs_an_exception_only():
    _, udp, _ = made()
    udp.receive()
    assert allocated(udp.receive) <= 1600

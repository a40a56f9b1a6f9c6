"""The pump's turns: what it does in one, what it leaves for the next, what may come between."""

import asyncio

from device import agent as module
from device.agent import Agent

LIMITS = (4, 7488, 128)


class Owner:
    on_command = None

    def on_tick(self):
        pass


class Udp:
    """A socket: `inbox` holds how many datagrams wait, `sent` counts those that left."""

    sock = True
    addr = ("192.168.0.9", 40000)

    def __init__(self, inbox=0):
        self.buf = bytearray(64)
        self.inbox = inbox
        self.sent = 0

    def receive(self):
        self.inbox -= 1
        return 60 if self.inbox >= 0 else 0

    def send(self, data, addr):
        self.sent += 1
        return True


class Session:
    connection = None


class Endpoint:
    """Takes datagrams, has an event for each step that took some, and `waiting` datagrams to send."""

    sessions = ()
    send_start = 0
    dropped = 0
    send_addr = Udp.addr

    def __init__(self, seen, waiting=0):
        self.seen = seen
        self.waiting = waiting
        self.session = Session()
        self.has_event = False

    def receive_datagram(self, buf, size, addr, now):
        self.seen.append("in")
        self.has_event = True
        return True

    def next_event(self):
        if self.has_event:
            self.has_event = False
            return self.session, ("event",)
        return None

    def write_datagram(self, buf, now):
        if not self.waiting:
            return 0
        self.waiting -= 1
        self.seen.append("out")
        return 10


def made(waiting=0, inbox=0):
    agent = Agent(None, LIMITS, Owner())
    seen = []
    agent.endpoint = Endpoint(seen, waiting)
    agent.udp = Udp(inbox)
    return agent, seen


class Reader:
    """Has an application's task run at each event, as a Connection does."""

    def __init__(self, agent, seen):
        self.agent = agent
        self.seen = seen

    def on_event(self, event):
        asyncio.create_task(self.read())

    async def read(self):
        self.seen.append("application")
        self.agent.endpoint.waiting += 1


async def read_all(agent):
    """Let the agent's task read what waits, and nothing more."""
    has_come = asyncio.Event()
    has_come.set()

    def readable(sock):
        return has_come.wait()

    real, module.readable = module.readable, readable
    try:
        agent.start_reading()
        await asyncio.sleep_ms(0)
        for _ in range(20):
            if agent.udp.inbox < 0:
                has_come.clear()
            await asyncio.sleep_ms(0)
    finally:
        module.readable = real
        agent.cancel_reading()


def test_application_has_its_turn_between_what_came_and_the_acknowledgements():
    agent, seen = made(waiting=1, inbox=3)
    agent.endpoint.session.connection = Reader(agent, seen)
    asyncio.run(read_all(agent))
    assert seen == ["in", "in", "application", "out", "out", "in", "application", "out"], seen


def test_one_flush_sends_four_datagrams_of_sessions_and_the_next_the_rest():
    agent, seen = made(waiting=6)
    assert agent.flush()
    assert seen.count("out") == agent.udp.sent == 4
    assert not agent.flush()
    assert seen.count("out") == agent.udp.sent == 6


def test_datagrams_to_servers_have_turns_of_their_own():
    agent, seen = made(waiting=2)
    queue = [b"to a master", b"to another"]
    agent.registrar.datagram_to_send = lambda now: queue.pop(0) if queue else None
    agent.registrar.send_address = ("192.0.2.1", 1)
    for sent in (1, 2):
        assert agent.flush() and agent.udp.sent == sent and seen == []
    assert not agent.flush() and agent.udp.sent == 4 and seen == ["out", "out"]


def test_datagrams_after_an_event_count_to_the_four():
    agent, seen = made(waiting=2)
    agent.endpoint.session.connection = Answering(agent)
    agent.endpoint.has_event = True
    assert agent.flush()
    assert agent.udp.sent == 4 and agent.endpoint.waiting == 3


def test_all_is_sent_before_more_is_read():
    agent, seen = made(waiting=9, inbox=7)
    asyncio.run(read_all(agent))
    assert seen == ["in"] * 2 + ["out"] * 9 + ["in"] * 5, seen


def test_what_is_not_authentic_does_not_count_to_the_two_of_a_turn():
    agent, seen = made(waiting=1, inbox=9)
    endpoint = agent.endpoint
    receive = endpoint.receive_datagram

    def forged(*datagram):
        if len(seen) in (1, 3, 4):
            endpoint.dropped += 1
        return receive(*datagram)

    endpoint.receive_datagram = forged
    asyncio.run(read_all(agent))
    assert seen == ["in"] * 3 + ["out"] + ["in"] * 6, seen


def test_what_strangers_send_ends_no_turn_and_what_a_server_sends_does():
    agent, seen = made()
    agent.endpoint.receive_datagram = lambda *datagram: False
    agent.udp.buf = bytearray(b"\x88" + bytes(63))
    assert agent._take(agent.udp, 60) == 0
    agent.registrar.receive_datagram = lambda *datagram: True
    assert agent._take(agent.udp, 60) == 2


def test_collection_that_is_due_has_a_turn_of_its_own_before_more_is_read():
    agent, seen = made(inbox=3)
    agent.endpoint.session.connection = Reader(agent, seen)

    def collect():
        seen.append("collection")
        module.figures[3] = False

    real, module.collect = module.collect, collect
    module.figures[3] = True
    try:
        asyncio.run(read_all(agent))
    finally:
        module.collect = real
    assert seen == ["in", "collection", "application", "out", "in", "in", "application", "out"], seen


class Answering:
    """Has five datagrams to send at an event; that it flushes itself is of no effect then."""

    def __init__(self, agent):
        self.agent = agent

    def on_event(self, event):
        self.agent.endpoint.waiting += 5
        self.agent.flush()


def test_reader_that_is_cancelled_before_it_sends_leaves_it_to_others():
    agent, seen = made(waiting=1, inbox=1)

    async def main():
        agent.endpoint.session.connection = Cancelling(agent)
        await read_all(agent)

    asyncio.run(main())
    assert seen == ["in"] and agent.udp.sent == 0
    agent.flush()
    assert seen == ["in", "out"] and agent.udp.sent == 1


class Cancelling:
    """Ends the reading at an event, as a change of the network does."""

    def __init__(self, agent):
        self.agent = agent

    def on_event(self, event):
        asyncio.create_task(self.cancel())

    async def cancel(self):
        self.agent.cancel_reading()


class Part:
    """A Control that has one event."""

    def __init__(self, event):
        self.event = event

    def next_event(self):
        event, self.event = self.event, None
        return event

    def handle_timer(self, now):
        pass


class Server:
    role = 1
    number = 3
    failures = 0
    source = due = login = None
    address = ("192.168.0.9", 1)

    def __init__(self, control):
        self.control = control


def told(registrar):
    """Return the kinds of events that the registrar has told."""
    kinds = []
    event = registrar.next_event()
    while event:
        kinds.append(event[0])
        event = registrar.next_event()
    return kinds


def test_event_that_needs_the_modules_of_a_login_waits_until_they_may_be_loaded():
    agent, _ = made()
    registrar = agent.registrar
    server = Server(Part(("dead",)))
    registrar.servers.append(server)
    loads = []
    registrar.before_enrol = lambda: loads.append(len(registrar.deferred))
    registrar._take_events(server, 0)
    assert told(registrar) == [] and not loads and len(registrar.deferred) == 1
    registrar.handle_timer(0)
    assert told(registrar) == ["offline"] and loads == [0] and not registrar.deferred


def test_deferred_event_of_a_control_that_is_gone_is_nothing():
    agent, _ = made()
    registrar = agent.registrar
    server = Server(Part(("dead",)))
    registrar.servers.append(server)
    registrar._take_events(server, 0)
    server.control = Part(None)
    registrar.handle_timer(0)
    assert told(registrar) == [] and server.control and server.failures == 0


def test_event_during_a_login_and_one_too_many_are_handled_at_once():
    agent, _ = made()
    registrar = agent.registrar
    server = Server(Part(("dead",)))
    registrar.servers.append(server)
    registrar.busy = 1
    registrar._take_events(server, 0)
    assert told(registrar) == ["offline"]
    registrar.busy = 0
    for number in range(9):
        server.control = Part(("servers", []))
        registrar._take_events(server, number)
    assert len(registrar.deferred) == 8

"""Invites wait for the key pair of their handshake, a few of them, and strangers' cost no handshake."""

import asyncio

from device import heap, loader
from device.agent import Agent
from device.loader import drop_all
from upeer.base.clock import ticks_ms
from upeer.connect import ClientEndpoint, encode_lan_invite
from upeer.crypto.aead import random_bytes
from upeer.handshake.invite import OUT_OF_MEMORY, lan_key, lookup_token, session_psk

DID = "ABCD-123456-GHKLM"
P2P_KEY = b"p2p key of thirty-two bytes long"
KEY_ID = 1
EPOCH = 5
LIMITS = (4, 7488, 128)
LAN = ("192.168.0.9", 40000)
KEYS = [bytes([65 + number]) * 32 for number in range(6)]


class Owner:
    on_command = None

    def on_tick(self):
        pass

    def on_connection(self, connection):
        pass


class Identity:
    did = DID
    setup_code = None
    counters = {}
    p2p_keys = {KEY_ID: P2P_KEY}
    saved_pairs = b"\0" + b"".join([b"client-%d\0" % number + key + b"\0" for number, key in enumerate(KEYS)])


class Wire:
    """Stands for a Control and for the socket: what answers went out."""

    def __init__(self):
        self.answers = []

    def answer_invite(self, invite_id, message):
        self.answers.append((invite_id, message))

    def send(self, data, addr):
        if data[0] == 0x99:
            self.answers.append((bytes(data[4:12]), bytes(data[12:])))
        return True


class Datagram:
    """Stands for the socket that one came in at."""

    def __init__(self, data):
        self.buf, self.addr = bytearray(data), LAN


class Client:
    """A paired client's invitation."""

    def __init__(self, number, key=None, attempt=None):
        self.key = key or KEYS[number]
        self.invite_id = random_bytes(8)
        self.endpoint = ClientEndpoint((4, 65536, 16384, 1200, 30, 10), random_bytes, 0)
        peer = session_psk(self.key, P2P_KEY), DID, b"client-%d" % number
        if attempt:
            peer += (attempt,)
        self.invitation = self.endpoint.invite(KEY_ID, self.invite_id, peer)

    def event(self, wire):
        token = lookup_token(self.key, EPOCH)
        return "invite", wire, self.invite_id, LAN, KEY_ID, token, self.invitation.message

    def lan_invite(self):
        return encode_lan_invite(KEY_ID, self.invite_id, lan_key(self.key), self.invitation.message)

    def status(self, wire):
        """Return the status in the device's answer, None when there is none."""
        for invite_id, message in wire.answers:
            if invite_id == self.invite_id:
                self.invitation.read_answer(message)
                return self.invitation.peer.status
        return None


def made():
    agent = Agent(Identity(), LIMITS, Owner())
    agent.udp = wire = Wire()
    for key in KEYS:
        agent.registrar.tokens += b"".join([lookup_token(key, EPOCH + offset) for offset in (-1, 0, 1)])
    return agent, wire


async def until(is_so):
    """Let the loop run until something is so, for four seconds at most."""
    for _ in range(4000):
        await asyncio.sleep_ms(1)
        if is_so():
            break


def test_invites_that_find_no_key_pair_are_all_answered():
    agent, wire = made()
    clients = [Client(number) for number in range(3)]
    assert not agent.key_pairs

    async def main():
        for client in clients:
            agent._on_event(client.event(wire), 0)
        await until(lambda: len(wire.answers) == 3 and not agent._running)

    asyncio.run(main())
    assert [client.status(wire) for client in clients] == [0, 0, 0]
    assert len(agent.endpoint.sessions) == 3
    drop_all()


def test_three_key_pairs_are_made_ahead_and_each_serves_one_client():
    agent, wire = made()
    clients = [Client(number) for number in range(3)]
    agent.epoch = EPOCH
    agent.registrar.epoch = lambda now: EPOCH

    async def main():
        for _ in range(4):
            agent._plan_work(ticks_ms())
            await until(lambda: not agent._running)
        pairs = list(agent.key_pairs)
        assert len(pairs) == len({pair[0] for pair in pairs}) == 3
        for client in clients:
            agent._on_event(client.event(wire), 0)
        await until(lambda: len(wire.answers) == 3)
        assert agent.key_pairs == [] and agent.endpoint.ephemeral is None
        agent._plan_work(ticks_ms())
        agent._keys_at = ticks_ms()
        agent._plan_work(ticks_ms())
        assert () not in agent._running  # beside sessions there is no room for it
        sessions = list(agent.endpoint.sessions)
        agent.endpoint.sessions.clear()
        agent._plan_work(ticks_ms())
        assert () in agent._running
        agent.endpoint.sessions.extend(sessions)
        await until(lambda: not agent._running)
        assert agent.key_pairs == []  # given up

    asyncio.run(main())
    drop_all()


def test_no_more_than_four_wait_and_a_repetition_waits_once():
    agent, wire = made()
    clients = [Client(number) for number in range(6)]

    async def main():
        for client in clients:
            agent._on_event(client.event(wire), 0)
            agent._on_event(client.event(wire), 0)
        assert len(agent.invites) == 4
        await until(lambda: not agent._running)

    asyncio.run(main())
    drop_all()


def test_repetition_begins_nothing_while_the_handshake_is_under_way():
    agent, wire = made()
    client = Client(0)

    async def main():
        agent._on_event(client.event(wire), 0)
        await until(lambda: agent.endpoint.answers)
        running = len(agent._running)
        agent._on_event(client.event(wire), 0)
        assert agent.invites == [] and len(agent._running) == running
        await until(lambda: wire.answers and not agent._running)
        agent._on_event(client.event(wire), 0)  # now there is an answer to repeat
        await until(lambda: len(wire.answers) == 2 and not agent._running)

    asyncio.run(main())
    assert wire.answers[0] == wire.answers[1] and len(agent.endpoint.sessions) == 1
    drop_all()


def test_lan_invites_leave_room_for_those_of_servers():
    agent, wire = made()

    async def main():
        for number in range(4):
            data = Client(number).lan_invite()
            agent._queue_invite(data[4:12], data, LAN, 2)
        assert len(agent.invites) == 2
        agent._on_event(Client(4).event(wire), 0)
        assert len(agent.invites) == 3
        await until(lambda: not agent._running)

    asyncio.run(main())
    drop_all()


def test_lan_invite_of_a_client_is_answered_and_a_strangers_is_not():
    agent, wire = made()
    friend, stranger = Client(5), Client(5, b"no key of ours, but 32 bytes too")

    async def main():
        for client in (stranger, friend):
            data = client.lan_invite()
            agent._queue_invite(data[4:12], data, LAN, 2)
        await until(lambda: wire.answers and not agent._running)

    asyncio.run(main())
    assert friend.status(wire) == 0 and stranger.status(wire) is None
    assert len(agent.endpoint.sessions) == 1
    drop_all()


def test_lan_invite_for_other_keys_loads_nothing_and_a_short_one_is_no_trouble():
    agent, wire = made()
    invite = Client(5).lan_invite()
    for data in (invite[:1], invite[:2], invite[:2] + bytes((KEY_ID + 1,)) + invite[3:]):
        agent._take(Datagram(data), len(data))
    assert not agent.invites and not agent._running
    agent._take(Datagram(invite), len(invite))
    assert len(agent.invites) == 1
    agent.invites.clear()


def test_session_waits_until_datagrams_that_fill_the_reserve_are_read():
    agent, wire = made()
    client = Client(2)
    real = loader.reserve
    lacking = [0]

    def reserve():
        if lacking[0]:
            lacking[0] -= 1
            return heap.RESERVE - 1
        return heap.RESERVE

    async def main(count):
        agent._on_event(client.event(wire), 0)
        await until(lambda: agent.endpoint.answers)  # its handshake has begun, so that the modules are there
        loader.reserve, lacking[0] = reserve, count
        await until(lambda: wire.answers and not agent._running)

    try:
        asyncio.run(main(5))
        assert client.status(wire) == 0 and not lacking[0]
        wire.answers.clear()
        client = Client(3)
        asyncio.run(main(1 << 20))
        assert client.status(wire) == OUT_OF_MEMORY
    finally:
        loader.reserve = real
        drop_all()


def test_second_invite_of_a_client_waits_for_the_first_ones_handshake():
    agent, wire = made()
    first, second = Client(1), Client(1)

    async def main():
        agent._on_event(first.event(wire), 0)
        agent._on_event(second.event(wire), 0)
        await until(lambda: wire.answers and not agent._running)

    asyncio.run(main())
    assert len(wire.answers) == len(agent.endpoint.sessions) == 1
    drop_all()


def test_invites_of_one_attempt_through_two_masters_make_one_session():
    agent, wire = made()
    first, other = Client(1, attempt=99), Client(1, attempt=99)

    async def main():
        agent._on_event(first.event(wire), 0)
        await until(lambda: wire.answers and not agent._running)
        agent._on_event(other.event(wire), 0)  # it was on its way when the answer was
        await until(lambda: not agent.invites and not agent._running)

    asyncio.run(main())
    assert first.status(wire) == 0 and other.status(wire) is None
    assert len(agent.endpoint.sessions) == 1
    drop_all()


def test_session_without_memory_for_its_connection_is_gone_and_the_repeated_invite_gets_one():
    agent, wire = made()
    client = Client(2)
    connect, agent.connect = agent.connect, no_memory

    async def main():
        agent._on_event(client.event(wire), 0)
        await until(lambda: agent.endpoint.ephemeral and agent._running)
        await until(lambda: not agent._running)
        assert not agent.endpoint.sessions and not agent.endpoint.answers and not wire.answers
        agent.connect = connect
        agent._on_event(client.event(wire), 0)
        await until(lambda: wire.answers and not agent._running)

    asyncio.run(main())
    assert client.status(wire) == 0
    assert len(agent.endpoint.sessions) == 1 and agent.endpoint.sessions[0].connection
    drop_all()


def no_memory(session):
    raise MemoryError

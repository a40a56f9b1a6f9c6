"""A client, a device and the datagrams between them, for tests of the endpoint. Real sessions; the test is the wire."""

from upeer import connect, endpoint
from upeer.base.clock import ticks_add, ticks_diff
from upeer.crypto import x25519
from upeer.handshake import invite
from upeer.session.paths import SRFLX

START = (1 << 30) - 3000
PSK = bytes(range(32))
DID = "ABCD-123456-GHKLM"
CLIENT_ID = b"client01"
CLIENT = ("203.0.113.1", 1000)
DEVICE = ("203.0.113.2", 2000)
SERVER = ("198.51.100.1", 3478)
TAG = b"tag0007"
LIMITS = (2, 4096, 1024, 1200, 30, 6)


class Dice:
    """Numbers that differ from call to call."""

    def __init__(self, seed):
        self.state = seed

    def __call__(self, size):
        data = b""
        while len(data) < size:
            self.state = (self.state * 1103515245 + 12345) & 0x3FFFFFFF
            data += bytes((self.state >> 16 & 255,))
        return data


class World:
    """A client, a device and the datagrams between them."""

    def __init__(self, limits=LIMITS):
        self.now = START
        self.client = connect.ClientEndpoint(limits, Dice(1), START)
        self.device = endpoint.Endpoint(False, limits, Dice(2), START)
        self.client.candidates = [(SRFLX, CLIENT)]
        self.device.candidates = [(SRFLX, DEVICE)]
        self.buf = bytearray(1600)
        self.log = []
        self.count = 0
        self.drop = False
        self.peer = PSK, DID, CLIENT_ID

    def invite(self, **kwargs):
        self.count += 1
        invite_id = b"invite%02d" % self.count
        return invite_id, self.client.invite(1, invite_id, self.peer, **kwargs)

    def handle(self, invite_id, message, source=endpoint.FROM_SERVER, psk=PSK):
        if self.device.ephemeral is None:
            self.device.ephemeral = x25519.key_pair(self.device.random_bytes)
        binding = invite.prologue(1, invite_id, DID, CLIENT_ID)
        return self.device.handle_invite(invite_id, message, lambda: (psk, binding, 1, "owner"), source, self.now)

    def finish(self, responder, status=0):
        shared = x25519.shared_secret(responder.private, responder.peer_public)
        return self.device.finish_invite(responder, shared, status, self.now)

    def connect(self, **kwargs):
        invite_id, invitation = self.invite(**kwargs)
        message, theirs = self.finish(self.handle(invite_id, invitation.message))
        return self.client.start(invitation, message, self.now), theirs

    def run(self, duration=200):
        for _ in range(duration):
            for sender, receiver, addr, target in (
                (self.client, self.device, CLIENT, DEVICE),
                (self.device, self.client, DEVICE, CLIENT),
            ):
                self.transfer(sender, receiver, addr, target)
                deadline = sender.timer()
                if deadline is not None and ticks_diff(deadline, self.now) <= 0:
                    sender.handle_timer(self.now)
            self.now = ticks_add(self.now, 1)

    def transfer(self, sender, receiver, addr, target):
        for _ in range(99):
            size = sender.write_datagram(self.buf, self.now)
            if not size:
                return
            start = sender.send_start
            data = bytearray(self.buf[start : start + size])
            self.log.append((data[0], sender.send_addr))
            if sender.send_addr == target and not self.drop:
                receiver.receive_datagram(data, size, addr, self.now)
        raise AssertionError("it never stops sending")


def events(side):
    found = []
    while True:
        event = side.next_event()
        if event is None:
            return found
        found.append(event)

"""N datagrams of 1200 bytes with stream data, at a device: received, opened, acknowledged, read by the application.

The scripts in `modes` run it: `acknowledge` stops at the acknowledgement, `sender` is what the other side costs:
subtract it.
"""

from upeer.session.session import Session

_KEYS = (b"\x01" * 32, b"\x02" * 32)
_DEVICE = (8424, 64, 1200, 30, 6)  # as of boards/ESP32_GENERIC
_CLIENT = (8424, 64, 1200, 30, 0)


class OnePath:
    """A path that needs no care."""

    kind = 0
    addr = ("192.0.2.1", 4000)
    tag = None
    valid = True
    rtt_ms = 0
    changes = 0
    due = None

    def __init__(self):
        self.active = self

    def on_packet(self, addr, tag, now):
        return self

    def next_probe(self, now):
        return None

    def on_progress(self, now):
        pass


def forget(session):
    """Take what a session has out for delivered, at no cost."""
    session.recovery._first = session.recovery._next
    session.recovery.in_flight = 0


def take(session, incoming):
    """Take what came for read, and the windows for told, at hardly any cost."""
    size = incoming.ready - incoming.start
    incoming.start = incoming.base = incoming.ready
    incoming.limit += size
    session.data_limit += size
    while incoming._blocks:
        session.pool.free.append(incoming._blocks.pop())


SENDER = 0
ACKNOWLEDGE = 1
READ = 2


def main(count, mode):
    sender = Session(True, b"cli", b"dev", _KEYS[0], _KEYS[1], OnePath(), (_CLIENT, _CLIENT), 0)
    device = Session(False, b"dev", b"cli", _KEYS[1], _KEYS[0], OnePath(), (_DEVICE, _CLIENT), 0)
    packet = bytearray(1208)
    view = memoryview(packet)[8:]
    out = bytearray(1208)
    page = bytearray(1200)
    data = bytes(1134)  # what fits one packet
    stream = device.stream(1)
    outgoing = sender.stream(1)
    for now in range(count):
        outgoing.write(data)
        size = sender.write_datagram(packet, now)
        outgoing.on_acked(outgoing.sent_offset, outgoing.sent_length)
        outgoing.limit += len(data)
        sender._credit += len(data)
        forget(sender)
        if mode == SENDER:
            continue
        device.receive_packet(view, size, OnePath.addr, None, now)
        if mode == READ:
            if device.flags:  # as device.agent does: what has changed is taken at once, then the other events
                device.flags = 0
            device.next_event()
            stream.incoming.read_into(page)  # as aio.Channel does
            device.timer()
        else:
            take(device, stream.incoming)
        device.write_datagram(out, now)
        forget(device)
    return device.packets_in

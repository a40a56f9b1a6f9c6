"""The pump: drains in batches, answers on the spot, keeps timers, survives mistakes and hostile datagrams."""

import asyncio
import io
import json
import socket

import pytest

from upeer.base.clock import ticks_add
from upeer_server.log import Log
from upeer_server.pump import Pump, open_udp


class Echo:
    """Answers every datagram; b"fault" raises, b"nowhere" is answered to a port that does not exist."""

    def __init__(self):
        self.out = []
        self.due = None
        self.timer_calls = []

    def receive_datagram(self, data, addr, now):
        if data == b"fault secret":
            raise KeyError(data)
        self.out.append((data, ("127.0.0.1", 0) if data == b"nowhere" else addr))

    def handle_timer(self, now):
        self.timer_calls.append(now)
        self.due = None

    def timer(self):
        return self.due


@pytest.fixture
def echo():
    handler = Echo()
    handler.log = io.StringIO()
    handler.udp = open_udp("127.0.0.1", 0)
    handler.pump = Pump(handler.udp, handler, Log(True, handler.log))
    handler.address = handler.udp.getsockname()
    yield handler
    handler.udp.close()


def _run(handler, datagrams):
    """Pump while datagrams are sent, until all are received and for a moment more; return what came back."""

    async def body():
        handler.pump.start()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            for data in datagrams:
                client.sendto(data, handler.address)
            while handler.pump.counters["received"] + handler.pump.counters["faults"] < len(datagrams):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            return _received(client)

    return asyncio.run(body())


def _received(client):
    back = []
    try:
        while True:
            back.append(client.recv(2048))
    except BlockingIOError:
        return back


def test_answers_a_burst_larger_than_a_batch(echo):
    sent = [b"%d" % number for number in range(600)]
    back = _run(echo, sent)
    assert back == sent[: len(back)] and len(back) >= 200  # the client's own buffer may be small
    assert echo.pump.counters == {"received": 600, "sent": 600, "not_sent": 0, "faults": 0}


def test_zero_length_datagram_is_nothing_special(echo):
    assert _run(echo, [b"", b"after"]) == [b"", b"after"]


def test_fault_is_counted_and_logged_without_data(echo):
    assert _run(echo, [b"fault secret", b"after"]) == [b"after"]
    assert echo.pump.counters["faults"] == 1
    line = json.loads(echo.log.getvalue())
    assert (line["event"], line["kind"]) == ("fault", "KeyError") and "secret" not in echo.log.getvalue()


def test_answer_that_cannot_be_sent_is_counted(echo):
    assert _run(echo, [b"nowhere", b"after"]) == [b"after"]
    assert echo.pump.counters["not_sent"] == 1


def test_timer_fires_after_a_datagram_set_it(echo):
    from upeer.base.clock import ticks_ms

    echo.due = ticks_add(ticks_ms(), 30)
    _run(echo, [b"x"])
    assert len(echo.timer_calls) == 1


def test_flood_leaves_time_for_others(echo):
    async def body():
        echo.pump.start()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for _ in range(2000):
                client.sendto(b"x" * 100, echo.address)
            before = echo.pump.counters["received"]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return echo.pump.counters["received"] - before

    assert 0 < asyncio.run(body()) <= 512


def test_log_lines_hold_no_bytes():
    stream = io.StringIO()
    Log(False, stream)("event", key=b"planted secret", text="two words\nand a line")
    assert "planted" not in stream.getvalue() and "<14 bytes>" in stream.getvalue()
    assert stream.getvalue().count("\n") == 1

"""The way to the MES: every row once and in order, over refusals, crashes of either side, and lost answers."""

import http.server
import json
import threading

import pytest
from factory_lab import mac_of

from upeer_factory.errors import FactoryError
from upeer_factory.pool import audit
from upeer_factory.records import outbox
from upeer_factory.records.outbox import Outbox


class Mes:
    """An MES on a thread: keeps rows by Idempotency-Key; `answers` are the next status codes, 0 hangs up."""

    def __init__(self):
        mes = self
        self.rows, self.order, self.answers, self.headers, self.asked = {}, [], [], [], 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                mes.asked += 1
                mes.headers.append(dict(self.headers))
                status = mes.answers.pop(0) if mes.answers else 204
                if status in (0, 204):
                    mes.take(self.headers["Idempotency-Key"], body)
                if status == 0:
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/records?line=1"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def take(self, key, body):
        if key not in self.rows:
            self.rows[key] = body
            self.order.append(body["number"])

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def mes():
    made = Mes()
    yield made
    made.stop()


@pytest.fixture
def line(factory):
    """A pool with seven rows."""
    for number in range(5):
        factory.pool.reserve(mac_of(number))
    return factory


def test_every_row_arrives_once_in_order(line, mes):
    assert Outbox(line.pool, mes.url).push().sent == 7
    assert mes.order == list(range(1, 8))
    assert list(mes.rows.values()) == list(audit.entries(line.pool.database))
    assert Outbox(line.pool, mes.url).push().sent == 0
    line.pool.note("failed", mac=mac_of(9), error="E25")
    done = Outbox(line.pool, mes.url, "token").push()
    assert (done.sent, done.waiting) == (1, 0)
    assert mes.headers[-1]["Authorization"] == "Bearer token"
    assert mes.headers[-1]["Idempotency-Key"] == mes.rows[mes.headers[-1]["Idempotency-Key"]]["hash"]


def test_failure_waits_and_goes_on_where_it_was(line, mes):
    mes.answers = [204, 204, 503]
    first = Outbox(line.pool, mes.url).push(random_number=lambda: 0.0)
    assert (first.sent, first.waiting, first.wait_s) == (2, 5, 0.5)
    assert "answers 503" in first.error
    held = Outbox(line.pool, mes.url).push(respect_wait=True)
    assert (held.sent, mes.asked) == (0, 3)
    assert Outbox(line.open(), mes.url).push().sent == 5
    assert mes.order == list(range(1, 8))


def test_lost_answer_costs_a_repeat_that_the_mes_knows_again(line, mes):
    mes.answers = [204, 0]
    assert Outbox(line.pool, mes.url).push().sent == 1
    assert Outbox(line.pool, mes.url).push().sent == 6
    assert mes.asked == 8 and mes.order == list(range(1, 8))


def test_refused_row_is_parked_and_may_be_sent_later(line, mes):
    mes.answers = [204, 422, 204]
    box = Outbox(line.pool, mes.url)
    done = box.push()
    assert (done.sent, done.parked, done.waiting) == (6, 1, 0)
    assert box.parked() == [(2, "127.0.0.1 answers 422")]
    mes.answers = [400]
    assert box.retry_parked().parked == 1
    assert box.retry_parked().sent == 1
    assert box.parked() == [] and sorted(mes.order) == list(range(1, 8))


def test_parking_is_bounded(line, mes, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_PARKED", 2)
    mes.answers = [400] * 7
    with pytest.raises(FactoryError, match="has refused 2 records"):
        Outbox(line.pool, mes.url).push()
    assert len(Outbox(line.pool, mes.url).parked()) == 2


def test_mes_that_is_gone_backs_off_longer_each_time(line, mes):
    url = mes.url
    mes.stop()
    waits = []
    for _ in range(4):
        done = Outbox(line.pool, url).push(random_number=lambda: 1.0)
        waits.append(done.wait_s)
    assert waits == [1.0, 2.0, 4.0, 8.0]
    assert "does not answer" in done.error


def test_back_off_has_jitter_and_an_end():
    assert outbox.back_off(1, 0.0) == 0.5 and outbox.back_off(1, 1.0) == 1.0
    assert outbox.back_off(50, 1.0) == 300.0


@pytest.mark.parametrize("url", ["ftp://mes/", "http://user:secret@mes/", "mes", "http:///x"])
def test_address_that_is_none_is_refused(factory, url):
    with pytest.raises(FactoryError, match="no address") as caught:
        Outbox(factory.pool, url)
    assert "secret" not in str(caught.value)


def test_token_goes_over_https_only(factory):
    with pytest.raises(FactoryError, match="read by everybody"):
        Outbox(factory.pool, "http://mes.example/", "token")

"""The admin listener and its question: sealed both ways, one reason for every failure."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from upeer_server import admin
from upeer_server.admin import AdminError, AdminListener, ask

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))


def _handler(request):
    if request["op"] == "fail":
        raise ValueError("no such device")
    return {"echo": request, "text": "x" * request.get("size", 0)}


def _with_listener(question, key=KEY):
    """Run question(address) in a thread while a listener serves; return its result and what was logged."""
    logged = []

    async def body():
        listener = AdminListener(key, _handler, lambda event, **fields: logged.append(event))
        address = await listener.start()
        with ThreadPoolExecutor(1) as pool:
            result = await asyncio.get_running_loop().run_in_executor(pool, question, address)
        await listener.stop()
        return result

    return asyncio.run(body()), logged


def test_ask_round_trip():
    answer, _ = _with_listener(lambda address: ask(address, KEY, {"op": "x", "size": 3_000_000}))
    assert answer["echo"] == {"op": "x", "size": 3_000_000} and len(answer["text"]) == 3_000_000


def test_ask_refused_order_was_reached():
    def question(address):
        with pytest.raises(AdminError, match="no such device") as caught:
            ask(address, KEY, {"op": "fail"})
        return caught.value.reached

    assert _with_listener(question)[0] is True


def test_ask_malformed_order_is_refused():
    def question(address):
        with pytest.raises(AdminError) as caught:
            ask(address, KEY, {})
        return caught.value.reached

    assert _with_listener(question)[0] is True


def test_ask_wrong_key():
    def question(address):
        with pytest.raises(AdminError, match="no authentic answer") as caught:
            ask(address, OTHER_KEY, {"op": "x"})
        return caught.value.reached

    reached, logged = _with_listener(question)
    assert reached is False and logged == ["admin refused"]


def test_ask_nobody_there():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(AdminError, match="is not running"):
            ask(taken.getsockname(), KEY, {"op": "x"})


def test_ask_a_silent_listener_ends():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(AdminError, match="no authentic answer"):
            ask(silent.getsockname(), KEY, {"op": "x"}, timeout_s=0.2)


def test_listener_drops_slow_and_oversized_requests(monkeypatch):
    monkeypatch.setattr(admin, "_REQUEST_TIME_OUT_S", 0.2)

    def question(address):
        results = []
        for first in (b"", b"\0\0\0\x20abc", b"\xff\xff\xff\xff" + bytes(64), b"\0\0\0\x05hello"):
            with socket.create_connection(address, 5) as connection:
                connection.sendall(first)
                results.append(_all(connection))
        return results

    results, logged = _with_listener(question)
    assert [len(result) for result in results] == [16] * 4
    assert logged == ["admin refused"] * 4


def _all(connection):
    data = b""
    try:
        while part := connection.recv(4096):
            data += part
    except ConnectionResetError:
        pass
    return data

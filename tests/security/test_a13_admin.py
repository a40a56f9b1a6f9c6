"""A13: orders need the admin key, on a listener of their own; what was recorded serves nobody."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from upeer.crypto.aead import Aead, derive
from upeer_server.admin import AdminError, AdminListener, ask

KEY = bytes(range(32))


def _with_listener(question):
    """Run question(address) in a thread while a listener serves; return its result and the orders that came through."""
    orders = []

    def handler(request):
        orders.append(request)
        return {"secret": "planted answer"}

    async def body():
        listener = AdminListener(KEY, handler, lambda *_args, **_fields: None)
        address = await listener.start()
        with ThreadPoolExecutor(4) as pool:
            result = await asyncio.get_running_loop().run_in_executor(pool, question, address)
        await listener.stop()
        return result

    return asyncio.run(body()), orders


def _talk(address, make_body):
    """Answer the server's nonce with make_body(nonce); return what follows."""
    with socket.create_connection(address, 5) as connection:
        nonce = connection.recv(16, socket.MSG_WAITALL)
        body = make_body(nonce)
        connection.sendall(len(body).to_bytes(4, "big") + body)
        try:
            return connection.recv(65536)
        except ConnectionResetError:
            return b""


class _Recorder:
    """A man in the middle that writes down both directions of one exchange."""

    def __init__(self, upstream):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(60)
        self.address = self.listener.getsockname()
        self.upstream = upstream
        self.request = self.answer = b""

    def run(self):
        client, _ = self.listener.accept()
        with client, socket.create_connection(self.upstream, 60) as server:
            client.sendall(server.recv(16, socket.MSG_WAITALL))
            head = client.recv(4, socket.MSG_WAITALL)
            self.request = client.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
            server.sendall(head + self.request)
            while part := server.recv(65536):
                self.answer += part
                client.sendall(part)
        self.listener.close()


def test_listens_on_loopback_unless_told_otherwise():
    address, _ = _with_listener(lambda address: address)
    assert address[0] == "127.0.0.1"


def test_stranger_gets_a_nonce_and_nothing_else():
    def question(address):
        nonces = set()
        for _ in range(5):
            with socket.create_connection(address, 5) as connection:
                nonces.add(connection.recv(4096))
        return nonces, [_talk(address, lambda nonce, size=size: bytes(size)) for size in (17, 64, 100)]

    (nonces, answers), orders = _with_listener(question)
    assert len(nonces) == 5 and all(len(nonce) == 16 for nonce in nonces)
    assert answers == [b""] * 3 and orders == []


def test_wrong_key_orders_nothing():
    def question(address):
        with pytest.raises(AdminError):
            ask(address, derive(KEY, b"other"), {"op": "revoke", "did": "x"})

    assert _with_listener(question)[1] == []


def test_recorded_request_does_not_serve_again():
    def question(address):
        recorder = _Recorder(address)
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(recorder.run)
            assert ask(recorder.address, KEY, {"op": "revoke", "did": "x"}) == {"secret": "planted answer"}
            running.result(5)
        assert b"planted" not in recorder.answer and b"revoke" not in recorder.request
        return _talk(address, lambda nonce: recorder.request)

    answer, orders = _with_listener(question)
    assert answer == b"" and len(orders) == 1


def test_changed_request_is_refused():
    def question(address):
        def body(nonce):
            sealed = Aead(derive(KEY, b"admin request", nonce, bytes(16))).seal(0, b'{"op": "status"}')
            return bytes(16) + sealed[:-1] + bytes([sealed[-1] ^ 1])

        return _talk(address, body)

    assert _with_listener(question) == (b"", [])


def test_rogue_listener_learns_nothing_and_is_not_believed():
    """A program that took the port of a killed server cannot pose as it, and gets no request it could open."""
    with socket.create_server(("127.0.0.1", 0)) as rogue, ThreadPoolExecutor(1) as pool:

        def serve():
            connection, _ = rogue.accept()
            with connection:
                connection.sendall(bytes(16))
                request = connection.recv(65536)
                connection.sendall(b"\0\0\0\x40" + bytes(64))
                return request

        running = pool.submit(serve)
        with pytest.raises(AdminError, match="no authentic answer"):
            ask(rogue.getsockname(), KEY, {"op": "revoke", "did": "planted"})
        request = running.result(5)
    assert b"planted" not in request and KEY not in request

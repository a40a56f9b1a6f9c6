"""Pushes the records to an MES by HTTP: one POST per audit row, in order, until it says 2xx.

The outbox is the audit itself and, per URL, how far the MES has it: so it survives whatever the pool survives, takes no
room of its own and misses nothing. What may come twice (an answer lost on the way) carries the same Idempotency-Key,
the row's hash. A row that the MES refuses for good (4xx but 408, 425, 429) is parked with the reason, at most
MAX_PARKED of them; everything else waits and is tried again after a time that doubles, with jitter.
"""

import http.client
import json
import random
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from upeer_factory.errors import MES, FactoryError
from upeer_factory.pool import audit
from upeer_factory.pool.pool import Pool

MAX_PARKED = 1000
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 300.0
_TIME_OUT_S = 15
_SAVE_EVERY = 20
_LATER = (408, 425, 429)


@dataclass(frozen=True)
class Pushed:
    """How one `push` went: rows accepted and parked, rows still to go, why it stopped and for how long to wait."""

    sent: int
    parked: int
    waiting: int
    error: str = ""
    wait_s: float = 0.0


class Outbox:
    """The way to one MES. `token`, if any, goes into the Authorization header."""

    def __init__(self, pool: Pool, url: str, token: str | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise FactoryError(MES, f"{parts.hostname or 'this'} is no address of an MES", "give http(s)://HOST/PATH")
        if token and parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise FactoryError(MES, "a token over http can be read by everybody", "give an https:// address")
        self._pool = pool
        self._url = url
        self._parts = parts
        self._token = token
        self._line: http.client.HTTPConnection | None = None
        pool.database.run(
            lambda tx: tx.change("INSERT INTO outbox VALUES (?, 0, 0, 0) ON CONFLICT (url) DO NOTHING", url)
        )

    def push(self, respect_wait: bool = False, random_number: Callable[[], float] = random.random) -> Pushed:
        """Send what is waiting until all is sent or the MES fails; with respect_wait nothing before its time."""
        delivered, attempts, next_ms = self._position()
        left_s = next_ms / 1000 - time.time()
        if respect_wait and left_s > 0:
            return Pushed(0, 0, self._waiting(delivered), "waiting after a failure", round(left_s, 3))
        sent = parked = 0
        error = ""
        for entry in audit.entries(self._pool.database, delivered):
            error, is_final = self._post(entry)
            if error and not is_final:
                break
            if error:
                self._park(entry["number"], error)
                parked += 1
            else:
                sent += 1
            delivered, error = entry["number"], ""
            if (sent + parked) % _SAVE_EVERY == 0:
                self._save(delivered, 0, 0)
        attempts = attempts + 1 if error and not sent + parked else 1 if error else 0
        wait_s = back_off(attempts, random_number()) if error else 0.0
        self._save(delivered, attempts, int((time.time() + wait_s) * 1000) if error else 0)
        self._close()
        return Pushed(sent, parked, self._waiting(delivered), error, round(wait_s, 3))

    def parked(self) -> list[tuple[int, str]]:
        """Return (row number, reason) of what the MES refused."""
        query = "SELECT number, reason FROM parked WHERE url = ? ORDER BY number"
        found = self._pool.database.run(lambda tx: tx.rows(query, self._url))
        return [(row[0], row[1]) for row in found]

    def retry_parked(self) -> Pushed:
        """Send what was parked once more; what is refused again stays."""
        sent, error = 0, ""
        for number, _reason in self.parked():
            entry = next(audit.entries(self._pool.database, number - 1))
            error, is_final = self._post(entry)
            if error and not is_final:
                break
            if not error:
                self._unpark(number)
                sent += 1
        self._close()
        return Pushed(sent, len(self.parked()), self._waiting(self._position()[0]), error)

    def _position(self) -> tuple[int, int, int]:
        query = "SELECT delivered, attempts, next_ms FROM outbox WHERE url = ?"
        found = self._pool.database.run(lambda tx: tx.row(query, self._url))
        assert found is not None
        return found[0], found[1], found[2]

    def _waiting(self, delivered: int) -> int:
        return self._pool.status().audit_rows - delivered

    def _save(self, delivered: int, attempts: int, next_ms: int) -> None:
        """Move on, never back: another pusher may be ahead."""
        statement = "UPDATE outbox SET delivered = ?, attempts = ?, next_ms = ? WHERE url = ? AND delivered <= ?"
        self._pool.database.run(lambda tx: tx.change(statement, delivered, attempts, next_ms, self._url, delivered))

    def _park(self, number: int, reason: str) -> None:
        if len(self.parked()) >= MAX_PARKED:
            hint = "make the MES take them, then 'upeer audit push --retry-parked'"
            raise FactoryError(MES, f"the MES has refused {MAX_PARKED} records; the last: {reason}", hint)
        statement = "INSERT INTO parked VALUES (?, ?, ?) ON CONFLICT (url, number) DO NOTHING"
        self._pool.database.run(lambda tx: tx.change(statement, self._url, number, reason))

    def _unpark(self, number: int) -> None:
        statement = "DELETE FROM parked WHERE url = ? AND number = ?"
        self._pool.database.run(lambda tx: tx.change(statement, self._url, number))

    def _post(self, entry: dict[str, Any]) -> tuple[str, bool]:
        """Send one row; return (what is wrong or "", whether it is so for good)."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": entry["hash"], "User-Agent": "upeer"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        path = self._parts.path or "/"
        path += f"?{self._parts.query}" if self._parts.query else ""
        try:
            line = self._connected()
            line.request("POST", path, json.dumps(entry, sort_keys=True).encode(), headers)
            answer = line.getresponse()
            answer.read(65536)
            if answer.will_close or answer.length:
                self._close()
        except (OSError, http.client.HTTPException) as error:
            self._close()
            return f"{self._parts.hostname} does not answer ({type(error).__name__})", False
        if 200 <= answer.status < 300:
            return "", False
        is_final = 400 <= answer.status < 500 and answer.status not in _LATER
        return f"{self._parts.hostname} answers {answer.status}", is_final

    def _connected(self) -> http.client.HTTPConnection:
        if self._line is None:
            kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
            self._line = kind(self._parts.hostname or "", self._parts.port, timeout=_TIME_OUT_S)
        return self._line

    def _close(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line = None


def back_off(attempts: int, random_number: float) -> float:
    """Return the seconds to wait after so many failures in a row: 1, 2, 4 ... 300, of which half is jitter."""
    longest = min(_FIRST_WAIT_S * 2 ** min(attempts - 1, 16), _LONGEST_WAIT_S)
    return float(longest / 2 + random_number * longest / 2)

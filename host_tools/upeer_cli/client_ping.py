"""`upeer ping`: round trips of a small command through the whole session, with the figures of ping(8)."""

import asyncio
import math
import time
from typing import Any

import click

from upeer_client.connection import Connection
from upeer_client.errors import ClientError

_WAIT_S = 5.0


class Pings:
    """Sends and measures."""

    def __init__(self, connection: Connection, quiet: bool) -> None:
        self.sent = 0
        self.times_ms: list[float] = []
        self._connection = connection
        self._quiet = quiet

    async def run(self, count: int, interval: float) -> None:
        """Ping so many times; ends early when the connection does."""
        for number in range(1, count + 1):
            started = time.monotonic()
            if not await self._one(number):
                return
            if number < count:
                await asyncio.sleep(max(0.0, started + interval - time.monotonic()))

    async def _one(self, number: int) -> bool:
        self.sent += 1
        started = time.perf_counter()
        try:
            async with asyncio.timeout(_WAIT_S):
                await self._connection.command("ping")
        except TimeoutError:
            self._say(f"{self._connection.did}: no answer to {number}")
            return True
        except ClientError as error:
            if not self.times_ms:
                raise
            self._say(str(error))
            return False
        passed = (time.perf_counter() - started) * 1000
        self.times_ms.append(passed)
        path = self._connection.path
        self._say(f"{self._connection.did}: seq={number} {path['kind']} time={passed:.1f} ms")
        return True

    def data(self) -> dict[str, Any]:
        """Return the figures, times in ms."""
        data: dict[str, Any] = {"did": self._connection.did, "path": self._connection.path["kind"]}
        data |= {"sent": self.sent, "received": len(self.times_ms), "loss_percent": self._loss()}
        if self.times_ms:
            low, mean, high, spread = self._figures()
            data |= {"min_ms": low, "avg_ms": mean, "max_ms": high, "mdev_ms": spread}
        return data

    def summary(self) -> list[str]:
        """Return the last lines, as ping(8) prints them."""
        lines = [f"{self.sent} sent, {len(self.times_ms)} answered, {self._loss():.0f}% lost"]
        if self.times_ms:
            figures = "/".join(f"{value:.1f}" for value in self._figures())
            lines.append(f"rtt min/avg/max/mdev = {figures} ms")
        return lines

    def _loss(self) -> float:
        return 100.0 * (self.sent - len(self.times_ms)) / self.sent if self.sent else 0.0

    def _figures(self) -> tuple[float, float, float, float]:
        times = self.times_ms
        mean = sum(times) / len(times)
        spread = math.sqrt(sum((value - mean) ** 2 for value in times) / len(times))
        return min(times), mean, max(times), spread

    def _say(self, text: str) -> None:
        if not self._quiet:
            click.echo(text)

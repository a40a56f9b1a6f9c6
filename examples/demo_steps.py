"""The steps of the demo, and the table of what became of them."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass
class Step:
    """One row: what was shown, the requirement, whether it held, what was seen, seconds."""

    name: str
    rows: str
    held: bool
    text: str
    seconds: float


class Steps:
    """Runs steps; the first that fails does not keep the others from running, unless they need it."""

    def __init__(self) -> None:
        self.done: list[Step] = []

    @property
    def held(self) -> bool:
        """Whether every step so far held, and there was one."""
        return bool(self.done) and all(step.held for step in self.done)

    def call(self, name: str, rows: str, action: Callable[[], str]) -> None:
        """Run a step that everything after it needs: what it raises ends the demo."""
        start = time.perf_counter()
        try:
            text = action()
        except BaseException as error:
            self._add(Step(name, rows, False, str(error), time.perf_counter() - start))
            raise
        self._add(Step(name, rows, True, text, time.perf_counter() - start))

    async def run(self, name: str, rows: str, action: Awaitable[str]) -> None:
        """Run a step and note how it went."""
        start = time.perf_counter()
        try:
            text, held = await action, True
        except Exception as error:  # noqa: BLE001 - a step's top: the table tells
            text, held = f"{type(error).__name__}: {error}", False
        self._add(Step(name, rows, held, text, time.perf_counter() - start))

    def _add(self, step: Step) -> None:
        self.done.append(step)
        print(f"{'ok  ' if step.held else 'FAIL'} {step.name}: {step.text}", flush=True)

    def table(self) -> str:
        """Return everything as one table."""
        widths = [max(len(getattr(step, key)) for step in self.done) for key in ("name", "rows", "text")]
        line = "+".join(["", *("-" * (width + 2) for width in (4, *widths, 6)), ""])
        rows = [line]
        for step in self.done:
            mark = "held" if step.held else "FAIL"
            cells = (mark, step.name.ljust(widths[0]), step.rows.ljust(widths[1]), step.text.ljust(widths[2]))
            rows.append("| " + " | ".join(cells) + f" | {step.seconds:4.1f} s |")
        return "\n" + "\n".join([*rows, line])

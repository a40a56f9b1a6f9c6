"""Many boards at once: a thread and an esptool process per port, one outcome per board, nothing left on Ctrl-C."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from upeer_factory.flash.faults import Fault
from upeer_factory.flash.flash import Flasher, FlashResult, OnProgress


@dataclass(frozen=True)
class Outcome:
    """What became of one board: a result or a fault."""

    port: str
    result: FlashResult | None = None
    fault: Fault | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return one board's row of the JSON report."""
        if self.result is not None:
            return {"ok": True, **self.result.as_dict()}
        assert self.fault is not None
        return {"ok": False, "port": self.port, "error": self.fault.as_dict()}


def flash_many(flasher: Flasher, ports: list[str], on_progress: OnProgress, cancel: threading.Event) -> list[Outcome]:
    """Flash the boards at all ports at once; a set `cancel`, or KeyboardInterrupt, ends every process first."""
    outcomes: dict[str, Outcome] = {}
    failures: list[BaseException] = []

    def work(port: str) -> None:
        try:
            outcomes[port] = Outcome(port, result=flasher.flash(port, on_progress, cancel))
        except Fault as fault:
            outcomes[port] = Outcome(port, fault=fault)
        except BaseException as error:  # noqa: BLE001 - a thread's top: it is raised again in the caller's thread
            failures.append(error)
            cancel.set()

    threads = [threading.Thread(target=work, args=(port,), name=f"flash {port}") for port in ports]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.1)
    finally:
        if any(thread.is_alive() for thread in threads):
            cancel.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
    if failures:
        raise failures[0]
    return [outcomes[port] for port in ports]

"""What the host asks a board to prove, and how it checks the answer (firmware/device/prove.py, selftest.py)."""

import json
import secrets
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any

from upeer.crypto.aead import Hmac, derive
from upeer_factory.errors import NO_FIRMWARE, NO_PROOF, SELFTEST, SWAPPED, FactoryError

NONCE_SIZE = 32


@dataclass(frozen=True)
class SelfTest:
    """A signed result: `rows` is {test: (good, figure)}; `text`, `nonce` and `tag` let the office check it again."""

    good: bool
    rows: dict[str, tuple[bool, Any]]
    text: str = field(repr=False)
    nonce: str = field(repr=False)
    tag: str = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return what the audit row says."""
        return {"result": self.text, "nonce": self.nonce, "tag": self.tag}

    def lists(self) -> dict[str, list[Any]]:
        """Return the rows as JSON has them."""
        return {name: list(row) for name, row in self.rows.items()}

    @property
    def failed(self) -> list[str]:
        return [name for name, (good, _figure) in self.rows.items() if not good]


def new_nonce() -> bytes:
    """Return a nonce for one question."""
    return secrets.token_bytes(NONCE_SIZE)


def check_proof(answer: dict[str, Any], nonce: bytes, mac: str, did: str, licence_key: bytes) -> None:
    """Raise FactoryError unless the board with this MAC holds this licence."""
    _refuse_error(answer)
    if answer.get("mac") != mac.replace(":", ""):
        raise FactoryError(SWAPPED, f"another board answers: {_mac(answer)} instead of {mac}")
    if answer.get("did") != did:
        raise FactoryError(NO_PROOF, f"board {mac} holds another licence than {did}")
    expected = Hmac(derive(licence_key, b"factory proof")).digest(nonce, bytes.fromhex(answer["mac"]), did.encode())
    if not compare_digest(expected.hex().encode(), str(answer.get("tag")).encode()):
        raise FactoryError(NO_PROOF, f"board {mac} cannot prove that it holds {did}")
    if answer.get("faults"):
        raise FactoryError(NO_PROOF, f"board {mac}: {str(answer['faults'][0])[:80]}")


def check_selftest(answer: dict[str, Any], nonce: bytes, mac: str, licence_key: bytes) -> SelfTest:
    """Return a board's result once its signature fits; FactoryError when it is not this board's."""
    _refuse_error(answer)
    text = str(answer.get("result"))
    expected = Hmac(derive(licence_key, b"factory selftest")).digest(nonce, text.encode())
    if not compare_digest(expected.hex().encode(), str(answer.get("tag")).encode()):
        raise FactoryError(SELFTEST, f"the test result of board {mac} is not signed by its licence", "run it again")
    result = json.loads(text)
    if result.get("mac") != mac.replace(":", ""):
        raise FactoryError(SWAPPED, f"another board answers: {_mac(result)} instead of {mac}")
    rows = {name: (bool(row[0]), row[1]) for name, row in result.items() if isinstance(row, list) and len(row) == 2}
    return SelfTest(bool(result.get("ok")), rows, text, nonce.hex(), str(answer["tag"]))


def _refuse_error(answer: dict[str, Any]) -> None:
    if "error" in answer:
        text = str(answer["error"])
        if "no licence" in text:
            raise FactoryError(NO_PROOF, "the board does not find its licence")
        raise FactoryError(NO_FIRMWARE, text[:160])


def _mac(answer: dict[str, Any]) -> str:
    text = str(answer.get("mac", ""))[:12]
    return ":".join(text[at : at + 2] for at in range(0, len(text), 2))

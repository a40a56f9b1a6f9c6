"""What the ways to one device share: a device makes one session of all invites of an attempt."""

from upeer.base.clock import ticks_ms
from upeer.connect import ALL, ClientEndpoint
from upeer.crypto.aead import random_bytes
from upeer_client.calls import Caller, Peer, Platform

_KEY = bytes(range(32))


def _caller(endpoint: ClientEndpoint) -> Caller:
    peer = Peer("ABCD-123456-GHKLM", b"client01", _KEY)
    return Caller(endpoint, Platform(1, _KEY, ()), peer, ALL, 2900, random_bytes, {})


def test_invitations_of_one_attempt_have_one_connection_id_and_those_of_two_have_two() -> None:
    endpoint = ClientEndpoint((2, 4096, 1024, 1200, 30, 0), random_bytes, ticks_ms())
    one, other = _caller(endpoint), _caller(endpoint)
    invitations = [one.invite(b"invite01", []), one.invite(b"invite02", []), other.invite(b"invite03", [])]
    numbers = [invitation.params.connection_id for invitation in invitations]
    assert numbers[0] == numbers[1] != numbers[2]
    assert len({invitation.message[:32] for invitation in invitations}) == 3  # a key pair serves one handshake

"""The p2p server: devices log in by a master's ticket; invites pass from clients to them (protocol, 4.2 and 5.2)."""

from typing import Any

from upeer.base.errors import ProtocolError
from upeer.base.wire import INVITE, INVITE_ANSWER, ROLE_P2P, Reader, header, pack_address
from upeer.crypto.aead import Aead, check_key
from upeer.signalling.control import INVITE as INVITE_KIND
from upeer.signalling.lookup import DEVICE_GONE
from upeer_server.config import ServerEntry
from upeer_server.cookie import Address
from upeer_server.hub import Hub
from upeer_server.registrar import LoginRequest, Registrar
from upeer_server.session import Session
from upeer_server.stun_server import StunServer
from upeer_server.tickets import (
    CLIENT_TICKET_LIFE_S,
    DEVICE_TICKET_LIFE_S,
    ClientTicket,
    DeviceTicket,
    open_client_ticket,
    open_device_ticket,
)

MAX_FORWARDS = 8
MAX_INVITES = 4096

_MAX_INVITE = 1200
_MAX_EPOCHS = 400_000
_MAX_REVOKED = 65536
_NO_DID = "????-??????-?????"
_REVOKED_MS = (DEVICE_TICKET_LIFE_S + 60) * 1000


class _Invite:
    """One client's invite: what it sent, where it is, and the one answer it gets."""

    def __init__(self, data: bytes, address: Address, ticket: ClientTicket, message: bytes) -> None:
        self.data = data
        self.address = address
        self.aead = Aead(ticket.client_key)
        self.token = ticket.lookup_token
        self.expiry = ticket.expiry
        self.message = message
        self.session: Session | None = None
        self.answer: bytes | None = None
        self.datagrams_left = MAX_FORWARDS


class P2p(Registrar):
    """One p2p server; `entry` holds the key of its tickets."""

    role = ROLE_P2P

    def __init__(self, entry: ServerEntry, hub: Hub, **options: Any) -> None:
        super().__init__(hub, **options)
        check_key(entry.ticket_key)
        self.entry = entry
        self.stun = StunServer(hub)
        self.invites = 0
        self.answers = 0
        self._ticket_aead = Aead(entry.ticket_key)
        self._invites: dict[bytes, _Invite] = {}
        self._epochs: dict[str, int] = {}
        self._revoked: dict[str, int] = {}

    def status(self) -> dict[str, Any]:
        """Return counts and alerts."""
        counts = {"invites": self.invites, "answers": self.answers, "stun": self.stun.answered}
        return super().status() | counts

    # Login

    def find_login_key(self, request: LoginRequest) -> tuple[str, bytes | None, int]:
        """Take the key out of the ticket. Tickets from before a newer login, or of revoked devices, are none."""
        try:
            ticket = open_device_ticket(self._ticket_aead, request.ticket, self.hub.unix)
            did = ticket.did.decode("ascii")
        except (ProtocolError, ValueError):
            ticket, did = DeviceTicket(0, b"", 1 << 32, b""), _NO_DID
        is_good = request.epoch >= ticket.epoch and not request.did and not self._is_revoked(did)
        return did, ticket.login_key if is_good else None, self._epochs.get(did, 0)

    def record_epoch(self, did: str, epoch: int) -> None:
        """Remember an epoch; older ones of this device no longer serve."""
        self._epochs.pop(did, None)
        if len(self._epochs) >= _MAX_EPOCHS:
            del self._epochs[next(iter(self._epochs))]
        self._epochs[did] = epoch

    def revoke(self, did: str) -> bool:
        """End a device's session at once; its tickets no longer serve. True when there was a session."""
        self._revoked.pop(did, None)
        if len(self._revoked) >= _MAX_REVOKED:
            del self._revoked[next(iter(self._revoked))]
        self._revoked[did] = self.hub.ms + _REVOKED_MS
        return super().revoke(did)

    def _is_revoked(self, did: str) -> bool:
        until = self._revoked.get(did)
        return until is not None and until > self.hub.ms

    # Invite

    def handle_invite(self, data: bytes, address: Address) -> None:
        """Pass an invite on to its device, or its repetition; drop it when the ticket is not for this source."""
        invite_id = data[4:12]
        invite = self._invites.get(invite_id)
        if invite is None:
            try:
                invite = self._open_invite(data, address)
            except ProtocolError:
                self.hub.drops["invite"] += 1
                return
            self._keep(invite_id, invite)
            self.invites += 1
        elif invite.data != data or invite.address[0] != address[0]:
            self.hub.drops["invite"] += 1
            return
        invite.address = address
        if invite.datagrams_left:
            invite.datagrams_left -= 1
            self._serve(invite_id, invite)

    def _open_invite(self, data: bytes, address: Address) -> _Invite:
        reader = Reader(data)
        key_id, _ = reader.header(INVITE)
        invite_id = reader.bytes(8)
        ticket = open_client_ticket(self._ticket_aead, reader.bytes(reader.u8()), self.hub.unix)
        before, sealed = data[: reader.pos], reader.rest()
        is_ours = ticket.invite_id == invite_id and ticket.client_ip == pack_address(*address)[:4]
        if not is_ours or key_id not in self.hub.generations or len(data) > _MAX_INVITE:
            raise ProtocolError("ticket of another invite or source")
        text = Aead(ticket.client_key).open(sealed, before)
        if text[:16] != ticket.lookup_token:
            raise ProtocolError("ticket for another device")
        return _Invite(data, address, ticket, text[16:])

    def _keep(self, invite_id: bytes, invite: _Invite) -> None:
        """Remember an invite while its ticket could serve again; the oldest makes way."""
        invites = self._invites
        oldest = next(iter(invites), None)
        while oldest is not None and (invites[oldest].expiry < self.hub.unix or len(invites) >= MAX_INVITES):
            del invites[oldest]
            oldest = next(iter(invites), None)
        invites[invite_id] = invite

    def _serve(self, invite_id: bytes, invite: _Invite) -> None:
        if invite.answer is None:
            session = invite.session = self._tokens.get(invite.token)
            if session is not None:
                body = invite_id + pack_address(*invite.address) + invite.data[2:3] + invite.token + invite.message
                session.send(INVITE_KIND, session._next_request_id(), body)
                self.flush(session)
                return
            self._set_answer(invite_id, invite, DEVICE_GONE, b"")
        assert invite.answer is not None
        self.hub.send(invite.answer, invite.address)

    def handle_answer(self, session: Session, invite_id: bytes, message: bytes) -> None:
        """Pass a device's answer back to the client. The first one counts."""
        invite = self._invites.get(invite_id)
        if invite is None or invite.session is not session or invite.answer is not None:
            self.hub.drops["answer"] += 1
            return
        self.answers += 1
        self._set_answer(invite_id, invite, 0, message)
        assert invite.answer is not None
        self.hub.send(invite.answer, invite.address)

    @staticmethod
    def _set_answer(invite_id: bytes, invite: _Invite, status: int, message: bytes) -> None:
        before = header(INVITE_ANSWER, invite.data[2], ROLE_P2P) + invite_id
        text = bytes((status,)) + pack_address(*invite.address) + message
        invite.answer = before + invite.aead.seal(1, text, before)

    def handle_timer(self) -> None:
        """As every registrar; and forget invites whose tickets have expired."""
        super().handle_timer()
        unix = self.hub.unix
        while self._invites:
            oldest = next(iter(self._invites))
            if self._invites[oldest].expiry >= unix and len(self._invites) <= MAX_INVITES:
                break
            del self._invites[oldest]

    def timer(self) -> int | None:
        """Return when handle_timer is due on the hub's clock."""
        due = super().timer()
        later = self.hub.ms + CLIENT_TICKET_LIFE_S * 1000
        return later if due is None and self._invites else due

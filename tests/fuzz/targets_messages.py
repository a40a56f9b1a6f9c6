"""Fuzz targets for the messages: transport parameters, relay, local network, server lists, STUN."""

from targets import target, vector_seeds

from upeer import connect
from upeer.base import wire
from upeer.base.errors import ProtocolError
from upeer.handshake import lan
from upeer.handshake import messages as handshake
from upeer.session import relay_end as relay
from upeer.signalling import control, stun
from upeer_server import relay as server_relay

_KEY = bytes(range(32))
_ADDRESS = wire.pack_address("192.0.2.1", 4000)
_TICKET = wire.with_size(b"ticket")


_PARAMS = bytes.fromhex("00 000001 04d0 00010000 00004000 001e 02 00 c0000201 0fa0") + (
    bytes.fromhex("03 c0000201 0fa0") + bytes(23) + _TICKET
)


@target("invite.params", allowed=(ProtocolError,), seeds=[_PARAMS, *vector_seeds("invite*")], max_size=1000)
def invite_params(data: bytes) -> None:
    handshake.parse_params(data)


@target("relay.join", allowed=(ProtocolError,), seeds=[bytes.fromhex("a0010103") + bytes(12) + _TICKET + bytes(16)])
def relay_join(data: bytes) -> None:
    server_relay.parse_join(data)


@target("relay.join_ok", allowed=(ProtocolError,), seeds=[bytes.fromhex("a1010103") + bytes(12) + _ADDRESS + bytes(16)])
def relay_join_ok(data: bytes) -> None:
    relay.parse_join_ok(data)


@target("lan.invite", allowed=(ProtocolError,), seeds=[bytes.fromhex("98010100") + bytes(8 + 16 + 80)])
def lan_invite(data: bytes) -> None:
    lan.LanInvite(data).matches(_KEY)


@target("connect.lan_answer", allowed=(ProtocolError,), seeds=[bytes.fromhex("99010100") + bytes(8 + 80)])
def lan_answer(data: bytes) -> None:
    connect.parse_lan_answer(data)


@target("connect.setup_code", allowed=(ProtocolError,), seeds=[b"0123-4567-89AB-CDEF"], max_size=40)
def setup_code(data: bytes) -> None:
    connect.parse_setup_code(data.decode("latin-1"))


@target("control.servers", allowed=(ProtocolError,), seeds=[b"\x02" + 2 * (b"\x01" + _ADDRESS + _KEY + _TICKET)])
def control_servers(data: bytes) -> None:
    control.parse_servers(wire.Reader(data))


_STUN_HEAD = bytes.fromhex("2112a442") + bytes(12)
_STUN_ADDRESS = bytes.fromhex("00200008 0001") + bytes(6)
_STUN = [bytes.fromhex("00010000") + _STUN_HEAD, bytes.fromhex("0101000c") + _STUN_HEAD + _STUN_ADDRESS]


@target("stun.message", allowed=(ProtocolError,), seeds=_STUN)
def stun_message(data: bytes) -> None:
    stun.parse(data)

"""Answers STUN Binding requests (RFC 8489) at p2p servers, so many per source: an answer has 32 bytes for 20."""

from upeer.base.errors import ProtocolError
from upeer.base.wire import pack_address
from upeer.signalling import stun
from upeer_server.cookie import Address
from upeer_server.hub import Hub
from upeer_server.limits import Buckets


class StunServer:
    """Tells everybody the address it is seen at."""

    def __init__(self, hub: Hub, per_second: float = 20, burst: float = 100) -> None:
        self.answered = 0
        self._hub = hub
        self._by_source = Buckets(per_second, burst)

    def receive(self, data: bytes, address: Address) -> None:
        """Answer a Binding request; drop everything else, and what asks for more than a plain server gives."""
        hub = self._hub
        try:
            message = stun.parse(data)
        except ProtocolError:
            hub.drops["stun"] += 1
            return
        if message.kind != stun.BINDING_REQUEST or message.unknown:
            hub.drops["stun"] += 1
        elif not self._by_source.take(address[0], hub.ms):
            hub.drops["limited"] += 1
        else:
            self.answered += 1
            mapped = pack_address(*address)
            hub.send(stun.encode_response(message.transaction_id, mapped, message.has_fingerprint), address)

"""What the roles behind one UDP address share: platform keys, cookies, the clock, sessions, what is to be sent."""

from collections import Counter
from collections.abc import Callable

from upeer.base.clock import ticks_add, ticks_diff
from upeer.base.wire import COOKIE, ROLE_MASTER, header
from upeer.crypto.aead import Hmac, check_key, equal
from upeer.signalling.lookup import lookup_psk
from upeer.signalling.question import HELLO_SIZE, client_hello_key, device_hello_key
from upeer_server.config import Generation
from upeer_server.cookie import CLIENT, DEVICE, Address, Cookies
from upeer_server.session import Session


class Keys:
    """One generation of platform keys and what follows from it."""

    def __init__(self, generation: Generation) -> None:
        check_key(generation.crc_key)
        check_key(generation.p2p_key)
        self.key_id = generation.key_id
        self.generation = generation
        self.both = generation.crc_key + generation.p2p_key
        self.device_hello = Hmac(device_hello_key(generation.crc_key, generation.p2p_key))
        self.client_hello = Hmac(client_hello_key(generation.p2p_key))
        self.lookup_psk = lookup_psk(generation.p2p_key)


class Hub:
    """Shared state of one node. `now` is ticks in ms that may wrap; `ms` goes on from there and never back."""

    def __init__(
        self,
        generations: list[Generation],
        now: int,
        random_bytes: Callable[[int], bytes],
        unix_time: Callable[[], float],
    ) -> None:
        self.random_bytes = random_bytes
        self.cookies = Cookies(random_bytes)
        self.sessions: dict[bytes, Session] = {}
        self.out: list[tuple[bytes, Address]] = []
        self.drops: Counter[str] = Counter()
        self.ms = 0
        self.ticks = now
        self._unix_time = unix_time
        self.set_generations(generations)

    def set_generations(self, generations: list[Generation]) -> None:
        """Take the platform keys, the current generation first; LocalError when a key is missing. A relay has none."""
        self.generations = {generation.key_id: Keys(generation) for generation in generations}
        if generations:
            self.current = self.generations[generations[0].key_id]

    @property
    def unix(self) -> int:
        """The Unix time in seconds."""
        return int(self._unix_time())

    def advance(self, now: int) -> None:
        """Let time go on; ticks that lie before those already seen do not count."""
        passed = ticks_diff(now, self.ticks)
        if passed > 0:
            self.ms += passed
            self.ticks = now

    def ticks_at(self, ms: int) -> int:
        """Return the ticks of a time of our own clock."""
        ticks: int = ticks_add(self.ticks, ms - self.ms)
        return ticks

    def send(self, data: bytes, address: Address) -> None:
        """Put a datagram among those to send."""
        self.out.append((data, address))

    def answer_hello(self, data: bytes, address: Address) -> None:
        """Answer an authentic HELLO by a COOKIE; keep nothing. Clients have business with masters only."""
        keys = self.generations.get(data[2]) if len(data) == HELLO_SIZE else None
        if keys is None:
            self.drops["hello"] += 1
            return
        nonce = data[4:20]
        if equal(keys.device_hello.tag(data[:48]), data[48:]):
            mac, kind = keys.device_hello, DEVICE
        elif data[3] == ROLE_MASTER and equal(keys.client_hello.tag(data[:48]), data[48:]):
            mac, kind = keys.client_hello, CLIENT
        else:
            self.drops["hello"] += 1
            return
        message = header(COOKIE, keys.key_id, data[3]) + nonce
        message += self.cookies.make(self.unix, address, nonce, kind)
        self.send(message + mac.tag(message), address)

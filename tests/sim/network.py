"""What is outside of the process: Bedrock's endpoints, the way to them, and what goes wrong there.

Bedrock is the simulator's own pure machine, one for each connection; here its commands become bytes on a
wire, and its deadline an item of the agenda. The network's own faults strike connections, and are noted with
the call that was on the connection then: nobody may blame Bedrock for them, nor the gateway.
"""

import functools
import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from sim.agenda import Agenda, Item
from sim.callers import Link
from sim.features import Features
from sim.judge import Call, Judge
from sim.wires import End, Weather, connected
from stargate.simulator.connection import SimulatedConnection
from stargate.simulator.ledger import Exchange, Ledger
from stargate.simulator.messages import Abort, Close, Command, Ended, Event, Lost, Received, Ticked, Write
from stargate.simulator.settings import Credential, Settings
from stargate_core.aws.endpoints import Endpoint
from stargate_core.clock import MILLISECOND, SECOND
from stargate_core.messages import Trouble
from stargate_core.secret import Secret

WALL_EPOCH_NS: Final = 1_800_000_000 * SECOND
CREDENTIALS: Final = (("AKIDSIMONE", "one-aws-s3cr3t"), ("AKIDSIMTWO", "two-aws-s3cr3t"))
_TROUBLES: Final = (Trouble.REFUSED, Trouble.UNREACHABLE, Trouble.NAME_UNKNOWN, Trouble.TLS)


class _Noting(Ledger):
    """A ledger that also tells the last request noted."""

    last: Exchange | None = None

    def begin(
        self, method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes
    ) -> Exchange:
        self.last = super().begin(method, target, headers, body)
        return self.last


class Bedrock:
    """Bedrock's side of one connection."""

    def __init__(self, network: "Network", end: End, number: int, seed: int) -> None:
        self.end = end
        self.number = number
        self._network = network
        self._machine = SimulatedConnection(network.settings, seed, network.ledger)
        self._tick: Item | None = None
        self.calls: deque[Call] = deque()
        """Those whose requests have not begun to come."""
        self.call: Call | None = None
        self.struck: list[str] = []
        """What the network has done to it, also between two calls."""
        end.start(self)

    def heard(self, data: bytes) -> None:
        """The gateway sent, or ended."""
        if not data:
            self._tell(Ended())
            return
        self._attribute(len(data))
        self._tell(Received(data))
        if self.call is not None and self.call.exchange is None and not self.call.left:
            self.call.exchange, self._network.ledger.last = self._network.ledger.last, None

    def _attribute(self, length: int) -> None:
        """Whose request these bytes are."""
        while length:
            if self.call is None or not self.call.left:
                if not self.calls:
                    return
                self.call = self.calls.popleft()
            taken = min(length, self.call.left)
            self.call.left -= taken
            length -= taken

    def lost(self) -> None:
        """The connection broke."""
        self._tell(Lost())

    def stalled(self) -> None:
        """What was written waits."""

    def drained(self) -> None:
        """It waits no more."""

    def _tell(self, event: Event) -> None:
        agenda = self._network.agenda
        for command in self._machine.handle(agenda.now, event):
            self._perform(command)
        if self._tick is not None:
            self._tick.strike()
            self._tick = None
        if self._machine.deadline is not None:
            self._tick = agenda.at(self._machine.deadline, lambda: self._tell(Ticked()))

    def _perform(self, command: Command) -> None:
        end = self.end
        self._network.judge.say(f"bedrock {self.number}", command)
        match command:
            case Write(data):
                if self.call is not None:
                    self.call.wire += data
                try:
                    end.write(data)
                except OSError:
                    self._network.agenda.after(0, lambda: self._tell(Lost()))
            case Close():
                end.finish()
                self._network.agenda.after(SECOND, end.dispose)
            case Abort():
                end.abort()

    def strike(self, what: str) -> None:
        """The network does something to this connection."""
        if self.end.closed or self.end.peer.closed:
            return
        self.struck.append(what)
        if self.call is not None:
            self.call.struck.append(what)
        for call in self.calls:
            call.struck.append(what)
        self._network.judge.say("network", f"{what} on connection {self.number}")
        match what:
            case "reset":
                self.end.abort()
            case "end":
                self.end.finish()
                self._network.agenda.after(SECOND, self.end.dispose)
            case "lag":
                # A segment is lost, and sent again and again.
                self.end.peer.lag = self._network.a_lag()
            case _:
                # Silence: nothing of what Bedrock says arrives any more.
                self.end.peer.weather.delay_ns = 100_000 * SECOND
                self.end.peer.weather.whole = 1.0


class Network:
    """The way to Bedrock."""

    def __init__(self, agenda: Agenda, rng: random.Random, features: Features, judge: Judge) -> None:
        self.agenda = agenda
        self.judge = judge
        self.calm = False
        self.faults = 0
        """How often the network has done something."""
        self._rng = rng
        self._features = features
        self.ledger = _Noting(requests_kept=4)
        self.settings = Settings(
            wall_epoch_ns=WALL_EPOCH_NS,
            credentials=tuple(Credential(name, Secret(secret)) for name, secret in CREDENTIALS),
            first_token_ns=features.first_token_ns,
            events_per_second=features.pace,
        )
        self.connections: dict[int, Bedrock] = {}
        judge.on_call = self._called

    def _called(self, call: Call) -> None:
        bedrock = self.connections.get(call.lease)
        if bedrock is None:
            call.struck.append("gone")
            return
        bedrock.calls.append(call)
        call.struck += bedrock.struck
        if bedrock.end.closed:
            call.struck.append("gone")
        features, rng = self._features, self._rng
        if self.calm:
            return
        for feature, rate, what in (
            ("resets", features.reset_rate, rng.choice(("reset", "end"))),
            ("silence", features.silent_rate, "silence"),
            ("lags", 2 * features.silent_rate, "lag"),
        ):
            if features.has(feature) and rng.random() < rate:
                self.faults += 1
                delay = rng.randrange(rng.choice((1, 20, 2000)) * MILLISECOND)
                # A lag is measured in bytes from the call on.
                self.agenda.after(0 if what == "lag" else delay, functools.partial(bedrock.strike, what))

    def a_lag(self) -> list[int]:
        """Behind how many bytes what Bedrock says is held up, and for how long."""
        rng = self._rng
        return [rng.randrange(1, rng.choice((900, 900, 4000))), rng.randrange(rng.choice((1, 4, 7)) * SECOND)]

    def weather(self) -> tuple[Weather, Weather]:
        """That of a new connection: towards the gateway, and towards Bedrock."""
        features = self._features
        if self.calm:
            return Weather(), Weather()
        away = features.upstream_weather
        return (
            Weather(away.delay_ns, away.whole, away.piece_max, away.room, away.destroys),
            Weather(away.delay_ns, away.whole, away.piece_max, 1 << 20, away.destroys),
        )

    def connect(
        self,
        link: Link,
        endpoint: Endpoint,
        opened: Callable[[End], None],
        failed: Callable[[Trouble, str], None],
    ) -> Item | None:
        """Open a connection to Bedrock."""
        rng, features = self._rng, self._features
        if features.has("refusals") and not self.calm and rng.random() < features.refuse_rate:
            self.faults += 1
            if rng.random() < 0.3:
                return None  # Nobody answers, ever.
            trouble = rng.choice(_TROUBLES)
            return self.agenda.after(
                rng.randrange(MILLISECOND), lambda: failed(trouble, "as the network has it")
            )

        def open_() -> None:
            near, far = self.weather()
            here, there = connected(self.agenda, rng, near, far)
            self.connections[link.connection] = Bedrock(self, there, link.connection, rng.getrandbits(32))
            opened(here)

        longest = 2 * MILLISECOND if self.calm else features.connect_ns
        return self.agenda.after(rng.randrange(1, longest), open_)

    def settle(self) -> None:
        """From now on nothing goes wrong."""
        self.calm = True

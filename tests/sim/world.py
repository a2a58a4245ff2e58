"""A world: a gateway, its clients, Bedrock and Redis, all of it from one seed, in virtual time.

First come the *faults*, for some virtual seconds; then it is *calm*, nothing goes wrong any more, and
everything must come to rest; then somebody asks once more, politely, and must be answered. `run` lives a
world, and raises Violation where something does not hold.
"""

import functools
import random
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from sim.agenda import Agenda, Item
from sim.asks import Ask, alike, an_ask, written
from sim.callers import Caller
from sim.clients import Client
from sim.enquiries import RedisStore
from sim.evidence import GRACE_NS
from sim.features import KEYS, LIVE_KEYS, Features, config_of, features_of
from sim.judge import Judge
from sim.ledger import Ledger
from sim.network import CREDENTIALS, WALL_EPOCH_NS, Network
from sim.redis_server import RedisConnection, RedisServer
from sim.reference import Reference
from sim.shell import Shell
from sim.violation import Violation, demand
from sim.wires import End, Weather, connected
from stargate.simulator.settings import EXPIRED_SESSION_TOKEN
from stargate_core.aws.credentials import Credentials
from stargate_core.clock import MILLISECOND, SECOND
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.redis_calls import settings_for
from stargate_core.gateway.redis_link import RedisLink
from stargate_core.plugins.registry import BUILT_IN
from stargate_core.secret import Secret

CALM_NS: Final = 100 * SECOND
"""Longer than any time limit of a world's, and any window of its limits, one after the other."""
PROBE_NS: Final = 40 * SECOND
REST_NS: Final = 30 * SECOND


class Report(msgspec.Struct, frozen=True):
    """What a world was like."""

    seed: int
    fingerprint: str
    sessions: int
    requests: int
    events: int
    steps: int
    good: int
    refused: int
    broken_off: int
    calls: int
    takes: int
    causes: dict[str, int]


class World:
    """One world. narrates: keep all that happens. without: features to be left out."""

    def __init__(self, seed: int, *, without: Iterable[str] = (), narrates: bool = False) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.features: Features = features_of(self.rng, frozenset(without))
        self.agenda = Agenda(self.rng)
        self.judge = Judge(self.agenda, narrates=narrates)
        self.judge.lateness_ns = self.features.lateness_ns
        self.network = Network(self.agenda, self.rng, self.features, self.judge)
        self.calm = False
        self.clients: list[Client] = []
        self._asked: list[Ask] = []
        self._leaving: dict[Caller, Client] = {}
        self.judge.on_lease_asked = self._lease_asked
        self.credentials_at = -1
        """When the gateway had credentials that are any good; -1: from the beginning."""
        self._numbers = 0
        self._generation = 1
        plan = self._plan()
        self.judge.connections_max = plan.limits.pool.connections_max
        self.shell = Shell(
            plan,
            self.agenda,
            self.judge,
            self.network,
            seed=lambda: self.rng.getrandbits(128),
            lateness=self._lateness,
            wall_epoch_ns=WALL_EPOCH_NS,
        )
        self.shell.late = self._late
        self.redis: RedisServer | None = None
        if self.features.has("redis"):
            self._share()
            if self.features.has("keys"):
                self._plan_keys()
        self.reference = Reference(self)

    def _plan(self) -> Plan:
        return Plan(config_of(self.features, self._generation), BUILT_IN, generation=self._generation)

    def _lateness(self) -> int:
        late = self.features.lateness_ns
        return 0 if self.calm or not late else self.rng.randrange(late)

    def _late(self) -> int:
        rate = self.features.late_rate
        if self.calm or not rate or self.rng.random() >= rate:
            return 0
        return self.rng.randrange(1, self.rng.choice((1, 50, 3000)) * MILLISECOND)

    # -------------------------------------------------------------------------------------------- its parts

    def _share(self) -> None:
        server = self.redis = RedisServer(self.agenda, self.rng, self.features, self.judge, WALL_EPOCH_NS)
        self.judge.store_failed = server.may_fail
        store = self.shell.plan.config.gateway.store
        assert store.server is not None
        link = RedisLink(
            settings=settings_for(store.server, store.prefix),
            seed=self.rng.getrandbits(128),
            wall_epoch_ns=WALL_EPOCH_NS,
        )
        enquiries = self.shell.enquiries
        enquiries.share(RedisStore(enquiries, self.shell, link, lambda o, f: self._open_redis(server, o, f)))

    def _plan_keys(self) -> None:
        """Keys of the store: one that is there and ends, or not, and one that is added."""
        assert self.redis is not None
        rng, until = self.rng, self.features.faults_until_ns
        first, second = LIVE_KEYS
        self.redis.put_key(first, revoked=False)
        changes = [(first, rng.random() < 0.5), (second, False), (second, True)]
        for name, revoked in changes[: rng.randrange(4)]:
            change = functools.partial(self.redis.put_key, name, revoked=revoked)
            self.agenda.after(rng.randrange(until), change)

    def _open_redis(
        self, server: RedisServer, opened: Callable[[End], None], failed: Callable[[str], None]
    ) -> Item:
        rng = self.rng
        if server.fault() in ("closing", "silent"):
            server.lost = True
            return self.agenda.after(rng.randrange(1, 500) * MILLISECOND, lambda: failed("refused"))

        def open_() -> None:
            weather = (
                Weather() if self.calm or not self.features.has("cuts") else Weather(whole=0.3, piece_max=40)
            )
            here, there = connected(self.agenda, rng, weather, Weather())
            RedisConnection(server, there)
            opened(here)

        return self.agenda.after(rng.randrange(1, MILLISECOND), open_)

    def next_number(self) -> int:
        """A number for a request."""
        self._numbers += 1
        return self._numbers

    @property
    def ledgers(self) -> list[Ledger]:
        """Of all its stores."""
        return [self.judge.memory, *([] if self.redis is None else [self.redis.ledger])]

    def an_ask(self, number: int) -> Ask:
        """A good request; where there is a cache, often one that somebody has made before."""
        rng, asked = self.rng, self._asked
        if self.features.has("cache") and asked and rng.random() < 0.4:
            return alike(rng, rng.choice(asked[-6:]))
        asked.append(an_ask(rng, self.features, number))
        return asked[-1]

    def _connect(self, kind: str) -> None:
        """A client connects; one that is draining listens no more."""
        if self.shell.draining is not None:
            return
        weather = Weather() if self.calm else self.features.client_weather
        far = Weather(weather.delay_ns, weather.whole, weather.piece_max, weather.room, weather.destroys)
        near = Weather(weather.delay_ns, weather.whole, weather.piece_max, 1 << 20, weather.destroys)
        here, there = connected(self.agenda, self.rng, near, far)
        caller = self.shell.attend(here, f"192.0.2.{len(self.clients) % 4 + 1}")
        client = Client(self, there, len(self.clients) + 1, kind)
        client.attended_by = caller
        self.clients.append(client)
        if kind == "leaving":
            self._leaving[caller] = client

    def _lease_asked(self, caller: Caller) -> None:
        """Some leave just when a connection is wanted for them: hardly anybody would by chance."""
        client = self._leaving.get(caller)
        if client is not None and self.rng.random() < 0.3:
            how = self.rng.choice(("end", "lost"))
            self.agenda.after(self.rng.randrange(3 * MILLISECOND), lambda: client.leave(how))

    def _credentials(self) -> None:
        """The gateway's AWS credentials: there from the beginning, or not, or none that are any good."""
        shell, rng = self.shell, self.rng
        good = [Credentials(name, Secret(secret)) for name, secret in CREDENTIALS]
        if not self.features.has("credentials"):
            shell.change_credentials({"": good[0]})
            return
        bad = Credentials(CREDENTIALS[0][0], Secret(CREDENTIALS[0][1]), Secret(EXPIRED_SESSION_TOKEN))
        shell.change_credentials({"": rng.choice((None, bad))})
        delay = self.credentials_at = rng.randrange(self.features.faults_until_ns)
        self.agenda.after(delay, lambda: shell.change_credentials({"": good[0]}))
        self.agenda.after(2 * delay, lambda: shell.change_credentials({"": good[1]}))

        def refresh(number: int, account: str, _access_key_id: str) -> None:
            def found() -> None:
                shell.change_credentials({account: good[0]})
                shell.answer(number, True)

            self.agenda.after(rng.randrange(2 * SECOND), found)

        shell.enquiries.refresh = refresh

    # ----------------------------------------------------------------------------------------------- its life

    def live(self) -> Report:
        """All of it. Raises Violation."""
        features, rng, agenda = self.features, self.rng, self.agenda
        self._credentials()
        first, spread = 0, features.faults_until_ns
        if features.burst:
            first, spread = rng.randrange(spread // 2), 300 * MILLISECOND
        for _ in range(features.clients):
            kind = rng.choice(features.kinds)
            agenda.after(first + rng.randrange(spread), functools.partial(self._connect, kind))
        if features.has("reload"):
            for _ in range(rng.choice((1, 3))):
                agenda.after(rng.randrange(features.faults_until_ns), self._reload)
        if features.has("drain"):
            agenda.after(rng.randrange(features.faults_until_ns, 2 * features.faults_until_ns), self._drain)
        agenda.run(features.faults_until_ns)
        self.calm = True
        self.network.settle()
        if self.redis is not None:
            self.redis.calm = True
        agenda.run(features.faults_until_ns + CALM_NS)
        self._rest()
        self._probe()
        self._rest()
        self.reference.finish()
        return self._report()

    def _reload(self) -> None:
        self._generation += 1
        self.judge.say("world", f"reload: generation {self._generation}")
        plan = self._plan()
        self.judge.connections_max = max(self.judge.connections_max, plan.limits.pool.connections_max)
        self.shell.reconfigure(plan)

    def _drain(self) -> None:
        self.judge.say("world", "drains")
        self.judge.witness.drained_at = self.agenda.now
        self.shell.drain(GRACE_NS)

    def _probe(self) -> None:
        """Somebody asks once more, politely."""
        if self.shell.draining is not None:
            return
        words = b'"messages": [{"role": "user", "content": "Are you well?"}]'
        body = b'{"model": "claude", "stream": true, "max_tokens": 9, %b}' % words
        headers = [(b"host", b"stargate.sim"), (b"authorization", b"Bearer " + KEYS["team-a"].encode())]
        data = written(self.rng, b"POST", b"/v1/chat/completions", headers, body)
        here, there = connected(self.agenda, self.rng, Weather(), Weather())
        self.shell.attend(here, "192.0.2.99")
        client = _Probing(self, there, 0, "polite", Ask("chat", True, data, b"POST", "team-a"))
        self.clients.append(client)
        self.agenda.run(self.agenda.now + PROBE_NS)
        (answer,) = client.answers or (None,)
        demand(answer is not None and answer.whole, "nobody answers when all is calm again")
        assert answer is not None
        demand(answer.status == 200, "no good answer when all is calm again", bytes(answer.body).decode())

    def _rest(self) -> None:
        """Nothing is left of what was."""
        self.agenda.run(self.agenda.now + REST_NS)
        shell = self.shell
        demand(not shell.clients, "a session does not end", str([client.name for client in shell.clients]))
        demand(not shell.flights.callers, "a flight does not end")
        demand(not self.judge.lives, "a life does not end")
        demand(not len(shell.tickets), "a ticket is left")
        demand(not shell.enquiries.own or self.redis is not None, "a question of nobody's is left")
        counts = shell.pool.statistics()
        for name in ("lent", "waiting", "opening"):
            demand(not counts.get(name), f"the pool is not at rest: {name}", str(counts))
        demand(
            not self.judge.memory.unsettled,
            "something taken is never settled",
            str(self.judge.memory.unsettled),
        )
        if self.redis is not None and not self.redis.lost:
            unsettled = self.redis.ledger.unsettled
            demand(not unsettled, "something taken is never settled", f"redis: {unsettled}")

    def _report(self) -> Report:
        judge, reference = self.judge, self.reference
        return Report(
            self.seed,
            judge.digest.fingerprint,
            judge.sessions,
            len(judge.admitted),
            judge.events,
            self.agenda.steps,
            reference.good,
            reference.refused,
            reference.broken_off,
            len(judge.calls),
            judge.memory.takes + (self.redis.ledger.takes if self.redis is not None else 0),
            dict(sorted(reference.causes.items())),
        )


class _Probing(Client):
    """Asks one question that is given."""

    def __init__(self, world: World, end: End, number: int, kind: str, ask: Ask) -> None:
        self._only: Ask | None = ask
        super().__init__(world, end, number, kind)
        self._to_ask = 1

    def _ask(self) -> Ask:
        ask, self._only = self._only, None
        assert ask is not None
        self._to_ask = 1
        return ask

    def _next(self) -> None:
        if self._only is None:
            self.leave("end")
        else:
            self._to_ask = 1
            super()._next()


def run(seed: int, *, without: Iterable[str] = (), narrates: bool = False) -> Report:
    """Live a world. Raises Violation."""
    return World(seed, without=without, narrates=narrates).live()


__all__ = ["Report", "Violation", "World", "run"]

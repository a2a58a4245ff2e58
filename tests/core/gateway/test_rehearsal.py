"""Rehearsals: real machines in neutral surroundings, what they ask, and that they end."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from stargate_core.aws.bearer import BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.aws.endpoints import Endpoint
from stargate_core.clock import SECOND
from stargate_core.config.bedrock_guardrail import BedrockGuardrail
from stargate_core.config.bedrock_proxy import ModelTarget
from stargate_core.config.jwt_auth import Issuer, JwtAuth
from stargate_core.config.plugin_configs import ApiKeyAuth
from stargate_core.config.rate_limiter import RateLimiter
from stargate_core.config.request_options import Discovery
from stargate_core.config.response_cache import ResponseCache
from stargate_core.config.schema import Consumer, KeyCredential, PluginEntry
from stargate_core.dialects.face import Fetched
from stargate_core.direction import BreakerPolicy
from stargate_core.faults import Cause
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.rehearsal import Rehearsal
from stargate_core.gateway.states import SETTLED
from stargate_core.limits.buckets import Algorithm, Bucket, Claim
from stargate_core.messages import Answered, Ask, FlightCommand, SessionEvent, Ticked, Unanswered
from stargate_core.misuse import PhaseMisuse
from stargate_core.questions import (
    FetchUrl,
    ListModels,
    Models,
    Question,
    ReadEntry,
    ReadKeys,
    RefreshCredentials,
    Take,
    Turn,
    VerifyToken,
)
from stargate_core.script import Script
from stargate_core.secret import Secret
from support.hooks import entry, plugin_of
from support.machines import WALL_EPOCH_NS, a_config, a_plan, converse, proxy, request

CREDENTIALS: Final = Credentials("AKIDTEST", Secret("aws-secret"))
CACHE: Final = PluginEntry(name="response-cache", config=ResponseCache())


def rehearse(
    data: bytes,
    plan: Plan | None = None,
    *,
    credentials: Credentials | BearerToken | None = CREDENTIALS,
    keys: Mapping[str, bytes] | None = None,
) -> Rehearsal:
    rehearsal = Rehearsal(
        plan or a_plan(),
        wall_ns=WALL_EPOCH_NS,
        credentials=credentials,
        keys=keys or {},
        client="192.0.2.7",
        seed=1,
    )
    rehearsal.run(data)
    return rehearsal


def with_hooks(**hooks: Any) -> Plan:
    """A plan with a plugin that has these hooks."""
    return a_plan(a_config(entry()), plugin_of(hooks))


class TestCalls:
    def test_a_call_is_written_and_the_caller_told_nothing(self) -> None:
        rehearsal = rehearse(converse())
        assert rehearsal.written.startswith(b"POST /model/")
        assert rehearsal.endpoint is not None
        assert rehearsal.endpoint.host == "bedrock.test"
        assert (rehearsal.told, rehearsal.is_settled, rehearsal.asked) == (b"", False, [])

    def test_one_that_may_be_shared_is_ordered_and_made_all_the_same(self) -> None:
        plain, shared = rehearse(converse()), rehearse(converse(), a_plan(a_config(CACHE)))
        assert len(shared.follows) == 1
        assert shared.written == plain.written

    @pytest.mark.parametrize("plan", [a_plan(), a_plan(a_config(CACHE))], ids=["alone", "shared"])
    def test_without_credentials_the_caller_is_told(self, plan: Plan) -> None:
        rehearsal = rehearse(converse(), plan, credentials=None)
        exchange = rehearsal.session.exchange
        assert exchange is not None
        assert exchange.fault is not None
        assert exchange.fault.cause is Cause.CREDENTIALS_MISSING
        assert rehearsal.told.startswith(b"HTTP/1.1 503 ")
        assert rehearsal.written == b""

    def test_a_large_body_arrives_in_pieces_and_whole(self) -> None:
        body = b'{"messages": [{"role": "user", "content": [{"text": "' + b"x" * 1_000_000 + b'"}]}]}'
        rehearsal = rehearse(request("/model/m/converse", body))
        assert rehearsal.written.endswith(body)

    def test_a_second_request_is_left_alone(self) -> None:
        rehearsal = rehearse(request("/nowhere") + converse())
        assert rehearsal.told.count(b"HTTP/1.1 ") == 1
        assert rehearsal.written == b""


class TestBeginnings:
    def test_half_a_request_is_not_whole(self) -> None:
        rehearsal = rehearse(converse()[:-1])
        assert not rehearsal.is_whole
        assert rehearsal.told == b""

    def test_what_is_no_request_is_refused_with_its_fault(self) -> None:
        rehearsal = rehearse(b"GET / HTTP/1.1\r\n\r\n")
        assert rehearsal.is_whole
        assert rehearsal.session.exchange is None
        assert rehearsal.session.fault is not None
        assert rehearsal.session.fault.cause is Cause.HTTP_MALFORMED

    def test_whoever_expects_it_is_told_to_go_on(self) -> None:
        rehearsal = rehearse(
            request("/model/m/converse", b"{}", headers={"expect": "100-continue"}), a_plan()
        )
        assert rehearsal.told.startswith(b"HTTP/1.1 100 ")


class TestQuestions:
    def test_the_store_is_a_fresh_one(self) -> None:
        limiter = PluginEntry(name="rate-limiter", config=RateLimiter(minute=10))
        rehearsal = rehearse(converse(), a_plan(a_config(limiter)))
        [(take, verdict)] = rehearsal.takes
        assert verdict is not None
        assert verdict.allowed
        assert [level.remaining for level in verdict.levels] == [9]
        assert [asked.question for asked in rehearsal.asked] == ["Take"]
        assert take.claims[0].bucket.key in rehearsal.asked[0].about

    def test_what_is_too_large_for_ever_is_refused_even_so(self) -> None:
        limiter = PluginEntry(name="rate-limiter", config=RateLimiter(tokens_per_minute=5))
        rehearsal = rehearse(converse(), a_plan(a_config(limiter)))
        exchange = rehearsal.session.exchange
        assert exchange is not None
        assert exchange.fault is not None
        assert exchange.fault.cause is Cause.LIMIT_TOO_SMALL

    @pytest.mark.parametrize(
        ("url", "kind"),
        [
            ("https://a.test/cat.JPG?size=1", "image/jpeg"),
            ("https://a.test/report.pdf#page=2", "application/pdf"),
            ("https://a.test/", "image/png"),
        ],
    )
    def test_a_url_is_taken_to_lead_to_what_it_ends_like(self, url: str, kind: str) -> None:
        found: list[Fetched | str] = []

        def access(ctx: Any) -> Script[None]:
            found.append((yield from ctx.fetch(FetchUrl(url, 1000, SECOND, ("*",)))))

        rehearsal = rehearse(converse(), with_hooks(access=access))
        assert [one.content_type for one in found if isinstance(one, Fetched)] == [kind]
        [asked] = rehearsal.asked
        assert (asked.question, asked.about) == ("FetchUrl", url)
        assert kind in asked.assumed

    def test_a_token_is_taken_to_be_signed_and_not_shown(self) -> None:
        issuer = Issuer(issuer="https://idp.test", audience="stargate", jwks_url="https://idp.test/keys")
        auth = PluginEntry(name="jwt-auth", config=JwtAuth(issuers=[issuer]))
        plan = a_plan(a_config(auth, consumers=[Consumer(username="ann")]))
        token = jwt.api_jws.encode(
            msgspec.json.encode(
                {
                    "iss": "https://idp.test",
                    "aud": "stargate",
                    "sub": "ann",
                    "exp": WALL_EPOCH_NS // SECOND + 9,
                }
            ),
            rsa.generate_private_key(65537, 2048),
            algorithm="RS256",
            headers={"kid": "key-1"},
        )
        rehearsal = rehearse(converse(headers={"authorization": f"Bearer {token}"}), plan)
        [asked] = rehearsal.asked
        assert (asked.question, asked.about) == (
            "VerifyToken",
            "RS256 key 'key-1' of https://idp.test/keys",
        )
        assert rehearsal.written

    def test_no_model_is_known_beside_the_configurations(self) -> None:
        plan = a_plan(
            a_config(plugins=[proxy(discovery=Discovery(enabled=True), models={"a": ModelTarget("b")})])
        )
        rehearsal = rehearse(request("/v1/models", method="GET"), plan)
        assert [asked.question for asked in rehearsal.asked] == ["ListModels"]
        assert b'"id":"a"' in rehearsal.told

    def test_a_hook_that_sleeps_is_woken(self) -> None:
        def access(ctx: Any) -> Script[None]:
            yield from ctx.sleep(2 * SECOND)
            yield from ctx.sleep(3 * SECOND)

        rehearsal = rehearse(converse(), with_hooks(access=access))
        assert [(asked.question, asked.about) for asked in rehearsal.asked] == [
            ("Sleep", "2000 ms"),
            ("Sleep", "3000 ms"),
        ]
        assert rehearsal.written

    def test_one_that_sleeps_too_long_is_overtaken_by_the_total_limit(self) -> None:
        def access(ctx: Any) -> Script[None]:
            yield from ctx.sleep(10**9 * SECOND)

        rehearsal = rehearse(converse(), with_hooks(access=access))
        exchange = rehearsal.session.exchange
        assert exchange is not None
        assert exchange.state is SETTLED
        assert exchange.fault is not None
        assert exchange.fault.cause is Cause.TOTAL_TIMEOUT

    def test_a_hook_that_misbehaves_is_refused_as_ever(self) -> None:
        def access(_: Any) -> None:
            raise PhaseMisuse("planted")

        exchange = rehearse(converse(), with_hooks(access=access)).session.exchange
        assert exchange is not None
        assert exchange.fault is not None
        assert exchange.fault.cause is Cause.PLUGIN_FAILED


class TestSurroundings:
    def test_every_account_has_the_credentials(self) -> None:
        plan = a_plan(a_config(plugins=[proxy(profile="of-ours")]))
        assert b"Credential=AKIDTEST/" in rehearse(converse(), plan).written

    def test_an_api_key_is_shown_where_there_is_one(self) -> None:
        rehearsal = rehearse(converse(), credentials=BearerToken(Secret("ABSKtest")))
        assert b"authorization: Bearer ABSKtest\r\n" in rehearsal.written

    def test_keys_of_the_store_count(self) -> None:
        consumers = [Consumer(username="ann", keyauth_credentials=[KeyCredential(key=Secret("k" * 20))])]
        auth = PluginEntry(name="api-key-auth", config=ApiKeyAuth())
        plan = a_plan(a_config(auth, consumers=consumers))
        data = converse(headers={"x-api-key": "stored-key-of-anns"})
        assert rehearse(data, plan).told.startswith(b"HTTP/1.1 403 ")
        digest = hashlib.sha256(b"stored-key-of-anns").hexdigest()
        exchange = rehearse(data, plan, keys={digest: b'{"consumer": "ann"}'}).session.exchange
        assert exchange is not None
        assert exchange.ctx.consumer is consumers[0]

    def test_chance_is_counted_but_for_ids(self) -> None:
        assert rehearse(converse()).session.draws == 0

        def access(ctx: Any) -> None:
            ctx.chance()

        assert rehearse(converse(), with_hooks(access=access)).session.draws == 1


class Curious:
    """A machine that asks one question, and remembers what it is told."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.told: list[SessionEvent] = []

    def handle(self, now: int, event: SessionEvent) -> list[FlightCommand]:
        """Ask first, then listen."""
        self.told.append(event)
        return [] if isinstance(event, Answered | Unanswered) else [Ask(7, self.question)]


class TestWhateverIsAsked:
    """There is a neutral answer to every question, and a word on what it was about."""

    @pytest.mark.parametrize(
        ("question", "answer", "about"),
        [
            (ReadEntry("entry"), None, "entry"),
            (ReadKeys("7"), None, "7"),
            (Turn("here", BreakerPolicy(), repeats=False), True, "here"),
            (RefreshCredentials("", "AKID"), True, "account default"),
            (RefreshCredentials("other", "AKID"), True, "account other"),
            (VerifyToken("https://i/keys", "RS256", "1", b"", b""), "", "RS256 key '1' of https://i/keys"),
            (FetchUrl("https://a/b.gif", 1, 1, ("a",)), Fetched("image/gif", b"GIF89a"), "https://a/b.gif"),
            (ListModels(Endpoint("https", "h", 443, "bedrock", "r"), "", None, None, 1), Models(()), "h"),
        ],
        ids=lambda one: type(one).__name__,
    )
    def test_it_is_answered(self, question: Question, answer: object, about: str) -> None:
        rehearsal, machine = rehearse(b""), Curious(question)
        rehearsal._tell(machine, Ticked())  # pyright: ignore[reportPrivateUsage]
        assert machine.told == [Ticked(), Answered(7, answer)]  # type: ignore[arg-type]
        assert [(asked.question, asked.about) for asked in rehearsal.asked] == [
            (type(question).__name__, about)
        ]

    def test_a_store_that_would_not_answer_does_not(self) -> None:
        rehearsal = rehearse(b"")
        first, second = (
            Curious(Take((Claim(Bucket("one", algorithm, 10, 60_000_000), 1),), "lease", 1))
            for algorithm in (Algorithm.FIXED, Algorithm.SLIDING)
        )
        for machine in (first, second):
            rehearsal._tell(machine, Ticked())  # pyright: ignore[reportPrivateUsage]
        assert second.told == [Ticked(), Unanswered(7, "the store would not answer")]
        assert [verdict is None for _, verdict in rehearsal.takes] == [False, True]


class TestEnds:
    def test_what_follows_a_request_in_later_pieces_is_not_read(self) -> None:
        rehearsal = rehearse(converse() + b"x" * 1_000_000)
        assert rehearsal.written.startswith(b"POST /model/")
        assert rehearsal.is_whole

    def test_a_hook_that_never_comes_to_rest_has_failed_at_last(self) -> None:
        def endless(ctx: Any) -> Script[None]:
            while True:
                yield from ctx.sleep(1)

        rehearsal = rehearse(converse(), with_hooks(access=endless))
        assert rehearsal.session.exchange is not None
        assert rehearsal.session.exchange.fault is not None
        assert rehearsal.session.exchange.fault.cause is Cause.PLUGIN_FAILED
        assert rehearsal.written == b""

    def test_a_guardrail_finds_nothing(self) -> None:
        guard = BedrockGuardrail(identifier="ours1", version="3", apply=True)
        plan = a_plan(a_config(PluginEntry(name="bedrock-guardrail", config=guard)))
        rehearsal = rehearse(converse(), plan)
        assert [(one.question, one.about) for one in rehearsal.asked] == [
            ("ApplyGuardrail", "/guardrail/ours1/version/3/apply")
        ]
        assert b'"guardrailIdentifier":"ours1"' in rehearsal.written

    def test_what_an_operator_would_be_told_is_kept(self) -> None:
        rehearsal = rehearse(converse(), with_hooks(access=lambda ctx: ctx.note("warning", "odd")))
        assert [note.text for note in rehearsal.notes] == ["probe: odd"]

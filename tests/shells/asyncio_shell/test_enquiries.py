"""Enquiries: who is asked what, who hears what was told, and how the answers come back."""

import asyncio
import base64
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final, cast, get_args

import anyio
import msgspec
import pytest
from anyio.abc import TaskGroup
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from stargate.asyncio_shell.enquiries import Enquiries
from stargate.asyncio_shell.ticker import Ticker
from stargate.credentials import Found, Keeper
from stargate.fetcher import Fetcher
from stargate_core.aws.credentials import Credentials
from stargate_core.aws.endpoints import Endpoint
from stargate_core.direction import Account, BreakerPolicy
from stargate_core.gateway.keyring import INTERVAL_NS, PATIENCE_NS
from stargate_core.limits.buckets import Algorithm, Bucket, Charge, Claim, Verdict
from stargate_core.messages import Health, HealthChanged, KeysChanged
from stargate_core.questions import (
    CallEnded,
    Entry,
    FetchUrl,
    Keys,
    ListModels,
    Question,
    ReadEntry,
    ReadKeys,
    RefreshCredentials,
    Settle,
    Statement,
    StoreQuestion,
    StoreStatement,
    Take,
    Turn,
    VerifyToken,
    WriteEntry,
)
from stargate_core.secret import Secret
from support.asyncio_channels import settle, until
from support.virtual_loop import MockClock

pytestmark = pytest.mark.anyio

MINUTE_US: Final = 60_000_000
BUCKET: Final = Bucket("requests:{a}", Algorithm.FIXED, 1, MINUTE_US)
POLICY: Final = BreakerPolicy(failures=2, open_ns=10_000_000_000)
TOKEN: Final = VerifyToken("file:/nowhere/keys.json", "RS256", "kid", b"signed", b"signature")


def a_take(*, local: bool = False) -> Take:
    return Take((Claim(BUCKET, 1),), "lease", MINUTE_US, local)


class Listening:
    """What a gateway is to enquiries: it hears answers, and tells everybody."""

    def __init__(self) -> None:
        self.answers: dict[int, Any] = {}
        self.unanswered: dict[int, str] = {}
        self.broadcasts: list[HealthChanged | KeysChanged] = []
        self.notes: list[tuple[str, str]] = []
        self.held: dict[str, Credentials] = {}

    def tls(self, endpoint: Endpoint) -> ssl.SSLContext:
        raise AssertionError("nobody is asked over TLS here")

    def credentials(self, account: str) -> Credentials | None:
        return self.held.get(account)

    def answer(self, number: int, answer: Any) -> None:
        assert number not in self.answers
        self.answers[number] = answer

    def leave_unanswered(self, number: int, why: str) -> None:
        self.unanswered[number] = why

    def broadcast(self, event: HealthChanged | KeysChanged) -> None:
        self.broadcasts.append(event)

    def note(self, level: str, text: str) -> None:
        self.notes.append((level, text))


class SharedStore:
    """A store elsewhere: it answers when the test says so."""

    def __init__(self) -> None:
        self.asked: dict[int, StoreQuestion] = {}
        self.told: list[StoreStatement] = []
        self.withdrawn: list[int] = []
        self.drained: list[int] = []
        self.unheard = 0

    def ask(self, ticket: int, question: StoreQuestion) -> None:
        self.asked[ticket] = question

    def withdraw(self, ticket: int) -> None:
        self.withdrawn.append(ticket)

    def tell(self, statement: StoreStatement) -> None:
        self.told.append(statement)

    def drain(self, grace_ns: int) -> None:
        self.drained.append(grace_ns)
        self.unheard = max(0, self.unheard - 1)

    def statistics(self) -> dict[str, int]:
        return {"calls": 0, "backlog": self.unheard}


class Office:
    """Enquiries and their surroundings."""

    def __init__(self, nursery: TaskGroup, fetcher: Fetcher | None = None) -> None:
        self.heard = Listening()
        self.shared = SharedStore()
        ticker = Ticker()
        self.enquiries = Enquiries(cast("Any", self.heard), nursery, ticker, fetcher)
        nursery.start_soon(ticker.run)


@contextlib.asynccontextmanager
async def office(*, shared: bool = False, fetcher: Fetcher | None = None) -> AsyncGenerator[Office]:
    """Enquiries on the test's clock. shared: with a store elsewhere, too."""
    async with anyio.create_task_group() as nursery:
        running = Office(nursery, fetcher)
        if shared:
            running.enquiries.share(running.shared)
        yield running
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------------------------------------- the stores


async def test_the_processs_own_store_answers_before_ask_returns(mock_clock: MockClock) -> None:
    async with office() as at:
        at.enquiries.ask(1, a_take())
        at.enquiries.ask(2, a_take())
        at.enquiries.ask(3, ReadEntry("k"))
        at.enquiries.ask(4, ReadKeys(""))
        first, second = at.heard.answers[1], at.heard.answers[2]
        assert isinstance(first, Verdict)
        assert (first.allowed, second.allowed) == (True, False)
        assert (at.heard.answers[3], at.heard.answers[4]) == (None, None)
        assert at.heard.unanswered == {}


async def test_what_it_was_told_it_knows(mock_clock: MockClock) -> None:
    async with office() as at:
        at.enquiries.tell(WriteEntry("k", b"v", 5_000_000))
        mock_clock.jump(2)
        at.enquiries.ask(1, ReadEntry("k"))
        assert at.heard.answers[1] == Entry(b"v", 2_000_000)
        mock_clock.jump(4)
        at.enquiries.ask(2, ReadEntry("k"))
        assert at.heard.answers[2] is None
        # A settlement gives back what was not used.
        at.enquiries.ask(3, a_take())
        at.enquiries.tell(Settle((Charge(BUCKET, 1, 0),), "lease", at.heard.answers[3].at_us))
        at.enquiries.ask(4, a_take())
        assert at.heard.answers[4].allowed


@pytest.mark.parametrize("question", [a_take(), ReadEntry("k"), ReadKeys("3")])
async def test_where_a_store_is_shared_it_is_asked(mock_clock: MockClock, question: StoreQuestion) -> None:
    async with office(shared=True) as at:
        at.enquiries.ask(7, question)
        assert at.shared.asked[7] == question
        assert at.heard.answers == {}
        at.enquiries.store_answered(7, None)
        assert at.heard.answers == {7: None}


async def test_but_not_for_what_is_this_processs_own(mock_clock: MockClock) -> None:
    async with office(shared=True) as at:
        at.enquiries.ask(7, a_take(local=True))
        assert 7 not in at.shared.asked
        assert at.heard.answers[7].allowed
        at.enquiries.tell(Settle((Charge(BUCKET, 1, 0),), "lease", at.heard.answers[7].at_us, local=True))
        assert at.shared.told == []
        at.enquiries.ask(8, a_take(local=True))
        assert at.heard.answers[8].allowed


async def test_a_shared_store_is_told(mock_clock: MockClock) -> None:
    told: list[StoreStatement] = [Settle((), "lease", 1), WriteEntry("k", b"v", 1)]
    async with office(shared=True) as at:
        for statement in told:
            at.enquiries.tell(statement)
        assert at.shared.told == told


async def test_why_a_store_gives_no_answer_reaches_whoever_asked(mock_clock: MockClock) -> None:
    async with office(shared=True) as at:
        at.enquiries.ask(7, a_take())
        at.enquiries.store_failed(7, "the store is down")
        assert at.heard.unanswered == {7: "the store is down"}
        at.enquiries.note("warning", "the store is down")
        assert at.heard.notes == [("warning", "the store is down")]


async def test_a_withdrawal_reaches_whoever_may_have_taken_something(mock_clock: MockClock) -> None:
    async with office(shared=True) as at:
        at.enquiries.ask(7, a_take())
        at.enquiries.withdraw(7)
        assert at.shared.withdrawn == [7]


async def test_its_last_words_are_waited_for(autojump_clock: MockClock) -> None:
    async with office(shared=True) as at:
        at.enquiries.drain(3)
        assert at.shared.drained == [3_000_000_000]
        at.shared.unheard = 5
        await at.enquiries.last_words()
        assert at.shared.unheard == 0
        # One that never hears them does not keep the process from ending.
        at.shared.unheard = 1_000_000
        begun = anyio.current_time()
        await at.enquiries.last_words()
        assert anyio.current_time() - begun == pytest.approx(2)


# ------------------------------------------------------------------------------------- on nobody's behalf


async def test_the_shells_own_questions_are_nobody_elses(mock_clock: MockClock) -> None:
    heard: list[tuple[Any, bool]] = []
    async with office(shared=True) as at:
        at.enquiries.seek(ReadEntry("a"), lambda answer, answered: heard.append((answer, answered)))
        at.enquiries.seek(ReadEntry("b"), lambda answer, answered: heard.append((answer, answered)))
        one, other = [number for number, asked in at.shared.asked.items() if isinstance(asked, ReadEntry)]
        assert one < 0
        assert other < 0
        at.enquiries.store_answered(other, Entry(b"v", 1))
        at.enquiries.store_failed(one, "the store is down")
        assert heard == [(Entry(b"v", 1), True), (None, False)]
        assert (at.heard.answers, at.heard.unanswered) == ({}, {})


async def test_the_keyring_asks_only_a_store_that_is_shared(autojump_clock: MockClock) -> None:
    async with office() as at:
        await anyio.sleep(60)
        assert (at.heard.broadcasts, at.heard.notes) == ([], [])
    async with office(shared=True) as at:
        await anyio.sleep(0.1)
        assert list(at.shared.asked.values()) == [ReadKeys("")]


async def test_everybody_is_told_of_the_keys_and_of_their_changes(autojump_clock: MockClock) -> None:
    async with office(shared=True) as at:

        async def answered(answer: Keys | None) -> StoreQuestion:
            await anyio.sleep(INTERVAL_NS / 1e9 + 0.1)
            ((number, question),) = at.shared.asked.items()
            at.shared.asked.clear()
            at.enquiries.store_answered(number, answer)
            return question

        assert await answered(Keys("1", {"aa": b"{}"})) == ReadKeys("")
        assert at.heard.broadcasts == [KeysChanged({"aa": b"{}"})]
        assert await answered(None) == ReadKeys("1")
        assert await answered(Keys("2", {})) == ReadKeys("1")
        assert at.heard.broadcasts == [KeysChanged({"aa": b"{}"}), KeysChanged({})]
        assert await answered(None) == ReadKeys("2")


async def test_keys_that_cannot_be_read_are_asked_for_again(autojump_clock: MockClock) -> None:
    async with office(shared=True) as at:
        await anyio.sleep(0.1)
        ((number, _),) = at.shared.asked.items()
        at.shared.asked.clear()
        at.enquiries.store_failed(number, "the store is down")
        await anyio.sleep(INTERVAL_NS / 1e9 + 0.1)
        assert list(at.shared.asked.values()) == [ReadKeys("")]
        # Nor does one that never answers end it.
        await anyio.sleep(PATIENCE_NS / 1e9 + 0.1)
        assert list(at.shared.asked.values()) == [ReadKeys("")] * 2
        assert at.heard.broadcasts == []


# ---------------------------------------------------------------------------------------------- the breaker


async def test_the_breaker_answers_and_everybody_hears_what_it_finds(autojump_clock: MockClock) -> None:
    async with office() as at:
        at.enquiries.ask(1, Turn("t", POLICY, repeats=True))
        assert at.heard.answers == {1: True}
        for _ in range(POLICY.failures):
            at.enquiries.tell(CallEnded("t", POLICY, ok=False, first=True))
        (opened,) = at.heard.broadcasts
        assert isinstance(opened, HealthChanged)
        assert (opened.target, opened.health) == ("t", Health.OPEN)
        assert at.heard.notes[0][0] == "warning"
        at.enquiries.ask(2, Turn("t", POLICY, repeats=True))
        assert at.heard.answers[2] is False
        # Nobody tells it anything meanwhile: its own deadline brings it on.
        await anyio.sleep(3 * POLICY.open_ns / 1e9)
        tried = cast("HealthChanged", at.heard.broadcasts[1])
        assert tried.health is Health.HALF_OPEN
        at.enquiries.ask(3, Turn("t", POLICY, repeats=False))
        at.enquiries.tell(CallEnded("t", POLICY, ok=True, first=True))
        assert at.heard.answers[3] is True
        assert cast("HealthChanged", at.heard.broadcasts[2]).health is Health.CLOSED


# -------------------------------------------------------------------------------- what has to be waited for


async def test_why_a_token_cannot_be_judged_reaches_whoever_asked() -> None:
    async with office() as at:
        at.enquiries.ask(1, TOKEN)
        assert (at.heard.answers, at.heard.unanswered) == ({}, {}), "it has to be waited for"
        await until(lambda: bool(at.heard.unanswered))
        assert at.heard.answers == {}
        assert "can't be had" in at.heard.unanswered[1]
        assert "signature" not in at.heard.unanswered[1]


async def test_a_token_is_judged_by_its_issuers_keys(tmp_path: Path) -> None:
    """Waited for the first time, for the keys must be read; answered at once from then on."""
    private = Ed25519PrivateKey.generate()
    octets = base64.urlsafe_b64encode(private.public_key().public_bytes_raw()).decode().rstrip("=")
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": octets}]}))
    good = VerifyToken(f"file:{keys}", "EdDSA", "a", b"signed", private.sign(b"signed"))
    async with office() as at:
        at.enquiries.ask(1, good)
        assert at.heard.answers == {}
        await until(lambda: 1 in at.heard.answers)
        at.enquiries.ask(2, good)
        at.enquiries.ask(3, msgspec.structs.replace(good, signed=b"another"))
        assert (at.heard.answers[1], at.heard.answers[2]) == ("", "")
        assert at.heard.answers[3] != ""


async def test_without_a_keeper_who_asks_for_newer_credentials_does_not_wait() -> None:
    async with office() as at:
        at.enquiries.ask(1, RefreshCredentials("", "AKID"))
        await settle()
        assert at.heard.answers == {1: True}


async def test_newer_credentials_are_told_before_the_question_is_answered(
    autojump_clock: MockClock,
) -> None:
    searches: list[str] = []
    order: list[str] = []

    async def search(account: Account) -> Found:
        searches.append(account.name)
        await anyio.sleep(0.5)
        return Found(Credentials(f"AKID{len(searches)}", Secret("s")), "test")

    async with office() as at, anyio.create_task_group() as nursery:
        keeper = Keeper(
            [Account("")],
            wall_ns=lambda: 0,
            changed=lambda held: order.extend(f"changed {value}" for value in held),
            note=at.heard.note,
            ask=search,
        )
        at.enquiries.use(keeper)
        await keeper.first(5)
        nursery.start_soon(keeper.run)
        await anyio.sleep(20)
        order.clear()
        at.enquiries.ask(1, RefreshCredentials("", "AKID1"))
        at.enquiries.ask(2, RefreshCredentials("", "AKID1"))
        assert at.heard.answers == {}
        await anyio.sleep(5)
        assert at.heard.answers == {1: True, 2: True}
        assert order == ["changed "]
        assert len(searches) == 2, "one search for all who wait"
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------------------------- the fetcher, the scout

NOWHERE: Final = Endpoint("http", "127.0.0.1", 1, "bedrock", "us-east-1")


async def test_a_page_that_is_wanted_no_more_is_not_waited_for() -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        async with office(fetcher=Fetcher(allowed=lambda _: True, ports={port})) as at:
            at.enquiries.ask(1, FetchUrl(f"http://127.0.0.1:{port}/", 1, 60_000_000_000, ("*",), plain=True))
            sock, _ = await loop.sock_accept(listener)
            with sock:
                assert await loop.sock_recv(sock, 65_536)
                at.enquiries.withdraw(1)
                with anyio.fail_after(5), contextlib.suppress(ConnectionResetError):
                    assert await loop.sock_recv(sock, 1) == b""
                await settle()
                assert (at.heard.answers, at.heard.unanswered) == ({}, {})


async def test_why_a_page_cannot_be_had_is_an_answer() -> None:
    async with office() as at:
        at.enquiries.ask(1, FetchUrl("https://127.0.0.1/", 1, 1_000_000_000, ("*",)))
        await until(lambda: 1 in at.heard.answers)
        assert at.heard.answers == {1: "its host is not on the public internet"}


async def test_models_are_asked_for_with_the_accounts_credentials() -> None:
    async with office() as at:
        at.enquiries.ask(1, ListModels(NOWHERE, "", None, None, 1))
        await until(lambda: 1 in at.heard.unanswered)
        assert at.heard.unanswered == {1: "there are no AWS credentials"}
        at.heard.held["b"] = Credentials("AKID", Secret("s"))
        at.enquiries.ask(2, ListModels(NOWHERE, "b", None, None, 1))
        await until(lambda: 2 in at.heard.unanswered)
        assert at.heard.unanswered[2] == "its server cannot be reached"


async def test_no_kind_of_question_is_left_without_an_answer() -> None:
    """Nor any statement unheard: one of each type, to a gateway that shares nothing."""
    questions: dict[Any, Question] = {
        Take: a_take(),
        ReadEntry: ReadEntry("k"),
        ReadKeys: ReadKeys(""),
        Turn: Turn("t", POLICY, repeats=True),
        VerifyToken: TOKEN,
        RefreshCredentials: RefreshCredentials("", "AKID"),
        FetchUrl: FetchUrl("https://[::1]/x.png", 1, 1_000_000_000, ("*",)),
        ListModels: ListModels(NOWHERE, "", None, None, 1),
    }
    statements: dict[Any, Statement] = {
        Settle: Settle((), "lease", 1),
        WriteEntry: WriteEntry("k", b"v", 1),
        CallEnded: CallEnded("t", POLICY, ok=True, first=True),
    }
    assert set(questions) == set(get_args(Question))
    assert set(statements) == set(get_args(Statement))
    async with office() as at:
        for statement in statements.values():
            at.enquiries.tell(statement)
        for number, question in enumerate(questions.values(), 1):
            at.enquiries.ask(number, question)
        # Of a token and of models nothing can be said here, and that is said.
        await until(lambda: len(at.heard.answers) + len(at.heard.unanswered) == len(questions))
        silent = {list(questions).index(kind) + 1 for kind in (VerifyToken, ListModels)}
        assert set(at.heard.unanswered) == silent

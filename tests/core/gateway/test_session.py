"""One client connection: requests in order, bad ones refused, time limits kept, every end a good one.

The bench (support/machines.py) checks after each step what must hold in every state; here stand the stories,
and at the end a machine that tells a session anything at all, in any order.
"""

from typing import Any, Final, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stargate_core.aws.credentials import Credentials
from stargate_core.clock import SECOND
from stargate_core.config.bedrock_proxy import AwsCredentials, ProxyTarget, Retry
from stargate_core.config.schema import Gateway, PluginEntry, Route, TimeLimits
from stargate_core.direction import Sharing
from stargate_core.faults import Cause, Fault
from stargate_core.gateway.session import TABLE, Closed, Exchanging, Receiving, Waiting
from stargate_core.limits.buckets import Algorithm, Bucket, Claim, Level, Verdict
from stargate_core.messages import (
    AbortClient,
    AnswerBegan,
    Answered,
    AnswerEnded,
    AnswerFailed,
    AnswerSent,
    ClientDrained,
    ClientSent,
    ClientStalled,
    CloseClient,
    CredentialsChanged,
    Draining,
    Health,
    HealthChanged,
    KeysChanged,
    Reconfigured,
    SessionEvent,
    Source,
    Ticked,
    Trouble,
    Unanswered,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamLost,
    UpstreamOpened,
    UpstreamSent,
)
from stargate_core.questions import Take
from stargate_core.script import WaitFailed
from stargate_core.secret import Secret
from support.bedrock import (
    BAD_FRAMES,
    ERROR_FRAME,
    LAST_CHUNK,
    aws_error,
    chunk,
    converse_answer,
    converse_story,
    exception,
    invoke_story,
    stream_head,
)
from support.hooks import entry, plugin_of
from support.machines import (
    ENDPOINT_URL,
    LOG,
    MODEL,
    Bench,
    a_config,
    a_plan,
    chat,
    converse,
    proxy,
    request,
    sse,
)

MINUTE: Final = 60 * SECOND
HEALTH: Final = request("/healthz", method="GET")
STORY: Final = converse_story()
INVOKED: Final = invoke_story()


def limited(codec: str = "fast", keepalive: float = 15.0, **limits: float) -> Bench:
    """A bench with these time limits, in seconds."""
    gateway = Gateway(
        time_limits=TimeLimits(**limits),
        keepalive_seconds=keepalive,
        http_codec="fast" if codec == "fast" else "reference",
    )
    return Bench(a_plan(a_config(gateway=gateway)))


class TestBusy:
    def test_it_is_while_a_request_is_answered(self) -> None:
        bench = Bench()
        assert not bench.session.busy
        bench.send(chat()[:20])
        assert not bench.session.busy, "it is no request yet"
        bench.send(chat()[20:])
        assert bench.session.busy
        bench.client.methods.append(b"POST")
        bench.open()
        bench.answer(converse_answer())
        assert not bench.session.busy


class TestOrder:
    def test_requests_are_answered_one_after_the_other(self) -> None:
        bench = Bench()
        for text in ("one", "two"):
            bench.ask(chat())
            bench.open()
            bench.answer(converse_answer(text))
        assert [a.json["choices"][0]["message"]["content"] for a in bench.client.answers] == ["one", "two"]
        bench.settle()

    @pytest.mark.parametrize("codec", ["fast", "reference"])
    def test_pipelined_requests_are_answered_in_order(self, codec: str) -> None:
        bench = limited(codec)
        bench.send(chat() + converse() + HEALTH + chat())
        assert len(bench.asked) == 1
        for text in ("one", "two", "four"):
            bench.open()
            bench.answer(converse_answer(text))
        bodies = [answer.body for answer in bench.client.answers]
        assert [b"one" in bodies[0], b"two" in bodies[1], b"ok" in bodies[2], b"four" in bodies[3]] == [
            True
        ] * 4
        assert len(bench.records) == 3
        bench.settle()

    def test_what_comes_while_an_answer_is_written_waits(self) -> None:
        bench = Bench()
        bench.ask(chat(stream=True))
        bench.open()
        bench.answer(stream_head() + chunk(STORY.beginning + STORY.middle))
        bench.send(chat()[:50])
        bench.send(chat()[50:])
        assert len(bench.opened) == 1
        bench.answer(chunk(STORY.end) + LAST_CHUNK)
        assert len(bench.opened) == 2

    def test_a_thousand_pipelined_requests_need_no_depth(self) -> None:
        """Each is answered at once, so each begins the next: that must not be recursion."""
        one = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
        bench = Bench()
        bench.send(one * (65_536 // len(one)))
        assert len(bench.client.answers) == 65_536 // len(one)

    def test_a_refused_request_leaves_the_connection_usable(self) -> None:
        bench = Bench()
        bench.ask(request("/v1/nothing", b"{}"))
        bench.ask(HEALTH)
        assert [answer.status for answer in bench.client.answers] == [404, 200]
        assert bench.closed is None

    def test_a_request_in_pieces_that_is_answered_at_once_leaves_nothing_behind(self) -> None:
        """The connection is idle again, and not in the midst of a body."""
        bench = limited(client_idle=75, client_body=10)
        sent = request("/v1/nothing", b"{}")
        bench.send(sent[:-1])
        bench.send(sent[-1:])
        assert isinstance(bench.session.state, Waiting)
        bench.advance(74 * SECOND)
        assert bench.closed is None
        bench.advance(SECOND)
        assert isinstance(bench.closed, CloseClient)
        assert [answer.status for answer in bench.client.answers] == [404]

    def test_http_10_is_answered_and_closed(self) -> None:
        bench = Bench()
        bench.ask(chat(version="1.0"))
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.header("connection") == "close"
        assert isinstance(bench.closed, CloseClient)
        bench.settle()

    def test_a_client_that_asks_for_close_gets_it(self) -> None:
        bench = Bench()
        bench.ask(chat(headers={"connection": "close"}))
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.header("connection") == "close"
        assert isinstance(bench.closed, CloseClient)

    @pytest.mark.parametrize("codec", ["fast", "reference"])
    def test_too_much_ahead_costs_the_connection_and_not_the_answer(self, codec: str) -> None:
        bench = limited(codec)
        bench.ask(chat())
        bench.open()
        bench.send(chat() * 1000)
        bench.answer(converse_answer())
        assert bench.only.status == 200
        assert isinstance(bench.closed, CloseClient)
        bench.settle()

    def test_nobodys_request_id_is_another_ones(self) -> None:
        bench = Bench()
        bench.send(HEALTH * 50)
        assert len({answer.header("x-request-id") for answer in bench.client.answers}) == 50

    def test_the_same_seed_draws_the_same_ids(self) -> None:
        first, second, third = (Bench(seed=seed) for seed in (5, 5, 6))
        for bench in (first, second, third):
            bench.ask(HEALTH)
        assert first.only.told == second.only.told
        assert first.only.told != third.only.told


class TestHealth:
    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/healthz?deep=1"])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_the_gateway_says_it_is_well(self, path: str, method: str) -> None:
        bench = Bench()
        bench.ask(request(path, method=method))
        assert bench.only.status == 200
        assert (bench.only.body == b"") == (method == "HEAD")
        assert bench.records == []
        assert bench.closed is None

    def test_other_methods_are_not_allowed(self) -> None:
        bench = Bench()
        bench.ask(request("/healthz", b"{}"))
        assert bench.only.status == 405
        assert bench.only.header("allow") == "GET, HEAD"
        assert bench.only.header("x-should-retry") == "false"

    def test_while_draining_it_lives_but_is_not_ready(self) -> None:
        for path, status in (("/healthz", 200), ("/readyz", 503)):
            bench = Bench()
            head = request(path, method="GET")
            bench.send(head[:10])
            bench.tell(Draining(30 * SECOND))
            bench.send(head[10:])
            assert bench.only.status == status
            assert (bench.only.header("retry-after") is not None) == (status == 503)
            assert isinstance(bench.closed, CloseClient)

    def test_a_health_check_needs_no_plugin_and_no_key(self) -> None:
        bench = Bench(a_plan(a_config(plugins=[])))
        bench.ask(HEALTH)
        assert bench.only.status == 200


BODY: Final = chat().partition(b"\r\n\r\n")[2]


def raw(*lines: str, body: bytes = b"", target: str = "/v1/chat/completions") -> bytes:
    """A request with exactly these header lines."""
    return "".join(f"{line}\r\n" for line in (f"POST {target} HTTP/1.1", *lines, "")).encode() + body


LENGTH: Final = f"Content-Length: {len(BODY)}"
SMUGGLERS: Final = {
    "two lengths": raw("Host: x", LENGTH, "Content-Length: 5", body=BODY),
    "two lengths in one": raw("Host: x", "Content-Length: 5, 6", body=BODY),
    "a length and chunks": raw("Host: x", LENGTH, "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "an obscured coding": raw("Host: x", "Transfer-Encoding: xchunked", body=BODY),
    "two codings": raw("Host: x", "Transfer-Encoding: gzip, chunked", body=BODY),
    "a coding in HTTP/1.0": raw("Host: x", "Transfer-Encoding: chunked").replace(b"/1.1\r", b"/1.0\r"),
    "a folded header": raw("Host: x", "X: a", " b", LENGTH, body=BODY),
    "a bare line feed": b"POST /v1/chat/completions HTTP/1.1\nHost: x\n\n",
    "a bare carriage return": raw("Host: x", "X: a\rb", LENGTH, body=BODY),
    "a null byte": raw("Host: x", "X: a\0b", LENGTH, body=BODY),
    "a blank before the colon": raw("Host: x", "Content-Length : 5", body=BODY),
    "a signed length": raw("Host: x", "Content-Length: +5", body=BODY),
    "a hexadecimal length": raw("Host: x", "Content-Length: 0x5", body=BODY),
    "no host": raw(LENGTH, body=BODY),
    "two hosts": raw("Host: x", "Host: y", LENGTH, body=BODY),
    "a bad chunk size": raw("Host: x", "Transfer-Encoding: chunked", body=b"zz\r\n"),
    "a chunk that runs over": raw("Host: x", "Transfer-Encoding: chunked", body=b"1\r\nab\r\n0\r\n\r\n"),
    "not HTTP": b"hello\r\n\r\n",
    "TLS on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n",
    "an unknown method": raw("Host: x").replace(b"POST", b"BREW"),
    "a tab in the request line": b"POST\t/v1/chat HTTP/1.1\r\nHost: x\r\n\r\n",
}


class TestBadRequests:
    @pytest.mark.parametrize("codec", ["fast", "reference"])
    @pytest.mark.parametrize("sent", SMUGGLERS.values(), ids=list(SMUGGLERS))
    def test_smuggling_is_refused_and_goes_nowhere(self, sent: bytes, codec: str) -> None:
        bench = limited(codec)
        bench.send(sent + chat())
        answer = bench.only
        assert answer.status in {400, 501, 505}
        assert set(answer.json["error"]) == {"message", "type", "param", "code"}
        assert answer.header("connection") == "close"
        assert answer.header("x-should-retry") == "false"
        assert answer.header("x-request-id")
        assert isinstance(bench.closed, CloseClient)
        assert bench.opened == []
        assert bench.records == []
        bench.send(chat())
        assert bench.opened == []

    @pytest.mark.parametrize("codec", ["fast", "reference"])
    @pytest.mark.parametrize("sent", SMUGGLERS.values(), ids=list(SMUGGLERS))
    def test_behind_a_good_request_it_waits_until_that_is_answered(self, sent: bytes, codec: str) -> None:
        bench = limited(codec)
        bench.send(chat() + sent)
        bench.open()
        bench.answer(converse_answer())
        assert [answer.status < 300 for answer in bench.client.answers] == [True, False]
        assert isinstance(bench.closed, CloseClient)
        assert len(bench.opened) == 1
        bench.settle()

    @pytest.mark.parametrize(
        ("sent", "status", "code"),
        [
            (raw("Host: x", f"X: {'a' * 70_000}"), 431, "HEADERS_TOO_LARGE"),
            (raw("Host: x", *(f"X{n}: a" for n in range(200))), 431, "HEADERS_TOO_LARGE"),
            (raw("Host: x", target=f"/v1/{'a' * 9000}"), 414, "URI_TOO_LONG"),
            (raw("Host: x", "Content-Length: 99999999999"), 413, "PAYLOAD_TOO_LARGE"),
            (raw("Host: x", "Content-Length: 99999999999", "Expect: 100-continue"), 413, "PAYLOAD_TOO_LARGE"),
            (raw("Host: x", "Transfer-Encoding: gzip"), 501, "NOT_IMPLEMENTED"),
            (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505, "HTTP_VERSION_NOT_SUPPORTED"),
        ],
        ids=["a long header", "many headers", "a long target", "a long body", "invited", "coding", "version"],
    )
    def test_each_limit_has_its_own_code(self, sent: bytes, status: int, code: str) -> None:
        bench = Bench()
        bench.send(sent)
        assert (bench.only.status, bench.only.json["error"]["code"]) == (status, code)
        assert bench.client.interims == []
        assert isinstance(bench.closed, CloseClient)

    def test_an_aws_caller_is_refused_in_its_own_envelope(self) -> None:
        bench = Bench()
        bench.send(raw("Host: x", "Content-Length: 99999999999", target="/model/m/converse"))
        assert (bench.only.status, bench.only.header("x-amzn-errortype")) == (413, "ValidationException")
        assert set(bench.only.json) == {"message"}
        assert bench.only.header("x-amzn-requestid") == bench.only.header("x-request-id")

    def test_a_body_that_grows_too_large_is_refused_in_the_callers_envelope(self) -> None:
        gateway = Gateway(max_body_bytes=1024)
        bench = Bench(a_plan(a_config(gateway=gateway)))
        bench.send(raw("Host: x", "Transfer-Encoding: chunked", target="/model/m/converse"))
        bench.send(chunk(b" " * 1000))
        assert bench.client.answers == []
        bench.send(chunk(b" " * 1000))
        assert (bench.only.status, bench.only.header("x-amzn-errortype")) == (413, "ValidationException")

    @pytest.mark.parametrize("target", ["http://stargate/healthz", "http://stargate:8080/healthz?x=/y"])
    def test_an_absolute_target_means_its_path(self, target: str) -> None:
        bench = Bench()
        bench.ask(request(target, method="GET"))
        assert bench.only.status == 200

    def test_a_path_that_looks_like_an_absolute_target_is_a_path(self) -> None:
        bench = Bench()
        bench.ask(request("/x://stargate/healthz", method="GET"))
        assert bench.only.status == 404

    @pytest.mark.parametrize("target", ["http://stargate", "http://stargate?x=1", "http://stargate/"])
    def test_an_absolute_target_without_a_path_means_the_root(self, target: str) -> None:
        bench = Bench()
        bench.ask(request(target, method="GET"))
        assert bench.only.status == 404

    @pytest.mark.parametrize("method", ["OPTIONS", "CONNECT"])
    def test_odd_forms_of_a_target_lead_nowhere(self, method: str) -> None:
        bench = Bench()
        bench.ask(request("*" if method == "OPTIONS" else "stargate:443", method=method))
        assert bench.only.status == 404
        bench.settle()


class TestExpect:
    def test_a_body_is_invited_and_answered(self) -> None:
        bench = Bench()
        head, _, body = chat(headers={"expect": "100-continue"}).partition(b"\r\n\r\n")
        bench.send(head + b"\r\n\r\n")
        assert bench.client.interims == [100]
        bench.send(body)
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.status == 200
        bench.settle()

    def test_a_client_of_http_10_is_not_invited(self) -> None:
        bench = Bench()
        bench.send(chat(version="1.0", headers={"expect": "100-continue"}))
        assert bench.client.interims == []


class TestClientTime:
    def test_an_idle_connection_is_closed_without_a_word(self) -> None:
        bench = limited(client_idle=75)
        bench.advance(75 * SECOND - 1)
        assert bench.closed is None
        bench.advance(1)
        assert isinstance(bench.closed, CloseClient)
        assert bench.client.answers == []

    def test_the_idle_time_begins_again_after_each_answer(self) -> None:
        bench = limited(client_idle=75)
        bench.advance(70 * SECOND)
        bench.ask(HEALTH)
        bench.advance(70 * SECOND)
        assert bench.closed is None
        bench.advance(5 * SECOND)
        assert isinstance(bench.closed, CloseClient)

    def test_a_head_must_come_in_time_however_it_drips(self) -> None:
        bench = limited(client_head=10)
        for at in range(9):
            bench.send(chat()[at : at + 1])
            bench.advance(SECOND)
        assert bench.client.answers == []
        bench.advance(SECOND)
        assert (bench.only.status, bench.only.json["error"]["code"]) == (408, "REQUEST_TIMEOUT")
        assert bench.only.header("x-should-retry") == "true"
        assert isinstance(bench.closed, CloseClient)
        assert bench.records == []

    def test_a_body_may_take_long_as_long_as_it_comes(self) -> None:
        """The limit is between two pieces: a large upload on a slow line is no fault."""
        bench = limited(client_body=60)
        sent = converse()
        at = sent.index(b"\r\n\r\n") + 4
        bench.send(sent[:at])
        for piece in range(at, len(sent)):
            bench.advance(59 * SECOND)
            bench.send(sent[piece : piece + 1])
        assert len(bench.asked) == 1

    def test_a_body_that_stops_is_refused_in_its_dialect(self) -> None:
        bench = limited(client_body=60)
        bench.send(converse()[:-1])
        bench.advance(60 * SECOND)
        assert (bench.only.status, bench.only.header("x-amzn-errortype")) == (408, "RequestTimeoutException")
        assert isinstance(bench.closed, CloseClient)

    def test_what_was_sent_ahead_has_its_time_from_the_moment_it_counts(self) -> None:
        bench = limited(client_head=10, total=600)
        bench.send(chat() + chat()[:20])
        bench.open()
        bench.advance(50 * SECOND)
        bench.answer(converse_answer())
        bench.advance(10 * SECOND - 1)
        assert len(bench.client.answers) == 1
        bench.advance(1)
        assert bench.client.answers[-1].status == 408

    def test_a_client_that_takes_nothing_is_cut_off(self) -> None:
        bench = limited(client_stall=60)
        bench.ask(chat(stream=True))
        bench.open()
        bench.answer(stream_head() + chunk(STORY.beginning + STORY.middle))
        bench.tell(ClientStalled())
        bench.advance(60 * SECOND - 1)
        assert bench.closed is None
        bench.advance(1)
        assert isinstance(bench.closed, AbortClient)
        assert bench.dropped
        assert bench.record["outcome"] == "client_left"
        bench.settle()

    def test_a_client_that_drains_in_time_may_stall_again(self) -> None:
        bench = limited(client_stall=60, total=3600)
        bench.ask(chat(stream=True))
        bench.open()
        bench.answer(stream_head() + chunk(STORY.beginning + STORY.middle))
        for _ in range(5):
            bench.tell(ClientStalled())
            bench.advance(50 * SECOND)
            bench.tell(ClientDrained())
        assert bench.closed is None
        for _ in range(5):
            bench.advance(50 * SECOND)
            bench.answer(chunk(STORY.middle))
        bench.answer(chunk(STORY.end) + LAST_CHUNK)
        assert bench.record["outcome"] == "complete"

    def test_a_stalled_client_between_requests_is_cut_off_too(self) -> None:
        bench = limited(client_stall=60, client_idle=600)
        bench.ask(HEALTH)
        bench.tell(ClientStalled())
        bench.advance(60 * SECOND)
        assert isinstance(bench.closed, AbortClient)


class TestLeaving:
    """A client that goes, in every state: what was begun is given up at once."""

    @pytest.mark.parametrize("lost", [False, True])
    @pytest.mark.parametrize("sent", [b"", chat()[:10], chat()[:-1]])
    def test_before_its_request_is_whole(self, sent: bytes, lost: bool) -> None:
        bench = Bench()
        if sent:
            bench.send(sent)
        bench.leave(lost=lost)
        assert isinstance(bench.closed, CloseClient)
        assert bench.records == []
        bench.settle()

    @pytest.mark.parametrize("lost", [False, True])
    def test_while_a_lease_is_awaited(self, lost: bool) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.leave(lost=lost)
        assert bench.withdrawn == [bench.opened[0].ticket]
        assert (bench.record["outcome"], bench.record["status"]) == ("client_left", 0)
        bench.settle()

    @pytest.mark.parametrize("lost", [False, True])
    @pytest.mark.parametrize(
        ("request_", "said", "status"),
        [
            (chat(), b"", 0),
            (chat(), converse_answer()[:20], 0),
            (chat(), converse_answer()[:-1], 0),
            (chat(stream=True), b"", 0),
            (chat(stream=True), stream_head(), 0),
            (chat(stream=True), stream_head() + chunk(STORY.beginning), 0),
            (chat(stream=True), stream_head() + chunk(STORY.beginning + STORY.middle), 200),
            (converse("converse-stream"), stream_head() + chunk(STORY.beginning + STORY.middle), 200),
            (chat(stream=True), aws_error("ThrottlingException", 429)[:-1], 0),
        ],
        ids=["awaiting", "in the head", "collecting", "awaiting a stream", "peeking", "peeking at a frame",
             "streaming", "streaming natively", "collecting an error"],
    )  # fmt: skip
    def test_under_way(self, request_: bytes, said: bytes, status: int, lost: bool) -> None:
        bench = Bench()
        bench.ask(request_)
        bench.open()
        if said:
            bench.answer(said)
        bench.leave(lost=lost)
        assert bench.dropped
        assert (bench.record["outcome"], bench.record["status"]) == ("client_left", status)
        bench.settle()
        bench.answer(b"late")
        bench.upstream_ends()

    @pytest.mark.parametrize("lost", [False, True])
    def test_when_it_has_everything_it_has_not_left(self, lost: bool) -> None:
        bench = Bench()
        bench.ask(chat(stream=True))
        bench.open()
        bench.answer(stream_head() + chunk(STORY.whole))
        bench.leave(lost=lost)
        assert bench.record["outcome"] == "complete"
        assert bench.dropped
        bench.settle()

    def test_what_it_had_asked_for_besides_is_not_begun(self) -> None:
        bench = Bench()
        bench.send(chat() + chat())
        bench.open()
        bench.leave()
        assert len(bench.opened) == 1
        bench.settle()


class TestLateLeases:
    def test_a_lease_that_crosses_a_withdrawal_goes_back(self) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.leave()
        out = bench.session.handle(bench.now, UpstreamOpened(1, 99, reused=False))
        assert [type(command).__name__ for command in out] == ["ReleaseUpstream"]

    def test_a_lease_that_nobody_asked_for_goes_back(self) -> None:
        bench = Bench()
        out = bench.session.handle(bench.now, UpstreamOpened(77, 99, reused=False))
        assert [type(command).__name__ for command in out] == ["ReleaseUpstream"]

    def test_the_lease_in_use_is_not_given_back_by_a_repeated_answer(self) -> None:
        bench = Bench()
        bench.ask(chat())
        ticket = bench.opened[0].ticket
        lease = bench.open()
        assert bench.tell(UpstreamOpened(ticket, lease, reused=False)) == []
        bench.answer(converse_answer())
        bench.settle()


class TestDraining:
    def test_an_idle_connection_is_closed_at_once(self) -> None:
        bench = Bench()
        bench.tell(Draining(30 * SECOND))
        assert isinstance(bench.closed, CloseClient)

    def test_a_request_that_is_arriving_is_still_answered(self) -> None:
        bench = Bench()
        bench.send(chat()[:30])
        bench.tell(Draining(30 * SECOND))
        bench.send(chat()[30:])
        bench.open()
        bench.answer(converse_answer())
        assert (bench.only.status, bench.only.header("connection")) == (200, "close")
        assert isinstance(bench.closed, CloseClient)
        bench.settle()

    def test_one_that_never_arrives_is_closed_with_the_grace(self) -> None:
        bench = limited(client_head=60)
        bench.send(chat()[:30])
        bench.tell(Draining(30 * SECOND))
        bench.advance(30 * SECOND)
        assert isinstance(bench.closed, CloseClient)
        assert bench.client.answers == []

    def test_what_runs_finishes(self) -> None:
        bench = Bench()
        bench.ask(chat(stream=True))
        bench.open()
        bench.answer(stream_head() + chunk(STORY.beginning + STORY.middle))
        bench.tell(Draining(30 * SECOND))
        bench.advance(29 * SECOND)
        bench.answer(chunk(STORY.end) + LAST_CHUNK)
        assert sse(bench.only.body)[-1] == "[DONE]"
        assert isinstance(bench.closed, CloseClient)
        bench.settle()

    def test_nothing_new_is_begun(self) -> None:
        bench = Bench()
        bench.send(chat() + chat())
        bench.tell(Draining(30 * SECOND))
        bench.open()
        bench.answer(converse_answer())
        assert len(bench.opened) == 1
        assert bench.only.header("connection") == "close"

    @pytest.mark.parametrize("said", [None, b"", stream_head(), stream_head() + chunk(STORY.beginning)])
    def test_when_the_grace_is_over_silence_becomes_an_http_error(self, said: bytes | None) -> None:
        bench = limited(keepalive=600)
        bench.ask(chat(stream=True))
        if said is not None:
            bench.open()
            if said:
                bench.answer(said)
        bench.tell(Draining(30 * SECOND))
        bench.advance(30 * SECOND)
        assert (bench.only.status, bench.only.json["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert bench.only.header("retry-after") == "1"
        assert bench.record["cause"] == "DRAINING"
        assert isinstance(bench.closed, CloseClient)
        bench.settle()

    @pytest.mark.parametrize("request_", [chat(stream=True), converse("converse-stream")])
    def test_when_the_grace_is_over_a_stream_ends_in_a_typed_error(self, request_: bytes) -> None:
        bench = Bench()
        bench.ask(request_)
        bench.open()
        bench.answer(stream_head() + chunk(STORY.beginning + STORY.middle))
        bench.tell(Draining(30 * SECOND))
        bench.advance(30 * SECOND)
        tail = bench.only.body[-200:]
        assert b"SERVICE_UNAVAILABLE" in tail or b"serviceUnavailableException" in tail
        assert bench.record["cause"] == "DRAINING"
        assert bench.dropped
        assert isinstance(bench.closed, CloseClient)
        bench.settle()

    @pytest.mark.parametrize("request_", [chat(stream=True), converse("converse-stream")])
    def test_a_stream_that_has_its_end_is_not_broken_any_more(self, request_: bytes) -> None:
        """Only the last bytes of the transport are awaited: the caller has everything already."""
        bench = Bench()
        bench.ask(request_)
        bench.open()
        bench.answer(stream_head() + chunk(STORY.whole))
        bench.tell(Draining(0))
        bench.advance(0)
        assert bench.record["outcome"] == "complete"
        assert b"rror" not in bench.only.body
        assert bench.only.whole
        bench.settle()


def proxy_at(route: str, **config: Any) -> PluginEntry:
    """An entry of bedrock-proxy for one route."""
    return msgspec.structs.replace(proxy(**config), route=route)


class TestCredentials:
    KEYS: Final = Credentials("AKIDNEW", Secret("new"))

    def test_without_any_the_call_is_not_made(self) -> None:
        bench = Bench(credentials=False)
        bench.ask(chat())
        assert (bench.only.status, bench.only.json["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert bench.record["cause"] == "CREDENTIALS_MISSING"
        assert bench.opened == []

    def test_new_ones_sign_the_next_call(self) -> None:
        bench = Bench()
        bench.tell(CredentialsChanged("", self.KEYS))
        bench.ask(chat())
        bench.open()
        assert "Credential=AKIDNEW/" in bench.call.headers["authorization"]

    def test_a_call_that_waits_for_its_lease_is_signed_with_the_newest(self) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.tell(CredentialsChanged("", self.KEYS))
        bench.open()
        assert "Credential=AKIDNEW/" in bench.call.headers["authorization"]

    def test_when_they_vanish_while_a_lease_is_awaited_it_goes_back_clean(self) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.tell(CredentialsChanged("", None))
        bench.open()
        assert bench.only.status == 503
        assert not bench.dropped
        assert bench.record["cause"] == "CREDENTIALS_MISSING"
        bench.settle()

    def test_each_direction_is_signed_with_its_own(self) -> None:
        """Also on one connection, in one region: fixed ones, an account's, and the usual ones."""
        fixed = AwsCredentials(access_key_id="AKIDFIXED", secret_access_key=Secret("s"))
        bench = Bench(
            a_plan(
                a_config(
                    routes=[Route(name=name, paths=[f"/{name}"]) for name in ("usual", "fixed", "team")],
                    plugins=[proxy(), proxy_at("fixed", credentials=fixed), proxy_at("team", profile="team")],
                )
            )
        )
        bench.tell(CredentialsChanged("team", Credentials("AKIDTEAM", Secret("s"))))
        signed: list[str] = []
        for name in ("usual", "fixed", "team", "fixed", "usual", "team"):
            bench.ask(chat().replace(b"POST /v1", f"POST /{name}/v1".encode()))
            bench.open()
            bench.answer(converse_answer())
            signed.append(bench.call.headers["authorization"].partition("Credential=")[2].partition("/")[0])
        usual = "AKIDSTARGATE"
        assert signed == [usual, "AKIDFIXED", "AKIDTEAM", "AKIDFIXED", usual, "AKIDTEAM"]

    def test_another_accounts_change_nothing(self) -> None:
        bench = Bench()
        bench.tell(CredentialsChanged("other", None))
        bench.ask(chat())
        assert len(bench.asked) == 1


class TestReconfigured:
    """The generation that counts when a request is whole serves it to its end; the connection stays."""

    @staticmethod
    def bench(codec: str = "fast", **second: Any) -> Bench:
        kind: Any = codec
        first = a_plan(a_config(gateway=Gateway(http_codec=kind)))
        gateway = Gateway(http_codec=kind, **second)
        later = [a_plan(a_config(gateway=gateway), generation=number) for number in (2, 3)]
        return Bench(first, later=tuple(later))

    def answered(self, bench: Bench) -> int:
        """The generation that answers the next request."""
        bench.ask(chat())
        bench.open()
        bench.answer(converse_answer("Hi"))
        return int(bench.records[-1]["generation"])

    @pytest.mark.parametrize("codec", ["fast", "reference"])
    def test_an_idle_connections_next_request_is_the_new_ones(self, codec: str) -> None:
        bench = self.bench(codec)
        assert self.answered(bench) == 1
        assert bench.tell(Reconfigured(2)) == []
        assert self.answered(bench) == 2
        assert self.answered(bench) == 2

    def test_a_running_request_finishes_on_its_own(self) -> None:
        bench = self.bench(keepalive_seconds=1)
        bench.ask(chat(stream=True))
        bench.open()
        bench.tell(Reconfigured(2))
        bench.tell(Reconfigured(3))
        bench.answer(stream_head() + chunk(STORY.beginning + STORY.middle))
        written = bench.client.answers[-1].body
        bench.advance(2 * SECOND)
        assert bench.client.answers[-1].body == written, "the keep-alives are its own generation's"
        bench.answer(chunk(STORY.end) + LAST_CHUNK)
        assert bench.records[-1]["generation"] == 1
        assert self.answered(bench) == 3

    @pytest.mark.parametrize("codec", ["fast", "reference"])
    def test_a_request_that_is_still_coming_is_the_new_ones(self, codec: str) -> None:
        bench, whole = self.bench(codec), chat()
        bench.send(whole[:-9])
        bench.tell(Reconfigured(2))
        bench.send(whole[-9:])
        bench.open()
        bench.answer(converse_answer("Hi"))
        assert bench.records[-1]["generation"] == 2

    def test_requests_sent_ahead_are_the_new_ones(self) -> None:
        bench = self.bench()
        bench.send(chat() + chat() + chat()[:30])
        bench.open()
        bench.tell(Reconfigured(2))
        bench.answer(converse_answer("one"))
        bench.open()
        bench.answer(converse_answer("two"))
        assert [record["generation"] for record in bench.records] == [1, 2]
        bench.send(chat()[30:])
        bench.open()
        bench.answer(converse_answer("three"))
        assert bench.records[-1]["generation"] == 2

    @pytest.mark.parametrize("codec", ["fast", "reference"])
    @pytest.mark.parametrize("running", [False, True])
    def test_its_bounds_count_on_a_connection_that_is_kept(self, codec: str, running: bool) -> None:
        bench = self.bench(codec, max_body_bytes=1024)
        if running:
            bench.ask(chat())
            bench.open()
            bench.tell(Reconfigured(2))
            bench.answer(converse_answer("Hi"))
        else:
            bench.tell(Reconfigured(2))
        bench.ask(chat(messages=[{"role": "user", "content": "x" * 2000}]))
        assert bench.client.answers[-1].status == 413

    def test_its_time_limits_count_between_requests(self) -> None:
        bench = self.bench(time_limits=TimeLimits(client_idle=5))
        self.answered(bench)
        bench.tell(Reconfigured(2))
        self.answered(bench)
        bench.advance(5 * SECOND)
        assert bench.session.closed

    def test_one_that_nobody_knows_is_the_drivers_mistake(self) -> None:
        with pytest.raises(KeyError):
            self.bench().tell(Reconfigured(9))


# ---------------------------------------------------------------------------------------- wherever it is cut

TALKS: Final = {
    "a plain request": chat(),
    "a native request": converse(),
    "two requests": chat() + HEALTH,
    "a chunked body": raw(
        "Host: x", "Transfer-Encoding: chunked", body=chunk(BODY[:7]) + chunk(BODY[7:]) + LAST_CHUNK
    ),
    "a request and garbage": HEALTH + b"garbage\r\n\r\n",
    "an unknown path": request("/nothing", b"{}") + HEALTH,
    "bad JSON": request("/v1/chat/completions", b"{") + chat(),
    **SMUGGLERS,
}


def talked(pieces: list[bytes], codec: str) -> tuple[Any, ...]:
    """What a client is told when it speaks in these pieces."""
    bench = limited(codec)
    for piece in pieces:
        bench.send(piece)
        while bench.asked:
            bench.open()
            bench.answer(converse_answer())
    bench.settle()
    return (
        [answer.told for answer in bench.client.answers],
        bench.client.interims,
        bench.records,
        bench.closed,
    )


class TestCuts:
    @pytest.mark.parametrize("codec", ["fast", "reference"])
    @given(data=st.data())
    def test_any_cut_of_the_clients_bytes_gives_the_same_answers(
        self, codec: str, data: st.DataObject
    ) -> None:
        talk = TALKS[data.draw(st.sampled_from(sorted(TALKS)))]
        cuts = sorted(data.draw(st.sets(st.integers(1, len(talk) - 1), max_size=8)))
        pieces = [talk[a:b] for a, b in zip([0, *cuts], [*cuts, len(talk)], strict=True)]
        assert talked(pieces, codec) == talked([talk], codec)

    @pytest.mark.parametrize("name", TALKS)
    def test_the_two_codecs_give_the_same_answers(self, name: str) -> None:
        assert talked([TALKS[name]], "fast") == talked([TALKS[name]], "reference")


# ------------------------------------------------------------------------------------------ anything at all

SAYINGS: Final = (
    chat(),
    chat(stream=True),
    chat(stream=True, version="1.0"),
    converse(),
    converse("converse-stream"),
    converse("invoke-with-response-stream"),
    HEALTH,
    request("/v1/models", method="GET"),
    request("/nowhere", b"{}"),
    chat()[:40],
    chat()[40:],
)
"""Most of them good: after a bad one nothing is left to be told."""
ANSWERS: Final = (
    converse_answer(),
    converse_answer()[:60],
    converse_answer()[60:],
    stream_head(),
    chunk(STORY.beginning),
    chunk(STORY.middle),
    chunk(STORY.end),
    chunk(INVOKED.middle),
    chunk(INVOKED.end),
    stream_head() + chunk(STORY.whole) + LAST_CHUNK,
    chunk(exception("throttlingException")),
    chunk(ERROR_FRAME),
    chunk(BAD_FRAMES["a bad message checksum"]),
    chunk(STORY.middle)[:20],
    aws_error("ThrottlingException", 429),
    LAST_CHUNK,
    b"garbage",
)


GOOD: Final = {
    "converse": (converse_answer()[:60], converse_answer()[60:]),
    "converse-stream": (
        stream_head(),
        *(chunk(part) for part in (STORY.beginning, STORY.middle, STORY.middle, STORY.end)),
        LAST_CHUNK,
    ),
    "invoke-with-response-stream": (
        stream_head(),
        *(chunk(part) for part in (INVOKED.beginning, INVOKED.middle, INVOKED.end)),
        LAST_CHUNK,
    ),
}


def slow(ctx: Any) -> Any:
    """A hook that waits a while, for some."""
    if len(ctx.request.body) % 2:
        yield from ctx.sleep(3 * SECOND)


def looks(ctx: Any) -> None:
    """A hook that looks at every part."""
    assert ctx.part.payload is not None


def asks(ctx: Any) -> Any:
    """A hook that takes from a bucket, and lets pass where nobody answers."""
    claim = Claim(Bucket("b", Algorithm.FIXED, 5, 1_000_000), 1)
    try:
        verdict = yield from ctx.take([claim], lease_us=1)
    except WaitFailed:
        return
    if not verdict.allowed:
        ctx.reject(Fault(Cause.RATE_LIMITED))


def shares(ctx: Any) -> None:
    """A hook that lets everything be shared."""
    ctx.share(Sharing("", 1_000_000, 1_000_000))


TARGETS: Final = [
    ProxyTarget(name=name, region=region, endpoint_url=ENDPOINT_URL)
    for name, region in (("one", "us-east-1"), ("two", "us-west-2"), ("three", "eu-west-1"))
]
PLANS: Final = {
    "plain": a_plan(a_config(gateway=Gateway(time_limits=TimeLimits(total=100)))),
    "with hooks": a_plan(
        a_config(entry(), gateway=Gateway(time_limits=TimeLimits(total=100), keepalive_seconds=5)),
        plugin_of({"rewrite": slow, "access": slow, "body_filter": looks}),
    ),
    "with targets": a_plan(
        a_config(
            plugins=[proxy(retry=Retry(count=4, delay=500), targets=TARGETS), LOG, entry()],
            gateway=Gateway(time_limits=TimeLimits(total=100)),
        ),
        plugin_of({"access": asks}),
    ),
    "with sharing": a_plan(
        a_config(entry(), gateway=Gateway(time_limits=TimeLimits(total=100), keepalive_seconds=5)),
        plugin_of({"access": shares, "body_filter": looks}, priority=100),
    ),
    "the reference codec": a_plan(a_config(gateway=Gateway(http_codec="reference"))),
}
LATER: Final = (
    a_plan(a_config(gateway=Gateway(max_body_bytes=1024, keepalive_seconds=1)), generation=2),
    a_plan(a_config(entry(), gateway=Gateway()), plugin_of({"rewrite": slow}), generation=3),
)
"""What they may be configured anew with."""


class AnythingAtAll(RuleBasedStateMachine):
    """A shell that tells sessions facts in any order: true ones, late ones, and ones about nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.stranger = 10_000
        self.kind = "plain"
        self.told = 0

    @initialize(kind=st.sampled_from(sorted(PLANS)))
    def begin(self, kind: str) -> None:
        self.kind = kind
        self.bench = Bench(PLANS[kind], later=LATER)

    def tell(self, event: SessionEvent) -> None:
        self.bench.tell(event)

    @precondition(lambda self: self.bench.session.closed)
    @rule()
    def the_next_client_comes(self) -> None:
        self.bench.settle()
        self.bench = Bench(PLANS[self.kind], later=LATER)

    @rule(data=st.sampled_from(SAYINGS))
    def client_sends(self, data: bytes) -> None:
        self.tell(ClientSent(data))

    @precondition(lambda self: isinstance(self.bench.session.state, Waiting))
    @rule(data=st.sampled_from(SAYINGS[:6]))
    def client_asks(self, data: bytes) -> None:
        """So that most of what is told is told of a request under way."""
        self.tell(ClientSent(data))

    @precondition(lambda self: self.bench.asked)
    @rule(reused=st.booleans())
    def lease_opens(self, reused: bool) -> None:
        self.bench.open(reused=reused)
        self.told = 0

    @precondition(lambda self: self.bench.held)
    @rule(pieces=st.integers(1, 3))
    def upstream_goes_on(self, pieces: int) -> None:
        """With what was asked for."""
        operation = self.bench.call.target.rpartition("/")[2]
        for piece in GOOD[operation][self.told : self.told + pieces]:
            if self.bench.held:
                self.bench.answer(piece)
        self.told += pieces

    @precondition(lambda self: self.bench.held)
    @rule()
    def upstream_goes_on_again(self) -> None:
        self.upstream_goes_on(1)

    @precondition(lambda self: self.bench.asked)
    @rule(trouble=st.sampled_from(Trouble))
    def lease_fails(self, trouble: Trouble) -> None:
        self.bench.refuse(trouble, "why")

    @precondition(lambda self: self.bench.held)
    @rule(data=st.sampled_from(ANSWERS))
    def upstream_sends(self, data: bytes) -> None:
        self.bench.answer(data)

    @precondition(lambda self: self.bench.held)
    @rule(lost=st.booleans())
    def upstream_goes(self, lost: bool) -> None:
        (self.bench.upstream_breaks if lost else self.bench.upstream_ends)()

    @precondition(lambda self: self.bench.questions)
    @rule(yes=st.booleans(), fails=st.booleans())
    def a_question_is_answered(self, yes: bool, fails: bool) -> None:
        question = next(iter(self.bench.questions.values()))
        if fails:
            self.bench.fail_question()
        elif isinstance(question, Take):
            self.bench.reply(Verdict(yes, 1, (Level(3, 5),)))
        else:
            self.bench.reply(yes)

    @precondition(lambda self: self.bench.followed)
    @rule(source=st.sampled_from(Source))
    def a_shared_answer_begins(self, source: Source) -> None:
        ticket = next(iter(self.bench.followed))
        headers = [(b"content-type", b"application/vnd.amazon.eventstream")]
        self.tell(AnswerBegan(ticket, source, headers, age_seconds=3))

    @precondition(lambda self: self.bench.followed)
    @rule(
        data=st.sampled_from(
            (STORY.beginning, STORY.middle, STORY.end, b"{}", exception("throttlingException"))
        )
    )
    def a_shared_answer_goes_on(self, data: bytes) -> None:
        self.tell(AnswerSent(next(iter(self.bench.followed)), data))

    @precondition(lambda self: self.bench.followed)
    @rule(fails=st.booleans())
    def a_shared_answer_is_over(self, fails: bool) -> None:
        ticket = next(iter(self.bench.followed))
        del self.bench.followed[ticket]
        self.bench.paused.discard(ticket)
        self.tell(AnswerFailed(ticket, Fault(Cause.STREAM_CUT)) if fails else AnswerEnded(ticket))

    @rule(name=st.sampled_from(["one", "two", "three"]), health=st.sampled_from(Health))
    def a_breaker_speaks(self, name: str, health: Health) -> None:
        self.tell(HealthChanged(f"{name}/{MODEL}", health, self.bench.now + 10 * SECOND))

    @rule()
    def keys_change(self) -> None:
        self.tell(KeysChanged({"a" * 64: b"{}"}))

    @rule(generation=st.sampled_from([2, 3]))
    def it_is_configured_anew(self, generation: int) -> None:
        self.tell(Reconfigured(generation))

    @rule(seconds=st.sampled_from([0, 1, 20, 70, 200]))
    def time_passes(self, seconds: int) -> None:
        self.bench.advance(seconds * SECOND)

    @rule()
    def a_tick_comes_early(self) -> None:
        self.tell(Ticked())

    @rule(stalled=st.booleans())
    def client_stalls_or_drains(self, stalled: bool) -> None:
        self.tell(ClientStalled() if stalled else ClientDrained())

    @rule(known=st.booleans())
    def credentials_change(self, known: bool) -> None:
        self.tell(CredentialsChanged("", Credentials("AKID", Secret("s")) if known else None))

    @precondition(lambda self: not isinstance(self.bench.session.state, Waiting))
    @rule(seconds=st.integers(0, 100))
    def draining(self, seconds: int) -> None:
        self.tell(Draining(seconds * SECOND))

    @precondition(lambda self: not isinstance(self.bench.session.state, Waiting))
    @rule(lost=st.booleans())
    def client_goes(self, lost: bool) -> None:
        self.bench.leave(lost=lost)

    @rule(
        event=st.one_of(
            st.builds(UpstreamFailed, st.integers(-1, 3), st.sampled_from(Trouble)),
            st.builds(UpstreamSent, st.integers(5000, 5003), st.sampled_from(ANSWERS)),
            st.builds(UpstreamEnded, st.integers(5000, 5003)),
            st.builds(UpstreamLost, st.integers(5000, 5003)),
            st.builds(Answered, st.integers(-1, 3), st.booleans()),
            st.builds(Unanswered, st.integers(-1, 3), st.just("why")),
            st.builds(AnswerSent, st.integers(5000, 5003), st.sampled_from(ANSWERS)),
            st.builds(AnswerEnded, st.integers(5000, 5003)),
        )
    )
    def a_late_fact_comes(self, event: SessionEvent) -> None:
        waits = (*self.bench.asked, *self.bench.questions)
        if not (isinstance(event, UpstreamFailed | Answered | Unanswered) and event.ticket in waits):
            self.tell(event)

    @rule(ticket=st.integers(-1, 3))
    def a_late_lease_comes(self, ticket: int) -> None:
        """It has been ours for a moment, and goes back at once."""
        if ticket not in self.bench.asked:
            self.stranger += 1
            before = len(self.bench.returned)
            self.bench.held[self.stranger] = self.bench.calls[-1] if self.bench.calls else None  # type: ignore[assignment]
            self.tell(UpstreamOpened(ticket, self.stranger, reused=False))
            assert len(self.bench.returned) == before + 1

    @precondition(lambda self: self.bench.held)
    @rule(ticket=st.integers(1, 5))
    def a_lease_is_told_twice(self, ticket: int) -> None:
        if ticket not in self.bench.asked:
            lease = next(iter(self.bench.held))
            self.tell(UpstreamOpened(ticket, lease, reused=True))
            assert lease in self.bench.held

    @invariant()
    def leases_belong_to_an_exchange(self) -> None:
        if not hasattr(self, "bench"):
            return
        bench = self.bench
        assert len(bench.held) + len(bench.asked) + len(bench.questions) + len(bench.followed) <= 1
        if not isinstance(self.bench.session.state, Exchanging):
            assert not self.bench.held
            assert not self.bench.asked
            assert not self.bench.questions
            assert not self.bench.followed
            if not self.bench.session.closed:
                self.bench.settle()

    def teardown(self) -> None:
        if not hasattr(self, "bench"):
            return
        self.bench.leave(lost=True)
        assert self.bench.session.closed
        self.bench.settle()


TestAnythingAtAll: type = AnythingAtAll.TestCase
TestAnythingAtAll.settings = settings(max_examples=150, stateful_step_count=40)  # type: ignore[attr-defined]


class TestTable:
    def test_every_cell_is_a_rule_or_a_reason(self) -> None:
        assert len(TABLE.rules) == len(TABLE.states) * len(TABLE.events) == 4 * 22
        assert all(reason.strip() for reason in TABLE.reasons.values())

    @pytest.mark.parametrize("state", [Waiting, Receiving, Exchanging, Closed])
    def test_every_event_of_the_union_is_an_event_of_the_table(self, state: type) -> None:
        assert {event for kind, event in TABLE.rules if kind is state} == set(get_args(SessionEvent))

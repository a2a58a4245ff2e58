"""Metrics agree with what was done: exactly, over four workers, one of which is killed and replaced.

The oracle is the client's own tally: what it has asked, what it was answered, and the tokens that the answers
tell, priced by the rule that AWS's price list has (dollars for a million tokens, a call's cost rounded up to
a billionth of a dollar). Of a worker that is killed the streams that it was sending are cut: those end in no
settlement, and are counted nowhere.
"""

import contextlib
import json
import os
import signal
from collections import Counter
from collections.abc import Generator
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any, Final

import h11
import pytest

from support.crowd import accepted_ports, stopped
from support.gateway import NARROW_KEY, RunningGateway, eventually, on_linux, running_gateway
from support.metrics import Scrape, scraped
from support.raw import Raw, chat, connected, request
from support.simulator import RunningSimulator

pytestmark = on_linux

SHELLS: Final = {"trio": ("--shell", "trio"), "asyncio": ("--shell", "asyncio")}
PRICES: Final = {
    "*claude-sonnet-4*": {"input": 3.000001, "output": 15.123457, "cache_read": 0.300003, "cache_write": 3.7},
    "amazon.nova-lite*": {"input": 0.06, "output": 0.24},
    "*simulator*": {"input": 1.000001, "output": 7.0},
}
"""Odd ones: a float that is summed, or rounded in another place, shows."""
PRICE_OF: Final = {"claude": "*claude-sonnet-4*", "nova": "amazon.nova-lite*"}
SLOW: Final = "simulator.slow:ms.30:words.30"
ROUNDS: Final = 4
"""Of connections, before a worker is killed and again after that; each has one stream."""
TOKENS: Final = ("input", "output", "cache_read", "cache_write")


class Tally:
    """What a client knows of what it has done."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, ...]] = Counter()
        """By consumer, model, status, code."""
        self.tokens: Counter[tuple[str, ...]] = Counter()
        """By consumer, model, type."""
        self.nano_usd: Counter[tuple[str, ...]] = Counter()

    def answered(self, consumer: str, model: str, status: int, code: str = "", **tokens: int) -> None:
        """One answer has come, whole."""
        self.requests[consumer, model, str(status), code] += 1
        price = PRICES[PRICE_OF.get(model, "*simulator*")]
        dollars = Fraction(0)
        for kind in TOKENS:
            count = tokens.get(kind, 0)
            if count:
                self.tokens[consumer, model, kind] += count
            dollars += count * Fraction(str(price.get(kind, price["input"]))) / 1_000_000
        if dollars:
            self.nano_usd[consumer, model] += ceil(dollars * 10**9)

    def must_be_told_by(self, told: Scrape) -> None:
        """These metrics say the same."""
        whose = ("consumer", "model")
        assert told.sums("stargate_requests_total", *whose, "status", "code") == self.requests
        assert told.sums("stargate_tokens_total", *whose, "type") == self.tokens
        cost = told.sums("stargate_cost_usd_total", *whose)
        assert {key: round(value * 10**9) for key, value in cost.items()} == dict(self.nano_usd)


def converse(raw: Raw, tally: Tally, model: str, words: int, *, cached: int = 0) -> None:
    """A Converse call on this connection."""
    said = f"[[simulator: words={words} cache-read={cached}]]"
    body = json.dumps({"messages": [{"role": "user", "content": [{"text": said}]}]}).encode()
    raw.send(request(path=f"/model/{model}/converse", body=body))
    answer = raw.answer()
    usage = answer.json()["usage"]
    tally.answered(
        "team-a",
        model,
        answer.status,
        input=usage["inputTokens"],
        output=usage["outputTokens"],
        cache_read=usage.get("cacheReadInputTokens", 0),
        cache_write=usage.get("cacheWriteInputTokens", 0),
    )


def streamed(raw: Raw, tally: Tally, model: str) -> None:
    """The rest of a chat stream that was asked for; counted if it comes whole."""
    try:
        answer = raw.answer()
    except h11.RemoteProtocolError:
        return  # It was cut off.
    if not answer.whole:
        return
    *_, last, done = (line for line in answer.body.split(b"\n\n") if line.startswith(b"data: "))
    assert done == b"data: [DONE]"
    usage = json.loads(last.removeprefix(b"data: "))["usage"]
    tally.answered(
        "team-a", model, answer.status, input=usage["prompt_tokens"], output=usage["completion_tokens"]
    )


def refused(raw: Raw, tally: Tally) -> None:
    """A key that nobody has, of whose request nothing is read; and one that may not use this model."""
    raw.send(request(body=chat("Hello", model="nova"), key="sk-nobody"))
    answer = raw.answer()
    tally.answered("", "", answer.status, "FORBIDDEN")
    raw.send(request(body=chat("Hello", model="nova"), key=NARROW_KEY))
    answer = raw.answer()
    tally.answered("team-b", "nova", answer.status, "FORBIDDEN")


def ask_for_stream(raw: Raw, model: str) -> None:
    more = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
    raw.send(request(body=chat("Hello", **more)))


def load(gateway: RunningGateway, tally: Tally, rounds: int) -> None:
    """So many connections, each with some requests: the system spreads them over the workers."""
    for number in range(rounds):
        with connected(gateway.url) as raw:
            converse(raw, tally, "claude", 3 + number, cached=number % 3 * 7)
            converse(raw, tally, "nova", 2)
            ask_for_stream(raw, "claude")
            streamed(raw, tally, "claude")
            refused(raw, tally)


def children(gateway: RunningGateway) -> set[int]:
    found = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text()
    return set(map(int, found.split()))


@pytest.fixture(params=list(SHELLS))
def gateway(request: pytest.FixtureRequest, simulator: RunningSimulator) -> Generator[RunningGateway]:
    settings: dict[str, Any] = {"admin_listen": "127.0.0.1:0", "per_worker_limits": True, "prices": PRICES}
    options = ("--workers", "4", *SHELLS[request.param])
    with running_gateway(simulator.url, options=options, gateway=settings, tells="SIGKILL") as running:
        yield running


def test_they_agree_exactly_with_what_was_done(gateway: RunningGateway) -> None:
    tally = Tally()
    before = children(gateway)
    load(gateway, tally, ROUNDS)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connected(gateway.url)) for _ in range(12)]
        for raw in slow:
            ask_for_stream(raw, SLOW)
            raw.read_until(b"data: ", keep=True)
        victim = kill_one_that_streams(gateway, slow)
        for raw in slow:
            streamed(raw, tally, SLOW)
    whole = tally.requests["team-a", SLOW, "200", ""]
    assert 0 < whole < 12, "the one that was killed had some, and others had the rest"
    eventually(lambda: len(children(gateway)) == 4 and victim not in children(gateway))
    load(gateway, tally, ROUNDS)
    # A client has its answer's last byte some microseconds before its request is settled.
    eventually(lambda: scraped(gateway).total("stargate_requests_total") >= tally.requests.total())

    told = scraped(gateway)
    tally.must_be_told_by(told)
    assert told.total("stargate_worker_restarts_total") == 1
    assert told.total("stargate_failed_observations_total") == 0
    assert told.total("stargate_folded_observations_total") == 0
    assert told.total("stargate_request_duration_seconds_count") == tally.requests.total()
    calls = sum(count for (_, _, status, _), count in tally.requests.items() if status == "200")
    assert told.sums("stargate_attempts_total", "result") == {("OK",): calls}
    assert told.total("stargate_time_to_first_token_seconds_count") == 2 * ROUNDS + whole
    # Four workers live, and one of them is another than before.
    eventually(lambda: four_stand_idle(scraped(gateway)))
    assert len(before & children(gateway)) == 3


def four_stand_idle(told: Scrape) -> bool:
    """Whether all four have told how they stand, and none of them is answering."""
    ready = told.sums("stargate_worker_up", "worker", state="ready")
    return set(ready) == {("1",), ("2",), ("3",), ("4",)} and told.total("stargate_requests_in_flight") == 0


def kill_one_that_streams(gateway: RunningGateway, slow: list[Raw]) -> int:
    """Kill a worker that has some of these connections and not all; the process that it was."""
    ports = {raw.sock.getsockname()[1] for raw in slow}
    for victim in sorted(children(gateway)):
        os.kill(victim, signal.SIGSTOP)
        eventually(lambda victim=victim: stopped(victim))  # type: ignore[misc]
        own = accepted_ports(victim, gateway.port) & ports
        if own and own != ports:
            os.kill(victim, signal.SIGKILL)
            return victim
        os.kill(victim, signal.SIGCONT)
    raise AssertionError("one worker has all connections")

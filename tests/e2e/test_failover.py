"""Several targets: which one is called next, which one is left alone, and what an outage costs.

The targets are simulators, each in a process of its own; a target's model id says how it fares there
(`simulator.throw-ThrottlingException`). The simulators' ledgers say what reached them, the gateway's log and
its `x-stargate-attempts` header what it made of it. A simulator that dies and comes back on the same port is
an outage and its end.
"""

import collections
import concurrent.futures
import contextlib
import re
import socket
import stat
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final, NamedTuple

import botocore.exceptions
import openai
import pytest

from support.aws_places import isolate
from support.gateway import RunningGateway, eventually, running_gateway
from support.simulator import RunningSimulator, running_simulator, user

GOOD: Final = "anthropic.claude-3-haiku-20240307-v1:0"
BREAKER_TELLS: Final = r"\S+ (warning|info): breaker: "
HEALTHY_WORDS: Final = "Tell me something"
EAST: Final = "us-east-1"
WEST: Final = "us-west-2"


# ------------------------------------------------------------------------------------------------ the targets


@pytest.fixture(scope="module")
def east() -> Generator[RunningSimulator]:
    """The first target's region."""
    with running_simulator("--region", EAST) as running:
        yield running


@pytest.fixture(scope="module")
def west() -> Generator[RunningSimulator]:
    """The second's; it takes no signature for another region."""
    with running_simulator("--region", WEST) as running:
        yield running


@pytest.fixture
def regions(east: RunningSimulator, west: RunningSimulator) -> tuple[RunningSimulator, RunningSimulator]:
    """Both, without memories."""
    east.clear()
    west.clear()
    return east, west


@contextlib.contextmanager
def closed_port() -> Generator[int]:
    """A port at which connections are refused, and which nobody else can take meanwhile."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def at(simulator: RunningSimulator, region: str, name: str, target: str, **more: Any) -> dict[str, Any]:
    """A target of the configuration."""
    return {"name": name, "region": region, "endpoint_url": simulator.url, "target": target, **more}


def pair(
    regions: tuple[RunningSimulator, RunningSimulator], first: str, second: str = GOOD
) -> dict[str, Any]:
    """A model with two targets, which fare like this."""
    east, west = regions
    return {"target": GOOD, "targets": [at(east, EAST, "east", first), at(west, WEST, "west", second)]}


def calls(simulator: RunningSimulator) -> int:
    """How many calls it has received."""
    return len(simulator.requests())


class Said(NamedTuple):
    """What became of a request."""

    status: int
    code: str
    headers: Any
    text: str


def say(client: openai.OpenAI, model: str, text: str = HEALTHY_WORDS, *, stream: bool = False) -> Said:
    """Ask a model something, by openai-python."""
    words: list[str] = []
    try:
        raw = client.chat.completions.with_raw_response.create(
            model=model, messages=[{"role": "user", "content": text}], stream=stream
        )
        answer: Any = raw.parse()
        if not stream:
            return Said(200, "", raw.headers, answer.choices[0].message.content)
        for chunk in answer:
            words += [choice.delta.content or "" for choice in chunk.choices]
    except openai.APIStatusError as error:
        return Said(error.status_code, str(error.code), error.response.headers, "")
    except openai.APIError as error:
        return Said(200, str(error.code), {}, "".join(words))
    return Said(200, "", raw.headers, "".join(words))


def faults(told: str) -> list[tuple[str, str]]:
    """The attempts header, or lines of the log: target and word, in their order."""
    attempts = [part.split() for part in told.split(", ")]
    for attempt in attempts:
        assert len(attempt) == 1 or re.fullmatch(r"\d+ms", attempt[2])
    return [(attempt[0].partition("/")[0], attempt[1] if len(attempt) > 1 else "") for attempt in attempts]


# --------------------------------------------------------------------------------------------- in their order


class Cause(NamedTuple):
    """Why a call goes on to the next target, by the model id that brings it about at the first."""

    scenario: str
    word: str


CAUSES: Final = (
    Cause("throw-ThrottlingException", "UPSTREAM_THROTTLED"),
    Cause("throw-InternalServerException", "UPSTREAM_INTERNAL"),
    Cause("throw-ServiceUnavailableException", "UPSTREAM_UNAVAILABLE"),
    Cause("empty-500", "UPSTREAM_INTERNAL"),
    Cause("html-502", "UPSTREAM_UNKNOWN"),
    Cause("cut-between-frames", "UPSTREAM_LOST"),
    Cause("malformed-http", "UPSTREAM_GARBLED"),
    # Only another target can help:
    Cause("throw-ServiceQuotaExceededException", "UPSTREAM_QUOTA"),
    Cause("throw-AccessDeniedException", "UPSTREAM_ACCESS_DENIED"),
    Cause("throw-ModelTimeoutException", "UPSTREAM_MODEL_TIMEOUT"),
)
STREAM_CAUSES: Final = (
    Cause("stream-throttlingException:after.start", "UPSTREAM_THROTTLED"),
    Cause("cut-mid-frame:after.0", "STREAM_CUT"),
    Cause("bad-crc:after.0", "STREAM_CORRUPT"),
)
FINAL: Final = (
    Cause("throw-ValidationException", "INVALID_REQUEST"),
    Cause("throw-ResourceNotFoundException", "model_not_found"),
    Cause("throw-ConflictException", "CONFLICT"),
)
"""What the next target would only say again."""


@pytest.fixture(scope="module")
def ordered(east: RunningSimulator, west: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway with a model for each cause, named by its scenario: it befalls the first of two targets."""
    scenarios = [cause.scenario for cause in (*CAUSES, *STREAM_CAUSES, *FINAL)]
    scenarios += ["stall-before-headers", "stall-before-first-token"]
    models: dict[str, Any] = {one: pair((east, west), f"simulator.{one}") for one in scenarios}
    models["broken"] = pair((east, west), "simulator.stream-throttlingException:after.2")
    models["broken-natively"] = pair((east, west), "simulator.cut-mid-frame:after.2")
    models["throttled-by-both"] = pair(
        (east, west), "simulator.throw-ThrottlingException", "simulator.throw-ServiceUnavailableException"
    )
    models["quota-at-both"] = pair((east, west), *["simulator.throw-ServiceQuotaExceededException"] * 2)
    with closed_port() as port:
        refusing = {"name": "gone", "region": EAST, "endpoint_url": f"http://127.0.0.1:{port}"}
        west_target = at(west, WEST, "west", GOOD)
        models["refused"] = {"target": GOOD, "targets": [refusing, west_target]}
        east_target = at(east, EAST, "east", "simulator.throw-InternalServerException")
        models["three"] = {"target": GOOD, "targets": [east_target, refusing, west_target]}
        proxy = {
            "models": models,
            "retry": {"count": 2, "delay": 5},
            "attempts_header": True,
            "endpoint_url": None,
        }
        limits = {"first_token": 1, "idle": 20, "total": 25}
        gateway = {"time_limits": limits, "keepalive_seconds": 10}
        with running_gateway("", proxy=proxy, gateway=gateway) as running:
            yield running


@pytest.fixture(scope="module")
def client(ordered: RunningGateway) -> Generator[openai.OpenAI]:
    """openai-python, in front of it."""
    with ordered.openai() as sdk:
        yield sdk


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.scenario)
def test_a_call_that_fails_is_made_at_the_next_target(
    ordered: RunningGateway,
    client: openai.OpenAI,
    regions: tuple[RunningSimulator, RunningSimulator],
    cause: Cause,
) -> None:
    said = say(client, cause.scenario)
    assert (said.status, said.code) == (200, "")
    assert HEALTHY_WORDS in said.text
    assert faults(said.headers["x-stargate-attempts"]) == [("east", cause.word), ("west", "OK")]
    assert [calls(region) for region in regions] == [1, 1]
    record = ordered.record(model=cause.scenario)
    assert (record["outcome"], record["attempts"], record["region"]) == ("complete", 2, WEST)
    assert faults(", ".join(record["tried"])) == [("east", cause.word), ("west", "OK")]


@pytest.mark.parametrize("cause", STREAM_CAUSES, ids=lambda cause: cause.scenario)
def test_so_it_is_when_a_stream_fails_before_its_first_word(
    ordered: RunningGateway,
    client: openai.OpenAI,
    regions: tuple[RunningSimulator, RunningSimulator],
    cause: Cause,
) -> None:
    said = say(client, cause.scenario, stream=True)
    assert (said.status, said.code) == (200, "")
    assert said.text.count(HEALTHY_WORDS) == 1
    # The status line is written before the second attempt is over.
    assert faults(said.headers["x-stargate-attempts"]) == [("east", cause.word), ("west", "")]
    assert [calls(region) for region in regions] == [1, 1]
    record = ordered.record(model=cause.scenario)
    assert faults(", ".join(record["tried"])) == [("east", cause.word), ("west", "OK")]


@pytest.mark.parametrize("cause", FINAL, ids=lambda cause: cause.scenario)
def test_what_the_next_target_would_say_too_is_told_at_once(
    client: openai.OpenAI, regions: tuple[RunningSimulator, RunningSimulator], cause: Cause
) -> None:
    assert say(client, cause.scenario).code == cause.word
    assert [calls(region) for region in regions] == [1, 0]


def test_a_refused_connection_is_a_reason(
    ordered: RunningGateway, client: openai.OpenAI, regions: tuple[RunningSimulator, RunningSimulator]
) -> None:
    said = say(client, "refused")
    assert said.status == 200
    assert faults(said.headers["x-stargate-attempts"]) == [("gone", "CONNECT_FAILED"), ("west", "OK")]
    record = ordered.record(model="refused")
    assert (record["attempts"], len(record["tried"])) == (1, 2), "one call was written"
    assert calls(regions[1]) == 1


def test_every_target_has_its_turn(
    client: openai.OpenAI, regions: tuple[RunningSimulator, RunningSimulator]
) -> None:
    said = say(client, "three")
    assert said.status == 200
    assert faults(said.headers["x-stargate-attempts"]) == [
        ("east", "UPSTREAM_INTERNAL"),
        ("gone", "CONNECT_FAILED"),
        ("west", "OK"),
    ]


@pytest.mark.parametrize("scenario", ["stall-before-headers", "stall-before-first-token"])
def test_silence_is_a_reason_in_both_dialects(
    ordered: RunningGateway,
    client: openai.OpenAI,
    regions: tuple[RunningSimulator, RunningSimulator],
    scenario: str,
) -> None:
    """OpenAI's keep-alives begin after ten seconds here; before that nothing has been told."""
    bedrock = ordered.bedrock()
    with contextlib.closing(bedrock), concurrent.futures.ThreadPoolExecutor(1) as pool:
        other = pool.submit(say, client, scenario, stream=True)
        answer = bedrock.converse_stream(modelId=scenario, messages=[user(HEALTHY_WORDS)])
        attempts = answer["ResponseMetadata"]["HTTPHeaders"]["x-stargate-attempts"]
        assert faults(attempts) == [("east", "FIRST_TOKEN_TIMEOUT"), ("west", "")]
        events = list(answer["stream"])
    assert "messageStop" in events[-2]
    said = other.result()
    assert said.text.count(HEALTHY_WORDS) == 1
    assert faults(said.headers["x-stargate-attempts"]) == [("east", "FIRST_TOKEN_TIMEOUT"), ("west", "")]
    assert [calls(region) for region in regions] == [2, 2]
    eventually(lambda: [call["outcome"] for call in regions[0].requests()] == ["cancelled"] * 2)


def test_after_the_first_byte_no_other_target_sees_the_call(
    ordered: RunningGateway, client: openai.OpenAI, regions: tuple[RunningSimulator, RunningSimulator]
) -> None:
    said = say(client, "broken", stream=True)
    assert said.text, "words had been told"
    assert said.code == "rate_limit_exceeded"
    assert [calls(region) for region in regions] == [1, 0]
    assert ordered.record(model="broken")["attempts"] == 1


def test_nor_does_it_in_bedrocks_own_dialect(
    ordered: RunningGateway, regions: tuple[RunningSimulator, RunningSimulator]
) -> None:
    events: list[Any] = []
    with contextlib.closing(ordered.bedrock()) as bedrock:
        answer = bedrock.converse_stream(modelId="broken-natively", messages=[user(HEALTHY_WORDS)])
        with contextlib.closing(answer["stream"]) as stream:
            with pytest.raises(botocore.exceptions.EventStreamError, match="modelStreamErrorException"):
                events += iter(stream)
    assert any("contentBlockDelta" in event for event in events)
    assert [calls(region) for region in regions] == [1, 0]
    assert ordered.record(model="broken-natively")["attempts"] == 1


def test_when_all_fail_the_caller_hears_the_last_fault(
    client: openai.OpenAI, regions: tuple[RunningSimulator, RunningSimulator]
) -> None:
    said = say(client, "throttled-by-both")
    # Count 2: the first again, after both have had their turn.
    assert (said.status, said.headers["x-should-retry"]) == (429, "true")
    assert [word for _, word in faults(said.headers["x-stargate-attempts"])] == [
        "UPSTREAM_THROTTLED",
        "UPSTREAM_UNAVAILABLE",
        "UPSTREAM_THROTTLED",
    ]
    assert [calls(region) for region in regions] == [2, 1]


def test_a_quota_is_asked_for_once_at_each(
    client: openai.OpenAI, regions: tuple[RunningSimulator, RunningSimulator]
) -> None:
    said = say(client, "quota-at-both")
    assert (said.status, said.code, said.headers["x-should-retry"]) == (503, "insufficient_quota", "false")
    assert [calls(region) for region in regions] == [1, 1]


# ------------------------------------------------------------------------------ shares, breakers, and budgets


@contextlib.contextmanager
def gateway_of(models: dict[str, Any], **proxy: Any) -> Generator[tuple[RunningGateway, openai.OpenAI]]:
    """A gateway with these models, whose breakers may speak, and openai-python in front of it."""
    whole = {"models": models, "endpoint_url": None, "attempts_header": True, **proxy}
    with running_gateway("", proxy=whole, tells=BREAKER_TELLS) as running, running.openai() as sdk:
        yield running, sdk


def many(client: openai.OpenAI, model: str, count: int, text: str = HEALTHY_WORDS) -> list[Said]:
    """Ask so many times, eight at a time."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda _: say(client, model, text), range(count)))


def first_targets(answers: list[Said]) -> collections.Counter[str]:
    """How often each target was the first to be called."""
    return collections.Counter(faults(said.headers["x-stargate-attempts"])[0][0] for said in answers)


def test_shares_are_about_what_the_weights_say(
    regions: tuple[RunningSimulator, RunningSimulator],
) -> None:
    """400 calls by 3 to 1: 300 and 100, give or take 9; here, give or take 60."""
    east, west = regions
    targets = [at(east, EAST, "east", GOOD, weight=3), at(west, WEST, "west", GOOD, weight=1)]
    with gateway_of({"shared": {"target": GOOD, "targets": targets, "balance": "weighted"}}) as (_, client):
        answers = many(client, "shared", 400)
    assert {said.status for said in answers} == {200}
    received = [region.statistics()["operations"]["Converse"] for region in regions]
    assert sum(received) == 400
    assert 240 <= received[0] <= 360
    assert first_targets(answers) == {"east": received[0], "west": received[1]}


def test_a_target_that_fails_is_left_alone_and_comes_back_by_a_trial(
    regions: tuple[RunningSimulator, RunningSimulator],
) -> None:
    _, west = regions
    slow = "simulator.first-token-ms.1000"
    with closed_port() as port:
        gone = {"name": "east", "region": EAST, "endpoint_url": f"http://127.0.0.1:{port}", "target": slow}
        models = {"moody": {"target": GOOD, "targets": [gone, at(west, WEST, "west", GOOD)]}}
        breaker = {"failures": 5, "open": 4, "probes": 2, "ratio": 1.0}
        with gateway_of(models, retry={"count": 1, "delay": 5}, breaker=breaker) as (gateway, client):
            answers = [say(client, "moody") for _ in range(5)]
            assert first_targets(answers) == {"east": 5}
            eventually(lambda: any("failed 5 times in a row" in line for line in gateway.told))
            answers = [say(client, "moody") for _ in range(10)]
            assert first_targets(answers) == {"west": 10}, "nobody asks the one that is left alone"
            assert {said.status for said in answers} == {200}
            assert calls(west) == 15
            with _back_at(port) as back:
                eventually(lambda: any("on trial" in line for line in gateway.told))
                # While two are on trial the other six must not wait for them.
                assert first_targets(many(client, "moody", 8)) == {"east": 2, "west": 6}
                assert calls(back) == 2
                eventually(lambda: any("healthy again" in line for line in gateway.told))
                assert first_targets(many(client, "moody", 8)) == {"east": 8}


@contextlib.contextmanager
def _back_at(port: int) -> Generator[RunningSimulator]:
    """The end of an outage."""
    with running_simulator("--region", EAST, "--listen", f"127.0.0.1:{port}") as running:
        yield running


def test_where_all_are_left_alone_the_caller_hears_it_at_once(
    regions: tuple[RunningSimulator, RunningSimulator],
) -> None:
    models = {"dead": pair(regions, *["simulator.throw-InternalServerException"] * 2)}
    breaker = {"failures": 3, "open": 45, "ratio": 1.0}
    with gateway_of(models, retry={"count": 1, "delay": 5}, breaker=breaker) as (gateway, client):
        assert [say(client, "dead").status for _ in range(3)] == [500] * 3
        eventually(lambda: sum("3 times in a row" in line for line in gateway.told) == 2)
        said = say(client, "dead")
        assert (said.status, said.code, said.headers["x-should-retry"]) == (503, "overloaded", "true")
        assert 30 <= int(said.headers["retry-after"]) <= 45
        assert [calls(region) for region in regions] == [3, 3]
        record = gateway.record(model="dead", cause="CIRCUIT_OPEN")
        assert not {"attempts", "tried"} & record.keys()


def test_a_target_that_fails_more_often_than_its_like_is_left_alone(
    regions: tuple[RunningSimulator, RunningSimulator],
) -> None:
    """Neither rule about the target alone is near: it fails now and then, and never often in a row."""
    east, west = regions
    # The text's own directive counts where the model id has none: at the one in the east.
    targets = [at(east, EAST, "east", GOOD), at(west, WEST, "west", "simulator.words.5")]
    models = {"uneven": {"target": GOOD, "targets": targets, "balance": "weighted"}}
    breaker = {"failures": 0, "ratio": 1.0, "calls_min": 10, "open": 45}
    with gateway_of(models, retry={"count": 0}, breaker=breaker) as (gateway, client):

        def judged() -> bool:
            many(client, "uneven", 8)
            many(client, "uneven", 8, "[[simulator: throw-InternalServerException]]")
            return any("much more often than its like" in line for line in gateway.told)

        eventually(judged)
        assert first_targets(many(client, "uneven", 16)) == {"west": 16}


def test_an_outage_costs_no_more_than_the_budget(
    regions: tuple[RunningSimulator, RunningSimulator],
) -> None:
    """200 requests that might each be made four times, and a budget of a fifth: 240 calls, not 800."""
    east, _ = regions
    target = at(east, EAST, "east", "simulator.throw-ServiceUnavailableException")
    retry = {"count": 3, "delay": 0, "budget": {"ratio": 0.2, "min_per_second": 0}}
    models = {"dead": {"target": GOOD, "targets": [target]}}
    with gateway_of(models, retry=retry, breaker={"enabled": False}) as (gateway, client):
        answers = many(client, "dead", 200)
        assert {said.status for said in answers} == {503}
        received = east.statistics()["operations"]["Converse"]
        assert 220 <= received <= 240
        eventually(lambda: len(gateway.records(model="dead")) == 200)
        assert sum(record["attempts"] for record in gateway.records(model="dead")) == received


# ------------------------------------------------------------------------------------------------ credentials


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment in which AWS's tools find nothing but what a test puts there."""
    isolate(monkeypatch, tmp_path)
    return tmp_path


UNSIGNED: Final = {"credentials": None, "attempts_header": True}
"""Of bedrock-proxy: no credentials of its own, so they are looked for in the usual AWS places."""


def test_expired_credentials_are_asked_for_anew_and_the_call_is_made_again(home: Path) -> None:
    script, count = home / "keys.py", home / "count"
    script.write_text(
        "import json, pathlib, sys\n"
        f"path = pathlib.Path({str(count)!r})\n"
        "number = int(path.read_text()) + 1 if path.exists() else 1\n"
        "path.write_text(str(number))\n"
        # The first are what AWS calls expired; from then on they are good.
        "token = {'SessionToken': 'expired'} if number == 1 else {}\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': 'AKIDNEW', 'SecretAccessKey': 'new', **token}))\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    (home / "config").write_text(f"[default]\ncredential_process = {sys.executable} {script}\n")
    with running_simulator("--access-key-id", "AKIDNEW", "--secret-access-key", "new") as simulator:
        tells = r"\S+ info: AWS credentials of default are now"
        with running_gateway(simulator.url, proxy=UNSIGNED, tells=tells) as gateway:
            with gateway.openai() as client:
                # Within five seconds of a search there is no second one.
                eventually(lambda: say(client, "claude").status == 200)
                record = gateway.record(outcome="complete")
                assert record["attempts"] == 2
                assert [line.split()[-2] for line in record["tried"]] == ["UPSTREAM_CREDENTIALS", "OK"]
                assert count.read_text() == "2"
                assert say(client, "claude").status == 200
                refused, *_ = [record for record in gateway.records() if record["outcome"] == "failed"]
                assert (refused["status"], refused["upstream_exception"]) == (502, "ExpiredTokenException")


def test_a_bedrock_api_key_of_the_environment_is_sent_as_it_is(home: Path) -> None:
    key = "ABSKc3RhcmdhdGU="
    with running_simulator("--api-key", key) as simulator:
        environment = {"AWS_BEARER_TOKEN_BEDROCK": key}
        with running_gateway(simulator.url, proxy=UNSIGNED, environment=environment) as gateway:
            with gateway.openai() as client:
                assert HEALTHY_WORDS in say(client, "claude").text
        (call,) = simulator.requests()
        assert call["verified"]
        headers = dict(call["headers"])
        assert headers["authorization"].startswith("Bearer ")
        assert "x-amz-date" not in headers
    assert not any(key in line for line in gateway.told)


def test_one_that_bedrock_refuses_is_the_operators_matter(home: Path) -> None:
    with running_simulator("--api-key", "ABSKother=") as simulator:
        environment = {"AWS_BEARER_TOKEN_BEDROCK": "ABSKc3RhcmdhdGU="}
        with running_gateway(simulator.url, proxy=UNSIGNED, environment=environment) as gateway:
            with gateway.openai() as client:
                said = say(client, "claude")
        assert (said.status, said.code, said.headers["x-should-retry"]) == (
            503,
            "SERVICE_UNAVAILABLE",
            "false",
        )

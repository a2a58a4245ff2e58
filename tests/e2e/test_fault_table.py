"""Bedrock's exceptions, one by one: what each means to a caller, and how often the call was made.

`TABLE` is written by hand, from the promises that were made to callers, and not printed from the fault table;
so a change there that nobody meant is found here. Each exception of the service model, and each with which
AWS refuses a signature, comes in three places: instead of an answer, inside a stream before its first word,
and inside a stream after words. What the SDKs then raise, which headers speak to their own retry logic, and
how many calls reached Bedrock (by the simulator's ledger, and by the gateway's log) is held against the
table, once for a gateway that repeats nothing and once for one that makes two repetitions.

The doors, each plain and streamed: OpenAI's chat completions and responses, Anthropic's messages by Converse
and by InvokeModel, and Bedrock's own two.

The second half watches the retry logic of the official SDKs themselves, by the requests they make: the
`x-should-retry` and `Retry-After` headers are there for them alone.
"""

import concurrent.futures
import contextlib
import datetime
import itertools
import json
from collections.abc import Callable, Generator, Iterable
from typing import Any, Final, NamedTuple

import anthropic
import botocore.exceptions
import botocore.session
import openai
import pytest

from support.callers import DOORS, PLAIN, STREAMS, Callers, Seen, callers_of
from support.gateway import ACCESS_KEY_ID, KEY, Served, eventually, running_gateway
from support.simulator import RunningSimulator, user

REPETITIONS: Final = 2


class Row(NamedTuple):
    """What one exception means."""

    openai: str
    """Status, type and code; inside a stream that has begun, type and code."""
    anthropic: str
    """Status and type; inside a stream that has begun, the type."""
    native: str
    """Status and name."""
    should_retry: str
    retry_after: bool
    """Whether there is a Retry-After."""
    attempts: int
    """How often a gateway with one target, that may repeat it twice, makes the call."""
    converse_stream: str
    """The name, inside a stream that has begun: its union has fewer members than there are exceptions."""
    invoke_stream: str


REFUSED_CREDENTIALS: Final = Row(
    "502 server_error upstream_auth",
    "502 api_error",
    "502 ServiceUnavailableException",
    "false",
    False,
    1,  # The configuration's own are fixed: there are no newer ones.
    "serviceUnavailableException",
    "serviceUnavailableException",
)
TABLE: Final = {
    "ValidationException": Row(
        "400 invalid_request_error INVALID_REQUEST", "400 invalid_request_error", "400 ValidationException",
        "false", False, 1, "validationException", "validationException",
    ),
    # The gateway's rights are no business of the caller's, and AWS's text about them is nobody's.
    "AccessDeniedException": Row(
        "503 server_error SERVICE_UNAVAILABLE", "503 api_error", "503 ServiceUnavailableException",
        "false", True, 1, "serviceUnavailableException", "serviceUnavailableException",
    ),
    "ResourceNotFoundException": Row(
        "404 invalid_request_error model_not_found", "404 not_found_error", "404 ResourceNotFoundException",
        "false", False, 1, "validationException", "validationException",
    ),
    "ConflictException": Row(
        "409 invalid_request_error CONFLICT", "409 invalid_request_error", "400 ConflictException",
        "false", False, 1, "validationException", "validationException",
    ),
    "ThrottlingException": Row(
        "429 rate_limit_error rate_limit_exceeded", "429 rate_limit_error", "429 ThrottlingException",
        "true", True, 3, "throttlingException", "throttlingException",
    ),
    # Only another target can help here, and with ModelTimeoutException.
    "ServiceQuotaExceededException": Row(
        "503 insufficient_quota insufficient_quota", "503 rate_limit_error",
        "400 ServiceQuotaExceededException",
        "false", True, 1, "serviceUnavailableException", "serviceUnavailableException",
    ),
    "ModelNotReadyException": Row(
        "503 server_error model_not_ready", "529 overloaded_error", "429 ModelNotReadyException",
        "true", True, 3, "serviceUnavailableException", "serviceUnavailableException",
    ),
    "ModelTimeoutException": Row(
        "504 server_error timeout", "504 timeout_error", "408 ModelTimeoutException",
        "true", False, 1, "modelStreamErrorException", "modelTimeoutException",
    ),
    "ModelErrorException": Row(
        "502 server_error model_error", "502 api_error", "424 ModelErrorException",
        "true", False, 3, "modelStreamErrorException", "modelStreamErrorException",
    ),
    "ModelStreamErrorException": Row(
        "502 server_error model_error", "502 api_error", "424 ModelStreamErrorException",
        "true", False, 3, "modelStreamErrorException", "modelStreamErrorException",
    ),
    "InternalServerException": Row(
        "500 server_error UPSTREAM_ERROR", "500 api_error", "500 InternalServerException",
        "true", False, 3, "internalServerException", "internalServerException",
    ),
    "ServiceUnavailableException": Row(
        "503 server_error overloaded", "529 overloaded_error", "503 ServiceUnavailableException",
        "true", True, 3, "serviceUnavailableException", "serviceUnavailableException",
    ),
    "ExpiredTokenException": REFUSED_CREDENTIALS,
    "UnrecognizedClientException": REFUSED_CREDENTIALS,
    "InvalidSignatureException": REFUSED_CREDENTIALS,
    "IncompleteSignatureException": REFUSED_CREDENTIALS,
    "MissingAuthenticationTokenException": REFUSED_CREDENTIALS,
}  # fmt: skip
IN_STREAMS: Final = (
    "InternalServerException",
    "ModelStreamErrorException",
    "ModelTimeoutException",
    "ServiceUnavailableException",
    "ThrottlingException",
    "ValidationException",
)
"""Those that have exception frames; the others come in error frames, which may bear any name."""

INSTEAD: Final = "instead of an answer"
FIRST: Final = "before the first word"
LATER: Final = "after words"


INVOKED: Final = "invoke."
"""How the ids of models begin that the gateway's table of surfaces has at InvokeModel."""


def model_of(exception: str, place: str, door: str) -> str:
    """The model id that makes the simulator throw this exception in this place."""
    begin = f"{INVOKED}simulator" if door.startswith("messages_invoke") else "simulator"
    if place == INSTEAD:
        return f"{begin}.throw-{exception}"
    camel = exception[0].lower() + exception[1:]
    frame = f"stream-{camel}" if exception in IN_STREAMS else f"stream-error:code.{exception}"
    return f"{begin}.{frame}:after.{'start' if place == FIRST else 2}"


def expected(exception: str, place: str, door: str, *, repeats: bool) -> Seen:
    """What the table promises."""
    row = TABLE[exception]
    attempts = row.attempts if repeats else 1
    if place != LATER:
        family = door.partition("_")[0]
        error = {"chat": row.openai, "responses": row.openai, "messages": row.anthropic}.get(
            family, row.native
        )
        return Seen(error, row.should_retry, row.retry_after, words=False, attempts=attempts)
    in_band = {
        "chat_stream": row.openai.partition(" ")[2],
        "responses_stream": row.openai.partition(" ")[2],
        "messages_stream": row.anthropic.partition(" ")[2],
        "messages_invoke_stream": row.anthropic.partition(" ")[2],
        "converse_stream": row.converse_stream,
        "invoke_stream": row.invoke_stream,
    }
    return Seen(f"- {in_band[door]}", None, retry_after=False, words=True, attempts=1)


@contextlib.contextmanager
def callers(simulator: RunningSimulator, count: int) -> Generator[Callers]:
    """A gateway that repeats a call so often, after next to no pause, and its callers."""
    proxy = {"retry": {"count": count, "delay": 5}, "surfaces": {"invoke": {"models": [f"{INVOKED}*"]}}}
    with running_gateway(simulator.url, proxy=proxy) as gateway, callers_of(gateway) as found:
        yield found


@pytest.fixture(scope="module")
def both(simulator: RunningSimulator) -> Generator[tuple[Callers, Callers]]:
    """A gateway that repeats nothing, and one that does."""
    with callers(simulator, 0) as once, callers(simulator, REPETITIONS) as often:
        yield once, often


@pytest.fixture(scope="module")
def pool() -> Generator[concurrent.futures.ThreadPoolExecutor]:
    """So that calls need not wait for each other."""
    with concurrent.futures.ThreadPoolExecutor(8) as executor:
        yield executor


def test_no_exception_is_forgotten() -> None:
    model = botocore.session.get_session().get_service_model("bedrock-runtime")
    assert {shape.name for shape in model.error_shapes} <= TABLE.keys()
    stream: Any = model.operation_model("InvokeModelWithResponseStream").get_event_stream_output()
    assert {name[0].upper() + name[1:] for name in stream.members} - {"Chunk"} == set(IN_STREAMS)


@pytest.mark.parametrize("repeats", [False, True], ids=["once", "repeated"])
@pytest.mark.parametrize("exception", TABLE)
def test_what_callers_see_of_an_exception(
    both: tuple[Callers, Callers],
    pool: concurrent.futures.ThreadPoolExecutor,
    simulator: RunningSimulator,
    exception: str,
    repeats: bool,
) -> None:
    caller = both[repeats]
    cases = [(INSTEAD, door) for door in (*PLAIN, *STREAMS)]
    cases += [(place, door) for place in (FIRST, LATER) for door in STREAMS]
    texts = {case: f"<{exception}, {case[0]}, {case[1]}, {repeats}>" for case in cases}
    running = {
        (place, door): pool.submit(caller.call, door, model_of(exception, place, door), texts[place, door])
        for place, door in cases
    }
    seen = {case: future.result() for case, future in running.items()}
    received = [json.dumps(call["body"]) for call in simulator.requests()]
    for case, text in texts.items():
        seen[case] = seen[case]._replace(attempts=sum(text in body for body in received))
    assert seen == {case: expected(exception, *case, repeats=repeats) for case in cases}
    for place in (INSTEAD, FIRST, LATER):
        doors = [case[1] for case in cases if case[0] == place]
        models = {model_of(exception, place, door) for door in doors}
        logged = attempts_logged(caller.gateway, models, len(doors))
        assert logged == {door: seen[place, door].attempts for door in doors}


def attempts_logged(gateway: Served, models: set[str], count: int) -> dict[str, int]:
    """How many attempts the log tells of, for each door that asked for one of the models."""

    def records_of() -> list[dict[str, Any]]:
        return [record for record in gateway.records() if record.get("model") in models]

    eventually(lambda: len(records_of()) >= count)
    records = records_of()
    for record in records:
        # Each attempt is named; but where the first one was the only one, and went well, there is none.
        assert len(record["tried"]) == record["attempts"]
    return {DOORS[record["dialect"], record["operation"]]: record["attempts"] for record in records}


# --------------------------------------------------------------------------------- the SDKs' own retry logic


class Case(NamedTuple):
    """An error, and how many requests an SDK makes that may repeat its request twice."""

    scenario: str
    requests: int


OPENAI: Final = (
    # Statuses that openai-python repeats by itself, and then because it is told to.
    Case("throw-ThrottlingException", 3),
    Case("throw-InternalServerException", 3),
    Case("throw-ServiceUnavailableException", 3),
    Case("throw-ModelTimeoutException", 3),
    Case("cut-mid-frame:after.0", 3),
    # Statuses that it would repeat by itself: 503, 502, 409. It is told not to.
    Case("throw-AccessDeniedException", 1),
    Case("throw-ServiceQuotaExceededException", 1),
    Case("throw-ExpiredTokenException", 1),
    Case("throw-ConflictException", 1),
    # Statuses that it would not repeat either way.
    Case("throw-ValidationException", 1),
    Case("throw-ResourceNotFoundException", 1),
)
ANTHROPIC: Final = (
    Case("throw-ThrottlingException", 3),
    Case("throw-ServiceUnavailableException", 3),
    # A status that it would not repeat by itself: 424.
    Case("throw-ModelErrorException", 3),
    Case("throw-AccessDeniedException", 1),
    Case("throw-InvalidSignatureException", 1),
    Case("throw-ServiceQuotaExceededException", 1),
)
BOTO3: Final = (
    # Its standard mode knows the names of throttling and the statuses 500, 502, 503 and 504.
    Case("throw-ThrottlingException", 3),
    Case("throw-InternalServerException", 3),
    Case("throw-ServiceUnavailableException", 3),
    Case("reset-before-headers", 3),
    Case("throw-ValidationException", 1),
    Case("throw-ResourceNotFoundException", 1),
    Case("throw-ServiceQuotaExceededException", 1),
    Case("throw-ModelErrorException", 1),
    # Nobody can tell it not to: it does not know x-should-retry.
    Case("throw-AccessDeniedException", 3),
)


def counted(
    gateway: Served,
    pool: concurrent.futures.ThreadPoolExecutor,
    cases: Iterable[Case],
    call: Callable[[str], None],
    mark: str,
) -> list[Case]:
    """The cases as they were found, by the gateway's own log; all calls run side by side."""
    models = {case: f"simulator.{case.scenario}:words.{mark}" for case in cases}
    for future in [pool.submit(call, model) for model in models.values()]:
        future.result()
    # The log is written in order: with the record of a later request, all of theirs are there.
    last = f"simulator.words.{mark}"
    with gateway.openai() as sdk:
        sdk.chat.completions.create(model=last, messages=[{"role": "user", "content": "The last one"}])
    gateway.record(model=last)
    return [Case(case.scenario, len(gateway.records(model=model))) for case, model in models.items()]


def test_openai_python_does_as_it_is_told(
    both: tuple[Callers, Callers], pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    gateway = both[0].gateway
    with gateway.openai(max_retries=2) as sdk:

        def call(model: str) -> None:
            with pytest.raises(openai.APIStatusError):
                sdk.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": "Hello"}], stream=True
                )

        assert counted(gateway, pool, OPENAI, call, mark="31") == list(OPENAI)


def test_it_waits_as_long_as_it_is_told(both: tuple[Callers, Callers]) -> None:
    """Of itself it would wait half a second at most, and a second the next time."""
    seconds = 2
    gateway, model = both[0].gateway, f"simulator.retry-after:seconds.{seconds}"
    with gateway.openai(max_retries=2) as sdk, pytest.raises(openai.RateLimitError) as caught:
        sdk.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}])
    assert caught.value.response.headers["retry-after"] == str(seconds)
    eventually(lambda: len(gateway.records(model=model)) >= 3)
    times = [datetime.datetime.fromisoformat(record["time"]) for record in gateway.records(model=model)]
    pauses = [(later - sooner).total_seconds() for sooner, later in itertools.pairwise(times)]
    assert len(pauses) == 2
    assert all(seconds <= pause < seconds + 3 for pause in pauses)


def test_anthropics_bedrock_client_does_too(
    both: tuple[Callers, Callers], pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    gateway = both[0].gateway
    with anthropic.AnthropicBedrock(
        base_url=gateway.url,
        aws_access_key=ACCESS_KEY_ID,
        aws_secret_key=KEY,
        aws_region="us-east-1",
        max_retries=2,
    ) as sdk:

        def call(model: str) -> None:
            with pytest.raises(anthropic.APIStatusError):
                sdk.messages.create(
                    model=model, max_tokens=100, messages=[{"role": "user", "content": "Hello"}]
                )

        assert counted(gateway, pool, ANTHROPIC, call, mark="32") == list(ANTHROPIC)


def test_boto3_repeats_what_its_standard_mode_knows(
    both: tuple[Callers, Callers], pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    gateway = both[0].gateway
    bedrock = gateway.bedrock(retries=2)

    def call(model: str) -> None:
        with pytest.raises(botocore.exceptions.ClientError):
            bedrock.converse(modelId=model, messages=[user("Hello")])

    with contextlib.closing(bedrock):
        assert counted(gateway, pool, BOTO3, call, mark="33") == list(BOTO3)


def test_repetitions_of_the_sdk_and_of_the_gateway_multiply(
    both: tuple[Callers, Callers], simulator: RunningSimulator
) -> None:
    gateway, model = both[1].gateway, "simulator.throw-ThrottlingException:words.34"
    with gateway.openai(max_retries=2) as sdk, pytest.raises(openai.RateLimitError):
        sdk.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}])
    assert len([call for call in simulator.requests() if call["model_id"] == model]) == 9

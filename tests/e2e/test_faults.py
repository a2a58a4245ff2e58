"""Everything that can go wrong at Bedrock, through every door, over sockets: a typed error, never a false
success.

Each of the simulator's scenarios is asked for in six ways. What the caller's SDK then raises stands in
`TABLE`: `429 rate_limit_exceeded` is an HTTP error with this status and code; `- model_error` is an error
with this code inside a stream whose status was 200 already; `ok` is a whole answer. The log must say the
same, once for each request, and at Bedrock no call may be left running.
"""

import collections
import concurrent.futures
import contextlib
import json
from collections.abc import Callable, Generator
from typing import Any, Final, NamedTuple

import botocore.exceptions
import openai
import pytest

from stargate.simulator.scenarios import SCENARIOS
from support.gateway import RunningGateway, eventually, running_gateway
from support.simulator import RunningSimulator, user

TEXT: Final = "Tell me something"
BODY: Final = json.dumps(
    {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": TEXT}],
    }
)


class Row(NamedTuple):
    """What becomes of one scenario."""

    chat: str
    """openai-python, an answer."""
    chat_stream: str
    converse: str
    """boto3, likewise."""
    converse_stream: str
    invoke: str
    invoke_stream: str
    log: str
    """The record's code for an answer; empty: complete."""
    log_stream: str
    log_invoke: str | None = None
    """Where InvokeModel's answer fares otherwise, being passed on unread."""
    log_native_stream: str | None = None
    """Where Bedrock's own streams fare otherwise, their payloads being passed on unread."""

    def by_door(self) -> dict[str, tuple[str, str]]:
        """For each door what it says, and what the log says."""
        log_invoke = self.log if self.log_invoke is None else self.log_invoke
        log_native = self.log_stream if self.log_native_stream is None else self.log_native_stream
        return {
            "chat": (self.chat, self.log),
            "chat_stream": (self.chat_stream, self.log_stream),
            "converse": (self.converse, self.log),
            "converse_stream": (self.converse_stream, log_native),
            "invoke": (self.invoke, log_invoke),
            "invoke_stream": (self.invoke_stream, log_native),
        }


DOORS: Final = {
    ("openai-chat", "Converse"): "chat",
    ("openai-chat", "ConverseStream"): "chat_stream",
    ("bedrock-native", "Converse"): "converse",
    ("bedrock-native", "ConverseStream"): "converse_stream",
    ("bedrock-native", "InvokeModel"): "invoke",
    ("bedrock-native", "InvokeModelWithResponseStream"): "invoke_stream",
}
"""How the log tells them apart."""


def refused(chat: str, native: str, log: str) -> Row:
    """An error instead of an answer, to everybody."""
    return Row(chat, chat, native, native, native, native, log, log)


def broken(chat: str, native: str, log: str, *, plain: Row) -> Row:
    """An error inside a stream; an answer that is no stream fares as in `plain`."""
    return plain._replace(chat_stream=chat, converse_stream=native, invoke_stream=native, log_stream=log)


OK: Final = refused("ok", "ok", "")
CREDENTIALS: Final = refused("502 upstream_auth", "502 ServiceUnavailableException", "UPSTREAM_ERROR")
DENIED: Final = refused("503 SERVICE_UNAVAILABLE", "503 ServiceUnavailableException", "SERVICE_UNAVAILABLE")
LOST: Final = refused("502 upstream_connection_lost", "502 InternalServerException", "UPSTREAM_ERROR")
GARBLED: Final = refused("502 upstream_protocol_error", "502 InternalServerException", "UPSTREAM_ERROR")
FAILED: Final = refused("500 UPSTREAM_ERROR", "500 InternalServerException", "UPSTREAM_ERROR")
UNKNOWN: Final = refused("502 UPSTREAM_ERROR", "502 InternalServerException", "UPSTREAM_ERROR")
VALIDATION: Final = refused("400 INVALID_REQUEST", "400 ValidationException", "INVALID_REQUEST")
THROTTLED: Final = refused("429 rate_limit_exceeded", "429 ThrottlingException", "RATE_LIMITED")
TIMED_OUT: Final = refused("504 timeout", "408 ModelTimeoutException", "MODEL_TIMEOUT")
MODEL_STREAM_ERROR: Final = refused("502 model_error", "424 ModelStreamErrorException", "MODEL_ERROR")
UNAVAILABLE: Final = refused("503 overloaded", "503 ServiceUnavailableException", "SERVICE_UNAVAILABLE")

BROKEN: Final = ("- upstream_stream_broken", "- modelStreamErrorException", "UPSTREAM_STREAM_BROKEN")
BROKEN_AT_ONCE: Final = (
    "502 upstream_stream_broken",
    "502 ModelStreamErrorException",
    "UPSTREAM_STREAM_BROKEN",
)

STREAM_EXCEPTIONS: Final = {
    "stream-internalServerException": broken(
        "- UPSTREAM_ERROR", "- internalServerException", "UPSTREAM_ERROR", plain=FAILED
    ),
    "stream-modelStreamErrorException": broken(
        "- model_error", "- modelStreamErrorException", "MODEL_ERROR", plain=MODEL_STREAM_ERROR
    ),
    # ConverseStream's union of events has no modelTimeoutException, InvokeModel's has.
    "stream-modelTimeoutException": broken(
        "- timeout", "- modelTimeoutException", "MODEL_TIMEOUT", plain=TIMED_OUT
    )._replace(converse_stream="- modelStreamErrorException"),
    "stream-serviceUnavailableException": broken(
        "- overloaded", "- serviceUnavailableException", "SERVICE_UNAVAILABLE", plain=UNAVAILABLE
    ),
    "stream-throttlingException": broken(
        "- rate_limit_exceeded", "- throttlingException", "RATE_LIMITED", plain=THROTTLED
    ),
    "stream-validationException": broken(
        "- INVALID_REQUEST", "- validationException", "INVALID_REQUEST", plain=VALIDATION
    ),
    "stream-error": broken("- UPSTREAM_ERROR", "- internalServerException", "UPSTREAM_ERROR", plain=FAILED),
}
BROKEN_STREAMS: Final = {
    "cut-mid-frame": broken(*BROKEN, plain=LOST),
    "cut-between-frames": broken(*BROKEN, plain=LOST),
    "end-before-messageStop": broken(*BROKEN, plain=LOST),
    "end-mid-frame": broken(*BROKEN, plain=LOST),
    "reset-mid-stream": broken(*BROKEN, plain=LOST),
    # What is broken here are frames, which an answer that is no stream has none of.
    # Here the message itself was whole, and why it ended was said: its usage is missing.
    "no-metadata": broken(*BROKEN, plain=OK)._replace(chat_stream="stop, then - upstream_stream_broken"),
    "end-before-done": broken(*BROKEN, plain=LOST)._replace(
        chat_stream="stop, then - upstream_stream_broken"
    ),
    "bad-crc": broken(*BROKEN, plain=OK),
    "bad-prelude-crc": broken(*BROKEN, plain=OK),
    "oversize-frame": broken(*BROKEN, plain=OK),
}
TABLE: Final = {
    # ---------------------------------------------------------------------------------- instead of an answer
    "throw-ValidationException": VALIDATION,
    "throw-ServiceQuotaExceededException": refused(
        "503 insufficient_quota", "400 ServiceQuotaExceededException", "QUOTA_EXCEEDED"
    ),
    "throw-ConflictException": refused("409 CONFLICT", "400 ConflictException", "CONFLICT"),
    "throw-AccessDeniedException": DENIED,
    "throw-ResourceNotFoundException": refused(
        "404 model_not_found", "404 ResourceNotFoundException", "MODEL_NOT_FOUND"
    ),
    "throw-ModelTimeoutException": TIMED_OUT,
    "throw-ModelErrorException": refused("502 model_error", "424 ModelErrorException", "MODEL_ERROR"),
    "throw-ModelStreamErrorException": MODEL_STREAM_ERROR,
    "throw-ModelNotReadyException": refused(
        "503 model_not_ready", "429 ModelNotReadyException", "MODEL_UNAVAILABLE"
    ),
    "throw-ThrottlingException": THROTTLED,
    "throw-InternalServerException": FAILED,
    "throw-ServiceUnavailableException": UNAVAILABLE,
    "throw-ExpiredTokenException": CREDENTIALS,
    "throw-UnrecognizedClientException": CREDENTIALS,
    "throw-InvalidSignatureException": CREDENTIALS,
    "throw-MissingAuthenticationTokenException": CREDENTIALS,
    "throw-IncompleteSignatureException": CREDENTIALS,
    "throw-SerializationException": refused(
        "400 INVALID_REQUEST", "400 SerializationException", "INVALID_REQUEST"
    ),
    "throw-UnsupportedMediaTypeException": refused(
        "400 INVALID_REQUEST", "415 UnsupportedMediaTypeException", "INVALID_REQUEST"
    ),
    "throw-RequestEntityTooLargeException": refused(
        "413 PAYLOAD_TOO_LARGE", "413 RequestEntityTooLargeException", "PAYLOAD_TOO_LARGE"
    ),
    "throw-UnknownOperationException": refused(
        "502 UPSTREAM_ERROR", "404 UnknownOperationException", "UPSTREAM_ERROR"
    ),
    "iam-denied": DENIED,
    "api-key-denied": DENIED,
    "html-502": UNKNOWN,
    "empty-500": FAILED,
    "status": FAILED,
    "status:code.529": refused(
        "503 overloaded", "503 ServiceUnavailableException", "SERVICE_UNAVAILABLE"
    ),
    "status:code.302:body.html": UNKNOWN,
    "retry-after": THROTTLED,
    "200-with-error-body": refused(
        "502 UPSTREAM_ERROR", "502 UnknownOperationException", "UPSTREAM_ERROR"
    ),
    "reset-before-headers": LOST,
    "close-before-headers": LOST,
    "malformed-http": GARBLED,
    "malformed-http:kind.header": GARBLED,
    "malformed-http:kind.chunk-size": GARBLED,
    "malformed-http:kind.two-lengths": GARBLED,
    "malformed-http:kind.not-http": GARBLED,
    "malformed-http:kind.obs-fold": GARBLED,
    "huge-headers": GARBLED,
    "huge-headers:bytes.20000": OK,
    # ------------------------------------------------------------------------------------- inside the answer
    **STREAM_EXCEPTIONS,
    **BROKEN_STREAMS,
    # What InvokeModel answers is the model's own and passed on unread, be it empty or noise.
    "empty-stream": broken(*BROKEN_AT_ONCE, plain=GARBLED)._replace(invoke="ok", log_invoke=""),
    "garbage": broken(*BROKEN_AT_ONCE, plain=GARBLED)._replace(invoke="ok", log_invoke=""),
    "wrong-content-type": broken(
        "502 upstream_protocol_error", "502 InternalServerException", "UPSTREAM_ERROR", plain=OK
    ),
    "document-for-stream": broken(
        "502 upstream_protocol_error", "502 InternalServerException", "UPSTREAM_ERROR", plain=OK
    ),
    "bad-json": broken("- upstream_protocol_error", "ok", "UPSTREAM_ERROR", plain=GARBLED)._replace(
        invoke="ok", log_invoke="", log_native_stream=""
    ),
    "extra-bytes-in-body": broken("ok", "ok", "", plain=GARBLED)._replace(invoke="ok", log_invoke=""),
    # ---------------------------------------------------------------------------- odd, and within the rules
    "slow:ms.5": OK,
    "drip": OK,
    "unknown-events": OK,
    # Server-sent events come from the vendors' APIs only.
    "oversize-line": OK,
    "odd-lines": OK,
    "until-close": OK,
    "early-hints": OK,
    "close-after-answer": OK,
    "close-on-reuse": OK,
    "extra-bytes-after-end": OK,
    "reasoning": OK,
    "interleaved-reasoning": OK,
    "redacted-reasoning": OK,
    "citations": OK,
    "empty-content": OK,
}  # fmt: skip
AT_ONCE: Final = {
    "stream-throttlingException:after.0": THROTTLED,
    "stream-throttlingException:after.0:style.pascal": THROTTLED,
    "stream-validationException:after.0": VALIDATION,
    "stream-internalServerException:after.0": FAILED,
    "stream-serviceUnavailableException:after.start": UNAVAILABLE,
    "cut-mid-frame:after.0": broken(*BROKEN_AT_ONCE, plain=LOST),
    "cut-between-frames:after.0": broken(*BROKEN_AT_ONCE, plain=LOST),
    "end-before-messageStop:after.start": broken(*BROKEN_AT_ONCE, plain=LOST),
    "reset-mid-stream:after.0": broken(*BROKEN_AT_ONCE, plain=LOST),
    "bad-crc:after.0": broken(*BROKEN_AT_ONCE, plain=OK),
    "bad-prelude-crc:after.0": broken(*BROKEN_AT_ONCE, plain=OK),
    "oversize-frame:after.0": broken(*BROKEN_AT_ONCE, plain=OK),
}
SILENT: Final = {
    "stall-before-headers": Row(
        chat="504 TOTAL_TIMEOUT",
        chat_stream="504 FIRST_TOKEN_TIMEOUT",
        converse="504 ModelTimeoutException",
        converse_stream="504 ModelTimeoutException",
        invoke="504 ModelTimeoutException",
        invoke_stream="504 ModelTimeoutException",
        log="TOTAL_TIMEOUT",
        log_stream="FIRST_TOKEN_TIMEOUT",
    ),
    "stall-before-first-token": Row(
        chat="504 IDLE_TIMEOUT",
        chat_stream="504 FIRST_TOKEN_TIMEOUT",
        converse="504 ModelTimeoutException",
        converse_stream="504 ModelTimeoutException",
        invoke="504 ModelTimeoutException",
        invoke_stream="504 ModelTimeoutException",
        log="IDLE_TIMEOUT",
        log_stream="FIRST_TOKEN_TIMEOUT",
    ),
    "stall-mid-stream": Row(
        chat="504 IDLE_TIMEOUT",
        chat_stream="- IDLE_TIMEOUT",
        converse="504 ModelTimeoutException",
        converse_stream="- modelStreamErrorException",
        invoke="504 ModelTimeoutException",
        invoke_stream="- modelTimeoutException",
        log="IDLE_TIMEOUT",
        log_stream="IDLE_TIMEOUT",
    ),
}
"""Nothing comes, and nothing ends: only the gateway's own limits do that."""


def test_no_scenario_is_forgotten() -> None:
    asked = {name.partition(":")[0] for name in (*TABLE, *SILENT)}
    assert asked == SCENARIOS.keys()


class Doors(NamedTuple):
    """A gateway, and the SDKs that call it."""

    gateway: RunningGateway
    openai: openai.OpenAI
    bedrock: Any

    def calls(self, model: str) -> dict[str, Callable[[], str]]:
        """A call through each of the six doors."""
        messages = [user(TEXT)]
        bedrock = self.bedrock
        return {
            "chat": lambda: self._chat(model),
            "chat_stream": lambda: self._chat_stream(model),
            "converse": lambda: _native(lambda: bedrock.converse(modelId=model, messages=messages)),
            "converse_stream": lambda: _native(
                lambda: bedrock.converse_stream(modelId=model, messages=messages)["stream"]
            ),
            "invoke": lambda: _native(lambda: bedrock.invoke_model(modelId=model, body=BODY)["body"]),
            "invoke_stream": lambda: _native(
                lambda: bedrock.invoke_model_with_response_stream(modelId=model, body=BODY)["body"]
            ),
        }

    def _chat(self, model: str) -> str:
        try:
            answer = self.openai.chat.completions.create(
                model=model, messages=[{"role": "user", "content": TEXT}]
            )
        except openai.APIStatusError as error:
            return f"{error.status_code} {error.code}"
        assert answer.choices[0].finish_reason == "stop"
        return "ok"

    def _chat_stream(self, model: str) -> str:
        reasons: list[str] = []
        try:
            for chunk in self.openai.chat.completions.create(
                model=model, messages=[{"role": "user", "content": TEXT}], stream=True
            ):
                reasons += [c.finish_reason for c in chunk.choices if c.finish_reason is not None]
        except openai.APIStatusError as error:
            return f"{error.status_code} {error.code}"
        except openai.APIError as error:
            return "".join(f"{reason}, then " for reason in reasons) + f"- {error.code}"
        assert reasons == ["stop"]
        return "ok"


def _native(call: Callable[[], Any]) -> str:
    try:
        answer = call()
        if not isinstance(answer, dict):
            # An SDK's stream does not close itself behind an error.
            with contextlib.closing(answer):
                collections.deque(answer, maxlen=0)
    except botocore.exceptions.EventStreamError as error:
        return f"- {error.response['Error']['Code']}"
    except botocore.exceptions.ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return f"{status} {error.response['Error']['Code']}"
    return "ok"


@pytest.fixture(scope="module")
def doors(gateway: RunningGateway, client: openai.OpenAI, bedrock: Any) -> Doors:
    """Everybody's gateway."""
    return Doors(gateway, client, bedrock)


@pytest.fixture(scope="module")
def impatient(simulator: RunningSimulator) -> Generator[Doors]:
    """A gateway with short limits."""
    limits = {"first_token": 0.6, "idle": 0.6, "total": 1.2}
    with running_gateway(simulator.url, gateway={"time_limits": limits}) as gateway:
        with gateway.openai() as sdk:
            bedrock = gateway.bedrock()
            yield Doors(gateway, sdk, bedrock)
            bedrock.close()


@pytest.fixture(scope="module")
def pool() -> Generator[concurrent.futures.Executor]:
    """So that six calls take as long as one."""
    with concurrent.futures.ThreadPoolExecutor(6) as executor:
        yield executor


def found(doors: Doors, pool: concurrent.futures.Executor, model: str) -> dict[str, tuple[str, str]]:
    """What becomes of a model's calls: what each door says, and what the log says of it."""
    before = len(doors.gateway.records(model=model))  # Other tests may have used the same gateway and model.
    running = {door: pool.submit(call) for door, call in doors.calls(model).items()}
    said = {door: future.result() for door, future in running.items()}
    eventually(lambda: len(doors.gateway.records(model=model)) >= before + len(said))
    logged: dict[str, str] = {}
    records = doors.gateway.records(model=model)[before:]
    for record in records:
        door = DOORS[record["dialect"], record["operation"]]
        assert door not in logged, f"two records of one request: {records}"
        logged[door] = record.get("code", "")
        assert record["outcome"] == ("failed" if logged[door] else "complete")
    return {door: (said[door], logged[door]) for door in said}


def left_running(simulator: RunningSimulator, model: str) -> list[Any]:
    """The calls at Bedrock that nobody has ended."""
    calls = [call for call in simulator.requests() if call["model_id"] == model]
    return [call for call in calls if call["outcome"] == "running"]


@pytest.mark.parametrize("scenario", TABLE)
def test_every_door_says_what_went_wrong(
    doors: Doors, pool: concurrent.futures.Executor, simulator: RunningSimulator, scenario: str
) -> None:
    model = f"simulator.{scenario}"
    assert found(doors, pool, model) == TABLE[scenario].by_door()
    eventually(lambda: not left_running(simulator, model))


@pytest.mark.parametrize("scenario", [*STREAM_EXCEPTIONS, *BROKEN_STREAMS])
def test_so_it_does_when_the_answer_comes_slowly(
    doors: Doors, pool: concurrent.futures.Executor, scenario: str
) -> None:
    """Now every event comes by itself, and the caller has the first long before the error."""
    assert found(doors, pool, f"simulator.{scenario}:pace.200") == TABLE[scenario].by_door()


@pytest.mark.parametrize("scenario", AT_ONCE)
def test_before_anything_meaningful_it_is_an_http_error(
    doors: Doors, pool: concurrent.futures.Executor, scenario: str
) -> None:
    assert found(doors, pool, f"simulator.{scenario}") == AT_ONCE[scenario].by_door()


@pytest.mark.parametrize("scenario", SILENT)
def test_silence_ends_in_a_time_limit(
    impatient: Doors, pool: concurrent.futures.Executor, simulator: RunningSimulator, scenario: str
) -> None:
    model = f"simulator.{scenario}"
    assert found(impatient, pool, model) == SILENT[scenario].by_door()
    eventually(lambda: not left_running(simulator, model))
    ends = [call["outcome"] for call in simulator.requests() if call["model_id"] == model]
    assert ends == ["cancelled"] * 6

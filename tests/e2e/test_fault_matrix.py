"""What can befall a call on its way, on each shell and through every door: its stated outcome, over sockets.

Twelve doors (`support.callers`): OpenAI's chat and responses, Anthropic's messages by Converse and by
InvokeModel, Bedrock's Converse and InvokeModel, each plain and streamed. `MATRIX` says for each fault what a
plain answer becomes and what a stream becomes, in each API's words. It is written by hand from what callers
were promised: never a good end behind a fault, an honest status as long as nothing has been said, and
otherwise a typed error inside the stream. Each request leaves one record, and no call is left running.

(Every other scenario of the simulator's, on one shell: test_faults.py. Exceptions by name, with repetitions:
test_fault_table.py.)
"""

import concurrent.futures
import contextlib
import socket
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from support.callers import DOORS, PLAIN, STREAMS, Callers, callers_of
from support.gateway import eventually, running_gateway
from support.hosts import SHELLS, params
from support.raw import chat, connected, converse, request
from support.simulator import RunningSimulator, running_simulator
from support.tls import Authority

INVOKED: Final = "invoke."
"""How the ids of models begin that the gateway's table of surfaces has at InvokeModel."""


class Told(NamedTuple):
    """One error, in the words of each API."""

    openai: str
    anthropic: str
    converse: str
    invoke: str


def refused(openai: str, anthropic: str, native: str) -> Told:
    """An HTTP error: status first."""
    return Told(openai, anthropic, native, native)


def inside(openai: str, anthropic: str, converse: str, invoke: str = "") -> Told:
    """An error inside a stream that has begun."""
    return Told(f"- {openai}", f"- {anthropic}", f"- {converse}", f"- {invoke or converse}")


class Outcome(NamedTuple):
    """What becomes of a plain answer and of a stream."""

    plain: Told
    stream: Told


OK: Final = Told("ok", "ok", "ok", "ok")
LOST: Final = refused(
    "502 server_error upstream_connection_lost", "502 api_error", "502 InternalServerException"
)
GARBLED: Final = refused(
    "502 server_error upstream_protocol_error", "502 api_error", "502 InternalServerException"
)
FAILED: Final = refused("500 server_error UPSTREAM_ERROR", "500 api_error", "500 InternalServerException")
THROTTLED: Final = refused(
    "429 rate_limit_error rate_limit_exceeded", "429 rate_limit_error", "429 ThrottlingException"
)
UNAVAILABLE: Final = refused(
    "503 server_error overloaded", "529 overloaded_error", "503 ServiceUnavailableException"
)
CREDENTIALS: Final = refused(
    "502 server_error upstream_auth", "502 api_error", "502 ServiceUnavailableException"
)
MODEL_FAILED: Final = refused(
    "502 server_error model_error", "502 api_error", "424 ModelStreamErrorException"
)
MODEL_TIMEOUT: Final = refused("504 server_error timeout", "504 timeout_error", "408 ModelTimeoutException")
VALIDATION: Final = refused(
    "400 invalid_request_error INVALID_REQUEST", "400 invalid_request_error", "400 ValidationException"
)
BROKEN_AT_ONCE: Final = refused(
    "502 server_error upstream_stream_broken", "502 api_error", "502 ModelStreamErrorException"
)
BROKEN: Final = inside("server_error upstream_stream_broken", "api_error", "modelStreamErrorException")


def too_late(code: str) -> Told:
    """A time limit, as an HTTP error."""
    return refused(f"504 server_error {code}", "504 timeout_error", "504 ModelTimeoutException")


MATRIX: Final = {
    # ---------------------------------------------------------------------------------- instead of an answer
    "throw-ThrottlingException": Outcome(THROTTLED, THROTTLED),
    "retry-after": Outcome(THROTTLED, THROTTLED),
    "throw-InternalServerException": Outcome(FAILED, FAILED),
    "empty-500": Outcome(FAILED, FAILED),
    "throw-ServiceUnavailableException": Outcome(UNAVAILABLE, UNAVAILABLE),
    "throw-ExpiredTokenException": Outcome(CREDENTIALS, CREDENTIALS),
    "reset-before-headers": Outcome(LOST, LOST),
    "close-before-headers": Outcome(LOST, LOST),
    # ------------------------------------------------------------------------------------- inside the answer
    "cut-mid-frame": Outcome(LOST, BROKEN),
    "cut-between-frames": Outcome(LOST, BROKEN),
    "end-before-messageStop": Outcome(LOST, BROKEN),
    "reset-mid-stream": Outcome(LOST, BROKEN),
    # What is broken here are frames, which a plain answer has none of.
    "bad-crc": Outcome(OK, BROKEN),
    "oversize-frame": Outcome(OK, BROKEN),
    "garbage:after.2": Outcome(GARBLED._replace(invoke="ok"), BROKEN),
    "wrong-content-type": Outcome(OK, GARBLED),
    "stream-internalServerException": Outcome(
        FAILED, inside("server_error UPSTREAM_ERROR", "api_error", "internalServerException")
    ),
    "stream-modelStreamErrorException": Outcome(
        MODEL_FAILED, inside("server_error model_error", "api_error", "modelStreamErrorException")
    ),
    # ConverseStream's union of events has no modelTimeoutException, InvokeModel's has.
    "stream-modelTimeoutException": Outcome(
        MODEL_TIMEOUT,
        inside("server_error timeout", "timeout_error", "modelStreamErrorException", "modelTimeoutException"),
    ),
    "stream-serviceUnavailableException": Outcome(
        UNAVAILABLE, inside("server_error overloaded", "overloaded_error", "serviceUnavailableException")
    ),
    "stream-throttlingException": Outcome(
        THROTTLED, inside("rate_limit_error rate_limit_exceeded", "rate_limit_error", "throttlingException")
    ),
    "stream-validationException": Outcome(
        VALIDATION,
        inside("invalid_request_error INVALID_REQUEST", "invalid_request_error", "validationException"),
    ),
    # --------------------------------------------------------------------------------- harmless, if one waits
    "drip": Outcome(OK, OK),
    "close-after-answer": Outcome(OK, OK),
    "close-on-reuse": Outcome(OK, OK),
}
SILENT: Final = {
    "stall-before-headers": Outcome(too_late("TOTAL_TIMEOUT"), too_late("FIRST_TOKEN_TIMEOUT")),
    "stall-before-first-token": Outcome(too_late("IDLE_TIMEOUT"), too_late("FIRST_TOKEN_TIMEOUT")),
    "stall-mid-stream": Outcome(
        too_late("IDLE_TIMEOUT"),
        inside(
            "server_error IDLE_TIMEOUT", "timeout_error", "modelStreamErrorException", "modelTimeoutException"
        ),
    ),
}
"""Nothing comes, and nothing ends: only the gateway's own limits do that."""
UNREACHABLE: Final = {
    "refused": refused(
        "502 server_error upstream_connect_failed", "502 api_error", "502 ServiceUnavailableException"
    ),
    "name unknown": refused(
        "502 server_error upstream_connect_failed", "502 api_error", "502 ServiceUnavailableException"
    ),
    "TLS of nobody's": refused(
        "502 server_error upstream_tls_failed", "502 api_error", "502 ServiceUnavailableException"
    ),
    "no TLS at all": refused(
        "502 server_error upstream_tls_failed", "502 api_error", "502 ServiceUnavailableException"
    ),
    "a handshake without end": refused(
        "504 server_error CONNECT_TIMEOUT", "504 timeout_error", "503 ServiceUnavailableException"
    )._replace(converse="504 ServiceUnavailableException", invoke="504 ServiceUnavailableException"),
}
"""There is no connection to send the call on."""


@pytest.fixture(scope="module", params=params(*SHELLS), name="shell")
def _shell(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def pool() -> Generator[concurrent.futures.Executor]:
    """So that twelve calls take as long as one."""
    with concurrent.futures.ThreadPoolExecutor(len(DOORS)) as executor:
        yield executor


@contextlib.contextmanager
def callers(url: str, shell: str, **settings: Any) -> Generator[Callers]:
    """A gateway on a shell in front of this Bedrock, and its callers."""
    proxy = {"surfaces": {"invoke": {"models": [f"{INVOKED}*"]}}}
    with running_gateway(url, options=SHELLS[shell], proxy=proxy, gateway=settings) as gateway:
        with callers_of(gateway) as found:
            yield found


@pytest.fixture(scope="module")
def patient(simulator: RunningSimulator, shell: str) -> Generator[Callers]:
    """With time limits that nothing reaches."""
    with callers(simulator.url, shell) as found:
        yield found


@pytest.fixture(scope="module")
def impatient(simulator: RunningSimulator, shell: str) -> Generator[Callers]:
    """With short ones."""
    limits = {"first_token": 0.6, "idle": 0.6, "total": 1.2}
    with callers(simulator.url, shell, time_limits=limits) as found:
        yield found


def stated(outcome: Outcome) -> dict[str, str]:
    """What each door must say."""
    said: dict[str, str] = {}
    for doors, told in ((PLAIN, outcome.plain), (STREAMS, outcome.stream)):
        for door in doors:
            family = door.removesuffix("_stream")
            said[door] = {
                "chat": told.openai, "responses": told.openai, "messages": told.anthropic,
                "messages_invoke": told.anthropic, "converse": told.converse, "invoke": told.invoke,
            }[family]  # fmt: skip
    return said


def found(callers: Callers, pool: concurrent.futures.Executor, name: str) -> dict[str, str]:
    """What becomes of a call of this model through each door; each must have left one record that agrees."""
    models = {
        door: f"{INVOKED if door.startswith('messages_invoke') else ''}simulator.{name}"
        for door in DOORS.values()
    }
    gateway = callers.gateway
    before = len([one for one in gateway.records() if one.get("model") in models.values()])

    def logged() -> list[dict[str, Any]]:
        return [one for one in gateway.records() if one.get("model") in models.values()][before:]

    running = {door: pool.submit(callers.call, door, models[door], "Hello") for door in models}
    said = {door: future.result().error for door, future in running.items()}
    eventually(lambda: len(logged()) >= len(said))
    told = {DOORS[one["dialect"], one["operation"]]: one["outcome"] for one in logged()}
    assert len(logged()) == len(told) == len(said)
    assert told == {door: "complete" if error == "ok" else "failed" for door, error in said.items()}
    return said


def none_running(simulator: RunningSimulator, name: str) -> bool:
    """Whether no call of the model is left at Bedrock."""
    return not [
        call
        for call in simulator.requests()
        if str(call["model_id"]).endswith(f"simulator.{name}") and call["outcome"] == "running"
    ]


@pytest.mark.parametrize("fault", MATRIX)
def test_a_fault_at_bedrock(
    patient: Callers, pool: concurrent.futures.Executor, simulator: RunningSimulator, fault: str
) -> None:
    assert found(patient, pool, fault) == stated(MATRIX[fault])
    eventually(lambda: none_running(simulator, fault))


@pytest.mark.parametrize("fault", SILENT)
def test_silence(
    impatient: Callers, pool: concurrent.futures.Executor, simulator: RunningSimulator, fault: str
) -> None:
    assert found(impatient, pool, fault) == stated(SILENT[fault])
    eventually(lambda: none_running(simulator, fault))


@pytest.mark.parametrize("shown", [("retry-after", "7"), ("throw-ThrottlingException", "1")])
def test_a_callers_turn_is_bedrocks_own_or_in_a_second(patient: Callers, shown: tuple[str, str]) -> None:
    """Of a 429 with a Retry-After, and of one without."""
    scenario, seconds = shown
    model = f"simulator.{scenario}"
    with connected(patient.gateway.url) as raw:
        for stream in (False, True):
            raw.send(request(body=chat("Hello", model=model, stream=stream)))
            answer = raw.answer()
            assert (answer.status, answer.headers["retry-after"]) == (429, seconds)
            raw.send(request(path=f"/model/{model}/converse{'-stream' * stream}", body=converse("Hello")))
            assert raw.answer().headers["retry-after"] == seconds


# ------------------------------------------------------------------------------------------ no connection


@contextlib.contextmanager
def silent_server() -> Generator[str]:
    """A server that takes connections and says nothing on them."""
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kept.append(server.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for sock in kept:
        sock.close()


@contextlib.contextmanager
def nowhere(kind: str, simulator: RunningSimulator, folder: Path) -> Generator[str]:
    """A URL at which there is no Bedrock."""
    match kind:
        case "refused":
            with socket.create_server(("127.0.0.1", 0)) as server:
                port = server.getsockname()[1]
            yield f"http://127.0.0.1:{port}"
        case "name unknown":
            yield "https://bedrock.invalid:1"
        case "no TLS at all":
            yield simulator.url.replace("http:", "https:")
        case "a handshake without end":
            with silent_server() as url:
                yield url
        case _:
            cert, key = Authority().write(folder, "127.0.0.1")
            with running_simulator("--tls-cert", str(cert), "--tls-key", str(key)) as stranger:
                yield stranger.url


@pytest.mark.parametrize("kind", UNREACHABLE)
def test_no_connection(
    shell: str, kind: str, pool: concurrent.futures.Executor, simulator: RunningSimulator, tmp_path: Path
) -> None:
    with nowhere(kind, simulator, tmp_path) as url:
        with callers(url, shell, time_limits={"connect": 0.5}) as found_callers:
            told = UNREACHABLE[kind]
            assert found(found_callers, pool, kind.replace(" ", "-")) == stated(Outcome(told, told))


def test_a_kept_connection_that_dies_as_it_is_used_again(
    patient: Callers, simulator: RunningSimulator
) -> None:
    """Many times over: whichever side is first, nobody sees it."""
    simulator.clear()
    with connected(patient.gateway.url) as raw:
        for number in range(40):
            raw.send(request(body=chat(f"Number {number}", model="simulator.close-on-reuse")))
            answer = raw.answer()
            assert answer.status == 200
            assert f"“Number {number}”" in answer.json()["choices"][0]["message"]["content"]
    assert len(simulator.requests()) == 40

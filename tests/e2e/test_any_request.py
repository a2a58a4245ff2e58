"""Any request at all: the gateway answers it well, or says in the caller's own words why not.

Our own OpenAPI document describes what may be asked. Schemathesis makes requests of it, and of those others
that are wrong in one place; all go to a running gateway in front of the simulated Bedrock, and of each:

- it is answered, with a status, a media type and a body that the document promises;
- no error is the gateway's own (a cause that says so stands in its log);
- a stream ends as its API ends streams, well or with an error;
- what the gateway has composed, Bedrock takes for a request: its service model is the judge, in the
  simulator. What it then objects to are the caller's own words (a tool's name with a blank in it), never a
  member of the wrong kind or one that is not there.

The requests are the same in every run.
"""

import contextlib
import http.client
import json
import urllib.parse
from collections.abc import Generator, Mapping
from typing import Any, Final, NamedTuple

import jsonschema
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok

from stargate_core.dialects.openapi import document
from stargate_core.wire.eventstream import EventStreamDecoder
from support.gateway import KEY, RunningGateway, eventually, running_gateway
from support.simulator import RunningSimulator

DOCUMENT: Final[dict[str, Any]] = json.loads(
    msgspec.json.encode(document(version="test", server="http://127.0.0.1"))
)
OPERATIONS: Final = {
    result.ok().definition.raw["operationId"]: result.ok()
    for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
    if isinstance(result, Ok)
}
MODELS: Final[dict[str, Any]] = {
    "claude": "us.anthropic.claude-sonnet-4-20250514-v1:0",
    "nova": "amazon.nova-lite-v1:0",
    "gpt": "openai.gpt-oss-120b-1:0",
    "gpt-direct": {"target": "openai.gpt-oss-120b-1:0", "surface": "openai"},
    "titan": "amazon.titan-embed-text-v2:0",
    "cohere": "cohere.embed-english-v3",
}
EMBEDDING: Final = ("titan", "cohere")
OWN_FAULTS: Final = {"INTERNAL", "PLUGIN_FAILED", "UPSTREAM_GARBLED", "CREDENTIALS_MISSING"}
COMPOSED: Final = {"Converse", "ConverseStream"}
"""Operations whose bodies the gateway writes for callers of another API."""
ENDINGS: Final = {
    "chat-completions": ("data: [DONE]\n\n", '{"error":'),
    "chat": ("data: [DONE]\n\n", '{"error":'),
    "responses": ("event: response.completed", "event: response.incomplete", "event: error"),
    "messages": ("event: message_stop", "event: error"),
}
USER: Final = {"role": "user", "content": "hi"}
PLAIN: Final[dict[str, dict[str, Any]]] = {
    "chat-completions": {"messages": [USER]},
    "chat": {"messages": [USER]},
    "responses": {"input": [USER]},
    "embeddings": {"input": "hi"},
    "messages": {"messages": [USER], "max_tokens": 9},
    "count-tokens": {"messages": [USER]},
    "Converse": {"messages": [{"role": "user", "content": [{"text": "hi"}]}]},
    "ConverseStream": {"messages": [{"role": "user", "content": [{"text": "hi"}]}]},
}
"""Good requests: of what is put into them more is looked at than the first thing that is wrong."""
SETTINGS: Final = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Sent(NamedTuple):
    """A request, and the answer to it."""

    target: str
    body: bytes | None
    status: int
    headers: Mapping[str, str]
    answer: bytes


class Caller:
    """Sends requests as they are."""

    def __init__(self, gateway: RunningGateway) -> None:
        self.gateway = gateway
        self._connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)

    def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Sent:
        self._connection.request(method, target, body, {**headers, "x-api-key": KEY})
        answer = self._connection.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return Sent(target, body, answer.status, fields, answer.read())

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def caller(simulator: RunningSimulator) -> Generator[Caller]:
    """Somebody who calls a gateway of their own."""
    with (
        running_gateway(simulator.url, proxy={"models": MODELS}) as gateway,
        contextlib.closing(Caller(gateway)) as one,
    ):
        yield one


@st.composite
def requests(draw: st.DrawFn, name: str, *, spoiled: bool) -> tuple[str, str, dict[str, str], bytes | None]:
    """Method, target, headers and body of a request for an operation; `spoiled` in one place, or more."""
    operation = OPERATIONS[name]
    case = draw(operation.as_strategy())
    labels = dict(case.path_parameters or {})
    models = EMBEDDING if name == "embeddings" else ("claude", "nova", "gpt", "gpt-direct")
    model = draw(st.sampled_from([*models, None]))
    if model is not None and "modelId" in labels:
        labels["modelId"] = model
    path = operation.path
    for label, value in labels.items():
        path = path.replace(f"{{{label}}}", urllib.parse.quote(str(value), safe=""))
    query = urllib.parse.urlencode(case.query or {}, doseq=True)
    headers = {
        key: str(value)
        for key, value in dict(case.headers or {}).items()
        if key.lower() not in ("authorization", "api-key", "x-api-key", "content-type")
    }
    body = None
    if "requestBody" in operation.definition.raw:
        content = case.body
        if not isinstance(content, bytes | dict | list | str | int | float | bool | None):
            content = b""  # It may be left out.
        if isinstance(content, dict):
            content = json.loads(json.dumps(content))
            if name in PLAIN and draw(st.integers(0, 3)):
                content = draw(mixed(PLAIN[name], content))
            if model is not None and name in ENDINGS | {"embeddings": (), "count-tokens": ()}:
                content["model"] = model
        if spoiled:
            content = draw(spoilt(content))
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers["content-type"] = "application/json"
    return operation.method.upper(), path + (f"?{query}" if query else ""), headers, body


@st.composite
def mixed(draw: st.DrawFn, plain: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """A good request with a few members of another one, and perhaps a few of its messages."""
    names = sorted(other.keys() - {"model", "stream"})
    taken = draw(st.sets(st.sampled_from(names), max_size=3)) if names else ()
    whole = {**plain, **{name: other[name] for name in taken if name not in plain}}
    if "stream" in other:
        whole["stream"] = other["stream"]
    for name in taken:
        if name in plain and isinstance(plain[name], list) and isinstance(other[name], list):
            said = draw(st.lists(st.sampled_from(other[name]), max_size=2)) if other[name] else []
            whole[name] = (
                [*plain[name], *said, *plain[name]] if draw(st.booleans()) else [*said, *plain[name]]
            )
    return whole


ANYTHING: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def spoilt(draw: st.DrawFn, value: Any) -> Any:
    """A body with something else at one place, or without it; or what is no JSON."""
    if draw(st.integers(0, 9)) == 0:
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        return draw(st.sampled_from([text[: len(text) // 2], text + b"x", b"", b"\xff" + text, b"[" * 5_000]))
    return draw(elsewhere(value))


@st.composite
def elsewhere(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        name = draw(st.sampled_from(sorted(value)))
        rest = {key: inner for key, inner in value.items() if key != name}
        return (
            rest
            if draw(st.booleans()) and draw(st.booleans())
            else {**rest, name: draw(elsewhere(value[name]))}
        )
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], draw(elsewhere(value[at])), *value[at + 1 :]]
    return draw(ANYTHING)


def promised(name: str, sent: Sent) -> None:
    """The answer is one of those that the document names."""
    answers = OPERATIONS[name].definition.raw["responses"]
    key = str(sent.status) if str(sent.status) in answers else "default"
    assert key in answers, f"{sent} is not among {list(answers)}"
    answer = answers[key]
    if "$ref" in answer:
        answer = DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    media = sent.headers["content-type"].partition(";")[0]
    assert media in answer["content"] or "*/*" in answer["content"], sent
    if media == "application/json":
        schema = answer["content"][media]["schema"]
        rooted = {**schema, "components": DOCUMENT["components"]}
        jsonschema.Draft202012Validator(rooted).validate(json.loads(sent.answer))
    elif media == "text/event-stream":
        assert any(ending in sent.answer.decode() for ending in ENDINGS[name]), sent
    elif media == "application/vnd.amazon.eventstream":
        decoder = EventStreamDecoder()
        assert decoder.feed(sent.answer)
        decoder.check()


def judged(gateway: RunningGateway, answered: list[Sent]) -> list[str]:
    """What is wrong with these, by the gateway's own log and by Bedrock's judgement."""
    ids = {sent.headers["x-request-id"]: sent for sent in answered}
    wanted = ids.keys()
    records = eventually(
        lambda: (
            found if wanted <= (found := {one["request_id"]: one for one in gateway.records()}).keys() else {}
        )
    )
    wrong: list[str] = []
    for request_id, sent in ids.items():
        record = records[request_id]
        if record.get("cause") in OWN_FAULTS:
            wrong.append(f"{record['cause']} {record.get('detail')}: {sent}")
        if record.get("operation") in COMPOSED and record["dialect"] != "bedrock-native":
            text = sent.answer.decode("utf-8", "replace")
            if "Malformed input request" in text or "enum value set" in text:
                wrong.append(f"Bedrock says {text}: {sent}")
    return wrong


ASKED: Final = [name for name in OPERATIONS if name not in ("healthz", "readyz")]
WITH_A_BODY: Final = [
    name for name in ASKED if "requestBody" in OPERATIONS[name].definition.raw and name != "chat"
]
"""Once each: `chat` is `chat-completions` at another path."""


def ask_often(caller: Caller, name: str, *, spoiled: bool, times: int) -> list[Sent]:
    """Many requests for an operation, and their answers, each of them as promised."""
    answered: list[Sent] = []

    @given(requests(name, spoiled=spoiled))
    @settings(SETTINGS, max_examples=times)
    def ask(request: tuple[str, str, dict[str, str], bytes | None]) -> None:
        sent = caller.send(*request)
        answered.append(sent)
        promised(name, sent)

    ask()
    assert judged(caller.gateway, answered) == []
    return answered


@pytest.mark.parametrize("name", ASKED)
def test_what_is_described_is_answered_as_promised(caller: Caller, name: str) -> None:
    # Most of what a schema allows is refused for what none says: more is asked where one must come through.
    answered = ask_often(caller, name, spoiled=False, times=30 if name in PLAIN else 10)
    if name in PLAIN:
        assert any(sent.status == 200 for sent in answered), "nothing of it ever comes through"


@pytest.mark.parametrize("name", WITH_A_BODY)
def test_so_is_what_is_wrong_somewhere(caller: Caller, name: str) -> None:
    ask_often(caller, name, spoiled=True, times=6)


def test_bedrocks_judgement_is_heard(caller: Caller) -> None:
    """A native caller's mistake is told in the words that would betray one of ours."""
    body = json.dumps({**PLAIN["Converse"], "nonsense": 1}).encode()
    sent = caller.send("POST", "/model/nova/converse", {"content-type": "application/json"}, body)
    assert sent.status == 400
    assert b"Malformed input request" in sent.answer


def test_no_operation_is_left_out() -> None:
    named = [one["operationId"] for methods in DOCUMENT["paths"].values() for one in methods.values()]
    assert sorted(OPERATIONS) == sorted(named)


def test_health_is_as_promised(caller: Caller) -> None:
    for name in ("healthz", "readyz"):
        promised(name, caller.send("GET", f"/{name}", {}, None))

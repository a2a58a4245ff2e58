"""Redacted journals tell the same story: whatever was recorded, asked in every dialect, and broken."""

import base64
import hashlib
import random
from collections.abc import Sequence
from typing import Any, Final

import jwt
import msgspec
import pytest

from stargate_core.aws.credentials import Credentials
from stargate_core.aws.sigv4 import Signer
from stargate_core.clock import SECOND
from stargate_core.config.jwt_auth import Issuer, JwtAuth
from stargate_core.config.plugin_configs import ResponseCache
from stargate_core.config.schema import Consumer, KeyCredential, PluginEntry, Sigv4Credential
from stargate_core.dialects.face import Fetched
from stargate_core.direction import Order
from stargate_core.faults import Cause, Fault
from stargate_core.gateway.plan import Plan
from stargate_core.journal.format import Beginning, BreakerBeginning, Entry, FlightBeginning, Header
from stargate_core.journal.lives import Life
from stargate_core.journal.redact import redact
from stargate_core.messages import (
    AnswerBegan,
    Answered,
    AnswerEnded,
    AnswerFailed,
    AnswerOrdered,
    AnswerSent,
    ClientSent,
    ConnectionFailed,
    CredentialsChanged,
    EntryFound,
    FlightBegan,
    FlightEnded,
    KeysChanged,
    KeysRead,
    Source,
    StoreAsked,
    StoreLost,
    StoreSent,
    StoreTold,
    Ticked,
    Trouble,
    Unanswered,
    UpstreamFailed,
    WriteClient,
    WriteUpstream,
)
from stargate_core.questions import Entry as Kept
from stargate_core.questions import Keys, ReadEntry, WriteEntry
from stargate_core.secret import Secret
from support.bedrock import (
    BAD_FRAMES,
    ERROR_FRAME,
    LAST_CHUNK,
    aws_error,
    chunk,
    converse_answer,
    converse_story,
    event,
    exception,
    inner,
    invoke_story,
    json_http,
    stream_head,
)
from support.journals import AUTHORIZED, GUARD, SCENARIOS, RecordedBench, a_guarded_plan, journal
from support.machines import LOG, MODEL, WALL_EPOCH_NS, a_config, a_plan, chat, proxy, request
from support.recorded import model
from support.redaction import asks, cut, held, holds, lives, response, stays
from support.samples import samples
from support.vectors import Recording, recordings

PNG: Final = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(200))).decode()
PICTURE: Final = f"data:image/png;base64,{PNG}"
PDF: Final = base64.b64encode(b"%PDF-1.7 " + bytes(range(100))).decode()
NOTES: Final = base64.b64encode("Notes: naïve café 中文 😀".encode()).decode()
SCHEMA: Final = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}, "n": {"type": "integer"}},
    "required": ["city", "n"],
    "$defs": {"Place": {"type": ["string", "null"]}},
    "additionalProperties": False,
}
SAID: Final = 'Tell me "all" \\ of it — naïve, 中文 😀\n\tand \u2028 more.'
CALL: Final = '{"city": "Paris \\u00e9", "n": 12, "deep": {"list": [1.5, -3e10, true, null]}}'

INPUT: Final = {"city": "Rome", "n": 3}

CHAT: Final[dict[str, Any]] = {
    "model": MODEL,
    "messages": [
        {"role": "system", "content": SAID},
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": SAID},
                {"type": "image_url", "image_url": {"url": PICTURE}},
                {
                    "type": "file",
                    "file": {"filename": "My report.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
                },
                {
                    "type": "file",
                    "file": {"filename": "notes.txt", "file_data": f"data:text/plain;base64,{NOTES}"},
                },
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_9f", "type": "function", "function": {"name": "get_weather", "arguments": CALL}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_9f", "content": '{"degrees": 21}'},
        {"role": "user", "content": "  "},
        {"role": "user", "content": "And then?"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "get_weather", "description": SAID, "parameters": SCHEMA},
        },
        {"type": "function", "function": {"name": "a.tool with odd name", "parameters": SCHEMA}},
    ],
    "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
    "stop": ["END", "###"],
    "user": "ann@example.test",
    "temperature": 0.25,
    "max_tokens": 100,
    "reasoning_effort": "low",
}
MESSAGES: Final[dict[str, Any]] = {
    "model": MODEL,
    "max_tokens": 2000,
    "system": [{"type": "text", "text": SAID, "cache_control": {"type": "ephemeral"}}],
    "metadata": {"user_id": "ann"},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": SAID},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                {
                    "type": "document",
                    "title": "Report.pdf",
                    "context": "mine",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                },
                {
                    "type": "document",
                    "title": "Notes",
                    "citations": {"enabled": True},
                    "source": {"type": "text", "media_type": "text/plain", "data": SAID},
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": SAID, "signature": "RXVZQ0trd0lDaEFDR0FJaVFB"},
                {"type": "redacted_thinking", "data": "RW1RS0F3Z0hFQUk="},
                {
                    "type": "tool_use",
                    "id": "toolu_bdrk_01Ab",
                    "name": "get_weather",
                    "input": {"city": "Rome", "n": 3},
                },
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_bdrk_01Ab", "content": "21 degrees"}],
        },
    ],
    "tools": [{"name": "get_weather", "description": SAID, "input_schema": SCHEMA}],
    "stop_sequences": ["END"],
}
RESPONSES: Final[dict[str, Any]] = {
    "model": MODEL,
    "instructions": SAID,
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": SAID}]},
        {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": CALL},
        {"type": "function_call_output", "call_id": "call_1", "output": SAID},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"}
            ],
        },
    ],
    "tools": [{"type": "function", "name": "get_weather", "parameters": SCHEMA}],
    "metadata": {"team": "red"},
    "text": {"format": {"type": "text"}},
    "store": False,
}
EMBEDDINGS: Final[dict[str, Any]] = {"model": "amazon.titan-embed-text-v2:0", "input": SAID}
CONVERSE: Final[dict[str, Any]] = {
    "system": [{"text": SAID}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"text": SAID},
                {"image": {"format": "png", "source": {"bytes": PNG}}},
                {"document": {"format": "pdf", "name": "Report", "source": {"bytes": PDF}}},
            ],
        }
    ],
    "toolConfig": {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": SCHEMA}}}]},
    "inferenceConfig": {"maxTokens": 100},
    "requestMetadata": {"who": "ann"},
}
NATIVE: Final = f"/model/{MODEL.replace(':', '%3A')}"
ASKED: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "chat": ("/v1/chat/completions", CHAT),
    "messages": ("/v1/messages", MESSAGES),
    "responses": ("/v1/responses", RESPONSES),
    "converse": (f"{NATIVE}/converse", CONVERSE),
}


def delta(block: int, said: dict[str, Any]) -> bytes:
    return event("contentBlockDelta", {"contentBlockIndex": block, "delta": said})


TOOL_STORY: Final = [
    event("messageStart", {"role": "assistant"}),
    delta(0, {"reasoningContent": {"text": SAID}}),
    delta(0, {"reasoningContent": {"signature": "RXVZQ0s="}}),
    event("contentBlockStop", {"contentBlockIndex": 0}),
    event(
        "contentBlockStart",
        {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "tooluse_Xy1", "name": "get_weather"}}},
    ),
    *(delta(1, {"toolUse": {"input": CALL[at : at + 7]}}) for at in range(0, len(CALL), 7)),
    event("contentBlockStop", {"contentBlockIndex": 1}),
    event("messageStop", {"stopReason": "tool_use"}),
    event("metadata", {"usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}, "metrics": {}}),
]
TOOL_ANSWER: Final = json_http(
    {
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": SAID, "signature": "RXVZQ0s="}}},
                    {"text": SAID},
                    {
                        "toolUse": {
                            "toolUseId": "tooluse_Xy1",
                            "name": "get_weather",
                            "input": {"city": "Rome"},
                        }
                    },
                ],
            }
        },
        "stopReason": "tool_use",
        "usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3},
        "metrics": {"latencyMs": 7},
    }
)


def streamed(frames: Sequence[bytes], end: bytes = LAST_CHUNK) -> bytes:
    return stream_head() + b"".join(map(chunk, frames)) + end


@pytest.mark.parametrize("part", range(4))
def test_all_recorded_traffic_in_every_dialect_tells_the_same_story(part: int) -> None:
    chance = random.Random(part)
    plan = a_guarded_plan()
    told = 0
    for recording in list(recordings())[part::4]:
        for asked in requests_for(recording):
            for life in lives(plan, asked, response(recording), chance):
                held(life)
                stays(life)
                told += 1
    assert told > 100


def requests_for(recording: Recording) -> list[bytes]:
    """The request that was recorded, and a short one in each dialect."""
    target = recording.uri[recording.uri.index("/", 8) :] if "://" in recording.uri else recording.uri
    body = recording.request_body
    own = body.encode() if isinstance(body, str) else msgspec.json.encode(body)
    asked = [request(target, own, headers=AUTHORIZED, method=recording.method)]
    if "/model/" in recording.uri:
        named = {"model": model(recording), "stream": recording.is_stream}
        said = [{"role": "user", "content": SAID}]
        asked += [
            asks("/v1/chat/completions", {**named, "messages": said}, AUTHORIZED),
            asks("/v1/responses", {**named, "input": SAID, "store": False}, AUTHORIZED),
            asks("/v1/messages", {**named, "max_tokens": 100, "messages": said}, AUTHORIZED),
        ]
    return asked


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ASKED)
def test_rich_requests_tell_the_same_story(name: str, seed: int) -> None:
    path, body = ASKED[name]
    chance = random.Random(seed)
    for stream in (False, True):
        way = f"{path}-stream" if name == "converse" and stream else path
        asked = asks(way, body if name == "converse" else {**body, "stream": stream}, AUTHORIZED)
        answer = streamed(TOOL_STORY) if stream else TOOL_ANSWER
        (life,) = lives(a_guarded_plan(drop_params=True), asked, answer, chance)
        assert ordered(life, WriteUpstream), "it was refused before"
        stays(life)
        made = held(life)
        for word in ("naïve", "Paris", "get_weather", "degrees", "Rome", "0123456789abcdef", "city"):
            assert not holds(made, word), word


def ordered(life: Life, kind: type[msgspec.Struct]) -> list[Any]:
    """All commands of a kind."""
    return [command for _, _, given in life.entries for command in given if isinstance(command, kind)]


def status(life: Life) -> bytes:
    """What the caller was told first."""
    data: bytes = ordered(life, WriteClient)[0].data
    return data[9:12]


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_scenarios_tell_the_same_story(name: str) -> None:
    for life in SCENARIOS[name]():
        held(life)
        stays(life)


ENDS: Final[dict[str, tuple[bytes, bool]]] = {
    **{name: (streamed([*TOOL_STORY[:5], frame]), False) for name, frame in BAD_FRAMES.items()},
    "an exception": (streamed([*TOOL_STORY[:5], exception("throttlingException", SAID)]), False),
    "an exception at once": (
        streamed([exception("validationException", "prompt is too long: " + SAID)]),
        False,
    ),
    "an error frame": (streamed([*TOOL_STORY[:5], ERROR_FRAME]), False),
    "a cut frame": (stream_head() + chunk(b"".join(TOOL_STORY[:5]) + TOOL_STORY[5][:-9]) + LAST_CHUNK, False),
    "no end": (streamed(TOOL_STORY[:7]), False),
    "a break": (streamed(TOOL_STORY[:7], b""), True),
    "an error": (aws_error("ValidationException", 400, f"input is too long: {SAID}"), False),
    "a refusal of ours": (
        aws_error("UnrecognizedClientException", 403, "Authorization='AWS4 abc' " + SAID),
        False,
    ),
    "HTML": (
        b"HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 15\r\n\r\n<p>Oh, no!</p>\n",
        False,
    ),
    "no HTTP": (b"\x15\x03\x01 what is this?\r\n\r\n", False),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", ASKED)
def test_every_bad_end_tells_the_same_story(name: str, end: str) -> None:
    path, body = ASKED[name]
    way = f"{path}-stream" if name == "converse" else path
    asked = asks(way, body if name == "converse" else {**body, "stream": True}, AUTHORIZED)
    answer, breaks = ENDS[end]
    plan = a_guarded_plan(drop_params=True)
    for life in lives(plan, asked, answer, random.Random(7), breaks=breaks):
        stays(life)
        made = held(life)
        assert not holds(made, "naïve")


def test_claudes_own_stream_tells_the_same_story() -> None:
    asked = asks(
        f"{NATIVE}/invoke-with-response-stream", {**MESSAGES, "anthropic_version": "bedrock-2023-05-31"}
    )
    pieces = [
        inner(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "input_json_delta", "partial_json": part},
            }
        )
        for part in (CALL[:5], CALL[5:11], CALL[11:])
    ]
    story = invoke_story([SAID])
    answer = streamed([story.beginning, *pieces, story.middle, story.end])
    (life,) = lives(a_plan(), asked, answer, random.Random(3))
    stays(life)
    assert not holds(held(life), "naïve")


def test_embeddings_tell_the_same_story_and_keep_no_vector() -> None:
    vector = [0.0123456789012345, -0.5, 1.25e-05, 3.0]
    answer = json_http({"embedding": vector, "inputTextTokenCount": 7})
    (life,) = lives(a_plan(), asks("/v1/embeddings", EMBEDDINGS), answer, random.Random(3))
    stays(life)
    assert not holds(held(life), "0123456789012345")


def test_requests_behind_each_other_tell_the_same_story() -> None:
    bench = RecordedBench(a_guarded_plan())
    two = chat(headers=AUTHORIZED, user="ann") + chat(headers=AUTHORIZED, user="a-secret-name")
    bench.client.methods += [b"POST", b"POST"]
    bench.send(two[:300])
    bench.send(two[300:])
    for _ in range(2):
        bench.open()
        bench.answer(converse_answer(SAID))
    for life in bench.lives:
        stays(life)
        assert not holds(held(life), "a-secret-name")


def test_a_chunked_request_tells_the_same_story() -> None:
    body = msgspec.json.encode(CHAT)
    pieces = [body[at : at + 100] for at in range(0, len(body), 100)]
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: stargate\r\ntransfer-encoding: chunked\r\n"
    key = f"authorization: {AUTHORIZED['authorization']}\r\n\r\n".encode()
    asked = head + key + b"".join(map(chunk, pieces)) + LAST_CHUNK
    (life,) = lives(a_guarded_plan(drop_params=True), asked, TOOL_ANSWER, random.Random(5))
    stays(life)
    made = held(life)
    assert any(type(entry.event) is ClientSent for entry in made.entries)
    assert not holds(made, "naïve")


HEAD: Final = b"POST /v1/chat/completions HTTP/1.1\r\nhost: stargate\r\n"
MALFORMED: Final = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01naive hushhush words\r\n\r\n",
    "two lengths": HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhushhush",
    "no JSON": HEAD + b'content-length: 28\r\n\r\n{"hushhush": "of a hushhush}',
    "no UTF-8": HEAD + b"content-length: 10\r\n\r\n\xff\xfehushhush",
    "no route": b"POST /hushhush/way?hushhush=hushhush%41 HTTP/1.1\r\nhost: stargate\r\n\r\n",
    "beyond ASCII in the target": b"GET /hushhush\xcf\xc3\xa9?\xcf HTTP/1.1\r\nhost: stargate\r\n\r\n",
    "half a head": HEAD + b"hushhush",
    "a folded line": HEAD + b"x-a: b\r\n hushhush\r\n\r\n",
    "half a body": HEAD + b'content-length: 100\r\n\r\n{"messages":[{"content":"hushhush \\u00',
    "compressed": HEAD + b"content-encoding: x\r\ncontent-length: 10\r\n\r\n\xff\xfehushhush",
    "bad chunks": HEAD + b"transfer-encoding: chunked\r\n\r\n8;hushhush=1\r\nhushhushhushhush\r\n",
    "trailers": HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\nx-a: hushhush\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_malformed_is_redacted_too(name: str) -> None:
    bench = RecordedBench(a_plan())
    for piece in cut(MALFORMED[name], random.Random(9)):
        bench.send(piece)
    bench.leave(lost=True)
    for life in bench.lives:
        stays(life)
        made = held(life)
        assert not holds(made, "hushhush")


# ------------------------------------------------------------------------------------------------ who calls


def authorized(*entries: PluginEntry) -> Plan:
    consumer = Consumer(
        username="ann",
        keyauth_credentials=[KeyCredential(key_sha256=hashlib.sha256(b"sk-hashed-key").hexdigest())],
        sigv4_credentials=[
            Sigv4Credential(access_key_id="AKIDANN", secret_access_key=Secret("secret-of-ann"))
        ],
    )
    return a_plan(a_config(plugins=[*entries, proxy(), LOG], consumers=[consumer]))


@pytest.mark.parametrize(("key", "told"), [("sk-hashed-key", b"200"), ("sk-another-one", b"403")])
@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_a_key_opens_what_it_opened_and_is_gone(key: str, told: bytes, header: str) -> None:
    value = f"Bearer {key}" if header == "authorization" else key
    (life,) = lives(authorized(GUARD), chat(headers={header: value}), converse_answer(), random.Random(2))
    made = held(life)
    assert status(life) == told
    assert not holds(made, key)
    assert not holds(made, hashlib.sha256(key.encode()).hexdigest())


def signed(secret: str, body: bytes, hashes: bytes | None = None) -> bytes:
    """hashes: what it says its body is, by a hash of it."""
    target = f"{NATIVE}/converse"
    signer = Signer(Credentials("AKIDANN", Secret(secret)), "us-east-1", "bedrock")
    headers = [(b"host", b"stargate"), (b"content-type", b"application/json")]
    if hashes is not None:
        headers.append((b"x-amz-content-sha256", hashlib.sha256(hashes).hexdigest().encode()))
    made = signer.authorize(b"POST", target.encode(), headers, body, WALL_EPOCH_NS)
    lines = {name.decode(): value.decode() for name, value in [*headers[2:], *made]}
    return request(target, body, headers=lines)


@pytest.mark.parametrize(("secret", "told"), [("secret-of-ann", b"200"), ("another-secret", b"403")])
def test_a_signature_that_was_good_is_good(secret: str, told: bytes) -> None:
    asked = signed(secret, msgspec.json.encode(CONVERSE))
    (life,) = lives(authorized(GUARD), asked, TOOL_ANSWER, random.Random(2))
    assert status(life) == told
    made = held(life)
    for word in ("AKIDANN", "secret-of-ann", asked.partition(b"Signature=")[2][:64].decode()):
        assert not holds(made, word)


@pytest.mark.parametrize(("whole", "told"), [(True, b"200"), (False, b"403")])
def test_a_hash_that_was_the_bodys_is_that_of_the_redacted_one(*, whole: bool, told: bytes) -> None:
    body = msgspec.json.encode(CONVERSE)
    said = body if whole else b"another"
    (life,) = lives(authorized(GUARD), signed("secret-of-ann", body, said), TOOL_ANSWER, random.Random(2))
    assert status(life) == told
    made = held(life)
    sent = b"".join(entry.event.data for entry in made.entries if isinstance(entry.event, ClientSent))
    assert (hashlib.sha256(sent.partition(b"\r\n\r\n")[2]).hexdigest().encode() in sent) is whole
    assert hashlib.sha256(said).hexdigest().encode() not in sent


OWN: Final = Issuer(issuer="https://own.test", audience="stargate", secret=Secret("s" * 64))
IDP: Final = Issuer(issuer="https://idp.test", audience="stargate", jwks_url="https://idp.test/keys")
NOW: Final = WALL_EPOCH_NS // SECOND


@pytest.mark.parametrize(
    ("claims", "secret"),
    [
        ({}, "s" * 64),
        ({}, "t" * 64),
        ({"exp": NOW - 100}, "s" * 64),
        ({"email": "ann.naive@example.test", "groups": ["x", "y"], "n": 12345}, "s" * 64),
    ],
)
def test_a_token_is_as_good_as_it_was_and_names_nobody(claims: dict[str, Any], secret: str) -> None:
    plan = authorized(PluginEntry(name="jwt-auth", config=JwtAuth(issuers=[OWN, IDP])))
    told = {"iss": "https://own.test", "aud": "stargate", "exp": NOW + 100, "sub": "ann", **claims}
    token = jwt.encode(told, secret, algorithm="HS256")
    asked = chat(headers={"authorization": f"Bearer {token}"})
    for life in lives(plan, asked, converse_answer(), random.Random(2)):
        made = held(life)
        assert not holds(made, "stranger@example.test")
        assert not holds(made, "ann.naive@example.test")
        assert not holds(made, token.rpartition(".")[2])


def test_a_good_token_of_a_stranger_stays_good_though_it_was_refused() -> None:
    # That it was good can't be seen from outside: it was refused, like one that is not.
    plan = authorized(PluginEntry(name="jwt-auth", config=JwtAuth(issuers=[OWN, IDP])))
    told = {"iss": "https://own.test", "aud": "stargate", "exp": NOW + 100, "sub": "stranger@example.test"}
    token = jwt.encode(told, "s" * 64, algorithm="HS256")
    asked = chat(headers={"authorization": f"Bearer {token}"})
    (life,) = lives(plan, asked, b"", random.Random(2))
    assert status(life) == b"403"
    assert not holds(held(life), "stranger@example.test")


@pytest.mark.parametrize("verdict", ["", "the key is not known"])
def test_the_verdict_on_a_token_stays(verdict: str) -> None:
    plan = authorized(PluginEntry(name="jwt-auth", config=JwtAuth(issuers=[OWN, IDP])))
    told = {"iss": "https://idp.test", "aud": "stargate", "exp": NOW + 100, "sub": "ann"}
    token = jwt.encode(told, "s" * 64, algorithm="HS256", headers={"kid": "key-one"})
    head = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"key-one"}').rstrip(b"=").decode()
    shown = ".".join((head, *token.split(".")[1:]))
    asked = chat(headers={"authorization": f"Bearer {shown}"})
    for life in lives(plan, asked, converse_answer(), random.Random(2), answers=[verdict]):
        held(life)


# ---------------------------------------------------------------------------------------- shared, kept, found


def test_a_shared_answer_tells_the_same_story() -> None:
    plan = a_guarded_plan(PluginEntry(name="response-cache", config=ResponseCache()))
    bench = RecordedBench(plan)
    bench.ask(chat(stream=True, headers=AUTHORIZED, user=SAID))
    ((ticket, _),) = bench.followed.items()
    headers = [(b"content-type", b"application/vnd.amazon.eventstream")]
    bench.tell(AnswerBegan(ticket, Source.KEPT, headers, 3, "us-east-1"))
    whole = converse_story([SAID]).whole
    bench.tell(AnswerSent(ticket, whole[:100]))
    bench.tell(AnswerSent(ticket, whole[100:]))
    del bench.followed[ticket]
    bench.tell(AnswerEnded(ticket))
    stays(bench.life)
    assert not holds(held(bench.life), "naïve")


def test_equal_journals_are_redacted_equally_and_a_salt_changes_all() -> None:
    (life,) = SCENARIOS["plain-ok"]()
    plain = journal(life)
    once, again = redact(plain.header, plain.entries), redact(plain.header, plain.entries)
    salted = redact(plain.header, plain.entries, salt=b"salt")
    data = [
        [e.event.data for e in entries if isinstance(e.event, ClientSent)]
        for _, entries in (once, again, salted)
    ]
    assert data[0] == data[1] != data[2]


DIGEST: Final = "0123456789abcdef" * 4
LIVE: Final = b'{"consumer":"ann"}'
ORDER: Final[Order] = msgspec.structs.replace(next(samples(Order)), key=f"stargate:cache:{DIGEST}")
HEADERS: Final = [(b"content-type", b"text/plain"), (b"x-a", b"secretly")]
FAULT: Final = Fault(Cause.BODY_INVALID, "said secretly", detail="secretly")
ACCESS: Final = Credentials("AKIAIOSFODNN7EXAMPLE", Secret("placeholder1"))


def written(beginning: Beginning, *events: Any) -> tuple[Header, list[Any]]:
    """A journal's header and its events, redacted. (That they hold no word is the canaries' to say.)"""
    header = Header(package="0", beginning=beginning, began_ns=0)
    header, entries = redact(header, [Entry(1, event) for event in events])
    return header, [entry.event for entry in entries]


@pytest.mark.parametrize(
    "event",
    [
        Answered(1, Kept(b'{"text":"secretly"}', 5)),
        Answered(1, Keys("7", {DIGEST: LIVE})),
        Answered(1, Fetched("text/plain", b"secretly")),
        Answered(1, "secretly"),
        Unanswered(1, "secretly"),
        UpstreamFailed(1, Trouble.TLS, "secretly"),
        ConnectionFailed(1, Trouble.TLS, "secretly"),
        StoreLost("secretly"),
        CredentialsChanged("", ACCESS),
        KeysChanged({DIGEST: LIVE}),
        AnswerBegan(1, Source.KEPT, HEADERS, 3, "here"),
        FlightBegan(1, HEADERS, "here", ()),
        AnswerFailed(1, FAULT),
        FlightEnded(1, FAULT, worth_keeping=False),
        EntryFound(f"stargate:cache:{DIGEST}", b"secretly"),
        EntryFound(f"stargate:cache:{DIGEST}", None),
        AnswerOrdered(1, ORDER),
        StoreAsked(1, ReadEntry(f"stargate:cache:{DIGEST}")),
        StoreTold(WriteEntry(f"stargate:cache:{DIGEST}", b"secretly", 5)),
        KeysRead(Keys("7", {DIGEST: LIVE})),
        StoreSent(b'$20\r\n{"text":"secretly!"}\r\n'),
        AnswerSent(1, b"secretly"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_with_words_is_another_one_of_its_kind(event: Any) -> None:
    _, (made,) = written(BreakerBeginning(), event)
    assert type(made) is type(event)
    assert made != event
    before, after = msgspec.json.encode(plain(event)), msgspec.json.encode(plain(made))
    assert len(before) == len(after)
    for word in (b"secretly", base64.b64encode(b"secretly"), DIGEST.encode(), b"IOSFODNN7"):
        assert word not in after


@pytest.mark.parametrize(
    "event",
    [
        Answered(1, True),
        Answered(1, None),
        FlightEnded(1, None, worth_keeping=True),
        Ticked(),
        KeysRead(None),
    ],
    ids=repr,
)
def test_one_without_stays(event: Any) -> None:
    assert written(BreakerBeginning(), event)[1] == [event]


def plain(value: Any) -> Any:
    """What JSON can hold."""
    return msgspec.to_builtins(value, enc_hook=lambda secret: secret.reveal())


def test_a_flight_begins_with_another_order_and_a_breaker_as_it_did() -> None:
    beginning = FlightBeginning(1, ORDER, 1, 0, "7", 0)
    header, _ = written(beginning)
    assert isinstance(header.beginning, FlightBeginning)
    assert header.redacted
    assert header.beginning != beginning
    assert msgspec.structs.replace(header.beginning, order=ORDER) == beginning
    assert DIGEST not in header.beginning.order.key
    assert written(BreakerBeginning())[0].beginning == BreakerBeginning()

"""Canaries: distinctive texts in every place where words or secrets can be. None is there afterwards, in no
spelling: plain, escaped, percent-encoded, in base64, or cut over pieces.
"""

import base64
import copy
import random
from collections.abc import Iterator
from typing import Any, Final, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargate_core.dialects.face import Fetched
from stargate_core.faults import Cause, Fault
from stargate_core.gateway.cache_entries import VERSION, pack
from stargate_core.gateway.cache_entries import Entry as KeptAnswer
from stargate_core.journal.format import Entry, SessionBeginning
from stargate_core.journal.redact import redact
from stargate_core.messages import (
    AnswerBegan,
    Answered,
    AnswerFailed,
    AnswerSent,
    ClientSent,
    SessionEvent,
    Source,
    StoreLost,
    StoreSent,
    StoreTold,
    Trouble,
    Unanswered,
    UpstreamFailed,
    UpstreamSent,
)
from stargate_core.questions import Entry as Kept
from stargate_core.questions import WriteEntry
from stargate_core.wire.eventstream import encode_exception
from support.bedrock import (
    chunk,
    converse_story,
    event,
    http,
    inner,
    stream_head,
)
from support.journals import SCENARIOS, journal
from support.machines import request
from support.redaction import cut, holds

CHAT: Final[dict[str, Any]] = {
    "model": "claude",
    "messages": [
        {"role": "system", "content": "@"},
        {"role": "user", "name": "@", "content": [{"type": "text", "text": "@"}]},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "https://@/@?sig=@", "detail": "@"}}],
        },
        {"role": "user", "content": [{"type": "file", "file": {"filename": "@.pdf", "file_data": "@"}}]},
        {
            "role": "assistant",
            "refusal": "@",
            "reasoning_content": "@",
            "tool_calls": [
                {"id": "call_@", "type": "function", "function": {"name": "@", "arguments": '{"@":"@"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "@", "content": '{"@": ["@", {"a": "@"}]}'},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "@",
                "description": "@",
                "parameters": {
                    "type": "object",
                    "title": "@",
                    "properties": {"@": {"type": "string", "enum": ["@"], "default": "@", "pattern": "@"}},
                    "required": ["@"],
                    "$defs": {"@": {"const": "@", "x-@": "@"}},
                },
            },
        }
    ],
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "@", "schema": {"properties": {"@": {}}}},
    },
    "stop": ["@"],
    "user": "@",
    "metadata": {"@": "@"},
    "safety_identifier": "@",
    "an-unknown-@": {"@": "@", "list": ["@"]},
    "prediction": {"type": "content", "content": "@"},
}
MESSAGES: Final[dict[str, Any]] = {
    "model": "claude",
    "system": [{"type": "text", "text": "@"}],
    "metadata": {"user_id": "@"},
    "messages": [
        {"role": "user", "content": "@"},
        {
            "role": "user",
            "content": [
                {"type": "image", "source": {"type": "url", "url": "https://@/@"}},
                {
                    "type": "document",
                    "title": "@",
                    "context": "@",
                    "source": {"type": "text", "media_type": "text/plain", "data": "@"},
                },
                {
                    "type": "search_result",
                    "source": "https://@",
                    "title": "@",
                    "content": [{"type": "text", "text": "@"}],
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "@", "signature": "@"},
                {"type": "redacted_thinking", "data": "@"},
                {
                    "type": "tool_use",
                    "id": "toolu_@",
                    "name": "@",
                    "input": {"@": {"deep": ["@"]}, "text": "@"},
                },
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_@", "content": "@"}]},
    ],
    "tools": [{"name": "@", "description": "@", "input_schema": {"properties": {"@": {"description": "@"}}}}],
    "tool_choice": {"type": "tool", "name": "@"},
    "stop_sequences": ["@"],
    "mcp_servers": [{"type": "url", "url": "https://@", "name": "@", "authorization_token": "@"}],
}
RESPONSES: Final[dict[str, Any]] = {
    "model": "claude",
    "instructions": "@",
    "previous_response_id": "resp_@",
    "input": [
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "@"}, {"type": "input_image", "image_url": "@"}],
        },
        {"type": "function_call", "call_id": "@", "name": "@", "arguments": '{"@": "@"}'},
        {"type": "function_call_output", "call_id": "@", "output": "@"},
        {
            "type": "reasoning",
            "id": "rs_@",
            "summary": [{"type": "summary_text", "text": "@"}],
            "encrypted_content": "@",
        },
    ],
    "tools": [{"type": "function", "name": "@", "parameters": {"properties": {"@": {}}}}],
    "prompt": {"id": "@", "variables": {"@": "@"}},
    "metadata": {"@": "@"},
}
CONVERSE: Final[dict[str, Any]] = {
    "system": [{"text": "@"}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"text": "@"},
                {"document": {"format": "txt", "name": "@", "source": {"text": "@"}, "context": "@"}},
                {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://@/@"}}}},
                {
                    "toolResult": {
                        "toolUseId": "@",
                        "content": [{"json": {"@": "@", "text": "@"}}, {"text": "@"}],
                    }
                },
                {"guardContent": {"text": {"text": "@", "qualifiers": ["@"]}}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"toolUse": {"toolUseId": "tooluse_@", "name": "@", "input": {"@": "@", "content": "@"}}},
                {"reasoningContent": {"reasoningText": {"text": "@", "signature": "@"}}},
            ],
        },
    ],
    "toolConfig": {
        "tools": [{"toolSpec": {"name": "@", "inputSchema": {"json": {"properties": {"@": {}}}}}}]
    },
    "additionalModelRequestFields": {"@": "@"},
    "requestMetadata": {"@": "@"},
    "promptVariables": {"@": {"text": "@"}},
}
EMBEDDINGS: Final[dict[str, Any]] = {"model": "titan", "input": ["@", "and @"], "user": "@"}
INVOKE: Final[dict[str, Any]] = {
    "prompt": "@",
    "inputText": "@",
    "texts": ["@"],
    "messages": [{"role": "@", "content": "@"}],
    "anything": {"@": "@"},
}
ASKED: Final = {
    "/v1/chat/completions": CHAT,
    "/v1/messages": MESSAGES,
    "/v1/responses": RESPONSES,
    "/v1/embeddings": EMBEDDINGS,
    "/model/claude/converse": CONVERSE,
    "/model/claude/invoke": INVOKE,
}
ANSWER: Final[dict[str, Any]] = {
    "id": "msg_@",
    "output": {
        "message": {
            "role": "assistant",
            "content": [
                {"text": "@"},
                {"toolUse": {"toolUseId": "@", "name": "@", "input": {"@": "@"}}},
                {"reasoningContent": {"redactedContent": "@"}},
                {
                    "citationsContent": {
                        "content": [{"text": "@"}],
                        "citations": [{"title": "@", "source": "@"}],
                    }
                },
            ],
        }
    },
    "stopReason": "end_turn",
    "stop_sequence": "@",
    "usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3},
    "trace": {"guardrail": {"inputAssessment": {"@": {"wordPolicy": {"customWords": [{"match": "@"}]}}}}},
    "content": [{"type": "text", "text": "@", "citations": [{"cited_text": "@", "url": "https://@"}]}],
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "@", "refusal": "@"},
            "finish_reason": "stop",
        }
    ],
    "results": [{"outputText": "@"}],
    "generation": "@",
    "message": "@",
    "error": {"message": "@", "param": "@"},
    "system_fingerprint": "@",
}

Value = TypeVar("Value")

# Nothing of it is a word that stays, and it is long enough to be there by no accident.
canaries: Final = st.one_of(
    st.from_regex(r"[a-z]{3}[A-Z][a-z]{2}[0-9]{2}[a-z]{4}[A-Z]{2}[a-z]{3}", fullmatch=True),
    st.from_regex(r"[a-z]{5}[éüñ中文😀]{2}[A-Z]{3}[a-z]{5}[0-9]{2}", fullmatch=True),
    st.from_regex(r"[1-9][0-9]{13}", fullmatch=True),
)


def planted(value: Value, word: str) -> Value:
    """The value with a canary wherever an @ is."""
    if isinstance(value, str):
        return value.replace("@", word)  # type: ignore[return-value]
    if isinstance(value, list):
        return [planted(each, word) for each in value]  # type: ignore[return-value]
    if isinstance(value, dict):
        return {planted(name, word): planted(each, word) for name, each in value.items()}  # type: ignore[return-value]
    return copy.copy(value)


def spelled(value: Any, spelling: int) -> bytes:
    """The value as JSON: plainly, with all escapes that there are, with blanks between all tokens."""
    plain = msgspec.json.encode(value)
    if spelling == 0:
        return plain
    if spelling == 1:
        return b"".join(
            b"\\u%04x" % code if code > 127 else chr(code).encode() for code in _utf16(plain.decode())
        )
    return msgspec.json.format(plain, indent=3)


def _utf16(text: str) -> Iterator[int]:
    data = text.encode("utf-16-le")
    for at in range(0, len(data), 2):
        yield data[at] | data[at + 1] << 8


(_LIFE,) = SCENARIOS["plain-ok"]()
HEADER: Final = journal(_LIFE).header


def check(word: str, *events: SessionEvent | Any) -> None:
    """Redacted, nothing of the canary is there, and everything is as long as before."""
    header, entries = redact(HEADER, [Entry(0, event) for event in events])
    made = msgspec.structs.replace(journal(_LIFE), header=header, entries=entries)
    assert not holds(made, word)
    for before, entry in zip(events, entries, strict=True):
        if isinstance(before, ClientSent | UpstreamSent | AnswerSent | StoreSent):
            assert isinstance(entry.event, type(before))
            assert len(entry.event.data) == len(before.data)


def sent(data: bytes, seed: int) -> list[ClientSent]:
    """What a client sends, cut at chance."""
    return [ClientSent(piece) for piece in cut(data, random.Random(seed))]


def came(data: bytes, seed: int) -> list[UpstreamSent]:
    """What an upstream sends, cut at chance."""
    return [UpstreamSent(1, piece) for piece in cut(data, random.Random(seed))]


SECRET_HEADERS: Final = {
    "authorization": "Bearer @",
    "x-api-key": "@",
    "api-key": "@",
    "cookie": "session=@; other=@",
    "x-amz-security-token": "@",
    "proxy-authorization": "Basic @",
    "x-request-id": "@",
    "x-forwarded-for": "@",
    "x-whatever": "a @ b",
    "x-amzn-bedrock-request-metadata": '{"@": "@"}',
    "referer": "https://@/@",
    "x-claude-code-session-id": "@",
}


@pytest.mark.parametrize("path", ASKED)
@given(word=canaries, spelling=st.integers(0, 2), seed=st.integers(0, 1000), size=st.integers(0, 400))
@settings(max_examples=25)
def test_nothing_of_a_request_is_left(path: str, word: str, spelling: int, seed: int, size: int) -> None:
    body = spelled(planted(ASKED[path], word), spelling)
    headers = planted(SECRET_HEADERS, word.encode("ascii", "ignore").decode())
    whole = request(f"{path}?X-Amz-Signature={word.encode().hex()}", body, headers=headers)
    check(word, *sent(whole, seed))
    check(word, *sent(whole[: len(whole) - size], seed))
    pieces = b"".join(chunk(body[at : at + 50]) for at in range(0, len(body), 50))
    head = f"POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    check(word, *sent(head + pieces + b"0\r\n\r\n" + whole, seed))


@settings(max_examples=50)
@given(word=canaries, spelling=st.integers(0, 2), seed=st.integers(0, 1000), size=st.integers(0, 400))
def test_nothing_of_an_answer_is_left(word: str, spelling: int, seed: int, size: int) -> None:
    body = spelled(planted(ANSWER, word), spelling)
    whole = http(body, 200, x_whatever=word.encode().hex())
    check(word, *came(whole, seed))
    check(word, *came(whole[: len(whole) - size], seed))
    check(word, AnswerBegan(1, Source.KEPT, [(b"content-type", b"application/json")]), AnswerSent(1, body))


@settings(max_examples=25)
@given(word=canaries, seed=st.integers(0, 1000), cuts=st.integers(1, 9), size=st.integers(0, 400))
def test_nothing_of_a_stream_is_left(word: str, seed: int, cuts: int, size: int) -> None:
    told = f"I say {word} and {word}."
    arguments = msgspec.json.encode({word: word}).decode()
    pieces = [arguments[at : at + cuts] for at in range(0, len(arguments), cuts)]
    frames = [
        *converse_story([told[at : at + cuts] for at in range(0, len(told), cuts)]).frames,
        *(
            event("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": p}}})
            for p in pieces
        ),
        *(inner({"type": "content_block_delta", "index": 2, "delta": {"partial_json": p}}) for p in pieces),
        inner(planted(ANSWER, word)),
        event("metadata", planted(ANSWER, word)),
        encode_exception("throttlingException", msgspec.json.encode({"message": told})),
        encode_exception("validationException", told.encode()),
    ]
    whole = stream_head() + b"".join(map(chunk, frames)) + b"0\r\n\r\n"
    check(word, *came(whole, seed))
    check(word, *came(whole[: len(whole) - size], seed))
    damaged = bytearray(whole)
    damaged[len(whole) * seed // 1000 - 1] ^= 1
    redact(HEADER, [Entry(0, UpstreamSent(1, bytes(damaged)))])


@settings(max_examples=50)
@given(word=canaries, seed=st.integers(0, 1000))
def test_nothing_of_a_vendors_stream_is_left(word: str, seed: int) -> None:
    events = [
        b": " + word.encode(),
        b"event: response.output_text.delta\ndata: "
        + spelled(planted({"delta": "@", "output_index": 0}, word), 1),
        b"event: " + word.encode() + b"\ndata: " + msgspec.json.encode(planted(ANSWER, word)),
        b"id: " + word.encode() + b"\ndata: " + word.encode(),
        b'data: {"choices":[{"index":0,"delta":{"content":"' + word.encode()[:9],
    ]
    body = b"\n\n".join(events)
    whole = http(body, 200, content_type="text/event-stream; charset=utf-8")
    check(word, *came(whole, seed))


BASE64_PLACES: Final[list[Any]] = [
    {"source": {"type": "base64", "media_type": "application/pdf", "data": "@"}},
    {"image_url": {"url": "data:text/plain;base64,@"}},
    {"document": {"source": {"bytes": "@"}}},
    {"reasoningContent": {"redactedContent": "@"}},
    {"encrypted_content": "@"},
    {"encrypted_content": "sg1.@"},
    {"content": "@"},
]


@pytest.mark.parametrize("place", BASE64_PLACES)
@given(word=canaries, extra=st.text(max_size=9), binary=st.binary(max_size=3))
@settings(max_examples=30)
def test_nothing_is_left_in_base64(place: Any, word: str, extra: str, binary: bytes) -> None:
    said = msgspec.json.encode({"signature": word, extra: word})
    for data in (f"{extra}{word}".encode(), said, binary + word.encode() + binary):
        body = msgspec.json.encode(planted(place, base64.b64encode(data).decode()))
        check(word, *sent(request("/v1/messages", body), 1))


@given(word=canaries)
def test_nothing_of_what_else_was_told_is_left(word: str) -> None:
    body = msgspec.json.encode(planted(ANSWER, word))
    kept = pack(KeptAnswer(VERSION, "a", [(b"content-type", b"application/json")], body))
    check(word, Answered(1, Kept(kept, 5)))
    check(word, Answered(1, Kept(msgspec.json.encode({"input": [word], "output": [{"id": word}]}), 5)))
    check(word, Answered(1, Fetched("text/plain", word.encode())))
    check(word, Answered(1, Fetched("image/png", b"\x89PNG\r\n\x1a\n" + word.encode())))
    check(word, Answered(1, f"no: {word}"))
    check(word, Unanswered(1, word), UpstreamFailed(1, Trouble.TLS, word), StoreLost(word))
    check(word, AnswerFailed(1, Fault(Cause.UPSTREAM_VALIDATION, word, detail=word, param=word)))
    check(word, StoreTold(WriteEntry("a", kept, 5)))
    replies = [b"$%d\r\n%b\r\n" % (len(value), value) for value in (kept, body)]
    check(word, StoreSent(b"*2\r\n" + b"".join(replies) + b"-ERR unknown " + word.encode() + b"\r\n"))


def test_a_canary_would_be_seen() -> None:
    made = msgspec.structs.replace(journal(_LIFE), entries=[Entry(0, ClientSent(b"a canary"))])
    assert holds(made, "canary")
    for data in (
        base64.b64encode(b"xa canary"),
        b'"\\u0063\\u0061\\u006e\\u0061\\u0072\\u0079"',
        b"%63%61%6E%61%72%79",
    ):
        assert holds(msgspec.structs.replace(made, entries=[Entry(0, ClientSent(data))]), "canary")
    pieces = [Entry(0, ClientSent(b"a can")), Entry(0, ClientSent(b"ary"))]
    assert holds(msgspec.structs.replace(made, entries=pieces), "canary")


def test_the_header_names_no_address_and_no_key_id() -> None:
    header, _ = redact(HEADER, [])
    assert isinstance(header.beginning, SessionBeginning)
    assert isinstance(HEADER.beginning, SessionBeginning)
    was, now = HEADER.beginning.checkpoint, header.beginning.checkpoint
    assert now.client != was.client
    assert len(now.client) == len(was.client)
    assert now.credentials != was.credentials

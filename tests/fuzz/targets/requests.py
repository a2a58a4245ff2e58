"""Any body at any path is, for each dialect and surface, a composed call whose body is JSON or one typed
refusal that the dialect can tell, and never another exception.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from fuzz import json_mutator
from fuzz.json_mutator import Mutate
from stargate_core.aws.surfaces import GuardrailWay
from stargate_core.dialects.face import Headers, Options, PromptCaching, Target
from stargate_core.dialects.registry import BEDROCK_NATIVE, route_for, spoken
from stargate_core.faults import Refused
from support.dialects import REQUEST_ID, a_request
from support.vectors import recordings

_PATHS: Final = (
    *(
        b"/v1/chat/completions",
        b"/v1/responses",
        b"/v1/embeddings",
        b"/v1/messages",
        b"/v1/messages/count_tokens",
    ),
    *(b"/model/m/converse", b"/model/m/converse-stream", b"/model/m/invoke", b"/model/m/count-tokens"),
    *(b"/model/m%3A0/invoke-with-response-stream", b"/guardrail/g/version/1/apply", b"/async-invoke"),
)
_MODELS: Final = (
    *(
        "anthropic.claude-3-haiku-20240307-v1:0",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "amazon.nova-lite-v1:0",
    ),
    *(
        "meta.llama3-70b-instruct-v1:0",
        "mistral.mistral-large-2402-v1:0",
        "openai.gpt-oss-20b-1:0",
        "deepseek.r1-v1:0",
    ),
    *(
        "amazon.titan-embed-text-v2:0",
        "cohere.embed-english-v3",
        "cohere.embed-v4:0",
        "twelvelabs.marengo-embed-2-7-v1:0",
    ),
)
_OPTIONS: Final = (
    Options(),
    Options(drop_params=True),
    Options(prompt_caching=PromptCaching.AUTO, betas_dropped=("a-1",), betas_renamed=(("b-1", "c-1"),)),
    Options(drop_params=True, guardrail=GuardrailWay.HEADERS),
)
_HEADERS: Final[tuple[Headers, ...]] = (
    [(b"content-type", b"application/json"), (b"anthropic-version", b"2023-06-01")],
    [
        (b"anthropic-beta", b"a-1,b-1, d-1"),
        (b"x-amzn-bedrock-guardrailidentifier", b"g"),
        (b"x-amzn-bedrock-guardrailversion", b"1"),
    ],
    [(b"x-amzn-bedrock-trace", b"ENABLED"), (b"x-amzn-bedrock-performanceconfig-latency", b"optimized")],
    [],
)
_HEAD_BYTES: Final = 4

WORDS: Final = (
    *(
        b'"messages":',
        b'"content":',
        b'"role":',
        b'"tools":',
        b'"tool_choice":',
        b'"stream":true',
        b'"max_tokens":1',
    ),
    *(
        b'"input":',
        b'"response_format":',
        b'"json_schema":',
        b'"cache_control":{"type":"ephemeral"}',
        b'"thinking":',
    ),
    *(
        b'"tool_use"',
        b'"tool_result"',
        b'"image_url"',
        b'"document"',
        b'"reasoning"',
        b'"function_call_output"',
        b"\\ud800",
    ),
)


def target(data: bytes) -> None:
    """Read and compose the request: path, model, options and headers by the first bytes, then the body."""
    head = (data[:_HEAD_BYTES] + bytes(_HEAD_BYTES))[:_HEAD_BYTES]
    path = _PATHS[head[0] % len(_PATHS)]
    model = _MODELS[head[1] % len(_MODELS)]
    request = a_request(data[_HEAD_BYTES:], path, headers=list(_HEADERS[head[3] % len(_HEADERS)]))
    route = route_for(b"POST", request.path)
    assert route is not None
    dialect = spoken(route.dialect, request)
    try:
        ask = dialect.read(request)
    except Refused as refused:
        assert _told(dialect.failure(refused.fault, REQUEST_ID).body)
        return
    native = dialect is BEDROCK_NATIVE  # whose body is the model's, and goes as it is
    for surface in dialect.SURFACES:
        way = _OPTIONS[head[2] % len(_OPTIONS)]
        try:
            call = dialect.compose(request, ask, Target(model, surface, way))
        except Refused as refused:
            assert _told(dialect.failure(refused.fault, REQUEST_ID).body)
            continue
        for body in (call.body, *call.more_bodies):
            assert (native and body == request.body) or isinstance(_json(body), dict)
        assert all(
            name.islower() and b"\n" not in value and b"\r" not in value for name, value in call.headers
        )
        assert b" " not in call.target
        dialect.translator(request, ask, call)


def _json(body: bytes) -> Any:
    """By Python's own parser: a number beyond what a float holds is JSON too, and Bedrock's to judge."""

    def no_json(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(body, parse_constant=no_json)


def _told(body: bytes) -> bool:
    return isinstance(msgspec.json.decode(body), dict)


def mutated(data: bytes, size_max: int, seed: int, otherwise: Mutate) -> bytes:
    """Changes to the JSON, or now and then to the bytes before it."""
    if seed % 6 == 0 or len(data) <= _HEAD_BYTES:
        return otherwise(data, size_max)
    head, body = data[:_HEAD_BYTES], data[_HEAD_BYTES:]
    return head + json_mutator.mutated(body, size_max - _HEAD_BYTES, seed, otherwise)


def seeds() -> Iterator[bytes]:
    """A rich request of each API, and recorded bodies of Bedrock's own."""
    for at, rich in _BODIES:
        for options in range(len(_OPTIONS)):
            yield bytes((at, 7 if at == 2 else options, options, options)) + msgspec.json.encode(rich)
    for number, recording in enumerate(recordings()):
        operation = recording.uri.rpartition("/")[2].encode()
        places = [at for at, path in enumerate(_PATHS) if path.endswith(operation)]
        body = recording.request_body
        sent = body.encode() if isinstance(body, str) else msgspec.json.encode(body)
        if places and number % 3 == 0 and len(sent) < 3000:
            yield bytes((places[0], number % len(_MODELS), 0, 0)) + sent


_TOOL = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}
_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
_CHAT = {
    "model": "m",
    "stream": True,
    "max_completion_tokens": 5,
    "temperature": 0.5,
    "stop": ["a"],
    "stream_options": {"include_usage": True},
    "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": _TOOL}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": _TOOL}},
    "reasoning_effort": "low",
    "messages": [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64," + _PNG}},
            ],
        },
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x":"y"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "42"},
    ],
}
_RESPONSES = {
    "model": "m",
    "instructions": "be brief",
    "store": False,
    "max_output_tokens": 9,
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"format": {"type": "json_schema", "name": "s", "schema": _TOOL}},
    "include": ["reasoning.encrypted_content"],
    "tools": [{"type": "function", "name": "f", "parameters": _TOOL, "strict": False}],
    "tool_choice": "auto",
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "hi"},
                {"type": "input_image", "image_url": "data:image/png;base64," + _PNG},
            ],
        },
        {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "x"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "42"},
    ],
}
_MESSAGES = {
    "model": "m",
    "max_tokens": 2000,
    "stream": True,
    "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "tools": [{"name": "f", "input_schema": _TOOL}],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "metadata": {"user_id": "u"},
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _PNG}},
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "d"},
                    "title": "t",
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                {"type": "tool_use", "id": "c", "name": "f", "input": {"x": "y"}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "c", "content": "42", "is_error": True}],
        },
    ],
}
_CONVERSE = {
    "messages": [{"role": "user", "content": [{"text": "hi"}, {"cachePoint": {"type": "default"}}]}],
    "system": [{"text": "be brief"}],
    "inferenceConfig": {"maxTokens": 5, "temperature": 0.5, "stopSequences": ["a"]},
    "toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": _TOOL}}}]},
    "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"},
}
_BODIES = (
    (0, _CHAT),
    (1, _RESPONSES),
    (2, {"model": "m", "input": ["a", "b"], "dimensions": 256, "encoding_format": "base64"}),
    (3, _MESSAGES),
    (4, _MESSAGES),
    (5, _CONVERSE),
    (6, _CONVERSE),
    (7, {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 5, "messages": _MESSAGES["messages"]}),
    (8, {"input": {"converse": _CONVERSE}}),
    (10, {"source": "INPUT", "content": [{"text": {"text": "x"}}]}),
    (
        11,
        {"modelId": "m", "modelInput": {}, "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://b/k"}}},
    ),
)

"""What clients ask: a request in some dialect, as bytes, and what is known of it beforehand."""

import json
import random
from typing import Any, Final

import msgspec

from sim.features import CLAUDE, CONSUMERS, KEYS, LIVE_KEYS, NOVA, Features

_WORDS: Final = ("bridge", "ledger", "harbour", "Lantern", "Zürich", "gate", "mason", "橋", "rope", "winter")
_TOOLS: Final = ("get_weather", "find_route")
_SCHEMA: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
DIALECTS: Final = (
    "chat", "chat", "responses", "messages", "messages", "converse", "invoke", "embeddings", "count",
    "models",
)  # fmt: skip
ODDITIES: Final = (
    "slow ms=5", "unknown-events", "early-hints", "until-close", "close-after-answer", "close-on-reuse",
    "slow ms=2300 words=3", "reasoning", "cache-read=7", "cache-read=5 cache-write=3", "words=300",
    "stop=max-tokens",
)  # fmt: skip
"""What an answer may be like, and be none the worse for it."""


class Ask(msgspec.Struct):
    """One request."""

    dialect: str
    stream: bool
    data: bytes
    """All of it, head and body."""
    method: bytes
    consumer: str
    scenario: str = ""
    refusals: tuple[int, ...] = ()
    """The statuses it must be refused with, whatever else may happen; none: it is a good request."""
    broken: bool = False
    """Its framing is no good: the connection ends with its refusal, at the latest."""
    live: bool = False
    """It bears a key that lives in the store, if it lives at all."""
    closes: bool = False
    """It is its connection's last: it says so itself."""
    sent_at: int = -1
    """When its last byte was written; -1: not yet."""


def an_ask(rng: random.Random, features: Features, number: int) -> Ask:
    """A good request."""
    dialect = rng.choice(DIALECTS)
    stream = dialect in ("chat", "responses", "messages", "converse", "invoke") and rng.random() < 0.65
    consumer = rng.choice(CONSUMERS)
    scenario = ""
    if features.has("scenarios") and rng.random() < features.scenario_rate:
        scenario = rng.choice(features.scenarios)
        if rng.random() < 0.4:
            scenario += " times=1"
    elif features.has("oddities") and rng.random() < 0.4:
        scenario = rng.choice(ODDITIES)
    text = _prompt(rng, features, number, scenario)
    tools = dialect in ("chat", "responses", "messages", "converse") and rng.random() < 0.3
    if tools:
        text += " " + " and ".join(_TOOLS[: rng.choice((1, 2, 2))])
    target, body = _asked(dialect, stream, text, tools, rng)
    key, live = KEYS[consumer], False
    lives = features.has("keys") and features.has("redis") and consumer in LIVE_KEYS
    if lives and rng.random() < 0.5:
        key, live = LIVE_KEYS[consumer], True
    method = b"GET" if dialect == "models" else b"POST"
    headers = [(b"host", b"stargate.sim"), _authority(dialect, key)]
    if dialect in ("messages", "count"):
        headers.append((b"anthropic-version", b"2023-06-01"))
    payload = b"" if body is None else json.dumps(body, ensure_ascii=rng.random() < 0.5).encode()
    if len(payload) > features.body_bytes_max:
        return an_ask(rng, features, number)
    closes = rng.random() < 0.05
    if closes:
        headers.append((b"connection", b"close"))
    data = written(rng, method, target, headers, payload)
    return Ask(dialect, stream, data, method, consumer, scenario, closes=closes, live=live)


def _authority(dialect: str, key: str) -> tuple[bytes, bytes]:
    if dialect in ("messages", "count"):
        return b"x-api-key", key.encode()
    return b"authorization", b"Bearer " + key.encode()


def written(
    rng: random.Random, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], payload: bytes
) -> bytes:
    """A request's bytes, its body with a length or in chunks."""
    lines = [method + b" " + target + b" HTTP/1.1", *(name + b": " + value for name, value in headers)]
    if method == b"GET":
        return b"\r\n".join([*lines, b"", b""])
    lines.append(b"content-type: application/json")
    if rng.random() < 0.2:
        lines.append(b"transfer-encoding: chunked")
        pieces = []
        at = 0
        while at < len(payload):
            piece = payload[at : at + rng.randrange(1, 200)]
            pieces.append(b"%x\r\n%b\r\n" % (len(piece), piece))
            at += len(piece)
        return b"\r\n".join([*lines, b"", b""]) + b"".join(pieces) + b"0\r\n\r\n"
    lines.append(b"content-length: %d" % len(payload))
    return b"\r\n".join([*lines, b"", b""]) + payload


def _prompt(rng: random.Random, features: Features, number: int, scenario: str) -> str:
    if features.prompts and rng.random() < 0.7:
        text = f"Tell me about the {_WORDS[rng.randrange(features.prompts)]}"
    else:
        text = " ".join(rng.choice(_WORDS) for _ in range(rng.randrange(1, 9))) + f" no {number}"
    return f"{text} [[simulator: {scenario}]]" if scenario else text


def _asked(
    dialect: str, stream: bool, text: str, tools: bool, rng: random.Random
) -> tuple[bytes, dict[str, Any] | None]:
    model = rng.choice(("claude", "claude", "nova"))
    most = rng.choice((30, 400))
    messages = [{"role": "user", "content": text}]
    body: dict[str, Any]
    match dialect:
        case "chat":
            body = {"model": model, "messages": messages, "max_tokens": most}
            if stream:
                body |= {"stream": True, "stream_options": {"include_usage": rng.random() < 0.7}}
            if tools:
                body["tools"] = [
                    {"type": "function", "function": {"name": name, "parameters": _SCHEMA}} for name in _TOOLS
                ]
            return b"/v1/chat/completions", body
        case "responses":
            body = {"model": model, "input": text, "max_output_tokens": most, "store": False}
            if stream:
                body["stream"] = True
            if tools:
                body["tools"] = [{"type": "function", "name": name, "parameters": _SCHEMA} for name in _TOOLS]
            return b"/v1/responses", body
        case "messages":
            body = {"model": model, "messages": messages, "max_tokens": most}
            if stream:
                body["stream"] = True
            if tools:
                body["tools"] = [{"name": name, "input_schema": _SCHEMA} for name in _TOOLS]
            return b"/v1/messages", body
        case "count":
            return b"/v1/messages/count_tokens", {"model": "claude", "messages": messages}
        case "embeddings":
            return b"/v1/embeddings", {"model": "titan", "input": text}
        case "models":
            return b"/v1/models", None
        case "converse":
            body = {"messages": [{"role": "user", "content": [{"text": text}]}]}
            body["inferenceConfig"] = {"maxTokens": most}
            if tools:
                body["toolConfig"] = {
                    "tools": [
                        {"toolSpec": {"name": name, "inputSchema": {"json": _SCHEMA}}} for name in _TOOLS
                    ]
                }
            what = "converse-stream" if stream else "converse"
            return f"/model/{CLAUDE if model == 'claude' else NOVA}/{what}".encode(), body
        case _:
            body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": most, "messages": messages}
            what = "invoke-with-response-stream" if stream else "invoke"
            return f"/model/{CLAUDE}/{what}".encode(), body


def alike(rng: random.Random, ask: Ask) -> Ask:
    """The same request once more; sometimes another consumer's, or one about something of the same length."""
    data, consumer = ask.data, ask.consumer
    if rng.random() < 0.3 and not ask.live:
        consumer = rng.choice(CONSUMERS)
        data = data.replace(KEYS[ask.consumer].encode(), KEYS[consumer].encode())
    if rng.random() < 0.2:
        data = data.replace(b"bridge", b"ledger") if b"bridge" in data else data.replace(b"ledger", b"bridge")
    return msgspec.structs.replace(ask, data=data, consumer=consumer, sent_at=-1)


def a_wrong_ask(rng: random.Random, features: Features, number: int) -> Ask:
    """A request that must be refused, and its connection kept or not."""
    host = (b"host", b"stargate.sim")
    key = (b"authorization", b"Bearer " + KEYS["team-a"].encode())
    body = b'{"model": "claude", "messages": [{"role": "user", "content": "no %d"}]}' % number
    chat = b"/v1/chat/completions"
    match rng.randrange(6):
        case 0:
            wrong = (b"authorization", b"Bearer sk-wr0ng")
            return Ask(
                "chat",
                False,
                written(rng, b"POST", chat, [host, wrong], body),
                b"POST",
                "",
                refusals=(401, 403),
            )
        case 1:
            return Ask("chat", False, written(rng, b"POST", chat, [host], body), b"POST", "", refusals=(401,))
        case 2:
            data = written(rng, b"POST", b"/v1/nowhere", [host, key], body)
            return Ask("chat", False, data, b"POST", "", refusals=(404,))
        case 3:
            return Ask(
                "chat", False, written(rng, b"GET", chat, [host, key], b""), b"GET", "", refusals=(405,)
            )
        case 4:
            data = written(rng, b"POST", chat, [host, key], b"{not json")
            return Ask("chat", False, data, b"POST", "team-a", refusals=(400, 429, 503))
        case _:
            size = features.body_bytes_max + rng.randrange(1, 3000)
            head = b"POST %b HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (chat, size)
            return Ask("chat", False, head + b"x" * size, b"POST", "", refusals=(413,), broken=True)


def a_smuggled_ask(rng: random.Random) -> Ask:
    """Bytes that two servers would read differently: they must be refused, and nothing behind them read."""
    inner = b"GET /v1/models HTTP/1.1\r\nhost: smuggled\r\n\r\n"
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: stargate.sim\r\n"
    forms = (
        head + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
        head + b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n" + inner,
        head + b"Content-Length: 5\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n" + inner,
        head + b"content-length: 0\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n" + inner,
        head + b"content-length: 3\r\ncontent-length: 40\r\n\r\nabc" + inner,
        head + b"content-length: +5\r\n\r\nabcde" + inner,
        head + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + inner,
        head + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + inner,
        head + b"transfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n" + inner,
        head + b"content-length : 5\r\n\r\nabcde" + inner,
        head + b" folded: line\r\n\r\n" + inner,
        b"POST  /v1/chat HTTP/1.1\r\n\r\n" + inner,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(40) + b"\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\n\r\n" + inner,
        b"POST /v1/chat HTTP/1.1\r\nhost: a\r\nhost: b\r\ncontent-length: 0\r\n\r\n" + inner,
        b"GET /v1/models HTTP/1.1\r\nhost: a\r\nx: a\x00b\r\n\r\n" + inner,
    )
    data = rng.choice(forms)
    statuses = (400, 404, 405, 414, 431, 501, 505)
    return Ask("chat", False, data, data.partition(b" ")[0][:10], "", refusals=statuses, broken=True)

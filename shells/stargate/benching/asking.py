"""What is asked, and where: a chat completion, as the bytes of a request.

A URL may be the endpoint itself (`…/chat/completions`), the base that OpenAI's clients are given (`…/v1`), or
only a server. Prompts of a given size are made of common words, of which most tokenizers make one token each,
and each begins with words of its own, so that no cache in front of the model answers for it. A prompt that is
given is sent as it is, each time. Endpoints differ in what else they want or refuse in a body, so any member
of it can be set.
"""

import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from stargate_core.secret import Secret
from stargate_core.wire.http1 import Headers, request

_ENDPOINT: Final = "/chat/completions"
_PORTS: Final = {"http": 80, "https": 443}
_TEXT: Final = (
    "time year people way day man thing woman life child world school state family student group country "
    "problem hand part place case week company system program question work government number night point "
    "home water room mother area money story fact month lot right study book eye job word business side "
    "kind head house service friend father power hour game line end member law car city name team"
)
_WORDS: Final = tuple(_TEXT.split())
_OWN_WORDS: Final = 8
"""How many words at its beginning make a prompt unlike all others: 69 ** 8 beginnings."""
_TASK: Final = "Continue this list of words for as long as you can: "


class BadUrl(Exception):
    """It leads to no endpoint."""


class Endpoint(msgspec.Struct, frozen=True):
    """Where to ask."""

    url: str
    """The whole URL, to be shown."""
    is_tls: bool
    host: str
    port: int
    authority: str
    target: str


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask for."""

    model: str
    key: Secret | None
    prompt: str | None = None
    """None: one of `prompt_tokens` words, each time another."""
    prompt_tokens: int
    max_tokens: int
    is_streamed: bool
    members: Mapping[str, object] = MappingProxyType({})
    """Of the body, beside ours or in their place; a null leaves one out."""


def endpoint(url: str) -> Endpoint:
    """Where a URL leads. Raises BadUrl."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError as error:
        raise BadUrl(str(error)) from None
    if parts.scheme not in _PORTS or not host:
        raise BadUrl("it must begin with http:// or https:// and a host")
    if "@" in parts.netloc:
        raise BadUrl("it must not hold a user name or password; a key is given with --key")
    if parts.query or parts.fragment:
        raise BadUrl("it must have neither a query nor a fragment")
    path = parts.path.rstrip("/")
    if not path.endswith(_ENDPOINT):
        path = (path or "/v1") + _ENDPOINT
    target = quote(path, safe="/%:@!$&'()*+,;=~")
    name = f"[{host}]" if ":" in host else host
    authority = name if port in {None, _PORTS[parts.scheme]} else f"{name}:{port}"
    shown = f"{parts.scheme}://{authority}{target}"
    return Endpoint(shown, parts.scheme == "https", host, port or _PORTS[parts.scheme], authority, target)


def composed(where: Endpoint, question: Question, seed: int, number: int) -> bytes:
    """The bytes of a request; its number decides its prompt. Raises ValueError if the key is no header."""
    prompt = question.prompt
    if prompt is None:
        prompt = _made(question.prompt_tokens, seed, number)
    body: dict[str, object] = {
        "model": question.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": question.max_tokens,
    }
    if question.is_streamed:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    body |= question.members
    body = {name: value for name, value in body.items() if value is not None}
    headers: Headers = [
        (b"host", where.authority.encode()),
        (b"content-type", b"application/json"),
        (b"accept", b"text/event-stream" if question.is_streamed else b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", b"stargate-bench"),
    ]
    if question.key is not None:
        headers.append((b"authorization", b"Bearer " + question.key.reveal().encode()))
    return request(b"POST", where.target.encode(), headers, msgspec.json.encode(body))


def _made(tokens: int, seed: int, number: int) -> str:
    """A prompt of about so many tokens."""
    rng = random.Random(f"{seed} {number}")  # noqa: S311  (nothing secret is drawn from it)
    wanted = max(1, tokens - len(_TASK.split()))
    own = rng.choices(_WORDS, k=min(_OWN_WORDS, wanted))
    rest = (_WORDS * (wanted // len(_WORDS) + 1))[: wanted - len(own)]
    return _TASK + " ".join([*own, *rest])

"""The built-in routes: which dialect answers at which path.

A path is matched as it came, still encoded: a model id may hold `%2F`, and decoding before routing would
make a slash of it. Paths of Bedrock's own API are told by their first segment; the dialect itself knows
the operations behind it, so that a wrong path under `/model/` gets AWS's kind of 404.

Where two APIs have a path in common, the caller's headers tell them apart (`spoken`).

`guess` serves errors that happen before, or without, a route: a caller is answered in the envelope its
SDK most likely reads. OpenAI's is the default, because nearly every client reads it.
"""

from typing import Final

import msgspec

from stargate_core.dialects.anthropic_count import AnthropicCount
from stargate_core.dialects.anthropic_messages import AnthropicMessages
from stargate_core.dialects.anthropic_models import VERSION_HEADER, AnthropicModels
from stargate_core.dialects.bedrock_native import BedrockNative
from stargate_core.dialects.face import Dialect, Request
from stargate_core.dialects.openai_chat import OpenAIChat
from stargate_core.dialects.openai_embeddings import OpenAIEmbeddings
from stargate_core.dialects.openai_models import OpenAIModels
from stargate_core.dialects.openai_responses import OpenAIResponses

OPENAI_CHAT: Final = OpenAIChat()
OPENAI_RESPONSES: Final = OpenAIResponses()
OPENAI_EMBEDDINGS: Final = OpenAIEmbeddings()
ANTHROPIC_MESSAGES: Final = AnthropicMessages()
ANTHROPIC_COUNT: Final = AnthropicCount()
OPENAI_MODELS: Final = OpenAIModels()
ANTHROPIC_MODELS: Final = AnthropicModels()
BEDROCK_NATIVE: Final = BedrockNative()


class Route(msgspec.Struct, frozen=True):
    """One built-in route."""

    name: str
    method: bytes
    path: bytes
    """The whole path, or, where it ends in a slash, how the path begins."""
    dialect: Dialect

    def serves(self, path: bytes) -> bool:
        """Whether the path is this route's, whatever the method."""
        if self.path.endswith(b"/"):
            return len(path) > len(self.path) and path.startswith(self.path)
        return path == self.path


ROUTES: Final = (
    Route("chat-completions", b"POST", b"/v1/chat/completions", OPENAI_CHAT),
    Route("chat", b"POST", b"/v1/chat", OPENAI_CHAT),
    Route("responses", b"POST", b"/v1/responses", OPENAI_RESPONSES),
    Route("embeddings", b"POST", b"/v1/embeddings", OPENAI_EMBEDDINGS),
    Route("models", b"GET", b"/v1/models", OPENAI_MODELS),
    Route("model", b"GET", b"/v1/models/", OPENAI_MODELS),
    Route("messages", b"POST", b"/v1/messages", ANTHROPIC_MESSAGES),
    Route("count-tokens", b"POST", b"/v1/messages/count_tokens", ANTHROPIC_COUNT),
    Route("bedrock-model", b"POST", b"/model/", BEDROCK_NATIVE),
    Route("bedrock-guardrail", b"POST", b"/guardrail/", BEDROCK_NATIVE),
    Route("bedrock-guardrail-checks", b"POST", b"/guardrail-checks/", BEDROCK_NATIVE),
    Route("bedrock-async-invoke", b"POST", b"/async-invoke", BEDROCK_NATIVE),
    Route("bedrock-async-invokes", b"GET", b"/async-invoke", BEDROCK_NATIVE),
    Route("bedrock-async-invocation", b"GET", b"/async-invoke/", BEDROCK_NATIVE),
    Route("bedrock-models", b"GET", b"/foundation-models", BEDROCK_NATIVE),
    Route("bedrock-foundation-model", b"GET", b"/foundation-models/", BEDROCK_NATIVE),
    Route("bedrock-profiles", b"GET", b"/inference-profiles", BEDROCK_NATIVE),
    Route("bedrock-profile", b"GET", b"/inference-profiles/", BEDROCK_NATIVE),
)

_AWS_PATHS: Final = (
    b"/model/",
    b"/guardrail",
    b"/async-invoke",
    b"/foundation-model",
    b"/inference-profiles",
)


def route_for(method: bytes, path: bytes) -> Route | None:
    """The route of a request; None where no route takes the path with this method."""
    for route in ROUTES:
        if route.method == method and route.serves(path):
            return route
    return None


def dialect_for(method: bytes, path: bytes) -> Dialect | None:
    """The dialect of a request; None where no route takes the path with this method."""
    route = route_for(method, path)
    return None if route is None else route.dialect


def spoken(dialect: Dialect, request: Request) -> Dialect:
    """The dialect that a caller of this path speaks: two APIs list their models at the same one."""
    if dialect is OPENAI_MODELS and request.header(VERSION_HEADER) is not None:
        return ANTHROPIC_MODELS
    return dialect


def methods_for(path: bytes) -> tuple[bytes, ...]:
    """The methods that a path takes: empty, it is unknown; else they are what `Allow` says in a 405."""
    return tuple(dict.fromkeys(route.method for route in ROUTES if route.serves(path)))


def guess(path: bytes) -> Dialect:
    """Whose envelope an error gets, when no route says so."""
    if path.startswith(_AWS_PATHS):
        return BEDROCK_NATIVE
    if path.startswith(b"/v1/models"):
        return OPENAI_MODELS
    if path.startswith(b"/v1/messages"):
        return ANTHROPIC_MESSAGES
    return OPENAI_CHAT

"""Anthropic's token counting (`POST /v1/messages/count_tokens`) on Bedrock's CountTokens.

Bedrock counts what a call would be: the body of an InvokeModel, in base64, or the input of a Converse.
Claude's goes as the former, and loses nothing; `max_tokens` must be there, and is 1 where the caller says
none. The Messages API that AWS serves has a counting of its own, which is asked as it is.

Counted is by foundation models only: CountTokens refuses inference profiles, by id and by ARN (`The provided
model doesn't support counting tokens.`). The profile's name holds the model's, behind the geography, so that
is asked. An application's profile does not say what is behind it; Bedrock's refusal is passed on.

Sources: botocore's bedrock-runtime model (CountTokens); recorded answers; envoyproxy/ai-gateway,
internal/translator/counttokens_awsanthropic.go; AWS's user guide, "Supported Regions and models for
inference profiles".
"""

import binascii
import re
from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec

from stargate_core.aws import operations
from stargate_core.aws.operations import Operation
from stargate_core.aws.surfaces import Surface
from stargate_core.dialects.anthropic_converse_request import count_body
from stargate_core.dialects.anthropic_errors import failure, in_band
from stargate_core.dialects.anthropic_invoke_blocks import encoded
from stargate_core.dialects.anthropic_invoke_request import ask_of, asked, invoke_body
from stargate_core.dialects.anthropic_passing import passed_body, passed_headers
from stargate_core.dialects.converse import garbled, read
from stargate_core.dialects.face import (
    Ask,
    Call,
    Headers,
    ModelCard,
    Part,
    PartKind,
    Reply,
    Request,
    Target,
)
from stargate_core.dialects.headers import JSON
from stargate_core.dialects.openai_chat_request import malformed
from stargate_core.dialects.paths import model_path
from stargate_core.dialects.unstreamed import Unstreamed
from stargate_core.faults import Cause, Fault, refuse

_PROFILE: Final = re.compile(
    r"(?:arn:[^/]+:inference-profile/)?(?:([a-z]{2,8}(?:-[a-z]+)?)\.)?([a-z0-9-]+\..+)"
)
_GEOGRAPHIES: Final = frozenset(
    {"us", "us-gov", "eu", "apac", "global", "jp", "au", "ca", "sa", "af", "ap", "il", "me", "mx", "uk", "in"}
)
"""How the ids of AWS's own inference profiles begin. Vendors' names are longer, or none of these."""


class AnthropicCount:
    """The dialect. It has no state."""

    __slots__ = ()

    NAME: ClassVar[str] = "anthropic-count-tokens"
    SURFACES: ClassVar[tuple[Surface, ...]] = (
        Surface.INVOKE,
        Surface.CONVERSE,
        Surface.ANTHROPIC,
        Surface.MANTLE_ANTHROPIC,
    )
    REQUEST_ID_HEADER: ClassVar[bytes] = b"request-id"
    LIMIT_FAMILY: ClassVar[str] = "anthropic"

    def read(self, request: Request) -> Ask:
        """Understand a request. Raises Refused where it isn't one."""
        return ask_of(request, counting=True)

    def answer_locally(self, request: Request, ask: Ask, models: Sequence[ModelCard]) -> Reply:
        """Never asked: Bedrock counts."""
        raise AssertionError("tokens are not counted locally")

    def compose(self, request: Request, ask: Ask, target: Target) -> Call:
        """The call to Bedrock. Raises Refused where the request can't be carried there."""
        messages = asked(ask)
        match target.surface:
            case Surface.INVOKE:
                body = invoke_body(request, messages, target, ask.fetched, counting=True)
                text = binascii.b2a_base64(body, newline=False).decode()
                counted = {"invokeModel": {"body": text}}
            case Surface.CONVERSE:
                counted = {"converse": count_body(request, target, ask.fetched)}
            case Surface.ANTHROPIC | Surface.MANTLE_ANTHROPIC:
                operation = Operation.MESSAGES_COUNT_TOKENS
                body = passed_body(request, messages, target, ask.fetched)
                headers = [JSON, *passed_headers(request, messages, target)]
                return Call(operation, b"POST", operations.path(operation), headers, body, False)
            case _:
                raise refuse(
                    Cause.BODY_INVALID,
                    "This model is reached through an API of OpenAI's only, which counts no tokens",
                    param="model",
                )
        path = model_path(Operation.COUNT_TOKENS, foundation_model(target.model))
        try:
            body = encoded({"input": counted})
        except RecursionError as error:  # pragma: no cover  (from 3.12 on: 3.11 counts Python's frames too)
            raise malformed(error) from None
        return Call(Operation.COUNT_TOKENS, b"POST", path, [JSON], body, False)

    def translator(self, request: Request, ask: Ask, call: Call) -> "CountTranslator":
        """A fresh translator for the answer to `call`."""
        return CountTranslator(request.request_id)

    def failure(self, fault: Fault, request_id: str) -> Reply:
        """An error in this API's envelope."""
        return failure(fault, request_id)


def foundation_model(model: str) -> str:
    """The model behind an inference profile of AWS's; any other name as it is."""
    named = _PROFILE.fullmatch(model)
    if named is None or (named[1] is not None and named[1] not in _GEOGRAPHIES):
        return model
    return named[2]


class _Counted(msgspec.Struct):
    """A count, in Bedrock's word or in Anthropic's."""

    inputTokens: int | float | None = None  # noqa: N815
    input_tokens: int | float | None = None


_COUNTED: Final = msgspec.json.Decoder(_Counted)


class CountTranslator(Unstreamed):
    """One count. See `Translator` for the members. It has no usage: nothing is produced, and nothing
    charged.
    """

    __slots__ = ("_request_id",)

    def __init__(self, request_id: str) -> None:
        super().__init__()
        self._request_id = request_id

    def answer(self, headers: Headers, body: bytes) -> Part:
        """A whole 200 answer. Raises BadAnswer where it isn't a count."""
        told = read(_COUNTED, body, "CountTokens' answer")
        count = told.inputTokens if told.inputTokens is not None else told.input_tokens
        if count is None or count < 0:
            raise garbled("CountTokens' answer has no count")
        self.complete = self.meaningful = True
        return Part(PartKind.ANSWER, "", {"input_tokens": int(count)})

    def render_answer(self, part: Part, upstream_headers: Headers) -> Reply:
        """The HTTP answer that carries the part."""
        return Reply(200, [JSON], encoded(part.payload))

    def broken(self, fault: Fault) -> bytes:
        """The error, as Anthropic's streams have it."""
        return in_band(fault, self._request_id)

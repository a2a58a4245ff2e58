"""How each API reports its errors: as the whole answer, and inside a stream that has begun.

AWS's own operations name the error in a header and answer `{"message": …}`; inside an event stream the error
is a frame of its own. OpenAI's API answers `{"error": {message, type, param, code}}`, and in a stream sends
the same as data; its Responses API has an event `error` and an event `response.failed`. Anthropic's answers
`{"type": "error", "error": {type, message}}`, and in a stream sends it as an event `error`.

The simulator's errors are AWS's by name, whatever API they come through; the table here says what becomes of
each. What the layer before the service refuses (`iam-denied`, `api-key-denied`) stays in AWS's own words
everywhere.

Sources: openai-python, `_streaming.py` and `_exceptions.py`; anthropic-sdk-python, `_streaming.py`;
Anthropic's documentation, "Errors"; OpenAI's API reference, "Streaming events".
"""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

import msgspec

from stargate.simulator.errors import ERRORS, UNKNOWN_OPERATION_BODY, AwsError
from stargate.simulator.events import Headers
from stargate.simulator.plan import Plan, document_plan
from stargate_core.wire.eventstream import encode_error, encode_event, encode_exception

_JSON: Final[Headers] = [(b"Content-Type", b"application/json")]
_TEXT_CHARACTERS_MAX: Final = 1_000


class _Row(msgspec.Struct, frozen=True):
    """What the vendors call an error of AWS's."""

    openai_status: int
    openai_type: str
    openai_code: str | None
    anthropic_status: int
    anthropic_type: str


_INVALID: Final = "invalid_request_error"
_ROWS: Final[Mapping[str, _Row]] = MappingProxyType(
    {
        "ValidationException": _Row(400, _INVALID, None, 400, _INVALID),
        "ConflictException": _Row(409, _INVALID, "conflict", 409, _INVALID),
        "ServiceQuotaExceededException": _Row(
            429, "insufficient_quota", "insufficient_quota", 429, "rate_limit_error"
        ),
        "AccessDeniedException": _Row(403, "permission_error", "access_denied", 403, "permission_error"),
        "ResourceNotFoundException": _Row(404, _INVALID, "model_not_found", 404, "not_found_error"),
        "ModelTimeoutException": _Row(504, "server_error", "timeout", 504, "timeout_error"),
        "ModelNotReadyException": _Row(503, "server_error", "model_not_ready", 529, "overloaded_error"),
        "ThrottlingException": _Row(429, "rate_limit_error", "rate_limit_exceeded", 429, "rate_limit_error"),
        "ServiceUnavailableException": _Row(
            503, "server_error", "service_unavailable", 529, "overloaded_error"
        ),
        "RequestEntityTooLargeException": _Row(413, _INVALID, "request_too_large", 413, "request_too_large"),
        "SerializationException": _Row(400, _INVALID, None, 400, _INVALID),
        "UnsupportedMediaTypeException": _Row(415, _INVALID, None, 415, _INVALID),
        "UnknownOperationException": _Row(404, _INVALID, None, 404, "not_found_error"),
        **dict.fromkeys(
            (
                *("ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException"),
                *("MissingAuthenticationTokenException", "IncompleteSignatureException"),
            ),
            _Row(401, "authentication_error", "invalid_api_key", 401, "authentication_error"),
        ),
    }
)
_OTHERS: Final = _Row(500, "server_error", "internal_error", 500, "api_error")
"""Whatever broke on their side."""


class Voice(Protocol):
    """How one API reports errors."""

    def refusal(self, error: AwsError, further: Headers) -> Plan:
        """The answer that reports an error."""
        ...

    def masked(self) -> bytes:
        """The body of an error whose status says that all is well."""
        ...

    def exception(self, name: str, error: AwsError, style: str, before: int) -> bytes:
        """What reports a named error inside a stream, after `before` events."""
        ...

    def failure(self, code: str, message: str, before: int) -> bytes:
        """The same for an error that no model names."""
        ...

    def strangers(self) -> tuple[bytes, bytes]:
        """Two events that a later version of the service might send."""
        ...


class AwsVoice:
    """AWS's own operations."""

    def refusal(self, error: AwsError, further: Headers) -> Plan:
        """The error's name in a header, its message in the body."""
        return error_plan(error, further)

    def masked(self) -> bytes:
        """An operation that nobody knows."""
        return UNKNOWN_OPERATION_BODY

    def exception(self, name: str, error: AwsError, style: str, before: int) -> bytes:
        """An exception frame; or, as some services write it, one under the HTTP name, or an event."""
        payload = msgspec.json.encode({"message": error.message, **error.members})
        match style:
            case "pascal":
                return encode_exception(error.name, payload)
            case "event":
                return encode_event(name, payload)
            case _:
                return encode_exception(name, payload)

    def failure(self, code: str, message: str, before: int) -> bytes:
        """An error frame: outside the model, its message in a header."""
        return encode_error(code[:_TEXT_CHARACTERS_MAX], message[:_TEXT_CHARACTERS_MAX])

    def strangers(self) -> tuple[bytes, bytes]:
        """The RPC protocols' first event, and one that nobody has thought of yet."""
        sparkle = b'{"contentBlockIndex":0,"sparkle":{"hue":7},"p":"ab"}'
        return encode_event("initial-response", b"{}"), encode_event("contentBlockSparkle", sparkle)


AWS: Final = AwsVoice()


def error_plan(error: AwsError, further: Headers | None = None) -> Plan:
    """The answer that reports an error as AWS does."""
    if error.name == "UnknownOperationException":
        return document_plan(error.status, [*_JSON, *(further or [])], UNKNOWN_OPERATION_BODY)
    return document_plan(error.status, [*error.headers(), *(further or [])], error.body())


class ChatVoice:
    """OpenAI's chat completions."""

    def refusal(self, error: AwsError, further: Headers) -> Plan:
        """OpenAI's envelope."""
        if error.message_member == "Message":
            return error_plan(error, further)
        row = _ROWS.get(error.name, _OTHERS)
        return document_plan(row.openai_status, [*_JSON, *further], msgspec.json.encode(_openai(error)))

    def masked(self) -> bytes:
        """An error where an answer should be."""
        return msgspec.json.encode(_openai(ERRORS["InternalServerException"]))

    def exception(self, name: str, error: AwsError, style: str, before: int) -> bytes:
        """The envelope as data."""
        return _data("", _openai(error))

    def failure(self, code: str, message: str, before: int) -> bytes:
        """The envelope with a code of its own."""
        return _data("", _envelope(message, "server_error", code))

    def strangers(self) -> tuple[bytes, bytes]:
        """A comment, and a chunk of a kind and with members that nobody knows."""
        choices: list[object] = []
        chunk = {"object": "chat.completion.sparkle", "choices": choices, "sparkle": {"hue": 7}}
        return b": sparkling\n\n", _data("", chunk)


class ResponsesVoice(ChatVoice):
    """OpenAI's Responses; errors that are whole answers are as with chat completions."""

    def __init__(self, skeleton: Mapping[str, object] | None = None) -> None:
        self._skeleton = skeleton or {}
        """The response as it stands when its stream begins, for `response.failed`."""

    def exception(self, name: str, error: AwsError, style: str, before: int) -> bytes:
        """An event `error`, a `response.failed`, or with `style=both` the one after the other."""
        said: Any = _openai(error)["error"]
        return self._failed(said["code"] or "server_error", error.message, style, before)

    def failure(self, code: str, message: str, before: int) -> bytes:
        """An event `error` with a code of its own."""
        return self._failed(code, message, "", before)

    def _failed(self, code: str, message: str, style: str, before: int) -> bytes:
        event = {"type": "error", "code": code, "message": message, "param": None}
        spoken = _data("error", {**event, "sequence_number": before})
        if style not in ("failed", "both"):
            return spoken
        found = "rate_limit_exceeded" if code == "rate_limit_exceeded" else "server_error"
        response = {**self._skeleton, "status": "failed", "error": {"code": found, "message": message}}
        number = before + (style == "both")
        failed = {"type": "response.failed", "response": response, "sequence_number": number}
        return (spoken if style == "both" else b"") + _data("response.failed", failed)

    def strangers(self) -> tuple[bytes, bytes]:
        """A keep-alive, and an event that nobody has thought of yet."""
        keepalive = {"type": "keepalive", "sequence_number": 0}
        sparkle = {"type": "response.sparkle", "sequence_number": 0, "hue": 7}
        return _data("keepalive", keepalive), _data("response.sparkle", sparkle)


class MessagesVoice:
    """Anthropic's Messages."""

    def refusal(self, error: AwsError, further: Headers) -> Plan:
        """Anthropic's envelope."""
        if error.message_member == "Message":
            return error_plan(error, further)
        row = _ROWS.get(error.name, _OTHERS)
        body = msgspec.json.encode(_anthropic(row.anthropic_type, error.message))
        return document_plan(row.anthropic_status, [*_JSON, *further], body)

    def masked(self) -> bytes:
        """An error where a message should be."""
        return msgspec.json.encode(_anthropic("api_error", ERRORS["InternalServerException"].message))

    def exception(self, name: str, error: AwsError, style: str, before: int) -> bytes:
        """An event `error`."""
        row = _ROWS.get(error.name, _OTHERS)
        return _data("error", _anthropic(row.anthropic_type, error.message))

    def failure(self, code: str, message: str, before: int) -> bytes:
        """An event `error` with a type of its own."""
        return _data("error", _anthropic(code, message))

    def strangers(self) -> tuple[bytes, bytes]:
        """A ping, and an event that nobody has thought of yet."""
        sparkle = {"type": "content_block_sparkle", "index": 0, "hue": 7}
        return _data("ping", {"type": "ping"}), _data("content_block_sparkle", sparkle)


CHAT: Final = ChatVoice()
MESSAGES: Final = MessagesVoice()


def _openai(error: AwsError) -> dict[str, object]:
    row = _ROWS.get(error.name, _OTHERS)
    code = error.members.get("code", row.openai_code)
    return _envelope(error.message, row.openai_type, code, error.members.get("param"))


def _envelope(message: str, kind: str, code: object, param: object = None) -> dict[str, object]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _anthropic(kind: str, message: str) -> dict[str, object]:
    request_id = f"req_bdrk_{hashlib.blake2b(message.encode(), digest_size=12).hexdigest()}"
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}


def _data(name: str, payload: Mapping[str, object]) -> bytes:
    line = b"data: " + msgspec.json.encode(payload) + b"\n\n"
    return f"event: {name}\n".encode() + line if name else line

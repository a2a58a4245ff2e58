"""What guards have in common: reading a request, and saying what cannot be read.

A guard that cannot see something has two honest answers: to refuse it, or to let it through because the file
says so. `unreadable` is that setting. What cannot be read, of a request:

- pictures, sound, files, also by URL or id; base64 that is longer than any word
- a body that is no JSON (InvokeModel takes any)

and of an answer, which is known before it is asked for:

- a stream of InvokeModel that is not Claude's: each vendor cuts its texts in its own way
- what StartAsyncInvoke leaves in a bucket: it never comes by here
"""

from typing import Any, Final, NoReturn, cast

from stargate_core.aws.operations import Operation
from stargate_core.dialects.texts import Body, Form, Place, Speaker, Texts, opened, texts_in, texts_of
from stargate_core.faults import Cause, Fault, Refused
from stargate_core.views import Access, BodyFilter

_NATIVE: Final = "bedrock-native"
_UNSHAPED: Final = frozenset(
    {Operation.INVOKE_MODEL, Operation.INVOKE_MODEL_WITH_RESPONSE_STREAM, Operation.START_ASYNC_INVOKE}
)


def read_request(ctx: Access, guard: str, *, strict: bool) -> tuple[Body, Texts] | None:
    """The body and its texts; None where there is nothing to read. Raises Refused: what cannot be read, where
    `strict`; a body that is none.
    """
    raw = ctx.request.body
    if not raw or ctx.ask.local:
        return None
    operation = ctx.ask.operation
    unshaped = ctx.dialect == _NATIVE and operation in _UNSHAPED
    try:
        body = opened(raw)
    except Refused:
        if not unshaped:
            raise
        if strict:
            _refuse(guard, "a body that is no JSON")
        return None
    texts = texts_of(body.value, Speaker.USER if unshaped else Speaker.NOBODY)
    if strict and texts.unreadable:
        _refuse(guard, f"{texts.unreadable[0]!r}: it is no text")
    return body, texts


def check_answer(ctx: Access, guard: str) -> None:
    """Raises Refused where it is known that the answer will not be readable."""
    operation = ctx.ask.operation
    if ctx.dialect != _NATIVE:
        return
    if operation is Operation.START_ASYNC_INVOKE:
        _refuse(guard, "the answer of a job: it is left in a bucket")
    if operation is Operation.INVOKE_MODEL_WITH_RESPONSE_STREAM and not _is_claudes(ctx.request.body):
        _refuse(guard, "a stream of InvokeModel in a form that is not Claude's; ask by Converse")


def is_readable(ctx: BodyFilter) -> bool:
    """Whether a part of an answer can be read: it is JSON, and a chunk is one of Claude's events."""
    payload = ctx.part.payload
    if payload is None:
        return False
    if ctx.part.name != "chunk":
        return True
    if not isinstance(payload, dict):
        return False
    members = cast("dict[str, Any]", payload)
    return isinstance(members.get("type"), str) or all(name.startswith("amazon-bedrock-") for name in members)


def unreadable_answer(guard: str, what: str) -> Fault:
    """The fault of an answer that cannot be read."""
    message = f"{guard} cannot read {what}"
    return Fault(Cause.ANSWER_REFUSED, message, detail=message)


def words_in(place: Place) -> str:
    """What a place says; of JSON in a text, also what its strings say, however they are spelt."""
    text = place.text
    if place.form is not Form.JSON:
        return text
    try:
        inner = opened(text.encode())
    except (Refused, UnicodeEncodeError):
        return text
    return "\n".join([text, *[one.text for one in texts_in({"input": {"": inner.value}}).places[:-1]]])


def _refuse(guard: str, what: str) -> NoReturn:
    message = f"{guard} cannot read {what}. The gateway's operator may set unreadable: allow"
    raise Refused(Fault(Cause.PROMPT_REFUSED, message, detail=message))


def _is_claudes(raw: bytes) -> bool:
    try:
        value = opened(raw).value
    except Refused:
        return False
    return isinstance(value, dict) and "anthropic_version" in value

"""bedrock-guardrail: one of AWS's guardrails looks on, whether the caller wants it or not.

Two ways, alone or together.

*Attached*, it travels with the call (dialects/guardrails.py says how with each surface), and Bedrock holds it
against the input and the answer, streams included. Nothing is slower here. A guardrail that a caller names
itself gives way, unless `override` allows it. Where the surface takes no guardrail, the dialect refuses the
request; where the operation takes none (StartAsyncInvoke), this plugin does, unless `unguarded` allows it.

*Applied*, its judgement over what is asked is heard first (ApplyGuardrail), all of it: system texts, every
message, what tools have answered. So it costs a call's time before the call, and a model that Bedrock's
attached guardrails do not serve is guarded all the same. What it blocks never reaches the model: the caller
is given the guardrail's own words, in the form of an answer that a guardrail has blocked, or an error
(`on_block`, and where the request is for no conversation). What it masks is sent masked. Text goes in pieces
of `chunk_chars`, cut behind a blank where there is one; what would only show across a cut is not seen.
Answers are not held against it here: that is what attaching is for.

What nobody here can read (pictures, documents, texts under a vendor's signature that would have to be masked)
is refused, unless `unguarded` allows it. So is everything while ApplyGuardrail fails, unless `on_failure`
allows it: an operator is told each time.

It runs behind bedrock-proxy, whose target's region and authority ApplyGuardrail uses, and behind whatever
changes the prompt: what is judged is what would be sent.

Sources: AWS API reference, ApplyGuardrail; botocore/data/bedrock-runtime/2023-09-30.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

import msgspec

from stargate_core.asking import CallFailed
from stargate_core.aws import operations
from stargate_core.aws.operations import Operation
from stargate_core.aws.surfaces import GuardrailWay
from stargate_core.config.bedrock_guardrail import BedrockGuardrail
from stargate_core.config.gateway_block import nanoseconds
from stargate_core.config.plugin_configs import BUILT_IN
from stargate_core.config.schema import Scope
from stargate_core.dialects.conversations import is_list, is_object
from stargate_core.dialects.face import Call
from stargate_core.dialects.guardrails import HEADERS as NAMING
from stargate_core.dialects.guardrails import MEMBER, Guardrail, guardrail_config, guardrail_headers
from stargate_core.dialects.texts import Form, Place, Speaker, opened, texts_of
from stargate_core.faults import Cause, Fault
from stargate_core.script import Script
from stargate_core.secret import Private
from stargate_core.views import Access

_VENDORS: Final = frozenset({"openai-chat", "openai-responses", "anthropic-messages"})
_CONVERSES: Final = frozenset({Operation.CONVERSE, Operation.CONVERSE_STREAM})
_INVOKES: Final = frozenset({Operation.INVOKE_MODEL, Operation.INVOKE_MODEL_WITH_RESPONSE_STREAM})
_CALLS_MAX: Final = 50
"""ApplyGuardrails for one request; a script may wait 64 times."""
_JSON: Final = (b"content-type", b"application/json")


class _Output(msgspec.Struct, frozen=True):
    text: str = ""


class _Judged(Private, msgspec.Struct, frozen=True):
    """What ApplyGuardrail answers."""

    action: str
    outputs: list[_Output] = msgspec.field(default_factory=list[_Output])
    assessments: list[Any] = msgspec.field(default_factory=list[Any])


_JUDGED: Final = msgspec.json.Decoder(_Judged)


class _Piece(msgspec.Struct):
    """A piece of one text, as the guardrail is given it, and as it gives it back."""

    place: int
    text: str


class BedrockGuardrailPlugin:
    """Has a guardrail look on."""

    NAME: ClassVar[str] = "bedrock-guardrail"
    PRIORITY: ClassVar[int] = 765
    CONFIG: ClassVar[type[msgspec.Struct]] = BedrockGuardrail
    SCOPES: ClassVar[frozenset[Scope]] = BUILT_IN["bedrock-guardrail"].scopes

    def __init__(self, config: BedrockGuardrail) -> None:
        self._config = config
        self._guardrail = Guardrail(
            config.identifier, config.version, config.trace, config.stream_processing_mode
        )
        self._named = guardrail_headers(self._guardrail, GuardrailWay.HEADERS)
        self._path = operations.path(
            Operation.APPLY_GUARDRAIL,
            guardrailIdentifier=config.identifier,
            guardrailVersion=config.version,
        )

    def access(self, ctx: Access) -> Script[None] | None:
        """Attach the guardrail, and apply it."""
        operation = ctx.ask.operation
        vendor = ctx.dialect in _VENDORS
        takes_one = vendor or operation in _CONVERSES or operation in _INVOKES
        if self._config.attach:
            if takes_one:
                self._attach(ctx, operation)
            elif operation is Operation.START_ASYNC_INVOKE and not self._config.apply:
                self._unguarded(ctx, "StartAsyncInvoke takes no guardrail")
        asks = takes_one or operation is Operation.START_ASYNC_INVOKE or ctx.dialect == "openai-embeddings"
        if not (self._config.apply and asks):
            return None
        return self._apply(ctx, can_answer=vendor or operation in _CONVERSES)

    # ----------------------------------------------------------------------------------------------- attached

    def _attach(self, ctx: Access, operation: Operation | None) -> None:
        request, body = ctx.request, ctx.request.body
        # A member's name can be written in no other way than plainly or with \\u. The dialect has read the
        # body as an object by now.
        may_name = operation not in _INVOKES and (MEMBER.encode() in body or b"\\u" in body)
        in_body = operation in _CONVERSES or self._config.stream_processing_mode is not None
        members: Any = opened(body).value if operation not in _INVOKES and (may_name or in_body) else None
        own = request.has_any(NAMING) if operation not in _CONVERSES else False
        own = own or (members is not None and MEMBER in members)
        if own and self._config.override == "allow":
            return
        if members is not None:
            members.pop(MEMBER, None)
            if in_body:
                members[MEMBER] = guardrail_config(self._guardrail, stream=ctx.ask.stream)
            ctx.revise_request(body=msgspec.json.encode(members))
        if operation not in _CONVERSES:
            replaced = {name for name, _ in self._named} | NAMING
            kept = [header for header in request.headers if header[0] not in replaced]
            ctx.revise_request(headers=kept + self._named)

    def _unguarded(self, ctx: Access, why: str) -> None:
        if self._config.unguarded == "reject":
            text = f"The request cannot be guarded, so it may not be made here: {why}"
            ctx.reject(Fault(Cause.PROMPT_REFUSED, text))

    # ------------------------------------------------------------------------------------------------ applied

    def _apply(self, ctx: Access, *, can_answer: bool) -> Script[None]:
        body: Any = opened(ctx.request.body).value
        texts = texts_of(body, Speaker.NOBODY if can_answer else Speaker.USER)
        if texts.unreadable:
            self._unguarded(ctx, f"{texts.unreadable[0]} is no text")
        places = [one for one in texts.places if one.speaker is not Speaker.NOBODY and one.text.strip()]
        calls = list(_packed([one.text for one in places], self._config.chunk_chars))
        if len(calls) > _CALLS_MAX:
            self._unguarded(ctx, "it is too long")
            calls = calls[:_CALLS_MAX]
        masked = False
        for pieces in calls:
            judged = yield from self._judge(ctx, pieces)
            if judged is None or judged.action != "GUARDRAIL_INTERVENED":
                continue
            if _blocks(judged, pieces):
                self._block(ctx, " ".join([one.text for one in judged.outputs]), can_answer=can_answer)
                return
            masked = True
            for piece, output in zip(pieces, judged.outputs, strict=True):
                piece.text = output.text
        if masked:
            self._mask(ctx, places, calls, can_answer=can_answer)
            ctx.revise_request(body=msgspec.json.encode(body))

    def _judge(self, ctx: Access, pieces: "Sequence[_Piece]") -> Script[_Judged | None]:
        """What the guardrail says; None: it says nothing, and that is allowed."""
        content = [{"text": {"text": piece.text}} for piece in pieces]
        body = msgspec.json.encode({"source": "INPUT", "content": content})
        call = Call(Operation.APPLY_GUARDRAIL, b"POST", self._path, [_JSON], body, stream=False)
        try:
            answer = yield from ctx.call(call, timeout_ns=nanoseconds(self._config.timeout))
            return _JUDGED.decode(answer)
        except CallFailed as failed:
            why = f"{failed.fault.cause.name} {failed.fault.aws_name or ''}".rstrip()
        except msgspec.DecodeError:
            why = "its answer cannot be read"
        if self._config.on_failure == "reject":
            ctx.reject(Fault(Cause.GUARDRAIL_UNAVAILABLE, detail=f"ApplyGuardrail: {why}"))
        ctx.note("warning", f"a request was not looked at, for ApplyGuardrail failed: {why}")
        return None

    def _block(self, ctx: Access, words: str, *, can_answer: bool) -> None:
        if can_answer and self._config.on_block == "answer":
            ctx.say(words)
        else:
            ctx.reject(Fault(Cause.PROMPT_REFUSED, words, detail="blocked by the guardrail"))

    def _mask(
        self, ctx: Access, places: "Sequence[Place]", calls: "Sequence[Sequence[_Piece]]", *, can_answer: bool
    ) -> None:
        """Put the masked texts where the plain ones stand."""
        told: dict[int, str] = {}
        for piece in (piece for pieces in calls for piece in pieces):
            told[piece.place] = told.get(piece.place, "") + piece.text
        # From the last one on: a member whose name is changed must still be found by those before it.
        for at, text in sorted(told.items(), reverse=True):
            place = places[at]
            if text == place.text:
                continue
            if place.form is Form.SIGNED or (place.form is Form.JSON and not _is_json(text)):
                self._unguarded(ctx, "what is to be masked cannot be changed")
                continue
            place.replace(text)


def _packed(texts: Sequence[str], chars_max: int) -> Iterator[list[_Piece]]:
    """The texts in pieces, so many together as one call takes."""
    pieces: list[_Piece] = []
    room = chars_max
    for at, text in enumerate(texts):
        for piece in _cut(text, chars_max):
            if len(piece) > room:
                yield pieces
                pieces, room = [], chars_max
            pieces.append(_Piece(at, piece))
            room -= len(piece)
    if pieces:
        yield pieces


def _cut(text: str, chars_max: int) -> Iterator[str]:
    """A text in pieces, each cut behind the last blank that fits; without one, anywhere."""
    while len(text) > chars_max:
        end = text.rfind(" ", 0, chars_max) + 1 or chars_max
        yield text[:end]
        text = text[end:]
    yield text


def _blocks(judged: _Judged, pieces: Sequence[_Piece]) -> bool:
    """Whether the guardrail has blocked, and not only masked: then it gives back each text."""
    actions = set(_actions(judged.assessments))
    return "BLOCKED" in actions or "ANONYMIZED" not in actions or len(judged.outputs) != len(pieces)


def _actions(value: Any) -> Iterator[str]:
    """What each policy that has found something has done."""
    if is_object(value):
        action = value.get("action")
        if isinstance(action, str):
            yield action
        for child in value.values():
            yield from _actions(child)
    elif is_list(value):
        for child in value:
            yield from _actions(child)


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True

"""prompt-template: prompts that callers fill in, and what is put around every conversation.

A caller names a template instead of a conversation, and gives the values of its variables beside it:

    {"model": "claude", "messages": "{template://summary}", "properties": {"text": "…"}}

The template's members replace the caller's of the same name; `properties` goes no further. Values are put
into texts after the template has been parsed, so a value can end no text and begin no member, whatever it
holds; and what a value holds is not looked through for variables again. A variable without a value, and a
value without a variable, are refused by name: a prompt with a hole in it asks something else.

A template is written as for chat completions, and may be used in every API: its system messages become
Anthropic's and Converse's `system`, its texts their blocks.

Then `decorate` puts its messages before and behind, whoever has written the conversation
(dialects/conversations.py). It is not for the caller to see or to prevent, so where it cannot be done (a body
that holds no messages: a model's own, or one that names a prompt kept elsewhere) the request is refused,
unless `undecorated` allows it.

All this happens after the caller is known and the request transformed, and before anything is counted.

Sources: Kong's ai-prompt-template and ai-prompt-decorator (their names, their syntax).
"""

import datetime
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final, cast

import msgspec

from stargate_core.aws import operations
from stargate_core.aws.operations import Operation
from stargate_core.config.plugin_configs import BUILT_IN
from stargate_core.config.prompt_template import VARIABLE, Message, PromptTemplate, variables_of
from stargate_core.config.schema import Scope
from stargate_core.dialects.conversations import (
    Form,
    Members,
    Said,
    form_of_invoke,
    is_list,
    is_object,
    put_around,
    put_in,
)
from stargate_core.dialects.texts import opened
from stargate_core.faults import Cause, refuse
from stargate_core.secret import Private
from stargate_core.views import Access

_REFERENCE: Final = re.compile(r"\s*\{template://([A-Za-z0-9][A-Za-z0-9_.-]*)\}\s*")
_PLACES: Final = ("messages", "input", "prompt", "inputText")
_FORMS: Final = {
    "openai-chat": Form.CHAT,
    "openai-responses": Form.RESPONSES,
    "anthropic-messages": Form.ANTHROPIC,
    "anthropic-count-tokens": Form.ANTHROPIC,
}
_CONVERSES: Final = frozenset({Operation.CONVERSE, Operation.CONVERSE_STREAM})
_INVOKES: Final = frozenset({Operation.INVOKE_MODEL, Operation.INVOKE_MODEL_WITH_RESPONSE_STREAM})
_DAY_NS: Final = 86_400_000_000_000
_EPOCH: Final = datetime.date(1970, 1, 1)
_NAME_CHARS: Final = 64


class _Prepared(Private, msgspec.Struct, frozen=True):
    """A template, parsed."""

    members: Members
    variables: tuple[str, ...]


class PromptTemplatePlugin:
    """Fills templates in, and decorates conversations."""

    NAME: ClassVar[str] = "prompt-template"
    PRIORITY: ClassVar[int] = 935
    CONFIG: ClassVar[type[msgspec.Struct]] = PromptTemplate
    SCOPES: ClassVar[frozenset[Scope]] = BUILT_IN["prompt-template"].scopes

    def __init__(self, config: PromptTemplate) -> None:
        self._templates = {
            one.name: _Prepared(one.members, tuple(variables_of(one.members))) for one in config.templates
        }
        self._all_templated = not config.allow_untemplated_requests
        self._before = config.decorate.prepend
        self._behind = config.decorate.append
        self._may_be_bare = config.undecorated == "allow"
        self._bytes_max = config.properties_max_bytes

    def access(self, ctx: Access) -> None:
        """Write the conversation anew."""
        form = _FORMS.get(ctx.dialect)
        operation = None if form is not None else _operation(ctx)
        if form is None and operation not in _CONVERSES and operation not in _INVOKES:
            if self._all_templated and operation is Operation.START_ASYNC_INVOKE:
                raise self._untemplated()
            return
        body = ctx.request.body
        decorates = bool(self._before or self._behind)
        if not decorates and not self._all_templated and b"template" not in body:
            return
        value: Any = opened(body).value
        if not is_object(value):
            return  # It is for the dialect to say what is wrong with it.
        members = value
        if form is None:
            form = Form.CONVERSE if operation in _CONVERSES else form_of_invoke(members)
        is_templated = self._fill_in(members, form)
        if self._all_templated and not is_templated:
            raise self._untemplated()
        if is_templated:
            ctx.revise_request(body=msgspec.json.encode(members))
        if decorates:
            self._decorate(ctx, members, form)

    # ---------------------------------------------------------------------------------------------- templates

    def _fill_in(self, members: Members, form: Form) -> bool:
        """Put a template in the place of its name; False if none is named. Raises Refused."""
        for place in _PLACES:
            value = members.get(place)
            found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
            if found is None:
                continue
            template = self._templates.get(found[1])
            if template is None:
                text = f"There is no template {found[1][:_NAME_CHARS]!r}"
                raise refuse(Cause.BODY_INVALID, text, param=place)
            del members[place]
            values = self._values(members.pop("properties", None), template, found[1])
            filled = cast("Members", _filled(template.members, values))
            messages = filled.pop("messages", None)
            members.update(filled)
            if is_list(messages):
                put_in(members, form, messages)
            return True
        return False

    def _values(self, properties: Any, template: _Prepared, name: str) -> Mapping[str, str]:
        """What the caller gives the variables. Raises Refused where it is not just that."""
        given: Any = {} if properties is None else properties
        values: dict[str, str] = {}
        if not is_object(given):
            raise refuse(Cause.BODY_INVALID, "properties must be an object", param="properties")
        for key, value in given.items():
            if key not in template.variables:
                text = f"The template {name!r} has no variable {key[:_NAME_CHARS]!r}"
                raise refuse(Cause.BODY_INVALID, text, param="properties")
            if isinstance(value, str):
                values[key] = value
            elif isinstance(value, bool | int | float):
                values[key] = msgspec.json.encode(value).decode()
            else:
                text = f"The property {key!r} must be a text, a number or a truth value"
                raise refuse(Cause.BODY_INVALID, text, param=f"properties.{key}")
        for key in template.variables:
            if key not in values:
                text = f"The template {name!r} needs the property {key!r}"
                raise refuse(Cause.BODY_INVALID, text, param="properties")
        if sum([len(value.encode()) for value in values.values()]) > self._bytes_max:
            text = f"The properties may have {self._bytes_max} bytes together"
            raise refuse(Cause.BODY_TOO_LARGE, text, param="properties")
        return values

    def _untemplated(self) -> Exception:
        text = "Only templates may be used here: name one as {template://name}"
        return refuse(Cause.BODY_INVALID, text, param="messages")

    # -------------------------------------------------------------------------------------------- decorations

    def _decorate(self, ctx: Access, members: Members, form: Form) -> None:
        consumer = ctx.consumer
        values = {
            "consumer": "" if consumer is None else consumer.username,
            "model": ctx.ask.model or "",
            "date": (_EPOCH + datetime.timedelta(days=ctx.wall_ns // _DAY_NS)).isoformat(),
        }
        before, behind = ([_said(one, values) for one in every] for every in (self._before, self._behind))
        if put_around(members, form, before, behind):
            ctx.revise_request(body=msgspec.json.encode(members))
        elif not self._may_be_bare:
            text = "Only conversations may be sent here, and the request's body holds no messages"
            raise refuse(Cause.BODY_INVALID, text, param="messages")


def _operation(ctx: Access) -> Operation | None:
    """What a native caller asks for; None: it speaks another API, or is refused anyway."""
    if ctx.dialect != "bedrock-native":
        return None
    found = operations.match(ctx.request.method, ctx.request.path)
    return None if found is None else found.operation


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    """The same plain values, with values for the variables in their texts."""
    if isinstance(value, str):
        return VARIABLE.sub(lambda found: values[found[1]], value)
    if is_object(value):
        return {name: _filled(child, values) for name, child in value.items()}
    if is_list(value):
        return [_filled(child, values) for child in value]
    return value


def _said(message: Message, values: Mapping[str, str]) -> Said:
    return Said(message.role, cast("str", _filled(message.content, values)))

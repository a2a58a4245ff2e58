"""What `prompt-template` may be told: prompts that callers fill in, and what stands around conversations.

A template is JSON, as Kong's is: members of a request, with `{{name}}` inside its texts. It is parsed here,
once, and a value is later put into a text, never into JSON: so nothing that a caller writes can end a text
and begin a member.

Kong has a plugin of its own for what stands around a conversation (ai-prompt-decorator); here it is
`decorate`, since both change the same place, and in this order.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, Literal, TypeAlias, cast

import msgspec
from msgspec import Meta, field

from stargate_core.config.problems import Misfit, Path, nearest, refuse

VARIABLE: Final = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_.-]{0,63})\s*\}\}")
_BRACES: Final = re.compile(r"\{\{.{0,40}")
KNOWN: Final = ("consumer", "model", "date")
"""What may stand in a decoration: nobody fills it in but the gateway."""
TemplateName: TypeAlias = Annotated[
    str,
    Meta(
        max_length=128,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*\Z",
        description="a name of letters, digits, _, . and -",
    ),
]
_CONVERSATIONS: Final = ("messages", "input", "prompt", "inputText")


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt with variables."""

    name: TemplateName
    template: Annotated[str, Meta(min_length=1, max_length=1 << 20)]
    """A JSON object: members of a request, `messages` or `prompt` among them; or a text, which is the
    user's one message.
    """
    variables: list[TemplateName] | None = None
    """The variables there are, for checking: one that stands in the template and not here is a slip."""

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        try:
            members = self.members
        except ValueError as error:
            yield Misfit(
                "template", f"expected a JSON object, or a text that does not begin with {{: {error}"
            )
            return
        if not any(name in members for name in _CONVERSATIONS):
            message = f"expected one of {', '.join(_CONVERSATIONS)} in the template"
            yield Misfit("template", message)
        for text in texts_in(members):
            yield from _misfit_braces(text, ("template",))
        used = variables_of(members)
        for name in used if self.variables is not None else ():
            if name not in (self.variables or ()):
                near = nearest(name, self.variables or ())
                hint = f"did you mean {near}?" if near else "or name it in variables"
                message = "expected only variables that `variables` names"
                yield Misfit("template", message, name, hint, beside=("variables",))
        for at, name in enumerate(self.variables or ()):
            if name not in used:
                yield Misfit(("variables", at), "expected a variable of the template", name)

    @property
    def members(self) -> dict[str, Any]:
        """The template's members. Raises ValueError where it is no JSON object."""
        text = self.template.strip()
        if not text.startswith("{") or VARIABLE.match(text):
            return {"messages": [{"role": "user", "content": self.template}]}
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError(str(error)) from None
        return cast("dict[str, Any]", value)


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message that stands before or behind what the caller says."""

    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Meta(min_length=1, max_length=1 << 20)]

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        yield from _misfit_braces(self.content, ("content",))
        for name in variables_of(self.content):
            if name not in KNOWN:
                near = nearest(name, KNOWN)
                hint = f"did you mean {near}?" if near else ""
                yield Misfit("content", f"expected only these variables: {', '.join(KNOWN)}", name, hint)


class Decorate(msgspec.Struct, frozen=True, kw_only=True):
    """What is put around every conversation."""

    prepend: Annotated[list[Message], Meta(max_length=15)] = field(default_factory=list[Message])
    append: Annotated[list[Message], Meta(max_length=15)] = field(default_factory=list[Message])


class PromptTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """Prompts that callers fill in, and what is put around every conversation."""

    templates: list[Template] = field(default_factory=list[Template])
    allow_untemplated_requests: bool = True
    """Whether a caller may also say what it likes."""
    decorate: Decorate = field(default_factory=Decorate)
    undecorated: Literal["reject", "allow"] = "reject"
    """What happens to a prompt that is no conversation, and so cannot be decorated."""
    properties_max_bytes: Annotated[int, Meta(ge=1, le=1 << 30)] = 1_048_576
    """Of all values together that a caller fills in."""

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        if not (self.templates or self.decorate.prepend or self.decorate.append):
            yield Misfit("", "expected templates, or decorate with prepend or append: it would do nothing")
        if not self.allow_untemplated_requests and not self.templates:
            message = "expected true, or templates: without any, no request could be made"
            yield Misfit("allow_untemplated_requests", message, beside=("templates",))
        seen: set[str] = set()
        for at, template in enumerate(self.templates):
            if template.name in seen:
                yield Misfit(("templates", at, "name"), "expected a name of its own", template.name)
            seen.add(template.name)


def texts_in(value: Any) -> Iterator[str]:
    """All texts of plain values, but for names of members."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        children: Iterable[Any] = cast("Any", value.values() if isinstance(value, dict) else value)
        for child in children:
            yield from texts_in(child)


def variables_of(value: Any) -> list[str]:
    """The names of the variables that stand in the texts, each once, in order."""
    return list(dict.fromkeys(name for text in texts_in(value) for name in VARIABLE.findall(text)))


def _misfit_braces(text: str, where: Path) -> Iterator[Misfit]:
    rest = _BRACES.search(VARIABLE.sub("", text))
    if rest is not None:
        yield Misfit(where, "expected a variable as {{name}}", rest[0])

"""A Messages request: read for what policy must know, and carried to InvokeModel without a loss.

Bedrock's InvokeModel takes Anthropic's own body, so hardly anything is to be done: `model` and `stream` go
into the path, `anthropic_version` says that it is Bedrock's form, and betas come from the header into the
body. All else stays as it came, byte for byte and in its order: `cache_control`, system texts, signatures of
thoughts, numbers, escapes. Members that nobody here knows are passed on.

Checked is what the gateway itself builds on (the model's name, whether it streams, how much may be produced)
and that there are messages at all; the words for what is wrong are Anthropic's. Everything else is the
model's business, and its refusal is passed on in its own words.

What Bedrock lacks altogether is in a table. A request that asks for it is refused and told all of it at
once; or, where the operator says that such things be dropped, it goes without them, and without the betas
that belong to them: either one alone would be refused. A null asks for nothing and is left out always.
`metadata` stays, with its user_id: Bedrock takes it.

Where the operator has the gateway say what is cached, a request without any mark gets its own
(`anthropic_invoke_caching`); that, too, is nothing that a caller has written.

Sources: anthropic-sdk-python src/anthropic/lib/bedrock/_client.py; AWS's user guide, "Anthropic Claude
Messages API"; https://code.claude.com/docs/en/llm-gateway-protocol.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from stargate_core.aws.operations import Operation
from stargate_core.dialects import anthropic_betas as betas
from stargate_core.dialects.anthropic_invoke_blocks import OBJECT, Members, encoded, go_through, opening
from stargate_core.dialects.anthropic_invoke_caching import mark_by_itself
from stargate_core.dialects.anthropic_invoke_signs import Signs, signs_of
from stargate_core.dialects.anthropic_invoke_sources import bring, urls_of
from stargate_core.dialects.converse import NOT_JSON
from stargate_core.dialects.converse_headers import MEMBERS as SERVED_MEMBERS
from stargate_core.dialects.face import Ask, Fetched, Options, PromptCaching, Request, Target
from stargate_core.dialects.guardrails import MEMBER as GUARDRAIL
from stargate_core.dialects.guardrails import Guardrail
from stargate_core.dialects.openai_chat_request import malformed
from stargate_core.faults import Cause, Refused, refuse
from stargate_core.secret import Private

VERSION: Final = "bedrock-2023-05-31"
_USER_PROFILE: Final = b"anthropic-user-profile-id"
_NULL: Final = Raw(b"null")
_TOKENS_MAX: Final = 2**31 - 1
_NO_MESSAGES: Final = re.compile(rb"\[[ \t\n\r]*\]")
_GUARDRAIL: Final = msgspec.json.Decoder(Guardrail)


class Lack(msgspec.Struct, frozen=True):
    """A feature of Anthropic's own API that Bedrock does not have."""

    name: str
    why: str
    betas: tuple[str, ...] = ()
    """How the values of `anthropic-beta` begin that are about it."""


LACKS: Final = (
    Lack("service_tier", "Bedrock's own tiers are asked for with X-Amzn-Bedrock-Service-Tier"),
    Lack("container", "Bedrock runs no code in containers", ("code-execution-", "skills-")),
    Lack("mcp_servers", "Bedrock connects to no MCP server", ("mcp-client-", "mcp-tunnels-")),
    Lack("additionalModelResponseFieldPaths", "a model that is asked in its own words answers whole"),
    Lack("inference_geo", "on Bedrock the region and the inference profile say where a model runs"),
)
SCOPE: Final = Lack("cache_control.scope", "Bedrock's prompt cache has no scopes", ("prompt-caching-scope-",))


class MessagesAsk(Private, msgspec.Struct, frozen=True):
    """A request as it was read."""

    members: Members
    signs: Signs


# ---------------------------------------------------------------------------------------------------- reading


def members_of(body: bytes) -> Members:
    """The body's members. Raises Refused where it is no JSON object."""
    try:
        body.decode()  # The decoder looks at no text that it leaves as it is.
        return OBJECT.decode(body)
    except msgspec.ValidationError:
        raise refuse(Cause.BODY_INVALID, "The request's body must be a JSON object") from None
    except NOT_JSON as error:
        raise malformed(error) from None


def ask_of(request: Request, *, counting: bool = False) -> Ask:
    """What is asked for. counting: nothing is to be produced. Raises Refused."""
    members = members_of(request.body)
    model, stream, heat = (_plain(members, name) for name in ("model", "stream", "temperature"))
    if model is not None and not isinstance(model, str):
        raise _wrong("model", "Input should be a valid string")
    if stream is not None and not isinstance(stream, bool):
        raise _wrong("stream", "Input should be a valid boolean")
    tokens_max = 0 if counting else _tokens_max(members)
    _check_messages(members)
    signs = signs_of(request.body)
    return Ask(
        model=model or None,
        stream=stream is True and not counting,
        body=MessagesAsk(members, signs),
        operation=Operation.COUNT_TOKENS if counting else None,
        output_tokens_max=tokens_max,
        temperature=_temperature(heat),
        urls=urls_of(members) if signs.urls else (),
    )


def asked(ask: Ask) -> MessagesAsk:
    """A request that was read here."""
    assert isinstance(ask.body, MessagesAsk)
    return ask.body


def guardrail_member(members: Members) -> Guardrail | None:
    """The guardrail that a body names as Converse would. Raises Refused."""
    raw = members.get(GUARDRAIL, _NULL)
    if raw == _NULL:
        return None
    try:
        return _GUARDRAIL.decode(raw)
    except NOT_JSON as error:
        raise _wrong(GUARDRAIL, str(error)) from None


def _plain(members: Members, name: str) -> Any:
    raw = members.get(name)
    try:
        return None if raw is None or opening(raw) in b"[{" else msgspec.json.decode(raw)
    except NOT_JSON:
        raise _wrong(name, "Input should be valid") from None


def _tokens_max(members: Members) -> int:
    """How many tokens may be produced. None at all is a way to fill the prompt cache."""
    if "max_tokens" not in members:
        raise _wrong("max_tokens", "Field required")
    value = _plain(members, "max_tokens")
    if type(value) is not int:
        raise _wrong("max_tokens", "Input should be a valid integer")
    if value < 0:
        raise _wrong("max_tokens", "Input should be greater than or equal to 0")
    if value > _TOKENS_MAX:
        raise _wrong("max_tokens", f"Input should be less than or equal to {_TOKENS_MAX}")
    return value


def _temperature(value: Any) -> float | None:
    """What policy makes of a temperature; whether it is one, the model says."""
    if type(value) is float or (type(value) is int and abs(value) <= _TOKENS_MAX):
        return float(value)
    return None


def _check_messages(members: Members) -> None:
    raw = members.get("messages")
    if raw is None:
        raise _wrong("messages", "Field required")
    if opening(raw) != b"[":
        raise _wrong("messages", "Input should be a valid list")
    if _NO_MESSAGES.match(memoryview(raw)) is not None:
        raise _wrong("messages", "at least one message is required")


def _wrong(name: str, said: str) -> Refused:
    return refuse(Cause.BODY_INVALID, f"{name}: {said}", param=name)


# --------------------------------------------------------------------------------------------------- carrying


def invoke_body(
    request: Request,
    ask: MessagesAsk,
    target: Target,
    fetched: Mapping[str, Fetched],
    *,
    counting: bool = False,
) -> bytes:
    """The body of InvokeModel. fetched: what was at the URLs of the request. Raises Refused."""
    options = target.options
    left_out = ("model", "stream", GUARDRAIL, *SERVED_MEMBERS)
    sent = {name: value for name, value in ask.members.items() if name not in left_out}
    told = betas.betas_of(request, ask.members.get(betas.MEMBER))
    without = _leave_out(sent, ask.signs, options)
    if ask.signs.urls or ask.signs.files:
        bring(sent, fetched, all_of_them=True)
    if options.prompt_caching is PromptCaching.AUTO and not ask.signs.marks:
        mark_by_itself(sent, target.model)
    add_user_profile(request, sent)
    sent["anthropic_version"] = Raw(encoded(VERSION))
    flags = betas.betas_told(told, options, without)
    if flags:
        sent[betas.MEMBER] = Raw(encoded(flags))
    else:
        sent.pop(betas.MEMBER, None)
    if counting:
        sent.setdefault("max_tokens", Raw(b"1"))
    return encoded(sent)


def add_user_profile(request: Request, sent: Members) -> None:
    """Whom a request is made for stands in a header of Anthropic's; on Bedrock, in the body."""
    profile = request.header(_USER_PROFILE)
    if profile is not None:
        sent.setdefault("user_profile_id", Raw(encoded(profile.decode("latin-1"))))


def _leave_out(sent: Members, signs: Signs, options: Options) -> tuple[str, ...]:
    """Take out what Bedrock lacks; how the betas begin that go with it. Raises Refused."""
    found: list[tuple[str, Lack]] = []
    for lack in LACKS:
        if sent.get(lack.name, _NULL) != _NULL:
            found.append((lack.name, lack))
        if options.drop_params or sent.get(lack.name) == _NULL:
            sent.pop(lack.name, None)
    if signs.scopes:
        found += [(place, SCOPE) for place in _unscope(sent)]
    if found and not options.drop_params:
        said = "; ".join(f"{place}: Extra inputs are not permitted ({lack.why})" for place, lack in found)
        raise refuse(Cause.BODY_INVALID, said, param=found[0][0])
    return tuple(beta for _, lack in found for beta in lack.betas)


def _may_be_scoped(data: bytes) -> bool:
    return b'"scope"' in data


def _unscope(sent: Members) -> list[str]:
    """Take every scope out of a `cache_control`; where they were."""
    places: list[str] = []

    def visit(block: Members, place: str) -> bool:
        try:
            settings = OBJECT.decode(block.get("cache_control", _NULL))
        except NOT_JSON:
            return False
        if "scope" not in settings:
            return False
        del settings["scope"]
        block["cache_control"] = Raw(encoded(settings))
        places.append(f"{place}.{SCOPE.name}".removeprefix("."))
        return True

    go_through(sent, _may_be_scoped, visit)
    return places

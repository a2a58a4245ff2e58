"""request-size: how much one request may ask for.

The gateway's own `max_body_bytes` protects its memory, and is one number for all. This protects a budget and
a model's queue, and may differ from place to place and from consumer to consumer: bytes of the body, messages
of the conversation, tokens of the prompt, tokens of the answer.

- A body's bytes are counted before anything is read of it. A request that is too large in one of the other
  ways is refused with 400, since the body as such is none too large; that the *prompt* is too long is said in
  the words by which Claude Code and others know to shorten it.
- Tokens of the prompt are estimated (limits/estimate.py): nobody can count them before the call.
- A caller that wants a longer answer than it may is refused, or, with `clamp`, its number is lowered to the
  limit in the place where it wrote it. One that names no number has the model's own limit; where that is too
  much, a model's name with a lower limit is the cure, not this plugin.
- `clamp` lowers no budget for thinking. One that is not below the lowered limit is refused by the model.

It runs before the request is transformed and before limits are counted: what is measured is what the caller
has sent.

Sources: Kong's kong/plugins/request-size-limiting/handler.lua (its place, its units).
"""

from typing import Any, ClassVar, Final, TypeGuard

import msgspec
from msgspec import UNSET, Raw, UnsetType

from stargate_core.config.plugin_configs import BUILT_IN
from stargate_core.config.request_size import RequestSize
from stargate_core.config.schema import Scope
from stargate_core.dialects.texts import opened
from stargate_core.faults import Cause, Fault
from stargate_core.limits.estimate import input_tokens
from stargate_core.views import Access

_PLACES: Final = (
    ("max_tokens",),
    ("max_completion_tokens",),
    ("max_output_tokens",),
    ("max_gen_len",),
    ("max_new_tokens",),
    ("maxTokens",),
    ("inferenceConfig", "maxTokens"),
    ("inferenceConfig", "max_new_tokens"),
    ("textGenerationConfig", "maxTokenCount"),
)
"""Where the dialects, and the families of models, have the most tokens of an answer."""


class _Listed(msgspec.Struct):
    """What may hold a conversation."""

    messages: Raw | UnsetType = UNSET
    input: Raw | UnsetType = UNSET


_LISTED: Final = msgspec.json.Decoder(_Listed)
_ITEMS: Final = msgspec.json.Decoder(list[Raw])


class RequestSizePlugin:
    """Refuses what is too large."""

    NAME: ClassVar[str] = "request-size"
    PRIORITY: ClassVar[int] = 951
    CONFIG: ClassVar[type[msgspec.Struct]] = RequestSize
    SCOPES: ClassVar[frozenset[Scope]] = BUILT_IN["request-size"].scopes

    def __init__(self, config: RequestSize) -> None:
        self._config = config
        self._bytes_max = config.body_bytes_max

    def access(self, ctx: Access) -> None:
        """Refuse a request that is too large, or lower what it wants."""
        config, body = self._config, ctx.request.body
        if self._bytes_max is not None and len(body) > self._bytes_max:
            text = f"The request's body has {len(body)} bytes, and may have {self._bytes_max} here"
            ctx.reject(Fault(Cause.BODY_TOO_LARGE, text))
        if config.max_messages is not None:
            name, count = _messages(body)
            if count > config.max_messages:
                text = f"The request has {count} messages, and may have {config.max_messages} here"
                ctx.reject(Fault(Cause.BODY_INVALID, text, param=name))
        if config.max_prompt_tokens is not None:
            tokens = input_tokens(body)
            if tokens > config.max_prompt_tokens:
                text = (
                    f"prompt is too long: about {tokens} tokens, of {config.max_prompt_tokens} allowed here"
                )
                ctx.reject(Fault(Cause.CONTEXT_OVERFLOW, text))
        if config.max_output_tokens is not None:
            self._look_at_output(ctx, config.max_output_tokens)

    def _look_at_output(self, ctx: Access, tokens_max: int) -> None:
        wanted = ctx.ask.output_tokens_max
        if wanted is None or wanted <= tokens_max:
            return
        body: Any = opened(ctx.request.body).value
        found = [place for place in _PLACES if _is_more(_at(body, place), tokens_max)]
        if found and self._config.on_output_excess == "clamp":
            for place in found:
                _at(body, place[:-1])[place[-1]] = tokens_max
            ctx.revise_request(body=msgspec.json.encode(body))
            return
        text = f"The answer may have {tokens_max} tokens here, and the request lets it have {wanted}"
        ctx.reject(Fault(Cause.BODY_INVALID, text, param=".".join(found[0]) if found else None))


def _messages(body: bytes) -> tuple[str, int]:
    """How many messages there are, and in which member; what can't be read has none, and is refused later."""
    try:
        listed = _LISTED.decode(body)
        name, raw = ("messages", listed.messages) if listed.messages else ("input", listed.input)
        items = _ITEMS.decode(raw) if raw else []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", 0
    # The texts of an embedding stand in `input` too, and are no messages.
    return name, sum(bytes(item).lstrip()[:1] == b"{" for item in items)


def _is_object(node: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(node, dict)


def _at(node: Any, place: tuple[str, ...]) -> Any:
    for key in place:
        if not _is_object(node):
            return None
        node = node.get(key)
    return node


def _is_more(value: Any, limit: int) -> bool:
    return isinstance(value, int | float) and value > limit

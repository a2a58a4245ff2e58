"""Anthropic's list of models (`GET /v1/models`, `GET /v1/models/{id}`), answered by the gateway itself.

OpenAI's list has the same paths. Who sends `anthropic-version` speaks Anthropic's API, as all its SDKs do;
everybody else gets OpenAI's form (openai_models.py).

    {"data": [{"type": "model", "id", "display_name", "created_at", "lifecycle"}, …],
     "has_more": bool, "first_id": str | null, "last_id": str | null}

The list comes in pages: of `limit` models (20, at most 1000), behind `after_id` or before `before_id`. What
the list is of, and its order, is the same as for OpenAI's; so is what is left out: where a name leads. A
name's day of birth is nobody's to know, and Anthropic has a word for that: the epoch.

Sources: anthropic-sdk-python src/anthropic/types/model_info.py, model_list_params.py;
https://docs.anthropic.com/en/api/models-list; Claude Code's gateway protocol
(code.claude.com/docs/en/llm-gateway-protocol).
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs

import msgspec

from stargate_core.aws.surfaces import Surface
from stargate_core.dialects import openai_models
from stargate_core.dialects.anthropic_errors import failure
from stargate_core.dialects.face import Ask, Call, ModelCard, Reply, Request, Target, Translator
from stargate_core.faults import Cause, Fault, refuse
from stargate_core.secret import Private

VERSION_HEADER: Final = b"anthropic-version"
"""Whoever sends it reads Anthropic's form."""
LIMIT: Final = 20
LIMIT_MAX: Final = 1000
_EPOCH: Final = "1970-01-01T00:00:00Z"
_ACTIVE: Final = "active"
_JSON: Final = (b"content-type", b"application/json")


class AnthropicModels:
    """The dialect. It has no state."""

    __slots__ = ()

    NAME: ClassVar[str] = "anthropic-models"
    SURFACES: ClassVar[tuple[Surface, ...]] = ()
    REQUEST_ID_HEADER: ClassVar[bytes] = b"request-id"
    LIMIT_FAMILY: ClassVar[str] = "anthropic"

    def read(self, request: Request) -> Ask:
        """Which model, or which page of them, is asked about. Raises Refused."""
        if request.path == openai_models.PATH:
            return Ask(model=None, stream=False, body=_page(request.query), local=True)
        return openai_models.read_name(request)

    def answer_locally(self, request: Request, ask: Ask, models: Sequence[ModelCard]) -> Reply:
        """The page, or the one model asked about. Raises Refused where the caller may not name it."""
        names = list(dict.fromkeys(model.id for model in models))
        if isinstance(ask.body, _Page):
            return _reply(_listing(ask.body, names))
        if ask.body not in names:
            raise openai_models.unknown(ask.body)
        return _reply(_card(ask.body))

    def compose(self, request: Request, ask: Ask, target: Target) -> Call:
        """Never asked: the answer is local."""
        raise AssertionError("a list of models is not a call to Bedrock")

    def translator(self, request: Request, ask: Ask, call: Call) -> Translator:
        """Never asked: the answer is local."""
        raise AssertionError("a list of models is not a call to Bedrock")

    def failure(self, fault: Fault, request_id: str) -> Reply:
        """An error in Anthropic's envelope."""
        return failure(fault, request_id)


class _Page(Private, msgspec.Struct, frozen=True):
    """Which part of the list is wanted."""

    limit: int = LIMIT
    after: str | None = None
    before: str | None = None
    empty: bool = False
    """Only models in another stage of life than ours are wanted."""


def _page(query: bytes) -> _Page:
    """What a query asks for; what it says beside that means nothing here. Raises Refused."""
    try:
        fields = parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise refuse(Cause.BODY_INVALID, "The query has too many parameters") from None
    limit = LIMIT
    if "limit" in fields:
        digits = fields["limit"][0]
        limit = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 9 else 0
        if not 1 <= limit <= LIMIT_MAX:
            raise refuse(Cause.BODY_INVALID, f"limit must be from 1 to {LIMIT_MAX}", param="limit")
    after, before = (fields.get(name, [None])[0] for name in ("after_id", "before_id"))
    if after is not None and before is not None:
        raise refuse(Cause.BODY_INVALID, "after_id and before_id cannot stand together", param="before_id")
    stages = [*fields.get("lifecycle", []), *fields.get("lifecycle[]", [])]
    return _Page(limit, after, before, empty=bool(stages) and _ACTIVE not in stages)


def _listing(page: _Page, names: Sequence[str]) -> dict[str, Any]:
    """The page of these names. Raises Refused where its cursor is none of them."""
    first, behind = 0, len(names)
    if page.after is not None:
        first = _place(page.after, names, "after_id") + 1
    if page.before is not None:
        behind = _place(page.before, names, "before_id")
        first = max(0, behind - page.limit)
    shown: Sequence[str] = names[first : min(behind, first + page.limit)]
    more = first > 0 if page.before is not None else first + len(shown) < len(names)
    if page.empty:
        shown, more = (), False
    return {
        "data": [_card(name) for name in shown],
        "has_more": more,
        "first_id": shown[0] if shown else None,
        "last_id": shown[-1] if shown else None,
    }


def _place(cursor: str, names: Sequence[str], param: str) -> int:
    if cursor not in names:
        raise refuse(Cause.BODY_INVALID, f"{param} names no model of this list", param=param)
    return names.index(cursor)


def _card(name: str) -> dict[str, Any]:
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": _EPOCH,
        "lifecycle": _ACTIVE,
    }


def _reply(value: dict[str, Any]) -> Reply:
    return Reply(200, [_JSON], msgspec.json.encode(value))

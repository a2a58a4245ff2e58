"""Earlier answers: what is kept of one, and how a request that refers to it becomes whole again.

A request may refer to an answer (`previous_response_id`: the conversation up to it comes before the request's
own input) or to an item of one (`item_reference`: the item stands where the reference does). Both ids are of
our making and bear the answer's id, so a request says by itself which answers it needs; whoever keeps them
(the plugin `response-store`) finds them by that.

Kept are the input as the model was given it, references resolved, and the output. Not the instructions, which
OpenAI too lets each request say anew. What is longer than the operator has it kept is not kept, and the
answer's `store` is false in the end.

A reference that leads nowhere is refused, and never skipped: the model would answer a conversation with a
hole in it. So is one where nothing is kept at all, with the advice to send the items themselves.

Source: https://platform.openai.com/docs/api-reference/responses/create (previous_response_id, store).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from stargate_core.dialects.converse import NOT_JSON
from stargate_core.dialects.openai_responses_request import Decoded, ItemReference, item_of
from stargate_core.faults import Cause, Refused, refuse
from stargate_core.secret import Private

_ANSWER: Final = re.compile(r"resp_[0-9a-f]{32}")
_ITEM: Final = re.compile(r"[a-z]+_([0-9a-f]{32})_[0-9]+")
_PREVIOUS: Final = "previous_response_id"


class Kept(Private, msgspec.Struct, frozen=True):
    """What is kept of an answer."""

    input: list[Raw]
    output: list[Raw]


class _Id(Private, msgspec.Struct):
    id: str | None = None


_KEPT: Final = msgspec.json.Decoder(Kept)
_ID: Final = msgspec.json.Decoder(_Id)
_encode: Final = msgspec.json.Encoder().encode


def answers_needed(asked: Decoded) -> tuple[str, ...]:
    """The ids of the answers that a request refers to, each once."""
    needed: dict[str, None] = {}
    previous = asked.request.previous_response_id
    if previous is not None and _ANSWER.fullmatch(previous):
        needed[previous] = None
    for item in asked.items:
        found = _ITEM.fullmatch(item.id) if isinstance(item, ItemReference) else None
        if found is not None:
            needed[f"resp_{found[1]}"] = None
    return tuple(needed)


def made_whole(asked: Decoded, recalled: Mapping[str, bytes], *, remembers: bool) -> Decoded:
    """The request with what it refers to in its place. remembers: whether anything is kept here. Raises
    Refused.
    """
    kept = {answer_id: _read(value) for answer_id, value in recalled.items()}
    places: list[str] = []
    raws: list[Raw] = []
    previous = asked.request.previous_response_id
    if previous is not None:
        found = kept.get(previous)
        if found is None:
            raise _unknown(f"The earlier answer {previous[:80]!r}", _PREVIOUS, remembers=remembers)
        raws += [*found.input, *found.output]
        places += [_PREVIOUS] * len(raws)
    for place, item, raw in zip(asked.places, asked.items, asked.raws, strict=True):
        if isinstance(item, ItemReference):
            raw = _item(item, kept, place, remembers=remembers)
        raws.append(raw)
        places.append(place)
    items = [item_of(raw, place) for raw, place in zip(raws, places, strict=True)]
    stores = remembers and asked.request.store is not False
    return msgspec.structs.replace(asked, items=items, raws=raws, places=places, stores=stores)


def kept(given: list[Raw], output: Iterable[Any]) -> bytes:
    """What to keep of an answer. given: the input of its request, whole."""
    return _encode(Kept(given, [Raw(_encode(item)) for item in output]))


def _read(value: bytes) -> Kept | None:
    """What was kept; None where it cannot be read, as if another version had kept it."""
    try:
        return _KEPT.decode(value)
    except NOT_JSON:
        return None


def _item(reference: ItemReference, kept: Mapping[str, Kept | None], place: str, *, remembers: bool) -> Raw:
    found = _ITEM.fullmatch(reference.id)
    answer = kept.get(f"resp_{found[1]}") if found is not None else None
    for raw in _outputs(answer):
        if _ID.decode(raw).id == reference.id:
            return raw
    raise _unknown(f"The item {reference.id[:80]!r}", place, remembers=remembers)


def _outputs(answer: Kept | None) -> Iterator[Raw]:
    if answer is not None:
        yield from answer.output


def _unknown(what: str, param: str, *, remembers: bool) -> Refused:
    if remembers:
        return refuse(Cause.BODY_INVALID, f"{what} is not known, or not any more", param=param)
    return refuse(
        Cause.BODY_INVALID,
        f"{what} is not known: nothing is kept here. Send the whole conversation as `input`, outputs of "
        "earlier turns included, as SDKs do with `store: false`, or have the gateway keep answers",
        param=param,
    )

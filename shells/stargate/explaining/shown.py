"""An explanation in words, line by line, for a terminal or a page.

It holds no byte that could steer a terminal.
"""

import re
from collections.abc import Iterator
from typing import Final

from stargate_core.causes import Cause
from stargate_core.gateway.explanation import Ending, Explanation, Limit, Message, Step, Way

_SHOWN_CHARS: Final = 16_384
"""Of a body, for people; programs get all of it."""
_STEERING: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_ENDINGS: Final = {
    Ending.SENT: "would be sent",
    Ending.ANSWERED: "would be answered by the gateway",
    Ending.REFUSED: "would be refused",
}


def lines(told: Explanation, *, shares_keys: bool) -> Iterator[str]:
    """The lines. shares_keys: whether keys may live in a store that nobody has asked."""
    for line in _lines(told, shares_keys=shares_keys):
        yield unsteered(line)


def unsteered(text: str) -> str:
    """A text without what could steer a terminal."""
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", text)


def _lines(told: Explanation, *, shares_keys: bool) -> Iterator[str]:
    yield f"{told.method} {told.target}: {_ENDINGS[told.ending]}"
    yield ""
    if shares_keys and told.refusal is not None and told.refusal.cause == Cause.KEY_INVALID.name:
        yield "Keys that live in the store are not known here: only those of the file are."
        yield ""
    for name, lines in _paragraphs(told):
        for number, line in enumerate(lines):
            yield f"{name if number == 0 else '':<11} {line}"
    if told.call is not None:
        yield ""
        yield from _message(told.call)
        if told.call.times > 1:
            yield f"(and {told.call.times - 1} more calls like it, for the other inputs)"
    if told.answer is not None:
        yield ""
        yield from _message(told.answer)


def _paragraphs(told: Explanation) -> Iterator[tuple[str, list[str]]]:
    if told.refusal is not None:
        yield "refused", _refusal(told)
    yield "time", [f"{told.at}, request id {told.request_id or 'none'}, generation {told.generation}"]
    yield "route", [_route(told)]
    yield "plugins", _plugins(told.plugins)
    yield "caller", [_caller(told)]
    if told.wanted is not None:
        yield "asks for", _wanted(told)
    if told.ways:
        yield "goes to", _ways(told)
    if told.limits:
        yield "takes", [_limit(limit) for limit in told.limits]
    if told.cache is not None:
        yield "cache", _cache(told)
    if told.asked:
        yield "assumed", [f"{asked.question} ({asked.about}): {asked.assumed}" for asked in told.asked]
    if told.notes:
        yield "notes", list(told.notes)


def _refusal(told: Explanation) -> list[str]:
    refusal = told.refusal
    assert refusal is not None
    where = f" by {refusal.plugin}, in {refusal.phase}" if refusal.plugin else ""
    lines = [f"{refusal.cause} ({refusal.status} {refusal.code}){where}: {refusal.message}"]
    if refusal.detail:
        lines.append(f"the log would add: {refusal.detail}")
    return lines


def _route(told: Explanation) -> str:
    if not told.route:
        return f"none; answers are worded for {told.dialect}"
    if told.service or told.place:
        place = f"service {told.service or 'none'}, route {told.place or 'without a name'}"
    else:
        place = "a built-in path" if told.route == told.dialect else "without a service"
    return f"{told.route}, {place}; speaks {told.dialect}"


def _plugins(steps: tuple[Step, ...]) -> list[str]:
    """A line a phase, in the order of their running."""
    phases: dict[str, list[str]] = {}
    for step in steps:
        mark = "" if step.state in ("ran", "would run") else f" [{step.state}]"
        phases.setdefault(step.phase, []).append(f"{step.plugin} ({step.priority}){mark}")
    return [f"{phase}: {', '.join(hooks)}" for phase, hooks in phases.items()] or ["none"]


def _caller(told: Explanation) -> str:
    caller = told.caller
    if not caller.consumer:
        return "not known"
    groups = f", of {', '.join(caller.groups)}" if caller.groups else ""
    models = "" if caller.models is None else f"; may call {', '.join(caller.models) or 'nothing'}"
    return f"{caller.consumer}, by key {caller.key_id}{groups}{models}"


def _wanted(told: Explanation) -> list[str]:
    wanted = told.wanted
    assert wanted is not None
    name = "no model by name" if wanted.model is None else f"model {wanted.model}"
    if wanted.target and wanted.target != wanted.model:
        name += f", which is {wanted.target}"
    tokens = wanted.output_tokens_max
    limits = "" if tokens is None else f"; at most {tokens} tokens of output"
    chance = "" if wanted.temperature is None else f"; temperature {wanted.temperature:g}"
    form = "as a stream" if wanted.stream else "in one piece"
    operation = f" ({wanted.operation})" if wanted.operation else ""
    return [f"{name}, {form}{operation}{limits}{chance}"]


def _ways(told: Explanation) -> list[str]:
    lines = [line for number, way in enumerate(told.ways, 1) for line in _way(number, way)]
    if told.drawn:
        lines.append("in an order drawn by weight: another request may find another")
    if told.repetitions:
        lines.append(f"repeated up to {told.repetitions} times where that may help")
    return lines


def _way(number: int, way: Way) -> Iterator[str]:
    yield f"{number}. {way.name}: {way.url}"
    refusal = f"; left out: {way.refusal}" if way.refusal else ""
    yield f"   region {way.region}, surface {way.surface}, by authority of {way.authority}{refusal}"


def _limit(limit: Limit) -> str:
    if limit.algorithm == "concurrent":
        window = "at a time"
    else:
        window = f"in {limit.window_seconds:g} s" if limit.window_seconds else "in a month"
    left = "" if limit.remaining is None else f"; {limit.remaining} left of an unused one"
    refused = "; REFUSED" if limit.refused else ""
    return f"{limit.cost} of {limit.limit} {window} ({limit.algorithm}), {limit.bucket}{left}{refused}"


def _cache(told: Explanation) -> list[str]:
    cache = told.cache
    assert cache is not None
    scope = cache.scope or "everybody"
    joins = "joins a call under way" if cache.joins else "joins no call under way"
    headers = ", ".join(f"{name}: {value}" for name, value in cache.headers)
    first = "; of several calls the first one's" if told.call is not None and told.call.times > 1 else ""
    call = f"{cache.operation} ({'stream' if cache.stream else 'plain'}), {cache.method} {cache.target}"
    return [
        f"{cache.digest}, shared by: {scope}{first}",
        f"kept {cache.kept_seconds:g} s, taken up to an age of {cache.age_max_seconds:g} s; {joins}",
        f"made of {call}, {headers}, {cache.body_bytes} bytes; models {', '.join(cache.models)}",
    ]


def _message(message: Message) -> Iterator[str]:
    yield message.start
    for name, value in message.headers:
        yield f"{name}: {value}"
    if message.body:
        yield ""
        if message.encoding != "utf-8":
            yield f"({message.encoding})"
        yield from message.body[:_SHOWN_CHARS].split("\n")
        if len(message.body) > _SHOWN_CHARS:
            yield f"… ({len(message.body)} characters in all; --json shows them)"

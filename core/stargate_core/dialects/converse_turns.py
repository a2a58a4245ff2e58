"""Turns of a conversation in Converse's form, changed for models that take less than others.

*Thoughts.* A model that reads no signed thoughts (`reasoning.takes_thoughts`) is given a conversation without
them. A turn that was nothing else is gone, and its neighbours, of one role now, become one: results of tools
stand at its head, as Bedrock wants them.

*Nothing beside results.* Llama and Mistral refuse whatever is said beside a tool's result: there it goes on
inside the last one.

The turns that are given are left as they are, for a retry may go to another model.

Sources: the texts of Bedrock's ValidationExceptions, and from which models pi, oh-my-pi, strands-agents,
langchain-aws and pydantic-ai have got them.
"""

import functools
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

Block: TypeAlias = dict[str, Any]

_NOTHING_BESIDE_RESULTS: Final = ("meta.llama", "mistral.")
_GOES_INSIDE: Final = frozenset({"text", "image", "document", "video", "searchResult"})
"""What a result of Converse's has a place for; all else stays where it is."""


def without_thoughts(messages: Sequence[Block]) -> list[Block]:
    """A conversation without the assistant's thoughts; roles alternate all the same."""
    turns: list[Block] = []
    for message in messages:
        content = [block for block in message["content"] if "reasoningContent" not in block]
        if all("cachePoint" in block for block in content):
            continue  # It was nothing but thoughts.
        if turns and turns[-1]["role"] == message["role"]:
            content = results_first([*turns.pop()["content"], *content])
        turns.append({"role": message["role"], "content": content})
    return turns


def results_first(content: Sequence[Block]) -> list[Block]:
    """A turn's content, in which its results stand before anything else, each with the mark behind it."""
    results: list[Block] = []
    others: list[Block] = []
    behind = others
    for block in content:
        if "cachePoint" not in block:
            behind = results if "toolResult" in block else others
        behind.append(block)
    return [*results, *others]


@functools.lru_cache(maxsize=256)
def nothing_beside_results(model: str) -> bool:
    """Whether a model (an id or ARN) refuses what is said beside a tool's result."""
    return any(family in model for family in _NOTHING_BESIDE_RESULTS)


def with_all_inside(messages: Sequence[Block]) -> list[Block]:
    """A conversation in which nothing is said beside a tool's result."""
    return [{**message, "content": _inside(message["content"])} for message in messages]


def _inside(content: list[Block]) -> list[Block]:
    """A turn's content: what stands beside its results becomes the end of the last one."""
    said = [block for block in content if not _GOES_INSIDE.isdisjoint(block)]
    apart = [block for block in content if _GOES_INSIDE.isdisjoint(block)]
    last = next((at for at in reversed(range(len(apart))) if "toolResult" in apart[at]), None)
    if last is None or not said:
        return content
    result: Block = apart[last]["toolResult"]
    apart[last] = {"toolResult": {**result, "content": [*result["content"], *said]}}
    return apart

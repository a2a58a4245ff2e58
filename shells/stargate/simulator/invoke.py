"""InvokeModel: which family a body belongs to, and how that family is read and answered.

The family is told from the model id; where that says nothing (ARNs, `simulator.…`), from the body.

Sources: AWS's user guide, "Inference request parameters and response fields for foundation models".
"""

import random
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

import msgspec

from stargate.simulator import anthropic, chat_completions, completions, converse
from stargate.simulator.completions import needed
from stargate.simulator.dialogue import Answer, Block, Prompt, Text
from stargate.simulator.errors import malformed
from stargate.simulator.events import Kind, StreamEvent
from stargate.simulator.json_tree import as_object

Body = Mapping[str, Any]


class Family(Protocol):
    """A family of text models."""

    def read(self, body: Body) -> Prompt:
        """The prompt of a body. Raises Refusal when the body is not the family's."""
        ...

    def document(self, answer: Answer, body: Body, model_id: str) -> Mapping[str, object]:
        """The answer's body."""
        ...

    def stream(self, answer: Answer, body: Body, model_id: str, rng: random.Random) -> Iterator[StreamEvent]:
        """The answer's stream."""
        ...


class _Anthropic:
    """Claude's messages."""

    def read(self, body: Body) -> Prompt:
        return anthropic.read(body)

    def document(self, answer: Answer, body: Body, model_id: str) -> Mapping[str, object]:
        return anthropic.document(answer, model_id)

    def stream(self, answer: Answer, body: Body, model_id: str, rng: random.Random) -> Iterator[StreamEvent]:
        return anthropic.stream(answer, model_id, rng)


class _ChatCompletions:
    """OpenAI's messages, as gpt-oss, Qwen and DeepSeek have them."""

    def read(self, body: Body) -> Prompt:
        return chat_completions.read(body)

    def document(self, answer: Answer, body: Body, model_id: str) -> Mapping[str, object]:
        return chat_completions.document(answer, body, model_id)

    def stream(self, answer: Answer, body: Body, model_id: str, rng: random.Random) -> Iterator[StreamEvent]:
        return chat_completions.stream(answer, model_id, rng)


class _Nova:
    """Converse's messages; answers are Converse's too, each stream event under its name.

    In a real stream every piece of text is a content block of its own, begun by its delta; so it is here.
    """

    def read(self, body: Body) -> Prompt:
        needed(body, "messages")
        inference = as_object(body.get("inferenceConfig"))
        tokens_max = inference.get("maxTokens", inference.get("max_new_tokens"))
        return converse.read_prompt({**body, "inferenceConfig": {**inference, "maxTokens": tokens_max}})

    def document(self, answer: Answer, body: Body, model_id: str) -> Mapping[str, object]:
        found = converse.document(answer, {})
        return {
            "output": found["output"],
            "stopReason": found["stopReason"],
            "usage": self._usage(answer, "totalTokens"),
        }

    def _usage(self, answer: Answer, *more: str) -> dict[str, object]:
        usage = converse.usage(answer)
        return {name: usage[name] for name in ("inputTokens", "outputTokens", *more)}

    def stream(self, answer: Answer, body: Body, model_id: str, rng: random.Random) -> Iterator[StreamEvent]:
        pieces: list[Block] = []
        for block in answer.blocks:
            pieces += map(Text, zip(block.tokens, strict=True)) if isinstance(block, Text) else (block,)
        split = msgspec.structs.replace(answer, blocks=tuple(pieces))
        for event in converse.stream(split, {}, rng):
            if event.kind is Kind.METADATA:
                metadata = {"usage": self._usage(answer), "metrics": _NOTHING, "trace": _NOTHING}
                payload = {
                    "metadata": metadata,
                    "amazon-bedrock-invocationMetrics": anthropic.metrics(answer),
                }
            else:
                payload = {event.name: event.payload}
            yield StreamEvent(event.kind, event.name, payload)


_NOTHING: Final[Mapping[str, object]] = {}

_PROVIDERS: Final[tuple[tuple[str, str, Family], ...]] = (
    (r"anthropic\.", "prompt", completions.CLAUDE_TEXT),
    (r"anthropic\.", "", _Anthropic()),
    (r"amazon\.nova", "", _Nova()),
    (r"amazon\.titan", "", completions.TITAN),
    (r"meta\.", "prompt", completions.LLAMA),
    (r"mistral\.", "prompt", completions.MISTRAL),
    (r"cohere\.command-r", "", completions.COHERE_CHAT),
    (r"cohere\.", "", completions.COHERE),
)
"""Provider in the model id, a member that the body must have for it (none: any), family. The first that
fits."""

_BY_ID: Final = [
    (re.compile(rf"(^|[./]){provider}"), member, family) for provider, member, family in _PROVIDERS
]

_BY_BODY: Final[tuple[tuple[str, Family], ...]] = (
    ("anthropic_version", _Anthropic()),
    ("inputText", completions.TITAN),
    ("schemaVersion", _Nova()),
    ("inferenceConfig", _Nova()),
    ("max_gen_len", completions.LLAMA),
    ("max_tokens_to_sample", completions.CLAUDE_TEXT),
    ("message", completions.COHERE_CHAT),
    ("messages", _ChatCompletions()),
    ("prompt", _ChatCompletions()),
)
"""A member that only this family's bodies have, for models whose id says nothing."""


def family_of(model_id: str, body: Body) -> Family:
    """The family whose body this is. Raises Refusal when it is nobody's.

    A body whose members have other types than they should makes `read` raise TypeError and the like; the
    caller answers that as malformed.
    """
    if "simulator." not in model_id:
        for pattern, member, family in _BY_ID:
            if pattern.search(model_id) and (not member or member in body):
                return family
    for member, family in _BY_BODY:
        if member in body:
            return family
    raise malformed("#: required key [messages] not found")

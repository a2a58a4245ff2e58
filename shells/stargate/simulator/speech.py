"""What the simulated model says: plausible, and the same whenever the same is asked.

The chance behind an answer is seeded by the request's own bytes, so a retried request gets the same answer,
a test can expect it, and two different prompts get different ones. The text echoes what was asked (which
shows that it arrived), names attachments and tool results (likewise), and holds characters beyond ASCII
(which get broken wherever a byte is taken for a character).

A tool is used when the caller's choice demands it, or when the last user text names it. `maxTokens` and
stop sequences are obeyed as a model obeys them: by stopping.
"""

import base64
import hashlib
import json
import random
import re
from typing import Final

import msgspec

from stargate.simulator import thoughts
from stargate.simulator.dialogue import (
    DIRECTIVE,
    Answer,
    Block,
    Choice,
    Citation,
    Prompt,
    Reasoning,
    RedactedReasoning,
    Text,
    Tool,
    ToolUse,
    split_tokens,
)
from stargate.simulator.guardrails import REFUSAL
from stargate.simulator.schemas import instance

_BANK: Final = (
    "The gate stands open, and the road beyond it is longer than the map admits.",
    "Every crossing — however brief — leaves its trace in the ledger.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "“Measure twice,” said the mason, “and sign once.”",
    "Here is what I can tell you: 42 ≈ 6 × 7, naïveté aside.",
    "古池や蛙飛びこむ水の音 is the whole of it, and it is enough.",
    "What was asked is answered; what was not asked stays quiet. 🌉",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "In short: yes, with the usual reservations about weather and time zones.",
    "Patience is cheaper than a retry, and rarer.",
)
_THOUGHTS: Final = (
    "The user wants an answer; let me weigh what was said.",
    "First things first: which facts do I have, and which do I only believe?",
    "That settles it — I can answer now.",
)
_ECHOED_WORDS: Final = 12
_CAPITALISED: Final = re.compile(r"(?<=\s)[^\W\d_a-z]\w+")


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What a scenario wants of an answer; the default is what the prompt alone brings about."""

    words: int | None = None
    stop_reason: str = ""
    reasoning: str = ""
    """plain | interleaved | redacted"""
    silent: bool = False
    """No content at all."""
    citing: str = ""
    """The kind of place that the text's second half cites."""
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    input_tokens: int | None = None


NO_WISHES: Final = Wishes()


def answer(prompt: Prompt, body: bytes, seed: int, wishes: Wishes = NO_WISHES) -> Answer:
    """What the model answers to `prompt`; `body` and `seed` decide whatever is left to chance."""
    digest = hashlib.blake2b(body, digest_size=8, key=seed.to_bytes(8, "big", signed=True)).digest()
    rng = random.Random(int.from_bytes(digest))  # noqa: S311  (nothing secret is drawn from it)
    blocks: list[Block] = [] if wishes.silent else _blocks(prompt, wishes, rng)
    stop_reason = "tool_use" if any(isinstance(block, ToolUse) for block in blocks) else "end_turn"
    stopped = _stop(blocks, prompt.stop_sequences)
    blocks, cut = _truncate(stopped.blocks, prompt.tokens_max)
    if cut:
        stop_reason = "max_tokens"
    elif stopped.sequence is not None:
        stop_reason = "stop_sequence"
    return Answer(
        id=_id(rng),
        blocks=tuple(blocks),
        stop_reason=wishes.stop_reason or stop_reason,
        stop_sequence=None if cut else stopped.sequence,
        input_tokens=prompt.input_tokens if wishes.input_tokens is None else wishes.input_tokens,
        output_tokens=sum(map(_cost, blocks)),
        cache_read_tokens=wishes.cache_read_tokens,
        cache_write_tokens=wishes.cache_write_tokens,
        latency_ms=rng.randrange(180, 900),
    )


def _blocks(prompt: Prompt, wishes: Wishes, rng: random.Random) -> list[Block]:
    if wishes.stop_reason == "guardrail_intervened":
        return [Text(split_tokens(REFUSAL))]
    asked = DIRECTIVE.sub("", prompt.text).strip()
    tools = _wanted(prompt, asked)
    uses = [ToolUse(_id(rng), tool.name, _arguments(tool, asked, rng)) for tool in tools]
    blocks: list[Block] = []
    reasoning = wishes.reasoning or ("plain" if prompt.thinking else "")
    if reasoning:
        blocks.append(_reasoning(reasoning, _THOUGHTS[0], rng))
    if not uses:
        blocks += _cited(_tokens(prompt, asked, wishes, rng), wishes.citing)
    elif prompt.choice is Choice.AUTO:
        blocks.append(
            Text(split_tokens(f"Let me ask {' and '.join(use.name for use in uses)} — one moment."))
        )
    if reasoning == "interleaved":
        blocks += [_reasoning("plain", _THOUGHTS[1], rng), Text(split_tokens(_THOUGHTS[2]))]
    return [*blocks, *uses]


def _cited(tokens: tuple[str, ...], kind: str) -> list[Block]:
    """A text; if it is to cite something, in two blocks, for a citation belongs to a whole one."""
    if not kind:
        return [Text(tokens)]
    half = len(tokens) // 2
    citation = Citation(
        kind, "The ledger", "https://example.com/ledger", "".join(tokens[half:]).strip(), 3, 7
    )
    plain: list[Block] = [Text(tokens[:half])] if half else []
    return [*plain, Text(tokens[half:], (citation,))]


def _wanted(prompt: Prompt, asked: str) -> list[Tool]:
    """The tools that are to be used, in the order in which they are named."""
    if not prompt.tools or prompt.choice is Choice.NONE:
        return []
    if prompt.choice is Choice.ONE:
        return [tool for tool in prompt.tools if tool.name == prompt.tool_name]
    lower = asked.lower()
    named = [tool for tool in prompt.tools if tool.name.lower() in lower]
    named.sort(key=lambda tool: lower.index(tool.name.lower()))
    if prompt.choice is Choice.ANY:
        return named or [prompt.tools[0]]
    return [] if prompt.tool_results else named


def _arguments(tool: Tool, asked: str, rng: random.Random) -> dict[str, object]:
    names = _CAPITALISED.findall(asked)
    filled = instance(tool.schema, names[-1] if names else "something", rng)
    return filled if isinstance(filled, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _tokens(prompt: Prompt, asked: str, wishes: Wishes, rng: random.Random) -> tuple[str, ...]:
    if prompt.answer_schema is not None:
        names = _CAPITALISED.findall(asked)
        filled = instance(prompt.answer_schema, names[-1] if names else "something", rng)
        return split_tokens(json.dumps(filled, ensure_ascii=False))
    sentences: list[str] = []
    if prompt.tool_results:
        sentences.append(f"The tool says: {'; '.join(prompt.tool_results)}.")
    if asked:
        words = asked.split()
        echo = " ".join(words[:_ECHOED_WORDS]) + (" …" if len(words) > _ECHOED_WORDS else "")
        sentences.append(f"You said: “{echo}”.")
    if prompt.attachments:
        sentences.append(f"You sent along: {', '.join(prompt.attachments)}.")
    sentences += rng.sample(_BANK, rng.randrange(2, 5))
    tokens = split_tokens(" ".join(sentences))
    if wishes.words is None:
        return tokens
    longer = list(tokens)
    while len(longer) < wishes.words:
        longer += (f" {word}" for word in rng.choice(_BANK).split())
    return tuple(longer[: wishes.words])


def _reasoning(kind: str, thought: str, rng: random.Random) -> Reasoning | RedactedReasoning:
    signature = thoughts.signed(thought, rng)
    return RedactedReasoning(signature) if kind == "redacted" else Reasoning(split_tokens(thought), signature)


class _Stopped(msgspec.Struct, frozen=True):
    blocks: list[Block]
    sequence: str | None


def _stop(blocks: list[Block], sequences: tuple[str, ...]) -> _Stopped:
    """What is left when the first stop sequence in the text ends the answer."""
    for index, block in enumerate(blocks):
        if not isinstance(block, Text):
            continue
        found = [(at, sequence) for sequence in sequences if (at := block.text.find(sequence)) >= 0]
        if found:
            at, sequence = min(found)
            kept = block.text[:at]
            short = msgspec.structs.replace(block, tokens=split_tokens(kept))
            return _Stopped([*blocks[:index], *([short] if kept else [])], sequence)
    return _Stopped(blocks, None)


def _truncate(blocks: list[Block], tokens_max: int | None) -> tuple[list[Block], bool]:
    """What fits into `tokens_max`, and whether something did not. A tool's use is never half."""
    if tokens_max is None or sum(map(_cost, blocks)) <= tokens_max:
        return blocks, False
    kept: list[Block] = []
    left = tokens_max
    for block in blocks:
        cost = _cost(block)
        if cost > left:
            if left and isinstance(block, Text | Reasoning):
                kept.append(_shortened(block, left))
            break
        kept.append(block)
        left -= cost
    return kept, True


def _shortened(block: Text | Reasoning, tokens_max: int) -> Block:
    shorter = msgspec.structs.replace(block, tokens=block.tokens[:tokens_max])
    if isinstance(shorter, Reasoning):
        signature = thoughts.signed_anew(shorter.text, shorter.signature)
        return msgspec.structs.replace(shorter, signature=signature)
    return shorter


def _cost(block: Block) -> int:
    match block:
        case Text() | Reasoning():
            return len(block.tokens)
        case RedactedReasoning():
            return len(block.data) // 4
        case ToolUse():
            return 3 + len(msgspec.json.encode(block.arguments)) // 4


def _id(rng: random.Random) -> str:
    return base64.b64encode(rng.randbytes(17), b"AA")[:22].decode()

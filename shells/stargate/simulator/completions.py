"""InvokeModel's bodies whose answer is one text: Titan, Llama, Mistral, Cohere, and Claude's old text
completions.

Each is a `Completion`: how its body is read, what its answer looks like whole, as one piece of a stream,
and as the last piece, to which Bedrock adds `amazon-bedrock-invocationMetrics`.

Sources: recorded requests and answers (tests/vectors/recorded-bedrock); AWS's user guide, "Inference
request parameters".
"""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from stargate.simulator.anthropic import metrics
from stargate.simulator.dialogue import Answer, Prompt, Text, count_tokens
from stargate.simulator.errors import malformed
from stargate.simulator.events import Kind, StreamEvent
from stargate.simulator.json_tree import as_array, as_integer, as_object, as_texts

Body = Mapping[str, Any]


def needed(body: Body, *names: str) -> None:
    """Refuse a body without one of these members, in the words of AWS's schema check."""
    missing = [f"#: required key [{name}] not found" for name in names if name not in body]
    if missing:
        raise malformed("".join(missing))


def only(body: Body, names: frozenset[str]) -> None:
    """Refuse a body with other members than these."""
    extraneous = [f"#: extraneous key [{name}] is not permitted" for name in body if name not in names]
    if extraneous:
        raise malformed("".join(extraneous))


def text_member(body: Body, name: str) -> str:
    """A member that must be there and a text."""
    needed(body, name)
    value = body[name]
    if not isinstance(value, str):
        raise malformed(f"#/{name}: expected type: String, found: {type(value).__name__}")
    return value


class Completion:
    """A family whose answer is one text: how to read its body, and what its answers look like.

    `last` gets the text that no piece has brought: empty, unless pieces are of many tokens (as Titan's are).
    """

    def __init__(
        self,
        read: Callable[[Body], Prompt],
        document: Callable[[Answer, Body, str], Mapping[str, object]],
        piece: Callable[[str], Mapping[str, object]],
        last: Callable[[Answer, str], Mapping[str, object]],
        piece_tokens: int = 1,
    ) -> None:
        self._read = read
        self._document = document
        self._piece = piece
        self._last = last
        self._piece_tokens = piece_tokens

    def read(self, body: Body) -> Prompt:
        """The prompt of a body. Raises Refusal."""
        return self._read(body)

    def document(self, answer: Answer, body: Body, model_id: str) -> Mapping[str, object]:
        """The answer's body."""
        return self._document(answer, body, model_id)

    def stream(self, answer: Answer, body: Body, model_id: str, rng: random.Random) -> Iterator[StreamEvent]:
        """The answer's stream."""
        tokens = [token for block in answer.blocks if isinstance(block, Text) for token in block.tokens]
        count = self._piece_tokens
        tail = len(tokens) % count if count > 1 else 0
        for at in range(0, len(tokens) - tail, count):
            yield StreamEvent(Kind.DELTA, "", self._piece("".join(tokens[at : at + count])))
        ending = self._last(answer, "".join(tokens[len(tokens) - tail :]))
        yield StreamEvent(Kind.METADATA, "", {**ending, "amazon-bedrock-invocationMetrics": metrics(answer)})


def _completion_prompt(text: str, tokens_max: object, stops: object, more: object = None) -> Prompt:
    return Prompt(
        text=text,
        input_tokens=max(1, count_tokens(text) + count_tokens(more)),
        tokens_max=as_integer(tokens_max),
        stop_sequences=as_texts(stops),
    )


def _reason(answer: Answer, usual: str, length: str) -> str:
    return length if answer.stop_reason == "max_tokens" else usual


def _read_titan(body: Body) -> Prompt:
    only(body, frozenset({"inputText", "textGenerationConfig"}))
    text = text_member(body, "inputText")
    config = as_object(body.get("textGenerationConfig"))
    only(config, frozenset({"maxTokenCount", "temperature", "topP", "stopSequences"}))
    return _completion_prompt(text, config.get("maxTokenCount"), config.get("stopSequences"))


TITAN: Final = Completion(
    _read_titan,
    lambda answer, body, model_id: {
        "inputTextTokenCount": answer.input_tokens,
        "results": [
            {
                "tokenCount": answer.output_tokens,
                "outputText": answer.text,
                "completionReason": _reason(answer, "FINISH", "LENGTH"),
            }
        ],
    },
    lambda token: {
        "outputText": token,
        "index": 0,
        "totalOutputTextTokenCount": None,
        "completionReason": None,
        "inputTextTokenCount": None,
    },
    lambda answer, tail: {
        "outputText": tail,
        "index": 0,
        "totalOutputTextTokenCount": answer.output_tokens,
        "completionReason": _reason(answer, "FINISH", "LENGTH"),
        "inputTextTokenCount": answer.input_tokens,
    },
    piece_tokens=100,
)

LLAMA: Final = Completion(
    lambda body: _completion_prompt(text_member(body, "prompt"), body.get("max_gen_len", 512), None),
    lambda answer, body, model_id: {
        "generation": answer.text,
        "prompt_token_count": answer.input_tokens,
        "generation_token_count": answer.output_tokens,
        "stop_reason": _reason(answer, "stop", "length"),
    },
    lambda token: {
        "generation": token,
        "prompt_token_count": None,
        "generation_token_count": 1,
        "stop_reason": None,
    },
    lambda answer, tail: {
        "generation": "",
        "prompt_token_count": None,
        "generation_token_count": answer.output_tokens,
        "stop_reason": _reason(answer, "stop", "length"),
    },
)

MISTRAL: Final = Completion(
    lambda body: _completion_prompt(
        text_member(body, "prompt"), body.get("max_tokens", 512), body.get("stop")
    ),
    lambda answer, body, model_id: {
        "outputs": [{"text": answer.text, "stop_reason": _reason(answer, "stop", "length")}]
    },
    lambda token: {"outputs": [{"text": token, "stop_reason": None}]},
    lambda answer, tail: {"outputs": [{"text": "", "stop_reason": _reason(answer, "stop", "length")}]},
)

COHERE: Final = Completion(
    lambda body: _completion_prompt(
        text_member(body, "prompt"), body.get("max_tokens"), body.get("stop_sequences")
    ),
    lambda answer, body, model_id: {
        "id": answer.id,
        "generations": [
            {"id": answer.id, "text": answer.text, "finish_reason": _reason(answer, "COMPLETE", "MAX_TOKENS")}
        ],
        "prompt": body["prompt"],
    },
    lambda token: {"is_finished": False, "text": token},
    lambda answer, tail: {"finish_reason": _reason(answer, "COMPLETE", "MAX_TOKENS"), "is_finished": True},
)

COHERE_CHAT: Final = Completion(
    lambda body: _completion_prompt(
        text_member(body, "message"),
        body.get("max_tokens"),
        body.get("stop_sequences"),
        body.get("chat_history"),
    ),
    lambda answer, body, model_id: {
        "response_id": answer.id,
        "text": answer.text,
        "generation_id": answer.id,
        "chat_history": [
            *as_array(body.get("chat_history")),
            {"role": "USER", "message": body["message"]},
            {"role": "CHATBOT", "message": answer.text},
        ],
        "finish_reason": _reason(answer, "COMPLETE", "MAX_TOKENS"),
    },
    lambda token: {"is_finished": False, "event_type": "text-generation", "text": token},
    lambda answer, tail: {
        "is_finished": True,
        "event_type": "stream-end",
        "finish_reason": _reason(answer, "COMPLETE", "MAX_TOKENS"),
        "response": {"text": answer.text, "generation_id": answer.id},
    },
)


def _read_claude_text(body: Body) -> Prompt:
    needed(body, "prompt", "max_tokens_to_sample")
    return _completion_prompt(
        text_member(body, "prompt"), body["max_tokens_to_sample"], body.get("stop_sequences")
    )


CLAUDE_TEXT: Final = Completion(
    _read_claude_text,
    lambda answer, body, model_id: {
        "type": "completion",
        "completion": answer.text,
        "stop_reason": _reason(answer, "stop_sequence", "max_tokens"),
        "stop": answer.stop_sequence,
    },
    lambda token: {"type": "completion", "completion": token, "stop_reason": None, "stop": None},
    lambda answer, tail: {
        "type": "completion",
        "completion": "",
        "stop_reason": _reason(answer, "stop_sequence", "max_tokens"),
        "stop": answer.stop_sequence,
    },
)

"""Watching: Bedrock's answer handed on byte for byte to whoever shares it, and looked at on its way.

A shared answer has no caller of its own, so it is in nobody's dialect: what is handed on is what came. It is
watched all the same, because somebody must say when it is whole, what it has used, why the model stopped, and
whether a guardrail has intervened. Which words tell that depends on the operation: Bedrock's own stream in
frames, the vendors' in server-sent events.

A watcher has no words of its own: where an answer breaks, each of those who share it tells the fault as its
own callers understand it.
"""

from typing import Protocol

from stargate_core.aws.operations import Operation
from stargate_core.dialects.anthropic_passing import MessagesWatching
from stargate_core.dialects.bedrock_native_answer import NativeTranslator
from stargate_core.dialects.face import Translator
from stargate_core.dialects.openai_passing import ChatWatching
from stargate_core.dialects.openai_responses_passing import ResponsesWatching
from stargate_core.faults import Fault


class Watcher(Translator, Protocol):
    """A translator that hands on what came."""

    intervened: bool
    """A guardrail has blocked or masked something."""


class _NativeWatching(NativeTranslator):
    """Bedrock's own answers."""

    __slots__ = ()

    def broken(self, fault: Fault) -> bytes:
        """Nothing: whoever shares the answer tells the fault in words of its own."""
        return b""


def watcher(operation: Operation) -> Watcher:
    """A fresh watcher for the answer to a call of this operation."""
    match operation:
        case Operation.CHAT_COMPLETIONS:
            return ChatWatching()
        case Operation.RESPONSES:
            return ResponsesWatching()
        case Operation.MESSAGES:
            return MessagesWatching()
        case _:
            return _NativeWatching(operation)

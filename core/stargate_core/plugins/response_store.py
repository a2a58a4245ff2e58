"""response-store: earlier answers, for requests that refer to them instead of repeating them.

OpenAI's responses API lets a request name an answer (`previous_response_id`) or an item of one
(`item_reference`), and some SDKs do so by themselves. What is kept of an answer is the dialect's: the plugin
fetches and keeps it, and knows nothing of its form.

- It is kept under the consumer's name, so that nobody can refer to somebody else's conversation; callers that
  nobody knows share with each other.
- It is kept once the answer is whole and was given to the caller; never of a failure.
- An answer that is not there any more is a refusal of the dialect's, with the caller's own id in it. A store
  that does not answer is a fault of ours: to go on without the conversation would be to answer another one.

The priority is behind everything that decides whether the request is allowed at all.
"""

from typing import ClassVar, Final

import msgspec

from stargate_core.config.plugin_configs import BUILT_IN
from stargate_core.config.response_store import ResponseStore
from stargate_core.config.schema import Consumer, Scope
from stargate_core.dialects.face import Ask
from stargate_core.faults import Cause, Fault
from stargate_core.questions import Entry, WriteEntry
from stargate_core.record import Outcome
from stargate_core.script import Script, WaitFailed
from stargate_core.views import Access, Log

RECALLS_MAX: Final = 64
"""Earlier answers that one request may refer to."""


class ResponseStorePlugin:
    """Fetches what a request refers to, and keeps what later ones may."""

    NAME: ClassVar[str] = "response-store"
    PRIORITY: ClassVar[int] = 200
    CONFIG: ClassVar[type[msgspec.Struct]] = ResponseStore
    SCOPES: ClassVar[frozenset[Scope]] = BUILT_IN["response-store"].scopes

    def __init__(self, config: ResponseStore) -> None:
        self._ttl_us = round(config.ttl * 1_000_000)
        self._bytes_max = config.max_bytes

    def access(self, ctx: Access) -> Script[None] | None:
        """Fetch what the request refers to."""
        ask = ctx.ask
        ask.remembers, ask.remember_bytes_max = True, self._bytes_max
        if len(ask.recalls) > RECALLS_MAX:
            message = f"The request refers to more than {RECALLS_MAX} earlier answers"
            ctx.reject(Fault(Cause.BODY_INVALID, message, param="input"))
        return self._recall(ctx, ask) if ask.recalls else None

    def log(self, ctx: Log) -> None:
        """Keep the answer, if it went well."""
        record = ctx.record
        if record.outcome is not Outcome.COMPLETE or record.status != 200 or not record.operation:
            return  # Where no call was made, no request has been read for certain.
        remember = ctx.ask.remember
        if remember is not None and len(remember[1]) <= self._bytes_max:
            ctx.tell(WriteEntry(_key(ctx.consumer, remember[0]), remember[1], self._ttl_us))

    def _recall(self, ctx: Access, ask: Ask) -> Script[None]:
        for answer_id in ask.recalls:
            try:
                entry = yield from ctx.read_entry(_key(ctx.consumer, answer_id))
            except WaitFailed as failed:
                detail = f"response-store: the store does not answer: {failed}"
                ctx.reject(Fault(Cause.STORE_UNAVAILABLE, detail=detail))
            if isinstance(entry, Entry):
                ask.recalled[answer_id] = entry.value


def _key(consumer: Consumer | None, answer_id: str) -> str:
    """Where an answer is kept; the length keeps the two names apart."""
    name = "" if consumer is None else consumer.username
    return f"response:{len(name)}:{name}:{answer_id}"

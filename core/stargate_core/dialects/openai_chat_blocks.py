"""Thoughts and citations: what Bedrock has blocks for and OpenAI's chat has little room for.

*Thoughts.* Their text is `reasoning_content`, the de-facto member for it. What is needed to give a thought
back to the model, its signature or the vendor's ciphertext, is in `thinking_blocks` (LiteLLM's convention):
`{"type": "thinking", "thinking", "signature"}` and `{"type": "redacted_thinking", "data"}`. Clients that keep
these send them back as they are. A thought that nobody has signed is text and no block: it could not be given
back. In a stream a block comes whole, when Bedrock ends it.

Ciphertext is a blob to Bedrock, so it bears base64 once more than the vendor's own; `data` is the vendor's.
Should it be no text once that is taken off, `data` keeps it.

*Citations.* What comes from the web is OpenAI's `url_citation`: it says which characters of the content it
supports. The rest of what Bedrock tells of it stands beside that under Bedrock's own names. Citations of
documents and search results, for which OpenAI has no form, are in `citations`, as Bedrock has them. In a
stream a citation comes before the text that it supports, and is told when that text has ended.

In a stream the entries of all these lists bear an `index`, counted densely: openai-python puts lists together
by it, and raises where a second entry comes without.

Sources: AWS API reference, ReasoningContentBlock and Citation; recorded streams of Claude; openai-python
src/openai/types/chat/chat_completion_message.py; LiteLLM's documentation of reasoning content.
"""

import binascii
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from stargate_core.dialects.converse import Citation, ReasoningContent, ReasoningDelta, garbled

Members: TypeAlias = dict[str, Any]


def thinking_blocks(content: ReasoningContent) -> list[Members]:
    """The blocks that give a whole thought back. Raises BadAnswer."""
    notes = Notes(0)
    if content.reasoning_text is not None:
        thought = content.reasoning_text
        notes.think(ReasoningDelta(text=thought.text, signature=thought.signature))
    if content.redacted_content is not None:
        notes.think(ReasoningDelta(redacted_content=content.redacted_content))
    return notes.thinking_blocks()


def cited(citations: Sequence[Citation], start: int, end: int) -> tuple[list[Members], list[Members]]:
    """The annotations that citations of `content[start:end]` make, and the citations that make none."""
    annotations: list[Members] = []
    others: list[Members] = []
    for citation in citations:
        members = _plain(citation)
        web = (citation.location or {}).get("web")
        url = web.get("url") if web is not None else None
        if web is None or not isinstance(url, str):
            others.append(members)
            continue
        del members["location"]
        title = members.pop("title", None) or web.get("domain") or url
        place = {"start_index": start, "end_index": end, "url": url, "title": str(title)}
        rest = {name: value for name, value in web.items() if name != "url"}
        annotations.append({"type": "url_citation", "url_citation": {**rest, **members, **place}})
    return annotations, others


class Notes:
    """What a stream tells of one block beside its text, until the block ends.

    start: where in the content the block's text begins.
    """

    __slots__ = ("_ciphertext", "_citations", "_signature", "_start", "_texts")

    def __init__(self, start: int) -> None:
        self._start = start
        self._texts: list[str] = []
        self._signature = ""
        self._ciphertext = b""
        self._citations: list[Citation] = []

    def think(self, delta: ReasoningDelta) -> None:
        """A piece of a thought. Raises BadAnswer."""
        if delta.text:
            self._texts.append(delta.text)
        if delta.signature:
            self._signature += delta.signature
        if delta.redacted_content:
            try:
                self._ciphertext += binascii.a2b_base64(delta.redacted_content, strict_mode=True)
            except ValueError:
                raise garbled("reasoningContent.redactedContent: not base64") from None

    def cite(self, citation: Citation) -> None:
        """A citation of the block's text."""
        self._citations.append(citation)

    def thinking_blocks(self) -> list[Members]:
        """The blocks that give the thought back."""
        blocks: list[Members] = []
        if self._signature:
            text = "".join(self._texts)
            blocks.append({"type": "thinking", "thinking": text, "signature": self._signature})
        if self._ciphertext:
            blocks.append({"type": "redacted_thinking", "data": _vendors(self._ciphertext)})
        return blocks

    def delta(self, end: int, told: dict[str, int]) -> Members:
        """What the caller is told when the block has ended.

        end: where in the content its text ends. told: how many entries of each list have been told before;
        it is kept up to date.
        """
        annotations, citations = cited(self._citations, self._start, end)
        lists = {
            "thinking_blocks": self.thinking_blocks(),
            "annotations": annotations,
            "citations": citations,
        }
        delta: Members = {}
        for name, entries in lists.items():
            if entries:
                first = told.get(name, 0)
                told[name] = first + len(entries)
                delta[name] = [{"index": at, **entry} for at, entry in enumerate(entries, first)]
        return delta


def _vendors(ciphertext: bytes) -> str:
    try:
        return ciphertext.decode()
    except UnicodeDecodeError:
        return binascii.b2a_base64(ciphertext, newline=False).decode()


def _plain(citation: Citation) -> Members:
    """A citation as Bedrock wrote it, as far as we know its members."""
    members: Members = msgspec.to_builtins(citation)
    told = {name: value for name, value in members.items() if value is not None}
    if citation.source_content is not None:
        texts = [piece.text for piece in citation.source_content]
        told["sourceContent"] = [{} if text is None else {"text": text} for text in texts]
    return told

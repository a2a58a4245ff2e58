"""What the translators of Converse's answers have in common, whichever API the caller speaks.

A stream of Converse's is `messageStart`, blocks, `messageStop` and `metadata`. What each of them means to a
caller is its dialect's to say, in the methods that stand last here. The rules between them are the same for
all:

- The end has been seen when Bedrock has stopped *and* has told the usage, in whatever order: only then is
  the answer `complete`. Usage that is told twice counts once.
- Behind `messageStop` there is no more content; whatever says otherwise is garbled.
- A model that says of its own output that it is malformed has failed, streamed or not.
- The beginning is told once, before whatever comes first: Bedrock's own `messageStart` may be missing.
- Unknown events mean nothing.

What a stream is made of, one more fragment of a text, does not come by here: each dialect's `frame` reads it
by itself, at the cost of one typed decode and one encode, and hands on what is anything else.

Source: botocore's bedrock-runtime model (ConverseStreamOutput).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from stargate_core.dialects.converse import (
    ANSWER,
    BLOCK_DELTA,
    BLOCK_START,
    BLOCK_STOP,
    MESSAGE_STOP,
    METADATA,
    Answer,
    ContentBlockDelta,
    MessageStop,
    Metadata,
    ToolUseStart,
    check_stop,
    encoded,
    garbled,
    read,
)
from stargate_core.dialects.face import Headers, Part, Reply, Usage
from stargate_core.dialects.headers import JSON_HEADERS, SSE_HEADERS
from stargate_core.native import mypyc_attr
from stargate_core.wire.frames import Frame


@mypyc_attr(allow_interpreted_subclasses=True)
class ConverseTranslation(ABC):
    """One answer. See `Translator` for the members; `render`, `frame`, `finish`, `broken` and `keepalive` are
    the dialect's own.
    """

    __slots__ = ("_begun", "_metadata", "_stop", "complete", "meaningful", "raw", "stop_reason", "usage")

    def __init__(self) -> None:
        self.complete = False
        self.meaningful = False
        self.stop_reason: str | None = None
        self.usage: Usage | None = None
        self.raw = False
        self._begun = False
        self._stop: MessageStop | None = None
        self._metadata: Metadata | None = None

    def answer(self, headers: Headers, body: bytes) -> Part:
        """A whole 200 answer. Raises BadAnswer where it isn't one."""
        answer = read(ANSWER, body, "Converse's answer")
        self.stop_reason = answer.stop_reason
        if answer.usage is not None:
            self.usage = answer.usage.counts()
        check_stop(answer.stop_reason)
        part = self._whole(answer)
        self.complete = self.meaningful = True
        return part

    def render_answer(self, part: Part, upstream_headers: Headers) -> Reply:
        """The HTTP answer that carries the part. Raises BadAnswer."""
        return Reply(200, list(JSON_HEADERS), encoded(part.payload))

    def stream_headers(self, upstream_headers: Headers) -> Headers:
        """The headers of a streamed 200 answer."""
        return list(SSE_HEADERS)

    def parts(self, frame: Frame) -> Sequence[Part]:
        """What an event frame means to the caller; an unknown name means nothing. Raises BadAnswer."""
        name, payload = frame.name, frame.payload
        match name:
            case "contentBlockDelta":
                return self._delta(read(BLOCK_DELTA, payload, name))
            case "contentBlockStart":
                begun = read(BLOCK_START, payload, name)
                tool = begun.start.tool_use
                return () if tool is None else self._call(begun.content_block_index, tool)
            case "contentBlockStop":
                return self._block_stop(read(BLOCK_STOP, payload, name).content_block_index)
            case "messageStart":
                return self._begin()
            case "messageStop":
                return self._message_stop(payload)
            case "metadata":
                return self._measure(payload)
            case _:
                return ()

    def _message_stop(self, payload: bytes) -> Sequence[Part]:
        self._check_open()
        stop = read(MESSAGE_STOP, payload, "messageStop")
        self.stop_reason = stop.stop_reason
        check_stop(stop.stop_reason)
        parts = [*self._begin(), *self._closing(stop)]
        self._stop = stop
        self.meaningful = True
        return [*parts, *self._end()]

    def _measure(self, payload: bytes) -> Sequence[Part]:
        metadata = read(METADATA, payload, "metadata")
        if self._metadata is not None:
            return ()
        self._metadata = metadata
        if metadata.usage is not None:
            self.usage = metadata.usage.counts()
        return self._end()

    def _end(self) -> Sequence[Part]:
        """The end, once Bedrock has stopped and has told the usage."""
        if self._stop is None or self._metadata is None:
            return ()
        parts = self._ended(self._stop, self._metadata)
        self.complete = True
        return parts

    def _check_open(self) -> None:
        if self._stop is not None:
            raise garbled("content behind messageStop")

    def _begin(self) -> list[Part]:
        """The beginning, where it has not been told yet."""
        if self._begun:
            return []
        self._begun = True
        return self._opening()

    # ------------------------------------------------------------------------------------ the dialect's words

    @abstractmethod
    def _whole(self, answer: Answer) -> Part:
        """A whole answer. Raises BadAnswer."""

    @abstractmethod
    def _opening(self) -> list[Part]:
        """What comes first in a stream."""

    @abstractmethod
    def _call(self, at: int, tool: ToolUseStart) -> Sequence[Part]:
        """A block begins that is a call: the caller's to answer, or Bedrock's. Raises BadAnswer."""

    @abstractmethod
    def _delta(self, event: ContentBlockDelta) -> Sequence[Part]:
        """A fragment of a block. Raises BadAnswer."""

    @abstractmethod
    def _block_stop(self, at: int) -> Sequence[Part]:
        """A block ends. Raises BadAnswer."""

    @abstractmethod
    def _closing(self, stop: MessageStop) -> Sequence[Part]:
        """Bedrock has stopped: what ends with that. Raises BadAnswer."""

    @abstractmethod
    def _ended(self, stop: MessageStop, metadata: Metadata) -> Sequence[Part]:
        """Bedrock has told the usage as well: what comes last. Raises BadAnswer."""

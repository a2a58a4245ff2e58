"""What the translators of an API that never streams have in common: the half of them that nobody asks.

A translator has two halves, for whole answers and for streams, and whoever holds one may ask either. Where
there are no streams, a frame means nothing, and there is nothing to end or to keep alive. Only an error has
its form in every dialect, and no base can know it.
"""

from collections.abc import Sequence

from stargate_core.dialects.face import Headers, Part, Usage
from stargate_core.dialects.headers import JSON
from stargate_core.wire.frames import Frame


class Unstreamed:
    """A `Translator` but for `answer`, `render_answer` and `broken`."""

    __slots__ = ("complete", "meaningful", "raw", "stop_reason", "usage")

    def __init__(self) -> None:
        self.complete = False
        self.meaningful = False
        self.stop_reason: str | None = None
        self.usage: Usage | None = None
        self.raw = False

    def stream_headers(self, upstream_headers: Headers) -> Headers:
        """Those of a whole answer."""
        return [JSON]

    def parts(self, frame: Frame) -> Sequence[Part]:
        """A frame means nothing."""
        return ()

    def render(self, part: Part) -> bytes:
        """No part belongs in a stream."""
        return b""

    def frame(self, frame: Frame) -> bytes:
        """A frame means nothing."""
        return b""

    def finish(self) -> bytes:
        """Nothing has to be ended."""
        return b""

    def keepalive(self) -> bytes:
        """Nothing has to be kept alive."""
        return b""

"""Bodies: bytes of some media type, redacted as what they are.

A body may be the beginning of one, where somebody has left or something broke. What is compressed, or neither
JSON nor text, is blanked.
"""

import re
from collections.abc import Callable
from typing import Final

from stargate_core.journal.redact.frames import redact_frames
from stargate_core.journal.redact.json_text import Fragments, JsonText, Place
from stargate_core.journal.redact.sse import redact_events
from stargate_core.journal.redact.words import Words

_JSON: Final = re.compile(r"[\s\ufeff]*[\[{\"]")
_BINARY: Final = re.compile(r"image/|audio/|video/|application/(?:octet-stream|pdf|zip|gzip)")


class Bodies:
    """Redacts bodies."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._json = JsonText(words)

    def redact(self, data: bytes, content_type: str = "", coding: str = "") -> bytes:
        """A body of as many bytes. coding: its Content-Encoding."""
        kind = content_type.lower()
        if (coding and coding.lower() != "identity") or _BINARY.match(kind):
            made = self._words.blank(data)
        elif "vnd.amazon.eventstream" in kind:
            made = self._streamed(lambda text: redact_frames(data, self._words, text))
        elif "event-stream" in kind:
            whole = data.decode("utf-8", "surrogateescape")
            made = self._streamed(
                lambda text: redact_events(whole, self._words, text).encode("utf-8", "surrogateescape")
            )
        else:
            made = self._plain(data)
        return made if len(made) == len(data) else self._words.blank(data)

    def text(self, text: str) -> str:
        """What somebody has said, be it JSON or not."""
        return self._json.open_text(text)

    def document(self, text: str) -> str:
        """A document of an API's."""
        return self._json.redact(text)

    def _plain(self, data: bytes) -> bytes:
        text = data.decode("utf-8", "surrogateescape")
        if _JSON.match(text):
            return self._json.redact(text).encode("utf-8", "surrogateescape")
        if "\0" in text:
            return self._words.blank(data)
        return self._words.word(text).encode("utf-8", "surrogateescape")

    def _streamed(self, go_through: Callable[[Callable[[str], str]], bytes]) -> bytes:
        """A stream, gone through twice: to put together what came in pieces, and to redact."""
        fragments = Fragments(self._json)

        def text(payload: str) -> str:
            if not payload.lstrip().startswith("{"):
                return self._words.word(payload)
            return self._json.redact(payload, Place.KNOWN, fragments)

        go_through(text)
        fragments.settle()
        return go_through(text)

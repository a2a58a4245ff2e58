"""Converse's answer to one Messages request, whole or streamed, in Anthropic's form."""

from collections.abc import Mapping, Sequence

from stargate_core.dialects.anthropic_converse_answer import message_object
from stargate_core.dialects.anthropic_errors import in_band
from stargate_core.dialects.converse import ANSWER, check_stop, read
from stargate_core.dialects.face import Headers, Part, PartKind, Reply, Request, Usage
from stargate_core.faults import Fault
from stargate_core.wire.eventstream import Frame


class ConverseTranslator:
    """One answer. See `Translator` for the members."""

    def __init__(self, request: Request, model: str, names: Mapping[str, str], *, stream: bool) -> None:
        self.complete = False
        self.meaningful = False
        self.stop_reason: str | None = None
        self.usage: Usage | None = None
        self.raw = False
        self._request = request
        self._model = model
        self._names = names

    def answer(self, headers: Headers, body: bytes) -> Part:
        """A whole 200 answer. Raises BadAnswer where it isn't one."""
        answer = read(ANSWER, body, "Converse's answer")
        check_stop(answer.stop_reason)
        return Part(PartKind.ANSWER, "", message_object(answer, self._request, self._model, self._names))

    def render_answer(self, part: Part, upstream_headers: Headers) -> Reply:
        """The HTTP answer that carries the part."""
        return Reply(200, [], b"")

    def stream_headers(self, upstream_headers: Headers) -> Headers:
        """The headers of a streamed 200 answer."""
        return []

    def parts(self, frame: Frame) -> Sequence[Part]:
        """What an event frame means to the caller; an unknown name means nothing. Raises BadAnswer."""
        return ()

    def render(self, part: Part) -> bytes:
        """A part of a stream, as bytes."""
        return b""

    def frame(self, frame: Frame) -> bytes:
        """`parts` and `render` in one. Raises BadAnswer likewise."""
        return b""

    def finish(self) -> bytes:
        """Nothing: `message_stop` was the end."""
        return b""

    def broken(self, fault: Fault) -> bytes:
        """The in-band error that ends a stream whose status line is already out."""
        return in_band(fault, self._request.request_id)

    def keepalive(self) -> bytes:
        """A ping, as Anthropic sends them."""
        return b'event: ping\ndata: {"type": "ping"}\n\n'

"""The APIs that never stream: their translators are whole, and no frame gets a word out of them."""

from collections.abc import Callable
from typing import Final

import msgspec
import pytest

from stargate_core.aws.surfaces import Surface
from stargate_core.dialects.anthropic_count import AnthropicCount
from stargate_core.dialects.face import PartKind, Target, Translator
from stargate_core.dialects.openai_embeddings import OpenAIEmbeddings
from stargate_core.faults import Cause, Fault
from stargate_core.wire.sse import SseDecoder
from support.dialects import HAIKU, a_request, frames, text_events
from support.embeddings import TITAN, composed, embeddings_request


def a_count() -> Translator:
    dialect = AnthropicCount()
    request = a_request(msgspec.json.encode({"messages": [{"role": "user", "content": "How many?"}]}))
    ask = dialect.read(request)
    return dialect.translator(request, ask, dialect.compose(request, ask, Target(HAIKU, Surface.INVOKE)))


def embeddings() -> Translator:
    dialect = OpenAIEmbeddings()
    request = embeddings_request("one")
    return dialect.translator(request, dialect.read(request), composed(request, TITAN))


ALL: Final = [(a_count, b'{"inputTokens":7}'), (embeddings, b'{"embedding":[1.0]}')]


@pytest.mark.parametrize(("made", "answer"), ALL)
class TestUnstreamed:
    def test_no_frame_means_anything(self, made: Callable[[], Translator], answer: bytes) -> None:
        told = made()
        for frame in frames(text_events("x")):
            assert (list(told.parts(frame)), told.frame(frame)) == ([], b"")
        assert not told.complete
        assert not told.meaningful

    def test_nothing_is_ended_or_kept_alive(self, made: Callable[[], Translator], answer: bytes) -> None:
        told = made()
        assert (told.finish(), told.keepalive()) == (b"", b"")

    def test_an_answer_is_no_part_of_a_stream(self, made: Callable[[], Translator], answer: bytes) -> None:
        told = made()
        part = told.answer([], answer)
        assert (part.kind, told.render(part)) == (PartKind.ANSWER, b"")
        assert told.complete
        reply = told.render_answer(part, [])
        assert reply.headers == told.stream_headers([]) == [(b"content-type", b"application/json")]

    def test_an_error_has_the_dialects_own_form(self, made: Callable[[], Translator], answer: bytes) -> None:
        (event,) = SseDecoder().feed(made().broken(Fault(Cause.STREAM_CUT)))
        assert "error" in msgspec.json.decode(event.data)

"""An answer that no model has made: what the translators of Bedrock's own answers make of it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.operations import Operation
from stargate_core.dialects.bedrock_native_answer import NativeTranslator
from stargate_core.dialects.said_for import said_for
from stargate_core.wire.eventstream import EventStreamDecoder


@given(st.text(st.characters(codec="utf-8")))
def test_a_plain_one(text: str) -> None:
    headers, body = said_for(text, stream=False)
    assert headers == [(b"content-type", b"application/json")]
    translator = NativeTranslator(Operation.CONVERSE)
    translator.answer(headers, body)
    assert translator.stop_reason == "guardrail_intervened"
    assert translator.usage is not None
    assert translator.usage.total_tokens == 0
    assert msgspec.json.decode(body)["output"]["message"]["content"] == [{"text": text}]


@pytest.mark.parametrize("text", ["No.", "", "é"])
def test_a_stream(text: str) -> None:
    headers, body = said_for(text, stream=True)
    assert headers == [(b"content-type", b"application/vnd.amazon.eventstream")]
    decoder, translator = EventStreamDecoder(), NativeTranslator(Operation.CONVERSE_STREAM)
    frames = decoder.feed(body)
    decoder.check()
    for frame in frames:
        translator.frame(frame)
    assert translator.complete
    assert translator.stop_reason == "guardrail_intervened"
    assert msgspec.json.decode(frames[1].payload)["delta"] == {"text": text}

"""Spans are data that never changes, and hold nothing that could hide a prompt."""

import msgspec
import pytest

from stargate_core.spans import Span, SpanEvent, SpanKind


def test_a_span_never_changes_and_knows_no_more_than_its_members() -> None:
    span = Span("1" * 32, "2" * 16, "", "GET", SpanKind.SERVER, 1, 2, events=(SpanEvent("retry", 1),))
    with pytest.raises(AttributeError):
        span.name = "POST"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Span(*([""] * 5), 1, 2, prompt="hello")  # type: ignore[call-arg,arg-type]


def test_it_travels_as_json() -> None:
    span = Span("1" * 32, "2" * 16, "", "GET", SpanKind.SERVER, 1, 2, (("http.response.status_code", 200),))
    told = msgspec.json.decode(msgspec.json.encode(span))
    assert (told["kind"], told["attributes"]) == ("server", [["http.response.status_code", 200]])

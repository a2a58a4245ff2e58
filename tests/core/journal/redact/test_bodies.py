"""Bodies: each as what it is, and whatever it is as long."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.journal.redact.bodies import Bodies
from stargate_core.journal.redact.words import Words

TYPES = [
    "application/json",
    "application/vnd.amazon.eventstream",
    "text/event-stream; charset=utf-8",
    "text/html",
    "image/png",
    "",
]


def bodies() -> Bodies:
    return Bodies(Words(b"salt"))


@given(st.binary(max_size=200), st.sampled_from(TYPES))
def test_any_bytes_of_any_type_give_as_many(data: bytes, kind: str) -> None:
    assert len(bodies().redact(data, kind)) == len(data)


@pytest.mark.parametrize(("kind", "coding"), [("application/json", "gzip"), ("image/png", ""), ("", "br")])
def test_what_nobody_reads_is_blanked(kind: str, coding: str) -> None:
    assert bodies().redact(b"some bytes\n", kind, coding) == b"xxxxxxxxxx\n"


def test_what_has_zeros_is_no_text() -> None:
    assert bodies().redact("some text".encode("utf-16-le")) == b"x" * 18


def test_text_stays_text() -> None:
    assert bodies().redact("<p>naïve</p>".encode())[:1] == b"<"
    assert "naïve" not in bodies().text("naïve")
    assert msgspec.json.decode(bodies().document('{"role":"user"}')) == {"role": "user"}

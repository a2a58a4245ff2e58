"""Server-sent events: lines stay lines."""

from hypothesis import given
from hypothesis import strategies as st

from stargate_core.journal.redact.sse import redact_events
from stargate_core.journal.redact.words import Words

WORDS = Words(b"salt")


def made(text: str) -> str:
    after = redact_events(text, WORDS, WORDS.word)
    assert len(after) == len(text)
    return after


def test_fields_and_known_events_stay() -> None:
    text = "event: message_start\r\ndata: secretly\r\n\r\n: secretly\nid: secretly\n"
    text += "data: [DONE]\n\nevent: secretly\n\ndata"
    after = made(text)
    assert "secretly" not in after
    assert after.startswith("event: message_start\r\ndata: ")
    assert "data: [DONE]\n\n" in after
    assert after.endswith("\n\ndata")
    assert [len(line) for line in after.splitlines()] == [len(line) for line in text.splitlines()]


@given(st.text(st.sampled_from("datevn:[] \r\n\ufeffxé\udcff"), max_size=80))
def test_whatever_it_is_its_lines_stay(text: str) -> None:
    assert [len(line) for line in made(text).split("\n")] == [len(line) for line in text.split("\n")]

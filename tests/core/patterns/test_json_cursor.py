"""JSON in pieces: what its strings say is searched, and it stays JSON, whatever is found, however cut."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.patterns.finder import Finder, Pattern
from stargate_core.patterns.json_cursor import JsonCursor
from stargate_core.patterns.named import named

FINDER = Finder([one for each in named().values() for one in each])
SECRETS = ["ann@example.com", "4111 1111 1111 1111", "+49 30 1234567", "10.0.0.1"]


def put(pattern: Pattern, text: str) -> str:
    return f'["{pattern.name}"]'  # A sign that must be escaped.


def fed(text: str, cuts: list[int]) -> str:
    cursor, told, at = JsonCursor(FINDER), [], 0
    for cut in sorted(cuts):
        told.append(cursor.feed(text[at:cut], put))
        at = max(at, cut)
    return "".join(told) + cursor.feed(text[at:], put, final=True)


def redacted(value: Any) -> Any:
    """The oracle: every text of the value by itself."""
    if isinstance(value, str):
        return FINDER.replaced(value, put)
    if isinstance(value, dict):
        return {redacted(name): redacted(one) for name, one in value.items()}
    if isinstance(value, list):
        return [redacted(one) for one in value]
    if isinstance(value, int) and FINDER.finds(str(value)) and value > 0:
        return put(named()["credit_card"][0], str(value))
    return value


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from([4111111111111111, 378282246310005, 12, -3]),
        st.tuples(st.text(max_size=4), st.sampled_from(SECRETS), st.text(max_size=4)).map("".join),
        st.text(max_size=8),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


class TestJson:
    @given(VALUES, st.booleans(), st.lists(st.integers(0, 300), max_size=12))
    def test_strings_are_searched_and_it_stays_json(self, value: Any, ascii_: bool, cuts: list[int]) -> None:
        text = json.dumps(value, ensure_ascii=ascii_)
        told = fed(text, cuts)
        assert told == fed(text, []) == fed(text, list(range(len(text))))
        assert json.loads(told) == redacted(value)

    @given(st.text(alphabet='a"\\u00e9,n:{}4@. ', max_size=30), st.lists(st.integers(0, 30), max_size=8))
    def test_what_is_no_json_passes_as_it_is(self, text: str, cuts: list[int]) -> None:
        told = fed(text, cuts)
        assert told == fed(text, [])
        if "@" not in text:
            assert told == text

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            (r'{"a": "ann\u0040example.com"}', '{"a": "[\\"email\\"]"}'),
            (r'{"a": "\nann@example.com\tx"}', r'{"a": "\n[\"email\"]\tx"}'),
            ('{"ann@example.com": 1}', '{"[\\"email\\"]": 1}'),
            ('{"n": 4111111111111111}', '{"n": "[\\"credit_card\\"]"}'),
            ('{"n": 4111111111111111.5}', '{"n": 4111111111111111.5}'),
            ('"ann@example.com', '"[\\"email\\"]'),
            ('"a\\u00', '"a\\u00'),
            ('"a\\', '"a\\'),
            ('"\\uzz"', '"\\uzz"'),
            (r'"\ud83d\ude00 \/"', r'"\ud83d\ude00 \/"'),
            (r'"ann@example.com\ud81b\udf00"', '"[\\"email\\"]"'),
            (r'"\ud83d \ud83dx \ude00"', r'"\ud83d \ud83dx \ude00"'),
            (r'"\ud83d', r'"\ud83d'),
        ],
    )
    def test_cases(self, text: str, told: str) -> None:
        assert fed(text, []) == told
        assert fed(text, list(range(len(text)))) == told

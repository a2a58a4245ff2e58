"""Requests for embeddings: what is one, and what the caller is told where it is none."""

from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import EmbeddingCreateParams

from stargate_core.dialects.openai_embeddings_request import TEXTS_MAX, EmbeddingRequest, decode
from stargate_core.faults import Cause, Fault, Refused
from support.embeddings import embeddings_body


def fault_of(body: bytes) -> Fault:
    """Why a body is refused."""
    with pytest.raises(Refused) as caught:
        decode(body)
    return caught.value.fault


NOTHING: Final[list[Any]] = []


class TestInput:
    @pytest.mark.parametrize(
        ("given_", "texts"),
        [
            ("one", ("one",)),
            (["one"], ("one",)),
            (["one", "two", "one"], ("one", "two", "one")),
            (" ", (" ",)),
            ("1", ("1",)),
            ("“ünïcödé” \U0001f30d", ("“ünïcödé” \U0001f30d",)),
            (["x"] * TEXTS_MAX, ("x",) * TEXTS_MAX),
        ],
    )
    def test_texts(self, given_: Any, texts: tuple[str, ...]) -> None:
        assert decode(embeddings_body(given_)).texts == texts

    @pytest.mark.parametrize(
        ("given_", "param", "said"),
        [
            ("", "input", "empty text"),
            (NOTHING, "input", "at least one text"),
            (["x", ""], "input[1]", "empty text"),
            (["x"] * (TEXTS_MAX + 1), "input", "at most 2048"),
            ([1, 2, 3], "input", "tokens"),
            ([[1, 2], [3]], "input", "tokens"),
            (["x", [3]], "input", "tokens"),
            (["x", 3], "input", "tokens"),
            ([2**70], "input", "tokens"),
            ([NOTHING], "input", "tokens"),
            (7, "input", "got `int`"),
            (None, "input", "got `null`"),
            (["x", None], "input[1]", "got `null`"),
            ([1.5], "input[0]", "got `float`"),
            ({"text": "x"}, "input", "got `object`"),
            ([True], "input[0]", "got `bool`"),
        ],
    )
    def test_no_texts(self, given_: Any, param: str, said: str) -> None:
        fault = fault_of(embeddings_body(given_))
        assert (fault.cause, fault.row.status, fault.param) == (Cause.BODY_INVALID, 400, param)
        assert said in fault.text

    def test_none_at_all(self) -> None:
        fault = fault_of(b'{"model":"m"}')
        assert (fault.param, fault.text) == ("input", "input is missing")

    @given(texts=st.lists(st.text(min_size=1), min_size=1, max_size=20))
    def test_every_text_arrives_as_it_is(self, texts: list[str]) -> None:
        assert decode(embeddings_body(texts)).texts == tuple(texts)


class TestMembers:
    def test_openais_own_are_all_known(self) -> None:
        assert set(EmbeddingCreateParams.__annotations__) <= set(EmbeddingRequest.__struct_fields__)

    @pytest.mark.parametrize(
        "members",
        [
            {"dimensions": 256},
            {"encoding_format": "float"},
            {"encoding_format": "base64"},
            {"encoding_format": None},
            {"user": "somebody"},
            {"input_type": "search_query", "truncate": "END", "max_tokens": 5},
            {"normalize": False},
            {"embedding_purpose": "CLUSTERING"},
            {"dimensions": None, "user": None, "normalize": None},
        ],
    )
    def test_those_that_are_taken(self, members: dict[str, Any]) -> None:
        asked = decode(embeddings_body("x", **members))
        assert asked.unknown == ()
        assert {name: getattr(asked.request, name) for name in members} == members
        assert asked.is_base64 is (members.get("encoding_format") == "base64")

    @pytest.mark.parametrize(
        ("members", "param"),
        [
            ({"dimensions": 0}, "dimensions"),
            ({"dimensions": -256}, "dimensions"),
            ({"dimensions": 256.5}, "dimensions"),
            ({"dimensions": "256"}, "dimensions"),
            ({"dimensions": 2**40}, "dimensions"),
            ({"encoding_format": "binary"}, "encoding_format"),
            ({"encoding_format": 1}, "encoding_format"),
            ({"user": 1}, "user"),
            ({"input_type": "image"}, "input_type"),
            ({"truncate": "MIDDLE"}, "truncate"),
            ({"normalize": 1}, "normalize"),
            ({"max_tokens": 0}, "max_tokens"),
            ({"model": 3}, "model"),
            ({"model": 3, "unheard_of": 1}, "model"),
        ],
    )
    def test_those_of_the_wrong_kind_are_named(self, members: dict[str, Any], param: str) -> None:
        fault = fault_of(embeddings_body("x", **members))
        assert (fault.row.status, fault.param) == (400, param)
        assert param in fault.text

    def test_unknown_ones_are_remembered_unless_they_are_null(self) -> None:
        asked = decode(embeddings_body("x", unheard_of=[1], other=None, third=False))
        assert asked.unknown == ("unheard_of", "third")


class TestBodies:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b'"x"',
            b"\xff\xfe",
            b'{"input":"\xc3"}',
            b'{"input":"\\ud800","model":"m"}',
            b'{"input":' + b"[" * 5000 + b"]" * 5000 + b"}",
            b'{"input":"x","y":' + b"[" * 5000 + b"]" * 5000 + b"}",
            b'{"input":"x","model":"m"} trailing',
            b'{"input":"x",,}',
            b'{"input":"x","y":NaN}',
        ],
    )
    def test_what_is_no_request_is_refused(self, body: bytes) -> None:
        assert fault_of(body).row.status == 400

    @given(
        body=st.binary(max_size=60)
        | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
            lambda value: msgspec.json.encode({"input": value, "model": value, "dimensions": value})
        )
    )
    def test_whatever_comes_is_read_or_refused(self, body: bytes) -> None:
        try:
            asked = decode(body)
        except Refused as refused:
            assert refused.fault.row.status == 400
        else:
            assert asked.texts

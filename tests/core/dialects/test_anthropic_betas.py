"""Betas: from the header's lines and the body's list into one, less and other than it as an operator says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from stargate_core.dialects.anthropic_betas import betas_of, betas_told
from stargate_core.dialects.face import Options
from stargate_core.faults import Cause, Refused
from support.dialects import a_request

BETAS = st.lists(st.text("abc-1", min_size=1, max_size=3), max_size=6)


def told_by(*lines: bytes, member: bytes | None = None) -> tuple[str, ...]:
    request = a_request(b"{}", headers=[(b"accept", b"*/*"), *((b"anthropic-beta", line) for line in lines)])
    return betas_of(request, None if member is None else Raw(member))


class TestFound:
    @pytest.mark.parametrize(
        ("lines", "member", "betas"),
        [
            ((), None, ()),
            ((b"a",), None, ("a",)),
            ((b"a,b , c",), None, ("a", "b", "c")),
            ((b"b", b"a, b"), None, ("b", "a")),
            ((b" , ,",), b"[]", ()),
            ((), b'["x","y"]', ("x", "y")),
            ((b"a, y",), b'["x","y","a"]', ("a", "y", "x")),
            ((b"a",), b"null", ("a",)),
        ],
    )
    def test_in_the_header_first_then_in_the_body_each_once(
        self, lines: tuple[bytes, ...], member: bytes | None, betas: tuple[str, ...]
    ) -> None:
        assert told_by(*lines, member=member) == betas

    @pytest.mark.parametrize("member", [b'"a"', b"[1]", b"{}", b"true", b"[[]]"])
    def test_a_body_that_has_no_list_of_them_is_refused(self, member: bytes) -> None:
        with pytest.raises(Refused) as caught:
            told_by(member=member)
        assert (caught.value.fault.cause, caught.value.fault.param) == (Cause.BODY_INVALID, "anthropic_beta")

    @pytest.mark.parametrize(
        ("line", "member"),
        [
            (b"a b", None),
            (b"\xff", None),
            (b"a", b'["x\\r\\nEvil: 1"]'),
            (b"a", b'["a,b"]'),
            (b"a", b'["\\u0000"]'),
        ],
    )
    def test_what_could_not_stand_in_a_header_is_refused(self, line: bytes, member: bytes | None) -> None:
        with pytest.raises(Refused) as caught:
            told_by(line, member=member)
        assert "anthropic-beta" in caught.value.fault.text


class TestTold:
    def test_as_they_are(self) -> None:
        assert betas_told(("b", "a"), Options()) == ["b", "a"]

    def test_less_those_that_are_dropped(self) -> None:
        assert betas_told(("b", "a", "c"), Options(betas_dropped=("a", "z"))) == ["b", "c"]

    def test_under_the_names_that_bedrock_knows_and_still_each_once(self) -> None:
        options = Options(betas_renamed=(("new", "old"),))
        assert betas_told(("new", "a", "old"), options) == ["old", "a"]

    def test_a_name_given_by_the_operator_is_not_dropped_again(self) -> None:
        options = Options(betas_dropped=("old",), betas_renamed=(("new", "old"),))
        assert betas_told(("new", "old"), options) == ["old"]

    def test_less_those_whose_fields_are_left_out(self) -> None:
        assert betas_told(("mcp-client-2025-04-04", "a"), Options(), ("mcp-client-", "skills-")) == ["a"]

    @given(BETAS, BETAS, st.dictionaries(st.sampled_from("abc"), st.sampled_from("abcd"), max_size=2))
    def test_order_is_kept_and_nothing_is_said_twice(
        self, betas: list[str], dropped: list[str], renamed: dict[str, str]
    ) -> None:
        told = betas_told(betas, Options(betas_dropped=tuple(dropped), betas_renamed=tuple(renamed.items())))
        assert len(set(told)) == len(told)
        kept = [renamed.get(beta, beta) for beta in betas if beta not in dropped]
        assert told == sorted(set(kept), key=kept.index)

"""W3C Trace Context: the specification's own examples and rules, and OpenTelemetry's reader as the oracle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.wire.trace_context import STATE_BYTES_MAX, TraceContext, read

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01".encode()


def told(parent: bytes, *states: bytes) -> TraceContext | None:
    """What these headers say."""
    return read([(b"host", b"x"), (b"traceparent", parent), *((b"tracestate", state) for state in states)])


class TestTraceparent:
    @pytest.mark.parametrize(
        ("flags", "sampled", "random"),
        [
            ("00", False, False),
            ("01", True, False),
            ("02", False, True),
            ("03", True, True),
            ("ff", True, True),
        ],
    )
    def test_two_flags_have_a_meaning(self, flags: str, sampled: bool, random: bool) -> None:
        assert told(f"00-{TRACE}-{SPAN}-{flags}".encode()) == TraceContext(TRACE, SPAN, sampled, random)

    def test_a_later_version_is_read_as_far_as_ours_goes(self) -> None:
        expected = TraceContext(TRACE, SPAN, sampled=True)
        for more in ("", "-", "-what-the-future-will-be-like"):
            assert told(f"cc-{TRACE}-{SPAN}-01{more}".encode()) == expected

    def test_blanks_around_it_are_http_s(self) -> None:
        assert told(b" \t" + GOOD + b" ") == TraceContext(TRACE, SPAN, sampled=True)

    @pytest.mark.parametrize(
        "parent",
        [
            b"",
            GOOD.upper(),
            GOOD[:-1],
            GOOD + b"0",
            GOOD + b"-more",
            b"ff" + GOOD[2:],
            b"0g" + GOOD[2:],
            b"cc" + GOOD[2:] + b".more",
            f"00-{'0' * 32}-{SPAN}-01".encode(),
            f"00-{TRACE}-{'0' * 16}-01".encode(),
            f"00_{TRACE}-{SPAN}-01".encode(),
            GOOD + b"," + GOOD,
        ],
        ids=range(12),
    )
    def test_what_breaks_a_rule_is_ignored(self, parent: bytes) -> None:
        assert told(parent, b"a=1") is None

    def test_so_are_two_of_them_and_none(self) -> None:
        assert read([(b"traceparent", GOOD), (b"traceparent", GOOD)]) is None
        assert read([(b"tracestate", b"a=1")]) is None

    @given(st.binary(max_size=80))
    def test_no_bytes_are_too_wild(self, parent: bytes) -> None:
        told(parent, parent)


class TestTracestate:
    def state(self, *states: bytes) -> bytes:
        context = told(GOOD, *states)
        assert context is not None
        return context.state

    def test_lines_are_one_list_and_blanks_and_gaps_go(self) -> None:
        assert self.state(b"rojo=00f067aa0ba902b7", b" congo=t61rcWkgMzE\t,, a@b=1 2") == (
            b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE,a@b=1 2"
        )

    @pytest.mark.parametrize(
        "state",
        [
            b"A=1",
            b"a",
            b"=1",
            b"a=",
            b"a=1=2",
            b"a=\x7f",
            b"a=1,a=2",
            b"k" * 257 + b"=1",
            b"a=" + b"v" * 257,
            b",".join(b"k%d=1" % number for number in range(33)),
            b"a=" + b"1" * 9000,
        ],
        ids=range(11),
    )
    def test_what_is_no_list_takes_nothing_with_it(self, state: bytes) -> None:
        assert self.state(state) == b""

    def test_the_longest_entries_go_first_and_then_the_last(self) -> None:
        long = b"long=" + b"v" * 200
        short = [b"k%d=" % number + b"v" * 60 for number in range(10)]
        kept = self.state(b",".join([short[0], long, *short[1:]])).split(b",")
        assert kept == short[: len(kept)]
        assert 400 < len(b",".join(kept)) <= STATE_BYTES_MAX


class TestHeaders:
    @given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans(), st.booleans())
    def test_what_is_written_is_what_is_read(
        self, trace: int, span: int, sampled: bool, random: bool
    ) -> None:
        context = TraceContext(f"{trace:032x}", f"{span:016x}", sampled, random, b"a=1,b=2")
        assert read(context.headers()) == context

    def test_no_state_is_no_header(self) -> None:
        assert TraceContext(TRACE, SPAN, sampled=True).headers() == [(b"traceparent", GOOD)]

"""The estimate: of the right size for text, a flat sum for media, and soon done with any body."""

import base64
import json
import random
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.limits.estimate import (
    BYTES_PER_TOKEN,
    MEDIA_TOKENS,
    RUN_BYTES_MIN,
    SEARCHED_FROM_BYTES,
    input_tokens,
)

NOISE: Final = random.Random(7).randbytes(300_000)
PICTURE: Final = base64.b64encode(NOISE)
PROSE: Final = ("Gallia est omnis divisa in partes tres, quarum unam incolunt Belgae. " * 210).encode()


def plain(size: int) -> int:
    return -(-size // BYTES_PER_TOKEN)


class TestText:
    def test_nothing_is_nothing(self) -> None:
        assert input_tokens(b"") == 0

    @pytest.mark.parametrize("size", [1, 4, 5, SEARCHED_FROM_BYTES, 14_000])
    def test_four_bytes_are_a_token(self, size: int) -> None:
        assert input_tokens(PROSE[:size]) == plain(size)

    def test_a_long_identifier_is_no_picture(self) -> None:
        body = PROSE + b'"' + b"x" * (RUN_BYTES_MIN - 1) + b'"' + PROSE
        assert input_tokens(body) == plain(len(body))

    def test_a_small_body_is_not_searched(self) -> None:
        body = PICTURE[:SEARCHED_FROM_BYTES]
        assert input_tokens(body) == plain(len(body))


class TestMedia:
    @pytest.mark.parametrize(
        "around",
        ['{"data":"%s"}', '{"url":"data:image/png;base64,%s"}', '[{"a":"b"},{"bytes":"%s","c":"d"}]', "%s"],
    )
    def test_a_picture_is_a_flat_sum(self, around: str) -> None:
        body = (around % PICTURE.decode()).encode()
        assert abs(input_tokens(body) - MEDIA_TOKENS - plain(len(around) - 2)) <= 1

    @pytest.mark.parametrize("count", [1, 2, 5])
    def test_each_counts(self, count: int) -> None:
        body = json.dumps(
            [{"text": "what is this?"}, *({"data": PICTURE.decode()} for _ in range(count))]
        ).encode()
        rest = len(body) - count * len(PICTURE)
        assert input_tokens(body) == count * MEDIA_TOKENS + plain(rest)

    @pytest.mark.parametrize(
        "written",
        [
            PICTURE.replace(b"/", rb"\/"),
            base64.urlsafe_b64encode(NOISE),
            base64.encodebytes(NOISE).replace(b"\n", rb"\r\n"),
        ],
        ids=["escaped", "url-safe", "in lines"],
    )
    def test_however_it_is_written(self, written: bytes) -> None:
        assert input_tokens(b'{"data":"' + written + b'"}') < MEDIA_TOKENS + 8

    @given(st.integers(0, 3_000), st.integers(RUN_BYTES_MIN, 3 * RUN_BYTES_MIN), st.integers(0, 3_000))
    def test_wherever_it_stands(self, before: int, length: int, after: int) -> None:
        body = b'{"text":"' + b". " * before + b'","data":"' + b"A" * length + b'"' + b" ." * after + b"}"
        if len(body) > SEARCHED_FROM_BYTES:
            assert input_tokens(body) == MEDIA_TOKENS + plain(len(body) - length)


class TestCost:
    @pytest.mark.parametrize(
        "piece",
        [
            b"a" * 1023 + b" ",
            b"a" * 511 + b" ",
            b'"',
            b',"',
            b'"' + b"a" * 1023 + b" ",
            b"a" * 1024 + b'"',
            b"a",
        ],
        ids=["almost", "half", "quotes", "commas", "opened", "many", "one"],
    )
    def test_no_body_takes_the_square_of_its_length(self, piece: bytes) -> None:
        # A search that began anew at each byte would take minutes, and run into the test's time limit.
        body = piece * (8_000_000 // len(piece))
        assert input_tokens(body) > 0

    @given(st.binary(max_size=200), st.integers(1, 200))
    def test_any_bytes_have_an_estimate(self, piece: bytes, times: int) -> None:
        assert input_tokens(piece * times) >= 0

"""The canonical request, against the intermediate results of AWS's classic suite and botocore's functions."""

import datetime
import hashlib
import time
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.auth import SIGNED_HEADERS_BLACKLIST, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.canonical import (
    NEVER_SIGNED,
    amz_date,
    canonical_path,
    canonical_query,
    canonical_request,
    read_amz_date,
    signable,
    signing_key,
    string_to_sign,
)
from stargate_core.secret import Secret
from support.sigv4_suite import SUITE, read_request

SECOND: Final = 1_000_000_000
BOTOCORE: Final[Any] = SigV4Auth(Credentials("AKIDEXAMPLE", "secret"), "service", "us-east-1")


class TestClassicSuite:
    @pytest.mark.parametrize("case", SUITE, ids=lambda case: case.name)
    def test_canonical_request_and_string_to_sign(self, case: Path) -> None:
        request = read_request(case)
        payload_hash = hashlib.sha256(request.body).hexdigest().encode()
        headers = list(request.headers)
        if request.session_token is not None:
            headers.append((b"X-Amz-Security-Token", request.session_token))
        canonical = canonical_request(
            request.method, request.target, headers, signable(headers), payload_hash
        )
        assert canonical == case.with_suffix(".creq").read_bytes()
        date = dict(request.headers)[b"X-Amz-Date"]
        scope = date[:8] + b"/us-east-1/service/aws4_request"
        assert string_to_sign(date, scope, canonical) == case.with_suffix(".sts").read_bytes()

    def test_the_suite_is_whole(self) -> None:
        assert len(SUITE) == 34


class TestAgainstBotocore:
    @given(
        st.lists(
            st.sampled_from(["/", "a", ".", "..", "%3A", "%2F", ":", "+", "~", "é", "!$&'()*,;=@"]),
            max_size=12,
        )
    )
    def test_paths(self, parts: list[str]) -> None:
        path = "/" + "".join(parts)
        assert canonical_path(path.encode()) == BOTOCORE._normalize_url_path(path).encode()

    @given(st.text(st.sampled_from("ab=&+%2F~-.:,/A"), max_size=30))
    def test_queries(self, query: str) -> None:
        request = AWSRequest("GET", f"https://example.com/?{query}")
        assert canonical_query(query.encode()) == BOTOCORE.canonical_query_string(request).encode()

    def test_the_path_of_no_path(self) -> None:
        assert canonical_path(b"") == BOTOCORE._normalize_url_path("").encode() == b"/"

    def test_the_headers_never_signed(self) -> None:
        assert {*SIGNED_HEADERS_BLACKLIST, "authorization"} == {name.decode() for name in NEVER_SIGNED}

    def test_headers_are_joined_trimmed_and_chosen(self) -> None:
        headers = [
            ("X-Two", "  b   c\t d "),
            ("x-one", ""),
            ("User-Agent", "x"),
            ("X-TWO", "a"),
            ("Host", "example.com"),
        ]
        request = AWSRequest("GET", "https://example.com/")
        for name, value in headers:
            request.headers[name] = value
        encoded = [(name.encode(), value.encode()) for name, value in headers]
        expected = BOTOCORE.canonical_request(request).encode()
        payload_hash = hashlib.sha256(b"").hexdigest().encode()
        assert canonical_request(b"GET", b"/", encoded, signable(encoded), payload_hash) == expected

    @given(
        st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=60),
        st.dates(datetime.date(2000, 1, 1)),
    )
    def test_signing_keys(self, secret: str, date: datetime.date) -> None:
        day = date.strftime("%Y%m%d")
        auth: Any = SigV4Auth(Credentials("AKIDEXAMPLE", secret), "bedrock", "eu-west-1")
        request = AWSRequest("GET", "https://example.com/")
        request.context["timestamp"] = f"{day}T000000Z"
        key = signing_key(Secret(secret), day.encode(), b"eu-west-1", b"bedrock")
        # botocore's signature of a text is an HMAC with that key.
        assert auth._sign(key, "text", hex=True) == auth.signature("text", request)


class TestDates:
    @given(st.integers(0, int(datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC).timestamp())))
    def test_there_and_back(self, second: int) -> None:
        text = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second)).encode()
        wall_ns = second * SECOND
        assert read_amz_date(text) == wall_ns
        assert amz_date(wall_ns) == amz_date(wall_ns + SECOND - 1) == text

    @pytest.mark.parametrize(
        "date",
        [
            b"",
            b"20260230T000000Z",
            b"20260101T240000Z",
            b"20260101T006000Z",
            b"20260101T000000",
            b"20260101T000000z",
            b"2026-01-01T00:00:00Z",
            b"20260101T000000Z ",
            b"20260101T000000Z\n",
            b"00000101T000000Z",
            "２0260101T000000Z".encode(),
        ],
    )
    def test_what_is_no_date(self, date: bytes) -> None:
        assert read_amz_date(date) is None


class TestRequestLine:
    def test_bytes_no_uri_may_hold_are_encoded_and_everything_else_stays_as_written(self) -> None:
        assert canonical_query("q=é b&%e2=%2f+/:?".encode()) == b"%e2=%2f+/:?&q=%C3%A9%20b"

    def test_pairs_are_sorted_as_pairs(self) -> None:
        # As whole texts `a-b=` would come before `a=`.
        assert canonical_query(b"a-b=1&a=2&a=1&b") == b"a=1&a=2&a-b=1&b="

    def test_a_missing_header_is_named(self) -> None:
        with pytest.raises(KeyError, match="x-gone"):
            canonical_request(b"GET", b"/", [(b"host", b"h")], (b"host", b"x-gone"), b"hash")

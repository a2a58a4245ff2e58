"""Reading tokens: PyJWT and published examples as oracles, and every second way to write one refused."""

import base64
from typing import Any, Final

import jwt
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.wire.jws import BadToken, looks_like_token, parse_token

SECRET: Final = "a secret of thirty-two bytes or more"

# RFC 7515, appendix A.1: the example whose header and claims have line breaks in them.
RFC7515_A1: Final = (
    b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
    b".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    b".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)


def part(data: bytes) -> bytes:
    """A part in base64url."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(header: bytes = b'{"alg":"HS256"}', claims: bytes = b"{}", signature: bytes = b"s") -> bytes:
    """A token whose parts are exactly these bytes."""
    return b".".join(map(part, (header, claims, signature)))


def refusal(text: bytes) -> str:
    """Why a text is no token."""
    with pytest.raises(BadToken) as caught:
        parse_token(text, bytes_max=8192)
    return str(caught.value)


class TestReading:
    def test_the_rfcs_example(self) -> None:
        found = parse_token(RFC7515_A1, bytes_max=8192)
        assert (found.algorithm, found.key_id) == ("HS256", "")
        assert found.claims == {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}
        assert found.signed == RFC7515_A1.rpartition(b".")[0]
        assert len(found.signature) == 32

    @given(
        st.dictionaries(
            st.text(max_size=8),
            st.recursive(
                st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
                lambda inner: (
                    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
                ),
                max_leaves=6,
            ),
            max_size=5,
        ).filter(lambda claims: not claims.keys() & {"iss", "sub", "exp", "iat", "nbf", "jti", "aud"}),
        st.text(max_size=20),
    )
    def test_what_pyjwt_writes_reads_the_same(self, claims: dict[str, Any], key_id: str) -> None:
        text = jwt.encode(claims, SECRET, headers={"kid": key_id}).encode()
        found = parse_token(text, bytes_max=65_536)
        assert found.claims == claims
        assert found.key_id == key_id
        assert looks_like_token(text)
        assert jwt.get_algorithm_by_name("HS256").verify(found.signed, SECRET.encode(), found.signature)

    @pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+JWT"])
    def test_tokens_for_access_may_say_so(self, kind: str) -> None:
        header = msgspec.json.encode({"alg": "HS256", "typ": kind})
        assert parse_token(token(header), bytes_max=8192).algorithm == "HS256"


class TestRefusing:
    @pytest.mark.parametrize(
        ("text", "why"),
        [
            (b"", "three parts"),
            (b"a.b", "three parts"),
            (token() + b".x", "three parts"),
            (b".".join([part(b"{}"), part(b"{}"), b""]), "names no algorithm"),
            (token(b""), "header is not base64url"),
            (token(claims=b""), "claims is not base64url"),
            (token() + b"=", "signature is not base64url"),
            (token() + b"\n", "signature is not base64url"),
            (token().replace(b".", b" .", 1), "header is not base64url"),
            (b".".join([part(b'{"alg":"HS256"}'), part(b"{}"), b""]), "signature is not base64url"),
            (b".".join([part(b'{"alg":"HS256"}'), part(b"{}"), b"a"]), "signature is not base64url"),
            (b".".join([part(b'{"alg":"HS256"}'), part(b"{}"), b"a+b/"]), "signature is not base64url"),
            (token(b"[]"), "header is no JSON object"),
            (token(b"null"), "header is no JSON object"),
            (token(b"{"), "header is no JSON object"),
            (token(b'{"alg":"HS256"}{}'), "header is no JSON object"),
            (token(b'\xef\xbb\xbf{"alg":"HS256"}'), "header is no JSON object"),
            (token(b'{"alg":"\xff"}'), "header is no JSON object"),
            (token(claims=b'"sub"'), "claims is no JSON object"),
            (token(claims=b'{"exp":1e999}'), "claims is no JSON object"),
            (token(claims=b'{"exp":NaN}'), "claims is no JSON object"),
            (token(claims=b'{"a":' + b"[" * 5000), "claims is no JSON object"),
            (token(b"{}"), "names no algorithm"),
            (token(b'{"alg":null}'), "names no algorithm"),
            (token(b'{"alg":["HS256"]}'), "names no algorithm"),
            (token(b'{"alg":"HS256","crit":["exp"],"exp":1}'), "crit"),
            (token(b'{"alg":"HS256","crit":null}'), "crit"),
            (token(b'{"alg":"HS256","kid":1}'), "kid"),
            (token(b'{"alg":"HS256","kid":"' + b"k" * 257 + b'"}'), "kid"),
            (token(b'{"alg":"HS256","typ":"dpop+jwt"}'), "typ"),
            (token(b'{"alg":"HS256","typ":1}'), "typ"),
            (token(b'{"alg":"HS256","typ":"logout+jwt"}'), "typ"),
        ],
    )
    def test_what_is_no_token(self, text: bytes, why: str) -> None:
        assert why in refusal(text)

    @pytest.mark.parametrize(
        "object_",
        [
            b'{"alg":"HS256","alg":"HS256"}',
            b'{"alg":"HS256","\\u0061lg":"none"}',
            b'{"alg":"HS256", "x":{"alg":1}, "x":2}',
            b'{"alg":"HS256","a\\"}:":1,"a\\"}:":1}',
        ],
    )
    def test_a_member_stands_once(self, object_: bytes) -> None:
        assert "stands twice" in refusal(token(object_))
        assert "stands twice" in refusal(token(claims=object_))

    def test_below_the_outermost_nobody_looks(self) -> None:
        claims = b'{"a":{"b":1,"b":[{"c:":1}]},"b":"{\\":\\\\"}'
        assert parse_token(token(claims=claims), bytes_max=8192).claims["b"] == '{":\\'

    def test_a_token_has_one_spelling(self) -> None:
        """`QQ` and `QR` are one byte to a lenient reader."""
        text = b".".join([part(b'{"alg":"HS256"}'), part(b"{}"), b"QQ"])
        assert parse_token(text, bytes_max=8192).signature == b"A"
        assert "more than one spelling" in refusal(text[:-1] + b"R")

    def test_a_long_one_is_not_read(self) -> None:
        text = token(signature=b"s" * 300)
        assert len(parse_token(text, bytes_max=len(text)).signature) == 300
        with pytest.raises(BadToken, match="longer than"):
            parse_token(text, bytes_max=len(text) - 1)

    @given(
        st.binary(max_size=60)
        | st.lists(st.binary(max_size=20), min_size=3, max_size=3).map(lambda p: token(*p))
    )
    def test_whatever_comes_it_is_a_token_or_it_is_not(self, text: bytes) -> None:
        try:
            parse_token(text, bytes_max=8192)
        except BadToken:
            pass

    def test_nothing_of_it_is_quoted(self) -> None:
        assert "hunter2" not in refusal(token(b'{"alg":"HS256","typ":"hunter2"}'))


class TestLooks:
    @pytest.mark.parametrize(
        ("text", "does"),
        [
            (token(), True),
            (token(b'{ "alg":"none"}', signature=b""), True),
            (b"eyJhbGciOiJub25lIn0.e30.", True),
            (b"sk-sg-abc.def.ghi", False),
            (b"eyJhbGciOiJub25lIn0.e30", False),
            (b"eyJhbGciOiJub25lIn0.e30.x.y.z", False),
            (token() + b" ", False),
            (b"", False),
        ],
    )
    def test_three_parts_of_which_the_first_is_an_object(self, text: bytes, does: bool) -> None:
        assert looks_like_token(text) is does

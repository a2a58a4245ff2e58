"""Secrets: other ones, that open what these have opened."""

import base64
import hashlib
import hmac
import re

import jwt
import pytest

from stargate_core.journal.redact.secrets import Secrets, bare, code, code_like, parts_of
from stargate_core.journal.redact.words import Words
from stargate_core.wire.jws import looks_like_token, parse_token

KNOWN = frozenset({"placeholder1xx", "https://own.test", "stargate", "ann"})


def secrets(signers: dict[str, str] | None = None) -> Secrets:
    return Secrets(Words(b"salt", KNOWN), KNOWN, signers or {})


def test_a_keys_digest_becomes_that_of_what_it_has_become() -> None:
    made = secrets()
    key = made.shown("Bearer sk-team-a-0123")
    assert "sk-team-a" not in key
    assert len(key) == len("Bearer sk-team-a-0123")
    digest = hashlib.sha256(b"sk-team-a-0123").hexdigest()
    assert made.digest(digest.upper()) == hashlib.sha256(key[7:].encode()).hexdigest()
    other = hashlib.sha256(b"another").hexdigest()
    assert made.digest(other) != other
    assert len(made.digest(other)) == 64


def test_the_same_key_is_the_same_wherever_it_comes() -> None:
    made = secrets()
    assert made.shown("Bearer sk-1234567") == f"Bearer {made.shown('sk-1234567')}"


def test_a_placeholder_stays() -> None:
    assert secrets().shown("Bearer placeholder1xx") == "Bearer placeholder1xx"
    assert secrets().key("") == ""
    assert secrets().digest("no digest") != "no digest"


@pytest.mark.parametrize("good", [True, False])
def test_a_token_is_read_as_before_and_signed_as_it_was(*, good: bool) -> None:
    claims = {
        "iss": "https://own.test",
        "aud": ["stargate"],
        "exp": 1_800_000_125,
        "sub": "ann",
        "email": "é@x.test",
        "n": [1, 2],
    }
    token = jwt.encode(claims, "s" * 32, algorithm="HS256")
    made = secrets({token: "p" * 32} if good else {}).shown(token)
    assert len(made) == len(token)
    assert looks_like_token(made.encode())
    read = parse_token(made.encode(), bytes_max=9999)
    assert {name: read.claims[name] for name in ("iss", "aud", "exp", "sub")} == {
        name: claims[name] for name in ("iss", "aud", "exp", "sub")
    }
    assert "x.test" not in str(read.claims)
    assert "email" not in read.claims
    assert (read.signature == hmac.digest(b"p" * 32, read.signed, "sha256")) is good


def test_a_token_of_many_members_is_read_once() -> None:
    token = jwt.encode({f"claim{number}": number for number in range(3000)}, "s" * 32, algorithm="HS256")
    made = secrets().shown(token)
    assert len(made) == len(token)
    assert len(parse_token(made.encode(), bytes_max=99_999).claims) == 3000


@pytest.mark.parametrize(
    "text", ["aaaa.bbbb.cccc", "e30.e30.", "W10.W10.AAAA", "e30.bm8gSlNPTg.AAAA", "e30.e30.A"]
)
def test_what_only_looks_like_a_token_is_as_long(text: str) -> None:
    assert len(secrets({text: "p" * 32}).shown(text)) == len(text)


def test_a_signature_of_another_length_than_the_algorithms_stays_one() -> None:
    header = base64.urlsafe_b64encode(b'{"alg":"HS256"}').decode().rstrip("=")
    token = f"{header}.e30.AAAA"
    made = secrets({token: "p" * 32}).shown(token)
    assert made.rpartition(".")[0] == f"{header}.e30"
    assert len(made) == len(token)


def test_an_aws_key_id_is_another_one_of_its_kind() -> None:
    made = secrets().key_id("AKIAIOSFODNN7EXAMPLE")
    assert made.startswith("AKIA")
    assert (len(made), made != "AKIAIOSFODNN7EXAMPLE") == (20, True)


def test_the_parts_of_a_token_are_what_its_signature_depends_on() -> None:
    token = jwt.encode({"iss": "https://own.test"}, "s" * 48, algorithm="HS384")
    parts = parts_of(token)
    assert parts is not None
    assert f"{parts.signed}.{parts.signature}" == token
    assert (parts.algorithm, parts.issuer) == ("HS384", "https://own.test")
    assert code("s" * 48, parts.signed, parts.algorithm) == parts.signature
    assert code("t" * 48, parts.signed, parts.algorithm) != parts.signature
    assert code("s" * 48, parts.signed, "RS256") is None, "no matter of secrets"
    assert parts_of("sk-team-a-0123") is None


def test_an_escape_that_json_has_not_makes_a_word_of_a_part() -> None:
    """It stands before a character of two bytes, which would come out shorter."""
    claims = base64.urlsafe_b64encode('{"said":"\\é secretly"}'.encode()).decode().rstrip("=")
    made = secrets().shown(f"e30.{claims}.AAAA")
    assert made.split(".")[1] == Words(b"salt", KNOWN).word(claims)


@pytest.mark.parametrize(
    ("value", "shown"),
    [("Bearer sk-1", "sk-1"), ("bearer  sk-1 ", "sk-1"), ("Basic YTpi", "YTpi"), (" sk-1", "sk-1"), ("", "")],
)
def test_what_is_shown_is_what_stands_behind_the_scheme(value: str, shown: str) -> None:
    assert bare(value) == shown


def test_in_a_url_it_is_what_words_are_there() -> None:
    made = secrets().quoted("se%20cret")
    assert made == Words(b"salt", KNOWN).quoted("se%20cret")
    assert re.fullmatch(r"[a-z]{2}%[0-9a-f]{2}[a-z]{4}", made)


@pytest.mark.parametrize("text", ["", "abcd", "abcdef", "abcdefg", "0123456789ABCDEFGHIJ3"])
def test_letters_and_digits_become_the_one_spelling_of_some_bytes(text: str) -> None:
    """Of the last character some bits may say nothing: a strict reader wants them to be zeros."""
    made = code_like(text)
    assert (len(made), made[:-1]) == (len(text), text[:-1])
    if len(text) % 4 != 1:
        data = base64.urlsafe_b64decode(made + "=" * (-len(made) % 4))
        assert base64.urlsafe_b64encode(data).decode().rstrip("=") == made

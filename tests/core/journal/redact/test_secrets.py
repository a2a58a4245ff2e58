"""Secrets: other ones, that open what these have opened."""

import hashlib
import hmac

import jwt
import pytest

from stargate_core.journal.redact.secrets import Secrets
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


@pytest.mark.parametrize("text", ["aaaa.bbbb.cccc", "e30.e30.", "W10.W10.AAAA", "e30.bm8gSlNPTg.AAAA"])
def test_what_only_looks_like_a_token_is_as_long(text: str) -> None:
    assert len(secrets({text: "p" * 32}).shown(text)) == len(text)

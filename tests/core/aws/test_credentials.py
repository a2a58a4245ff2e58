"""Credentials and claims are values: compared, never changed, and what is secret in them is not shown.
What is wrong with a claim is told by a word.
"""

from typing import Any

import pytest

from stargate_core.aws.credentials import AuthorizationError, Credentials, Presented, VerifyResult
from stargate_core.secret import Secret


def a_claim() -> Presented:
    """What some Authorization header says."""
    return Presented(
        "AKID", b"20270115", b"us-east-1", b"bedrock", (b"host",), b"0" * 64, b"20270115T080000Z", 1
    )


class TestCredentials:
    def test_of_long_life_there_is_neither_token_nor_end(self) -> None:
        credentials = Credentials("AKID", Secret("planted"))
        assert (credentials.session_token, credentials.expires_at_ns) == (None, None)

    def test_a_secret_in_them_is_not_shown(self) -> None:
        assert "planted" not in repr(Credentials("AKID", Secret("planted"), Secret("planted too")))

    def test_they_are_what_is_in_them(self) -> None:
        assert Credentials("AKID", Secret("one")) == Credentials("AKID", Secret("one"))
        assert Credentials("AKID", Secret("one")) != Credentials("AKID", Secret("two"))

    @pytest.mark.parametrize(
        ("value", "field"), [(Credentials("AKID", Secret("one")), "access_key_id"), (a_claim(), "region")]
    )
    def test_nobody_changes_them(self, value: Any, field: str) -> None:
        with pytest.raises(AttributeError):
            setattr(value, field, "another")


class TestPresented:
    def test_one_other_word_is_another_claim(self) -> None:
        assert a_claim() == a_claim()
        assert a_claim() != Presented(
            "AKID", b"20270115", b"eu-west-1", b"bedrock", (b"host",), b"0" * 64, b"", 1
        )


class TestAuthorizationError:
    @pytest.mark.parametrize("result", list(VerifyResult))
    def test_it_says_why(self, result: VerifyResult) -> None:
        error = AuthorizationError(result, "why")
        assert (error.result, str(error), result.value) == (result, "why", result.name)

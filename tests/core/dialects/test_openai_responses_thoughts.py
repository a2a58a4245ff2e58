"""What a reasoning item bears for the next turn: it comes back as it went, and nothing else is taken for it
to be.
"""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.dialects.openai_responses_thoughts import MARK, Sealed, seal, unseal

WORDS = st.none() | st.text(min_size=1)


@given(WORDS, WORDS)
def test_what_is_sealed_comes_back(signature: str | None, redacted: str | None) -> None:
    sealed = Sealed(signature, redacted)
    text = seal(sealed)
    if signature is None and redacted is None:
        assert text is None
    else:
        assert text is not None
        assert unseal(text) == sealed
        assert re.fullmatch(r"sg1\.[A-Za-z0-9+/]+", text)


def test_the_form_stays_what_callers_keep_in_their_histories() -> None:
    text = "sg1." + base64.b64encode(b'{"signature":"Eu0CCkgIBxAB"}').decode().rstrip("=")
    assert seal(Sealed("Eu0CCkgIBxAB")) == text
    assert unseal(text) == Sealed("Eu0CCkgIBxAB")


@given(st.text())
def test_what_is_not_ours_is_nothing(text: str) -> None:
    if not text.startswith(MARK):
        assert unseal(text) is None


@pytest.mark.parametrize("text", ["gAAAAABo8q", "sg2.eyJ9", "", "sg1"])
def test_other_services_and_other_versions_are_not_ours(text: str) -> None:
    assert unseal(text) is None


@given(st.text())
def test_what_is_ours_and_damaged_is_an_error_and_no_other(rest: str) -> None:
    try:
        assert isinstance(unseal(MARK + rest), Sealed)
    except ValueError:
        pass


@pytest.mark.parametrize("rest", ["", "e", "!!!!", "eyJ9", "W10", "eyJzaWduYXR1cmUiOjV9", "é"])
def test_what_cannot_be_read_is_an_error(rest: str) -> None:
    with pytest.raises(ValueError, match="damaged"):
        unseal(MARK + rest)


def test_what_a_later_version_may_add_is_skipped() -> None:
    text = base64.b64encode(b'{"signature":"E","model":"x"}').decode()
    assert unseal(f"{MARK}{text}") == Sealed("E")

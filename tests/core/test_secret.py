"""A secret can be used and not shown: every way a value usually gets out, tried."""

import copy
import json
import pickle
import pprint
import string
import traceback
from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.sigv4 import Credentials
from stargate_core.config.plugin_configs import AwsCredentials
from stargate_core.config.schema import KeyCredential
from stargate_core.secret import Secret

TEXT: Final = "sk-planted-1234567890"

SHOWING: Final[dict[str, Callable[[Any], Any]]] = {
    "repr": repr,
    "str": str,
    "format": format,
    "an f-string": lambda value: f"{value}",
    "an f-string with a conversion": lambda value: f"{value!r} {value!s} {value!a}",
    "%s": lambda value: "%s %r" % (value, value),  # noqa: UP031
    "str.format": lambda value: "{} {!r}".format(value, value),  # noqa: UP032
    "a template": lambda value: string.Template("$x").substitute(x=value),
    "a list": lambda value: str([value]),
    "a dictionary": lambda value: str({"key": value}),
    "pprint": pprint.pformat,
    "an exception": lambda value: repr(ValueError(value)),
    "dir": dir,
}

COPYING: Final[dict[str, Callable[[Any], Any]]] = {
    "pickle": pickle.dumps,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "json": json.dumps,
    "msgspec's json": msgspec.json.encode,
    "msgspec's msgpack": msgspec.msgpack.encode,
    "msgspec's builtins": msgspec.to_builtins,
    "hash": hash,
    "a set": lambda value: {value},
    "vars": vars,
    "iteration": list,
    "bytes": bytes,
    "concatenation": lambda value: "key: " + value,
}


class TestSecret:
    @pytest.mark.parametrize("show", SHOWING.values(), ids=list(SHOWING))
    def test_showing_it_shows_nothing(self, show: Callable[[Any], Any]) -> None:
        assert TEXT not in str(show(Secret(TEXT)))

    @pytest.mark.parametrize("take", COPYING.values(), ids=list(COPYING))
    def test_copying_it_out_raises(self, take: Callable[[Any], Any]) -> None:
        with pytest.raises(TypeError) as refused:
            take(Secret(TEXT))
        assert TEXT not in str(refused.value)

    @pytest.mark.parametrize(
        "holder",
        [
            Credentials("AKID", Secret(TEXT), Secret(TEXT)),
            AwsCredentials(access_key_id="AKID", secret_access_key=Secret(TEXT)),
            KeyCredential(key=Secret(TEXT)),
        ],
    )
    def test_nor_does_whatever_holds_it(self, holder: object) -> None:
        for show in SHOWING.values():
            assert TEXT not in str(show(holder))

    def test_nor_does_a_width(self) -> None:
        assert TEXT not in f"{Secret(TEXT):>40}"

    def test_nor_does_a_traceback_with_its_locals(self) -> None:
        def fail(key: Secret) -> None:
            raise LookupError(key)

        with pytest.raises(LookupError) as caught:
            fail(Secret(TEXT))
        told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        lines = "".join(told.format())
        assert "key = " in lines
        assert TEXT not in lines

    def test_nothing_can_be_hung_on_it(self) -> None:
        with pytest.raises(AttributeError):
            Secret(TEXT).note = "x"  # type: ignore[attr-defined]

    def test_it_has_one_way_out(self) -> None:
        assert Secret(TEXT).reveal() == TEXT

    @given(
        st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"]))
    )
    def test_it_is_equal_to_its_like_and_to_nothing_else(self, one: str, other: str) -> None:
        assert (Secret(one) == Secret(other)) == (one == other)
        assert Secret(one).matches(other) == (one == other)
        assert Secret(one) != one

    def test_an_empty_one_is_false(self) -> None:
        assert not Secret("")
        assert Secret("0")

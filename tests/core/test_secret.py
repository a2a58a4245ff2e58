"""A secret can be used and not shown: every way a value usually gets out, tried. What others say is private:
it is sent, compared and encoded, but whoever prints an object, or a traceback with locals, reads none of it.
"""

import copy
import enum
import importlib
import json
import pickle
import pkgutil
import pprint
import re
import string
import traceback
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stargate_core
from stargate_core.aws.bearer import BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.config.plugin_configs import ApiKeyAuth, AwsCredentials
from stargate_core.config.schema import Consumer, KeyCredential, PluginEntry
from stargate_core.config.store_url import StoreServer
from stargate_core.dialects.face import Call, Request
from stargate_core.dialects.openai_chat_request import ChatRequest
from stargate_core.direction import Direction, Order
from stargate_core.gateway.redis_calls import LinkSettings
from stargate_core.messages import AnswerBegan, ClientSent, CredentialsChanged, Follow, Source
from stargate_core.questions import VerifyToken
from stargate_core.secret import Private, Secret
from stargate_core.wire.http1.events import RequestHead
from support.bedrock import LAST_CHUNK, chunk, converse_answer, converse_story, stream_head
from support.compiled import interpreted_only
from support.hooks import entry, plugin_of
from support.machines import Bench, a_config, a_plan, chat, request
from support.samples import samples

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


def structs() -> Iterator[type[msgspec.Struct]]:
    """All Structs of the core."""
    for module in pkgutil.walk_packages(stargate_core.__path__, "stargate_core."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and (value.__module__, True) == (
                module.name,
                issubclass(value, msgspec.Struct),
            ):
                yield value


SECRET_NAME: Final = re.compile(r"secret|passw|passphrase|token|credential|(^|_)key$")
ENTRY: Final = "the name of an entry or of a bucket, made by us: a hash, or a plain text that is no secret"
NOT_SECRET: Final[dict[str, str]] = {
    "stargate_core.direction.Order.key": ENTRY,
    "stargate_core.limits.buckets.Bucket.key": ENTRY,
    "stargate_core.messages.EntryFound.key": ENTRY,
    "stargate_core.messages.SeekEntry.key": ENTRY,
    "stargate_core.messages.KeepEntry.key": ENTRY,
    "stargate_core.questions.ReadEntry.key": ENTRY,
    "stargate_core.questions.WriteEntry.key": ENTRY,
    "stargate_core.gateway.checkpoint.Checkpoint.credentials": "by the name of their account",
    "stargate_core.journal.redact.verdicts.Verdicts.tokens": "as callers have shown them; never printed",
}
"""Fields that are called like secrets, and why they are none."""


def may_hold(kind: Any, wanted: type) -> bool:
    """Whether a value of the wanted type may stand in a field of this type."""
    return kind is wanted or any(may_hold(part, wanted) for part in typing.get_args(kind))


class TestHolders:
    def test_what_is_called_a_secret_is_one(self) -> None:
        """So a new field that holds a key as a plain text is noticed here."""
        plain = {
            f"{struct.__module__}.{struct.__qualname__}.{field.name}"
            for struct in structs()
            for field in msgspec.structs.fields(struct)
            if SECRET_NAME.search(field.name) and (may_hold(field.type, str) or may_hold(field.type, bytes))
        }
        assert plain - NOT_SECRET.keys() == set()
        assert NOT_SECRET.keys() - plain == set(), "no exception outlives its reason"

    @pytest.mark.parametrize(
        "holder",
        [Credentials, BearerToken, Direction, Order, StoreServer, LinkSettings, CredentialsChanged, Follow],
    )
    def test_whatever_holds_one_neither_shows_nor_pickles_it(self, holder: type[msgspec.Struct]) -> None:
        pickled = 0
        for value in samples(holder, secret=TEXT):
            for show in SHOWING.values():
                assert TEXT not in str(show(value))
            try:
                assert TEXT.encode() not in pickle.dumps(value)
            except TypeError:
                continue
            pickled += 1  # This shape of it has none.
        assert pickled < len(list(samples(holder)))


# ---------------------------------------------------------------------------------------------- others' words

SAID: Final = b"PLANTED words"
HEADERS: Final = [(b"authorization", b"Bearer " + SAID)]

HARMLESS: Final[dict[str, str]] = {
    "stargate_core.messages.KeysChanged": "hashes of keys, and what each may do",
    "stargate_core.messages.Emit": "a line for the log, as closed as the log's record",
    "stargate_core.questions.Keys": "hashes of keys, and what each may do",
    "stargate_core.limits.script.Script": "our own Lua",
    "stargate_core.dialects.registry.Route": "our own paths",
    "stargate_core.dialects.parameters.Parameter": "our own table",
    "stargate_core.aws.operations.OperationSpec": "our own table",
    "stargate_core.aws.credentials.Presented": "a signature, which is good for one request and tells no key",
    "stargate_core.wire.frames.Uuid": "one value of a header of Bedrock's",
    "stargate_core.dialects.bedrock_native._Limits": "numbers",
    "stargate_core.gateway.plan.Hook": "a function",
}
"""Structs with room for words, and what is in them instead."""


def has_room(kind: Any) -> bool:
    """Whether bytes, or anything, may stand in a field of this type."""
    return kind in (bytes, Any) or any(has_room(part) for part in typing.get_args(kind))


class Kind(enum.Enum):
    ONE = 1


class Letter(Private, msgspec.Struct):
    SHOWN = ("name",)

    name: str
    text: str
    data: bytes
    number: int
    kind: Kind
    members: dict[str, str]
    inner: "Letter | None" = None
    other: Any = None


class TestPrivate:
    def test_it_tells_how_much_there_is_and_not_what(self) -> None:
        inner = Letter("inner", "xyz", b"", 1, Kind.ONE, {})
        letter = Letter("outer", "PLANTED", b"PLANTED", 7, Kind.ONE, {"PLANTED": "PLANTED"}, inner, object())
        shown = repr(letter)
        assert shown == str(letter) == f"{letter}" == pprint.pformat(letter, width=1000)
        assert "PLANTED" not in shown
        assert shown.startswith(
            "Letter(name='outer', text=<str of 7>, data=<bytes of 7>, number=7, kind=<Kind.ONE: 1>, "
            "members=<dict of 1>, inner=Letter(name='inner', text=<str of 3>, "
        )
        assert shown.endswith("other=<object>)")

    def test_rich_shows_no_more(self) -> None:
        letter = Letter("outer", "PLANTED", b"PLANTED", 7, Kind.ONE, {}, other=Secret("PLANTED"))
        assert dict(letter.__rich_repr__())["name"] == "outer"
        assert "PLANTED" not in repr(letter.__rich_repr__())

    def test_it_is_encoded_and_compared_like_any_other(self) -> None:
        letter = Letter("a", "b", b"c", 1, Kind.ONE, {"d": "e"})
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(letter), type=Letter) == letter
        assert letter != msgspec.structs.replace(letter, text="B")

    @pytest.mark.parametrize(
        "carrier",
        [
            Request(b"POST", b"/v1?k=" + SAID, b"/v1", b"k=" + SAID, HEADERS, SAID, "id", 1, "192.0.2.7"),
            RequestHead(b"POST", b"/v1?k=" + SAID, b"1.1", HEADERS, True, False, 3, False),
            Call("Converse", b"POST", b"/model/m/converse", HEADERS, SAID, False),  # type: ignore[arg-type]
            ClientSent(SAID),
            AnswerBegan(1, Source.MADE, HEADERS),
            VerifyToken("https://a/b", "RS256", "kid", SAID, SAID),
            msgspec.json.decode(
                b'{"messages": [{"role": "user", "content": "PLANTED words"}], "user": "PLANTED"}',
                type=ChatRequest,
            ),
        ],
        ids=lambda carrier: type(carrier).__name__,
    )
    def test_nothing_that_was_said_is_shown(self, carrier: Any) -> None:
        assert SAID in msgspec.msgpack.encode(carrier)
        for show in SHOWING.values():
            assert "PLANTED" not in str(show(carrier))

    def test_all_that_has_room_for_words_is_private(self) -> None:
        open_ = {
            f"{struct.__module__}.{struct.__qualname__}"
            for struct in structs()
            if not issubclass(struct, Private)
            and any(has_room(field.type) for field in msgspec.structs.fields(struct))
        }
        assert open_ - HARMLESS.keys() == set()
        assert HARMLESS.keys() - open_ == set(), "no exception outlives its reason"


# ------------------------------------------------------------------------------------ tracebacks with locals

CORE: Final = str(Path(stargate_core.__file__).parent)
MARKS: Final = ("PLANTED", "aws-secret", "sk-planted")


def witness(seen: list[str], catcher: str) -> Callable[[Any], None]:
    """A hook that writes down what a traceback from within it would show of the core, locals and all, if it
    were caught in `catcher`.
    """

    def look(_: Any) -> None:
        stack = traceback.StackSummary.extract(traceback.walk_stack(None), capture_locals=True)
        frames = [frame for frame in stack if frame.filename.startswith(CORE)]
        caught = next(number for number, frame in enumerate(frames) if frame.name == catcher)
        seen.extend(f"{frame.filename}:{frame.name}: {frame.locals}" for frame in frames[: caught + 1])

    return look


class TestTracebacks:
    """A traceback with locals of whatever raises in a plugin tells nobody's words, as far up as it can come.
    On the session's own way to a plugin that holds too, but for mid-stream, where bytes are bytes: of a bug
    there the shell tells the place, and no locals.
    """

    @pytest.mark.parametrize(
        ("phase", "catcher"),
        [
            ("rewrite", "handle"),
            ("access", "handle"),
            ("header_filter", "run_hook"),
            ("body_filter", "run_hook"),
            ("log", "run_hook"),
        ],
    )
    @interpreted_only("its functions have no frames that could be looked at")
    @pytest.mark.parametrize("dialect", ["chat", "native"])
    def test_they_hold_no_words(self, phase: str, catcher: str, dialect: str) -> None:
        seen: list[str] = []
        key = KeyCredential(key=Secret(f"sk-planted-{'0' * 20}"))
        consumers = [Consumer(username="ann", keyauth_credentials=[key])]
        auth = PluginEntry(name="api-key-auth", config=ApiKeyAuth())
        config = a_config(auth, entry(), consumers=consumers)
        bench = Bench(a_plan(config, plugin_of({phase: witness(seen, catcher)}, priority=500)))
        headers = {"x-api-key": f"sk-planted-{'0' * 20}", "cookie": "PLANTED"}
        if dialect == "chat":
            bench.ask(chat(stream=True, headers=headers, messages=[{"role": "user", "content": "PLANTED"}]))
        else:
            body = b'{"messages": [{"role": "user", "content": [{"text": "PLANTED"}]}]}'
            bench.ask(request("/model/m/converse", body, headers=headers))
        bench.open()
        if dialect == "chat":
            bench.answer(stream_head() + chunk(converse_story(("PLANTED",)).whole) + LAST_CHUNK)
        else:
            bench.answer(converse_answer("PLANTED"))
        assert bench.only.status == 200
        assert seen
        assert [line for line in seen for mark in MARKS if mark in line] == []

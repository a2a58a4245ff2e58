"""What crosses between core and shell: closed unions of plain, frozen, tagged values. A journal can be made
of them, and then holds no secret.
"""

import types
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Literal, Union, get_args, get_origin

import msgspec
import pytest

from stargate_core import messages
from stargate_core.aws.bearer import BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.dialects.face import Headers
from stargate_core.gateway import exchange, session, states
from stargate_core.messages import (
    BreakerCommand,
    BreakerEvent,
    CacheCommand,
    CacheEvent,
    CredentialsChanged,
    Draining,
    FlightBegan,
    FlightCommand,
    FlightEnded,
    FlightEvent,
    FlightSent,
    Follow,
    Grounded,
    Health,
    HealthChanged,
    KeyringCommand,
    KeyringEvent,
    Note,
    PoolCommand,
    PoolEvent,
    SessionCommand,
    SessionEvent,
    StoreCommand,
    StoreEvent,
    Ticked,
)
from stargate_core.secret import Secret
from support.samples import read_again, samples, written_down

EVENTS: Final[dict[str, Any]] = {
    "session": SessionEvent,
    "pool": PoolEvent,
    "store": StoreEvent,
    "keyring": KeyringEvent,
    "breaker": BreakerEvent,
    "cache": CacheEvent,
    "flight": FlightEvent,
}
COMMANDS: Final[dict[str, Any]] = {
    "session": SessionCommand,
    "pool": PoolCommand,
    "store": StoreCommand,
    "keyring": KeyringCommand,
    "breaker": BreakerCommand,
    "cache": CacheCommand,
    "flight": FlightCommand,
}
UNIONS: Final = (*EVENTS.values(), *COMMANDS.values())
MESSAGES: Final = sorted(
    {each for union in UNIONS for each in get_args(union)}, key=lambda each: each.__name__
)
HOLD_SECRETS: Final = (CredentialsChanged, messages.Ask, Follow, messages.AnswerOrdered, messages.Launch)
COMMON: Final = (Draining, Ticked, Note)
"""What several machines are told, or say."""
REPORTS: Final = (FlightBegan, FlightSent, FlightEnded)
"""What flights say in the words in which the cache hears it."""
PAST: Final = ("ed", "Sent", "Lost", "Withdrawn", "Began", "Told", "Found", "Read", "Unread")


def is_fixed(kind: Any) -> bool:
    """Whether a value of this type can't change. Lists of headers and mappings are made once and given away:
    nobody who gets one may change it.
    """
    if kind == Headers or kind in (int, float, str, bytes, bool, type(None), Secret, ...):
        return True
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return True
    if origin in (Union, types.UnionType, tuple, dict, Mapping):
        return all(is_fixed(part) for part in parts)
    if issubclass(kind, Enum):
        return True
    return bool(kind.__struct_config__.frozen) and all(
        is_fixed(field.type) for field in msgspec.structs.fields(kind)
    )


class TestUnions:
    def test_they_hold_all_messages_there_are(self) -> None:
        defined = {
            value
            for value in vars(messages).values()
            if isinstance(value, type)
            and issubclass(value, msgspec.Struct)
            and value.__module__ == messages.__name__
        }
        assert set(MESSAGES) == defined

    @pytest.mark.parametrize("message", MESSAGES)
    def test_a_message_has_one_speaker_and_one_listener(self, message: type[msgspec.Struct]) -> None:
        """But for what every machine is told, or may say; a flight hears and says what a session does."""
        homes = [
            name
            for part in (EVENTS, COMMANDS)
            for name, union in part.items()
            if message in get_args(union) and name != "flight"
        ]
        if message in COMMON:
            assert len(homes) > 1
        elif message is Grounded:
            assert homes == []
        else:
            assert len(homes) == 1

    def test_a_flight_hears_and_says_what_a_session_does(self) -> None:
        assert set(get_args(FlightEvent)) == {*get_args(SessionEvent), Grounded}
        assert set(get_args(FlightCommand)) == {*get_args(SessionCommand), *REPORTS}
        assert set(REPORTS) < set(get_args(CacheEvent))

    @pytest.mark.parametrize("message", MESSAGES)
    def test_what_a_message_holds_cannot_change_either(self, message: type[msgspec.Struct]) -> None:
        for field in msgspec.structs.fields(message):
            assert is_fixed(field.type), f"{message.__name__}.{field.name}"

    def test_the_tables_take_all_of_a_machines_events_and_no_others(self) -> None:
        assert set(session.TABLE.events) == set(get_args(SessionEvent))
        assert set(exchange.TABLE.events) == set(get_args(exchange.ExchangeEvent)) < set(session.TABLE.events)

    def test_the_tables_know_every_state(self) -> None:
        assert set(session.TABLE.states) == set(get_args(session.State))
        assert set(exchange.TABLE.states) == set(get_args(states.State))

    @pytest.mark.parametrize("message", MESSAGES)
    def test_a_message_is_frozen_and_knows_its_name(self, message: type[msgspec.Struct]) -> None:
        config = message.__struct_config__
        assert config.frozen
        assert config.tag == message.__name__
        assert (message.__doc__ or "").strip()

    def test_facts_are_in_the_past_tense_and_orders_are_not(self) -> None:
        past = {each.__name__ for union in EVENTS.values() for each in get_args(union)} - {"Draining"}
        assert [name for name in past if not name.endswith(PAST)] == []
        told = {each for union in COMMANDS.values() for each in get_args(union)} - set(REPORTS)
        assert [each.__name__ for each in told if each.__name__.endswith("ed")] == []


class TestJournal:
    """A journal is made of messages: each is read again as it was written, but for its secrets."""

    @pytest.mark.parametrize("union", UNIONS, ids=[*EVENTS, *COMMANDS])
    def test_every_message_of_a_union_is_read_again_from_the_union(self, union: Any) -> None:
        for message in get_args(union):
            for value in samples(message):
                assert read_again(written_down(value), union) == value

    @pytest.mark.parametrize("message", MESSAGES)
    def test_a_secret_is_never_written(self, message: type[msgspec.Struct]) -> None:
        for value in samples(message, secret="PLANTED"):
            assert b"PLANTED" not in written_down(value)
            assert "PLANTED" not in repr(value)

    @pytest.mark.parametrize("message", MESSAGES)
    def test_who_does_not_say_what_becomes_of_a_secret_writes_nothing(
        self, message: type[msgspec.Struct]
    ) -> None:
        """There is no way to encode one by oversight: msgspec does not know the type, and raises."""
        refused = False
        for value in samples(message, secret="PLANTED"):
            try:
                msgspec.msgpack.encode(value)
            except TypeError as error:
                refused = True
                assert "PLANTED" not in str(error)
        assert refused == (message in HOLD_SECRETS)

    @pytest.mark.parametrize(
        "credentials", [Credentials("AKID", Secret("PLANTED")), BearerToken(Secret("PLANTED"))]
    )
    def test_what_kind_of_credentials_they_were_is_known_again(
        self, credentials: Credentials | BearerToken
    ) -> None:
        read = read_again(written_down(CredentialsChanged("", credentials)), SessionEvent)
        assert type(read.credentials) is type(credentials)


class TestHealth:
    def test_only_what_is_not_healthy_is_kept(self) -> None:
        known: dict[str, HealthChanged] = {}
        for health in (Health.CLOSED, Health.OPEN, Health.HALF_OPEN):
            HealthChanged("a", health).keep_in(known)
        HealthChanged("b", Health.OPEN, until_ns=7).keep_in(known)
        assert known == {
            "a": HealthChanged("a", Health.HALF_OPEN),
            "b": HealthChanged("b", Health.OPEN, until_ns=7),
        }
        HealthChanged("a", Health.CLOSED).keep_in(known)
        assert list(known) == ["b"]

"""What crosses between core and shell: closed unions of plain, frozen, tagged values."""

from enum import Enum
from typing import Any, Final, get_args

import msgspec
import pytest

from stargate_core import messages
from stargate_core.aws.endpoints import Endpoint
from stargate_core.aws.sigv4 import Credentials
from stargate_core.gateway import exchange, session
from stargate_core.messages import (
    Connect,
    CredentialsChanged,
    Draining,
    Emit,
    Lend,
    OpenUpstream,
    PoolCommand,
    PoolEvent,
    SessionCommand,
    SessionEvent,
    Ticked,
    UpstreamSent,
    WriteClient,
)
from stargate_core.secret import Secret

UNIONS: Final = (SessionEvent, SessionCommand, PoolEvent, PoolCommand)
MESSAGES: Final = sorted(
    {each for union in UNIONS for each in get_args(union)}, key=lambda each: each.__name__
)
ENDPOINT: Final = Endpoint("https", "h", 443, "bedrock", "us-east-1")


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
        """But for the two facts that every machine is told."""
        homes = [union for union in UNIONS if message in get_args(union)]
        assert homes == ([SessionEvent, PoolEvent] if message in (Draining, Ticked) else homes[:1])

    @pytest.mark.parametrize("message", MESSAGES)
    def test_what_a_message_holds_cannot_change_either(self, message: type[msgspec.Struct]) -> None:
        for field in msgspec.structs.fields(message):
            for kind in get_args(field.type) or (field.type,):
                plain = kind in (int, str, bytes, bool, type(None)) or issubclass(kind, Enum)
                assert plain or kind.__struct_config__.frozen, f"{message.__name__}.{field.name}"

    def test_the_tables_take_all_of_a_machines_events_and_no_others(self) -> None:
        assert set(session.TABLE.events) == set(get_args(SessionEvent))
        assert set(exchange.TABLE.events) == set(get_args(exchange.ExchangeEvent)) < set(session.TABLE.events)

    def test_the_tables_know_every_state(self) -> None:
        assert set(session.TABLE.states) == set(get_args(session.State))
        assert set(exchange.TABLE.states) == set(get_args(exchange.State))

    @pytest.mark.parametrize("message", MESSAGES)
    def test_a_message_is_frozen_and_knows_its_name(self, message: type[msgspec.Struct]) -> None:
        config = message.__struct_config__
        assert config.frozen
        assert config.tag == message.__name__
        assert (message.__doc__ or "").strip()

    def test_facts_are_in_the_past_tense_and_orders_are_not(self) -> None:
        past = {each.__name__ for each in (*get_args(SessionEvent), *get_args(PoolEvent))} - {"Draining"}
        assert [name for name in past if not name.endswith(("ed", "Sent", "Lost", "Withdrawn"))] == []
        orders = {each.__name__ for each in (*get_args(SessionCommand), *get_args(PoolCommand))}
        assert [name for name in orders if name.endswith("ed")] == []


class TestValues:
    @pytest.mark.parametrize(
        "message",
        [
            UpstreamSent(3, b"\x00\xff"),
            WriteClient(b""),
            Emit("/dev/stdout", b"{}"),
            OpenUpstream(1, ENDPOINT, True),
            Connect(1, ENDPOINT),
            Lend(1, 2, False),
        ],
    )
    def test_they_can_be_written_down_and_read_again(self, message: Any) -> None:
        """A journal is made of them."""
        encoded = msgspec.msgpack.encode(message)
        assert msgspec.msgpack.decode(encoded, type=type(message)) == message

    def test_credentials_can_not(self) -> None:
        """Whatever writes journals must say what becomes of a secret."""
        event = CredentialsChanged("", Credentials("AKID", Secret("s")))
        with pytest.raises(TypeError):
            msgspec.msgpack.encode(event)
        assert "'s'" not in repr(event)

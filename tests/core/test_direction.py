"""Directions: values that can be kept, compared and told, without telling a secret."""

import inspect
from typing import Final

import msgspec
import pytest

from stargate_core import direction
from stargate_core.aws.credentials import Credentials
from stargate_core.aws.endpoints import endpoint
from stargate_core.aws.surfaces import Surface
from stargate_core.clock import MILLISECOND, SECOND
from stargate_core.dialects.face import Target
from stargate_core.direction import Account, BreakerPolicy, Direction, Persistence, Role
from stargate_core.secret import Secret

STRUCTS: Final = [
    value
    for _, value in inspect.getmembers(direction, inspect.isclass)
    if issubclass(value, msgspec.Struct) and value.__module__ == direction.__name__
]
HERE: Final = Direction(
    endpoint("bedrock-runtime", "us-east-1"), Target("m", Surface.CONVERSE), "us-east-1", name="us-east-1/m"
)


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
class TestEveryStruct:
    def test_it_never_changes_once_it_is_made(self, struct: type[msgspec.Struct]) -> None:
        assert struct.__struct_config__.frozen

    def test_durations_are_whole_and_say_their_unit(self, struct: type[msgspec.Struct]) -> None:
        for name in struct.__struct_fields__:
            if name.endswith(("_ns", "_us", "_seconds")):
                assert inspect.get_annotations(struct)[name] in (int, int | None)


class TestValues:
    def test_a_direction_can_be_compared_and_kept_by_what_it_is(self) -> None:
        again = msgspec.structs.replace(HERE)
        assert again is not HERE
        assert {HERE: 1}[again] == 1
        assert again != msgspec.structs.replace(HERE, name="b/us-east-1/m")

    def test_a_role_is_told_apart_by_all_that_sts_is_told(self) -> None:
        role = Role("arn:aws:iam::123456789012:role/b", tags=(("team", "a"),))
        assert {Account("b", role=role)} == {Account("b", role=msgspec.structs.replace(role))}
        for changes in ({"external_id": "e"}, {"tags": ()}, {"duration_seconds": 900}, {"session_name": "x"}):
            assert msgspec.structs.replace(role, **changes) != role

    def test_its_secrets_are_not_shown(self) -> None:
        whole = msgspec.structs.replace(
            HERE, credentials=Credentials("AKID", Secret("planted")), api_key=Secret("planted")
        )
        assert "planted" not in repr(whole) + str(msgspec.structs.asdict(whole))


class TestDefaults:
    def test_a_call_is_made_once(self) -> None:
        assert Persistence().count == 0

    def test_a_policy_makes_sense_as_it_stands(self) -> None:
        """It opens neither for one unlucky call nor for half an hour, and one probe can come in between."""
        policy = BreakerPolicy()
        assert policy.failures > 1
        assert 0 < policy.ratio <= 1 < policy.calls_min
        assert 100 * MILLISECOND < policy.open_ns <= policy.open_max_ns < 1800 * SECOND
        assert policy.probes >= 1
        assert (policy.group, policy.group_size) == ("", 1)
        assert 0 < policy.ejected_max <= 1
        assert policy.retry_ratio < 1

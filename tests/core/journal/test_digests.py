"""Digests: equal for equal orders, and the shape for orders that differ in their bytes only."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

import pytest

from stargate_core.aws.endpoints import Endpoint
from stargate_core.journal.digests import Digest, shape, shape_digest
from stargate_core.journal.format import FOLD_BYTES
from stargate_core.messages import (
    Ask,
    CloseClient,
    Emit,
    Follow,
    KeysChanged,
    ReleaseUpstream,
    SessionCommand,
    TellKeys,
    WriteClient,
    WriteUpstream,
)
from stargate_core.questions import ListModels, ReadEntry
from stargate_core.secret import Secret
from support.samples import samples

AnyCommand = SessionCommand | TellKeys

ORDERS: Final[list[list[AnyCommand]]] = [[WriteClient(b"one")], [], [ReleaseUpstream(1), WriteClient(b"two")]]


def folds(orders: Sequence[Sequence[AnyCommand]]) -> list[bytes]:
    """The fold after each event."""
    digest = Digest()
    return [digest.add(commands) for commands in orders]


def asked(secret: str) -> ListModels:
    """A question with a secret in it."""
    endpoint = Endpoint("https", "bedrock.test", 443, "bedrock", "us-east-1")
    return ListModels(endpoint, "", None, Secret(secret), 0)


class TestDigest:
    def test_the_same_orders_have_the_same_folds(self) -> None:
        assert folds(ORDERS) == folds([list(commands) for commands in ORDERS])
        assert all(len(fold) == FOLD_BYTES for fold in folds(ORDERS))

    def test_it_runs_on(self) -> None:
        """One difference, and all later folds differ."""
        other = folds([[WriteClient(b"One")], *ORDERS[1:]])
        assert all(mine != theirs for mine, theirs in zip(folds(ORDERS), other, strict=True))

    def test_folds_agree_up_to_the_first_difference(self) -> None:
        assert folds([*ORDERS[:2], [WriteClient(b"x")]])[:2] == folds(ORDERS)[:2]

    def test_to_which_event_an_order_belongs_counts(self) -> None:
        one, other = Digest(), Digest()
        one.add([WriteClient(b"a"), WriteClient(b"b")])
        one.add([])
        other.add([WriteClient(b"a")])
        other.add([WriteClient(b"b")])
        assert one.fingerprint != other.fingerprint
        assert one.commands == other.commands == 2

    def test_the_last_fold_begins_the_fingerprint(self) -> None:
        digest = Digest()
        fold = digest.add(ORDERS[0])
        assert digest.fingerprint.startswith(fold.hex())

    def test_a_secret_counts_and_is_not_needed(self) -> None:
        one, other, again = (Ask(1, asked(secret)) for secret in ("one", "two", "one"))
        assert folds([[one]]) != folds([[other]])
        assert folds([[one]]) == folds([[again]])

    def test_a_mapping_counts_by_what_is_in_it(self) -> None:
        one, other, again = (
            TellKeys(KeysChanged(MappingProxyType({"a": data}))) for data in (b"1", b"2", b"1")
        )
        assert folds([[one]]) == folds([[again]]) != folds([[other]])

    def test_what_no_message_holds_is_refused(self) -> None:
        with pytest.raises(NotImplementedError, match="a command can't hold this: object"):
            Digest().add([Emit("sink", object())])  # type: ignore[arg-type]


class TestShape:
    @pytest.mark.parametrize(
        ("command", "words"),
        [
            (WriteClient(b"12345"), "WriteClient 5"),
            (WriteUpstream(7, b""), "WriteUpstream #7 0"),
            (CloseClient(), "CloseClient"),
            (Ask(3, ReadEntry("key")), "Ask #3 ReadEntry"),
            (Emit("/dev/stdout", b"{}\n"), "Emit 3"),
        ],
    )
    def test_it_is_the_type_the_ids_and_the_lengths(self, command: SessionCommand, words: str) -> None:
        assert shape([command]) == (words,)

    def test_an_orders_is_its_calls(self) -> None:
        (follow, *_) = samples(Follow)
        assert shape([follow]) == (f"Follow #{follow.ticket} {len(follow.order.call.body)}",)

    def test_other_bytes_of_the_same_length_have_the_same(self) -> None:
        one, other = WriteUpstream(1, b"secret"), WriteUpstream(1, b"xxxxxx")
        assert shape([one]) == shape([other]) != shape([WriteUpstream(2, b"secret")])

    def test_the_digest_knows_where_an_event_ends(self) -> None:
        assert shape_digest([("a", "b")]) != shape_digest([("a",), ("b",)])
        assert shape_digest([("a",), ()]) != shape_digest([("a",)])

    def test_a_secret_does_not_show(self) -> None:
        assert shape([Ask(1, asked("PLANTED"))]) == ("Ask #1 ListModels",)

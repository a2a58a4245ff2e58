"""What exchanges ask and tell: closed unions of values that can be written down and read again, for
journals are made of them; and each of them is asked, told or answered.
"""

import inspect
from typing import Any, Final, get_args

import msgspec
import pytest

from stargate_core import questions
from stargate_core.limits.buckets import Algorithm, Bucket, Claim, Level, Verdict
from stargate_core.questions import (
    Answer,
    CallEnded,
    Entry,
    FetchUrl,
    Keys,
    ListModels,
    Question,
    ReadEntry,
    ReadKeys,
    RefreshCredentials,
    Settle,
    Statement,
    StoreAnswer,
    StoreQuestion,
    StoreStatement,
    Take,
    Turn,
    VerifyToken,
    WriteEntry,
)
from support.samples import read_again, samples, written_down

UNIONS: Final[dict[str, Any]] = {
    "Question": Question,
    "Statement": Statement,
    "Answer": Answer,
    "StoreQuestion": StoreQuestion,
    "StoreStatement": StoreStatement,
    "StoreAnswer": StoreAnswer,
}
STRUCTS: Final = [
    value
    for _, value in inspect.getmembers(questions, inspect.isclass)
    if issubclass(value, msgspec.Struct) and value.__module__ == questions.__name__
]


@pytest.mark.parametrize("union", UNIONS)
class TestEveryUnion:
    def test_its_values_are_read_again_from_it(self, union: str) -> None:
        for kind in get_args(UNIONS[union]):
            for value in samples(kind):
                read = read_again(written_down(value), UNIONS[union])
                assert (type(read), read) == (type(value), value)

    def test_no_two_of_its_values_look_alike(self, union: str) -> None:
        """What a tag tells apart is told apart without anybody's knowing what was asked."""
        written = [written_down(value) for kind in get_args(UNIONS[union]) for value in samples(kind)]
        assert len(set(written)) == len(written)

    def test_what_is_none_of_its_values_is_not_read(self, union: str) -> None:
        for strange in ({"type": "Unheard"}, {"key": "k"}, [1], 1.5):
            with pytest.raises(msgspec.ValidationError):
                read_again(msgspec.msgpack.encode(strange), UNIONS[union])


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
class TestEveryStruct:
    def test_it_never_changes_once_it_is_made(self, struct: type[msgspec.Struct]) -> None:
        assert struct.__struct_config__.frozen

    def test_it_bears_its_name(self, struct: type[msgspec.Struct]) -> None:
        assert struct.__struct_config__.tag == struct.__name__

    def test_it_is_asked_told_or_answered(self, struct: type[msgspec.Struct]) -> None:
        homes = [struct in get_args(union) for union in (Question, Statement, Answer)]
        assert homes.count(True) == 1

    def test_it_says_what_it_is(self, struct: type[msgspec.Struct]) -> None:
        assert (struct.__doc__ or "").strip()


class TestUnions:
    def test_the_stores_are_parts_of_the_whole(self) -> None:
        assert set(get_args(StoreQuestion)) == {Take, ReadEntry, ReadKeys} < set(get_args(Question))
        assert set(get_args(StoreStatement)) == {Settle, WriteEntry} < set(get_args(Statement))
        assert set(get_args(StoreAnswer)) == {Verdict, Entry, Keys, type(None)} < set(get_args(Answer))

    def test_the_rest_is_for_others(self) -> None:
        others = {*get_args(Question)} - {*get_args(StoreQuestion)}
        assert others == {Turn, VerifyToken, RefreshCredentials, FetchUrl, ListModels}
        assert {*get_args(Statement)} - {*get_args(StoreStatement)} == {CallEnded}

    def test_a_question_of_the_shared_store_is_not_one_of_the_processs_own(self) -> None:
        """What a journal says of either must not be read as the other."""
        claims = (Claim(Bucket("calls:{a}", Algorithm.CONCURRENT, 5), 1),)
        shared, own = Take(claims, "lease", 1), Take(claims, "lease", 1, local=True)
        assert not shared.local
        assert read_again(written_down(own), Question) == own != shared

    def test_a_verdict_keeps_its_levels_in_order(self) -> None:
        verdict = Verdict(False, 1, (Level(1, 2), Level(3, 4)), 1, -1)
        assert read_again(written_down(verdict), Answer) == verdict

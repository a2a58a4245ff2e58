"""How things stand: whoever begins late is told what the others have been told, the last of each."""

from typing import Final

from stargate.shell_common.standing import Standing, Told
from stargate_core.aws.credentials import Credentials
from stargate_core.messages import CredentialsChanged, Draining, Health, HealthChanged, KeysChanged
from stargate_core.secret import Secret

FIRST: Final = CredentialsChanged("", Credentials("AKIDONE", Secret("one")))
SECOND: Final = CredentialsChanged("", Credentials("AKIDTWO", Secret("two")))
NONE: Final = CredentialsChanged("other", None)


def ill(target: str, health: Health = Health.OPEN) -> HealthChanged:
    """A target that is to be left alone, or how else it is."""
    return HealthChanged(target, health)


def standing(*told: Told) -> list[Told]:
    """What one who begins is told, when all this was told before."""
    stands = Standing()
    for one in told:
        stands.keep(one)
    return list(stands.all())


def test_at_first_there_is_nothing_to_tell() -> None:
    assert standing() == []


def test_the_last_word_counts_and_credentials_come_first() -> None:
    keys, newer = KeysChanged({"a": b"{}"}), KeysChanged({})
    ending = Draining(5)
    told = standing(ending, keys, ill("a"), ill("b"), FIRST, NONE, newer, ill("a", Health.CLOSED), SECOND)
    assert told == [SECOND, NONE, ill("b"), newer, ending]


def test_an_accounts_credentials_can_be_asked_for() -> None:
    stands = Standing()
    stands.keep(FIRST)
    stands.keep(NONE)
    assert stands.credentials == {"": FIRST.credentials, "other": None}


def test_what_changes_while_one_is_told_disturbs_nobody() -> None:
    stands = Standing()
    stands.keep(FIRST)
    stands.keep(ill("a"))
    told: list[Told] = []
    for one in stands.all():
        told.append(one)
        stands.keep(NONE)
        stands.keep(ill("b"))
    assert told == [FIRST, ill("a"), ill("b")]

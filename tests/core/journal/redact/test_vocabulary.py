"""The vocabulary knows every member and every choice that a dialect knows."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest

import stargate_core.dialects
from stargate_core.aws.exceptions import EXCEPTION_STATUSES, VENDOR_ERRORS
from stargate_core.faults import AWS_CAUSES, Cause, fault_of_aws
from stargate_core.journal.redact import vocabulary
from stargate_core.journal.redact.vocabulary import CHOICES, TELLING, WORDS

# What texts.py has Structs for is where words stand, and on no wire.
MODULES: Final = [
    module.name
    for module in pkgutil.iter_modules(stargate_core.dialects.__path__)
    if not module.name.startswith("openapi") and module.name != "texts"
]


def structs(module: str) -> Iterator[type[msgspec.Struct]]:
    """All Structs of a dialect's file."""
    found = importlib.import_module(f"stargate_core.dialects.{module}")
    for value in vars(found).values():
        if (
            isinstance(value, type)
            and issubclass(value, msgspec.Struct)
            and value.__module__ == found.__name__
        ):
            yield value


def choices(kind: Any) -> Iterator[str]:
    """The texts that a type gives a choice of."""
    if get_origin(kind) is Literal:
        yield from (value for value in get_args(kind) if isinstance(value, str))
    else:
        for part in get_args(kind):
            yield from choices(part)


@pytest.mark.parametrize("module", MODULES)
def test_members_and_choices_of_each_dialect_are_words(module: str) -> None:
    for struct in structs(module):
        assert set(struct.__struct_encode_fields__) <= WORDS, struct
        tag = struct.__struct_config__.tag
        assert tag is None or tag in WORDS or tag == struct.__name__, "a member of no API"
        for name, kind in get_type_hints(struct).items():
            told = set(choices(kind))
            assert told <= WORDS, (struct, name)


def test_a_tags_member_is_one_of_choices() -> None:
    fields = {struct.__struct_config__.tag_field for module in MODULES for struct in structs(module)}
    assert {field for field in fields if field is not None} <= CHOICES


def test_names_of_errors_are_words() -> None:
    assert {*EXCEPTION_STATUSES, *VENDOR_ERRORS, *AWS_CAUSES} - {""} <= WORDS


@pytest.mark.parametrize("told", TELLING[:4])
def test_what_is_looked_for_in_an_errors_text_stays(told: str) -> None:
    assert fault_of_aws("ValidationException", 400, told).cause is Cause.CONTEXT_OVERFLOW


def test_members_with_rules_of_their_own_are_members() -> None:
    for name in ("BASE64", "CHOICES", "FRAGMENTS", "OPEN", "SCHEMAS"):
        known = getattr(vocabulary, name)
        assert known, name

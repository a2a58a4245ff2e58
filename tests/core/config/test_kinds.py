"""What types are called, and which of them hold a secret."""

import datetime
import enum
from typing import Annotated, Any, Literal

import msgspec
import msgspec.inspect as inspect
import pytest
from msgspec import Meta

from stargate_core.config import kinds
from stargate_core.config.plugin_configs import BUILT_IN, ApiKeyAuth, BedrockProxy, ModelTarget, RequestLogger
from stargate_core.config.problems import HIDDEN
from stargate_core.config.schema import Config, Consumer, KeyCredential, Listener, Route, Store
from stargate_core.secret import Secret


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class TestExpected:
    @pytest.mark.parametrize(
        ("kind", "words"),
        [
            (str, "a string"),
            (Annotated[str, Meta(min_length=1)], "a string that isn't empty"),
            (Annotated[str, Meta(min_length=2)], "a string of at least 2 characters"),
            (Annotated[str, Meta(max_length=4)], "a string of at most 4 characters"),
            (Annotated[str, Meta(pattern="^a")], "a string that matches ^a"),
            (Annotated[str, Meta(pattern="^a", description="an a")], "an a"),
            (int, "an integer"),
            (Annotated[int, Meta(ge=0, le=10)], "an integer from 0 to 10"),
            (Annotated[int, Meta(gt=0)], "an integer more than 0"),
            (Annotated[float, Meta(ge=0, lt=1)], "a number at least 0 and less than 1"),
            (bool, "true or false"),
            (Secret, "a string that isn't empty and of at most 65536 characters"),
            (Literal["a"], '"a"'),
            (Literal["a", "b", "c"], 'one of "a", "b" and "c"'),
            (Colour, 'one of "red" and "blue"'),
            (datetime.datetime, "a time such as 2027-01-01T00:00:00Z"),
            (list[int], "a list"),
            (Annotated[list[int], Meta(min_length=1)], "a list of at least 1"),
            (Annotated[list[int], Meta(min_length=1, max_length=3)], "a list of at least 1 and at most 3"),
            (tuple[int, ...], "a list"),
            (dict[str, int], "a mapping"),
            (RequestLogger, "a mapping"),
            (Listener, "a string, or a mapping"),
            (ModelTarget, "a model id without blanks, or a mapping"),
            (int | None, "an integer"),
            (int | str | None, "an integer or a string"),
            (Any, "a value"),
            (None, "null"),
        ],
    )  # fmt: skip
    def test_it_is_said_in_words(self, kind: Any, words: str) -> None:
        assert kinds.expected(inspect.type_info(kind)) == words

    @pytest.mark.parametrize("kind", [bytes, set[int], datetime.date, complex])
    def test_other_types_are_an_error_of_the_plugins_author(self, kind: Any) -> None:
        with pytest.raises(TypeError, match="a configuration can't have"):
            kinds.expected(inspect.type_info(kind))

    def test_every_setting_that_there_is_can_be_said(self) -> None:
        structs: list[type[msgspec.Struct]] = [Config, *(schema.config_type for schema in BUILT_IN.values())]
        seen: list[inspect.Type] = []
        for struct in structs:
            seen += [field.type for field in kinds.described(struct).fields]
        for kind in seen:
            inner = kinds.inner(kind)
            if isinstance(inner, inspect.StructType):
                seen += [field.type for field in inner.fields]
            elif isinstance(inner, inspect.ListType):
                seen.append(inner.item_type)
            elif isinstance(inner, inspect.DictType):
                seen += [inner.key_type, inner.value_type]
            elif isinstance(inner, inspect.UnionType):
                seen += inner.types
            assert kinds.expected(kind)
        assert len(seen) > 100


class TestHiding:
    @pytest.mark.parametrize(
        "kind",
        [
            Secret,
            Secret | None,
            list[Secret],
            dict[str, Secret],
            tuple[Secret, ...],
            Annotated[str, Meta(extra=HIDDEN)],
            KeyCredential,
            Consumer,
            list[Consumer],
            Config,
            Store,
            BedrockProxy,
        ],
    )
    def test_a_secret_anywhere_inside_hides_all(self, kind: Any) -> None:
        assert kinds.hides(inspect.type_info(kind))

    @pytest.mark.parametrize("kind", [str, str | None, list[str], Route, ModelTarget, ApiKeyAuth, Any])
    def test_the_rest_may_be_shown(self, kind: Any) -> None:
        assert not kinds.hides(inspect.type_info(kind))

    def test_a_digest_is_hidden_because_keys_are_put_there(self) -> None:
        fields = {field.name: field.type for field in kinds.described(KeyCredential).fields}
        assert kinds.hides(fields["key_sha256"])
        assert not kinds.hides(fields["id"])


class TestParts:
    def test_choices(self) -> None:
        assert kinds.choices(inspect.type_info(Literal["a", 1])) == ("a",)
        assert kinds.choices(inspect.type_info(Colour)) == ("red", "blue")
        assert kinds.choices(inspect.type_info(str)) == ()

    def test_members(self) -> None:
        assert kinds.members(inspect.type_info(int | None)) == (inspect.IntType(), inspect.NoneType())
        assert kinds.members(inspect.type_info(Annotated[str, Meta(description="x")])) == (inspect.StrType(),)


def test_only_structs_may_have_a_field_for_their_text() -> None:
    assert kinds.text_field(inspect.type_info(int)) is None
    assert kinds.text_field(kinds.described(RequestLogger)) is None
    field = kinds.text_field(kinds.described(ModelTarget))
    assert field is not None
    assert field.name == "target"

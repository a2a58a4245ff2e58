"""The typed walk over a third party's Structs: every kind of type, every kind of mistake.

msgspec's own strict decoder is the oracle for what fits; what the walk adds are places, names, and all errors
at once.
"""

import datetime
import enum
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Meta, field

from stargate_core.config import kinds, nodes
from stargate_core.config.problems import PROBLEMS_MAX, Misfit, Place, Problem, refuse
from stargate_core.config.scalars import FAILED
from stargate_core.config.schema import PluginEntry, PluginSchema
from stargate_core.config.walk import TooMany, Walk
from stargate_core.secret import Secret
from support.config import marked, places


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    x: int
    y: int = 0


class Label(msgspec.Struct, frozen=True):
    TEXT_FIELD: ClassVar[str] = "text"

    text: Annotated[str, Meta(max_length=8, description="a short label")] = ""
    size: int = 0

    def __post_init__(self) -> None:
        if self.text.startswith("-"):
            raise Misfit("text", "expected no dash", self.text, f"write {self.text[1:]}")
        if self.text.startswith("odd"):
            raise ValueError(f"{self.text} is odd")


class Login(msgspec.Struct, frozen=True, kw_only=True):
    TEXT_FIELD: ClassVar[str] = "password"

    user: str = ""
    password: Secret | None = None

    def __post_init__(self) -> None:
        if self.password is not None and not self.user:
            raise Misfit("", "expected a user")


class Between(msgspec.Struct, frozen=True, kw_only=True):
    low: int = 0
    high: int = 10
    names: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        if self.low > self.high:
            yield Misfit("low", "expected at most high", str(self.low), beside=("high",))
        for index, name in enumerate(self.names):
            if name.startswith("-"):
                yield Misfit(("names", index), "expected no dash", name, f"write {name[1:]}")


class Stubborn(msgspec.Struct, frozen=True, kw_only=True):
    mood: str = "good"

    def __post_init__(self) -> None:
        if self.mood != "good":
            raise ValueError(f"not in a {self.mood} mood")


class Sample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    KONG_UNUSED: ClassVar[Mapping[str, str]] = {"tags": "nobody reads them"}

    text: Annotated[str, Meta(max_length=8)] = "t"
    number: Annotated[int, Meta(ge=0, le=9)] = 1
    ratio: float = 0.5
    flag: bool = False
    mode: Literal["fast", "slow"] = "fast"
    colour: Colour = Colour.RED
    maybe: int | None = None
    either: int | str = 0
    numbers: list[int] = field(default_factory=list[int])
    pair: tuple[int, ...] = ()
    table: dict[Annotated[str, Meta(pattern="^[a-z]")], int] = field(default_factory=dict[str, int])
    when: datetime.datetime | None = None
    anything: Any = None
    point: Point = Point(0)
    points: list[Point] = field(default_factory=list[Point])
    label: Label = Label()
    labels: list[Label] = field(default_factory=list[Label])
    between: Between = Between()
    stubborn: Stubborn = Stubborn()
    login: Login | None = None
    renamed: int = field(name="re-named", default=0)


def walked(text: str, kind: type[msgspec.Struct] = Sample, **environ: str) -> tuple[Any, Walk]:
    root, problems = nodes.read(text)
    assert problems == []
    walk = Walk("f", environ, {})
    assert root is not None
    return walk.value(kinds.described(kind), root, ()), walk


def problem(text: str) -> Problem:
    """The only problem of a text with one mark."""
    text, marks = marked(text)
    _, walk = walked(text)
    assert places(tuple(walk.problems)) == marks
    [found] = walk.problems
    return found


class TestGoodFiles:
    def test_every_kind_of_type(self) -> None:
        value, walk = walked(
            """
            text: a
            number: ${N}
            ratio: 3
            flag: true
            mode: slow
            colour: blue
            maybe: 4
            either: b
            numbers: [1, 2]
            pair: [3, 4]
            table: {a: 5}
            when: 2027-01-01T00:00:00Z
            anything: {a: [1, "2", null, x, "${N}", {b: 1.5}]}
            point: {x: 1, y: 2}
            points: [{x: 5, y: 6}, {x: 7}]
            label: ${N}
            labels: [a, {text: b, size: 1}, {}]
            between: {low: 1}
            login: {user: u, password: "${N}"}
            re-named: 8
            """,
            N="6",
        )
        assert walk.problems == []
        assert value == Sample(
            text="a",
            number=6,
            ratio=3.0,
            flag=True,
            mode="slow",
            colour=Colour.BLUE,
            maybe=4,
            either="b",
            numbers=[1, 2],
            pair=(3, 4),
            table={"a": 5},
            when=datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC),
            anything={"a": [1, "2", None, "x", "6", {"b": 1.5}]},
            point=Point(1, 2),
            points=[Point(5, 6), Point(7)],
            label=Label("6"),
            labels=[Label("a"), Label("b", 1), Label()],
            between=Between(low=1),
            login=Login(user="u", password=Secret("6")),
            renamed=8,
        )
        assert type(value.ratio) is float

    @pytest.mark.parametrize("name", ["numbers", "pair", "table", "between", "stubborn", "login", "maybe"])
    def test_null_is_the_empty_collection(self, name: str) -> None:
        # As it is left behind when the last line of a block is commented out.
        value, walk = walked(f"{name}:")
        assert (value, walk.problems) == (Sample(), [])

    def test_notes_of_kongs_are_passed_over(self) -> None:
        value, walk = walked("{_comment: x, _ignore: [{a: b}], number: 2, between: {_comment: y}}")
        assert (value, walk.problems, walk.warnings) == (Sample(number=2), [], [])

    def test_settings_of_kongs_without_effect_are_told(self) -> None:
        text, marks = marked("{number: 2, »tags: [a]}")
        value, walk = walked(text)
        assert (value, walk.problems) == (Sample(number=2), [])
        [warning] = walk.warnings
        assert (warning.line, warning.column) == marks[0]
        assert (warning.path, warning.hint) == ("tags", "nobody reads them")

    def test_what_came_out_is_kept_with_its_path(self) -> None:
        _, walk = walked("points: [{x: 1}]\nlabels: [a]")
        assert [path for path, _ in walk.found] == [("points", 0), ("labels", 0), ()]


WRONG = [
    ("number: »ten", "number", 'expected an integer from 0 to 9, found the string "ten"', ""),
    ('number: »"3"', "number", 'found the string "3"', "write it without quotes"),
    ("number: »10", "number", "expected an integer from 0 to 9, found 10", ""),
    ("number: »1.5", "number", "found 1.5", ""),
    ("number:» ", "number", "found nothing", "leave the setting out for its default"),
    ("number: »[1]", "number", "found a list of 1", ""),
    ("number: »{}", "number", "found a mapping", ""),
    ("text: »12", "text", "expected a string of at most 8 characters, found 12", "write it in quotes"),
    ("text: »abcdefghi", "text", 'found the string "abcdefghi"', ""),
    ("ratio: ».nan", "ratio", "expected a number, found .nan", ""),
    ("flag: »yes", "flag", 'expected true or false, found the string "yes"', "write true"),
    ("mode: »slwo", "mode", 'expected one of "fast" and "slow"', "did you mean slow?"),
    ("colour: »rde", "colour", 'expected one of "red" and "blue"', "did you mean red?"),
    ("maybe: »x", "maybe", 'expected an integer, found the string "x"', ""),
    ("either: »1.5", "either", "expected an integer or a string, found 1.5", ""),
    ("numbers: »3", "numbers", "expected a list, found 3", ""),
    ("numbers: [1, »x, 2]", "numbers[1]", "expected an integer", ""),
    ("pair: [»x]", "pair[0]", "expected an integer", ""),
    ("table: »[]", "table", "expected a mapping, found an empty list", ""),
    ("table: {a: »x}", "table.a", "expected an integer", ""),
    ("table: {»A: 1}", "table.A", "expected a string that matches", ""),
    ("when: »2027-01-01", "when", "expected a time", "write 2027-01-01T00:00:00Z"),
    ("point: »12", "point", "expected a mapping, found 12", ""),
    ("label: »12", "label", "expected a short label, found 12", "write it in quotes"),
    ("label: »[]", "label", "expected a short label, or a mapping, found an empty list", ""),
    ("label: »abcdefghi", "label", 'expected a short label, found the string "abcdefghi"', ""),
    ("label: »-a", "label", 'expected no dash, found "-a"', "write a"),
    ("label: {text: »-a}", "label.text", 'expected no dash, found "-a"', "write a"),
    ("label: »odd", "label", "odd is odd", ""),
    ("point: »{y: 1}", "point.x", "this setting is required, and missing", ""),
    ("points: [{x: 1}, {x: 1, »z: 2}]", "points[1].z", "there is no such setting", "known here: x, y"),
    ("»numbr: 1", "numbr", "there is no such setting", "did you mean number?"),
    ("»re_named: 1", "re_named", "there is no such setting", "did you mean re-named?"),
    ("»x: 1", "x", "there is no such setting", "did you mean point.x?"),
    ("»'a b': 1", "", "a key here is no setting", ""),
    ("between: {low: »11}", "between.low", 'expected at most high, found "11"', ""),
    ("between: {names: [a, »-b]}", "between.names[1]", "expected no dash", "write b"),
    ("stubborn: »{mood: bad}", "stubborn", "not in a bad mood", ""),
    ("text: »${X}", "text", "the environment variable X is not set", "${X:-default}"),
    ("text: »${X", "text", "expected ${NAME} or ${NAME:-default}", "$${"),
    ('anything: [»"${X}"]', "anything[0]", "the environment variable X is not set", "${X:-default}"),
]


class TestMistakes:
    @pytest.mark.parametrize(("text", "path", "message", "hint"), WRONG)
    def test_one_is_named_with_place_path_and_advice(
        self, text: str, path: str, message: str, hint: str
    ) -> None:
        found = problem(text)
        assert found.path == path
        assert message in found.message
        assert found.hint == hint or (hint and hint in found.hint)

    def test_all_of_them_are_named(self) -> None:
        by_name: dict[str, str] = {}
        for line, *_ in WRONG:
            by_name.setdefault(line.partition(":")[0].strip("»"), line)
        text, marks = marked("\n".join(by_name.values()))
        _, walk = walked(text)
        assert sorted(places(tuple(walk.problems))) == marks
        assert len(marks) > 20

    def test_the_default_stands_in(self) -> None:
        value, walk = walked("{number: x, text: b, numbers: [1, x, 2], point: {y: 1}}")
        assert len(walk.problems) == 3
        assert value == Sample(text="b", numbers=[1, 2])
        assert walk.failed == [Point]

    def test_a_struct_complains_of_nothing_that_a_default_brought_in(self) -> None:
        # Is 5 more than high? Nobody knows, since high is broken.
        _, walk = walked("between: {low: 50, high: x, names: [-a]}")
        assert [found.path for found in walk.problems] == ["between.high", "between.names[0]"]

    def test_it_ends_at_some_point(self) -> None:
        with pytest.raises(TooMany):
            walked(f"numbers: [{', '.join('x' * 2 * PROBLEMS_MAX)}]")

    def test_a_type_that_no_setting_can_have_is_the_authors_error(self) -> None:
        class Odd(msgspec.Struct):
            data: bytes = b""

        with pytest.raises(TypeError, match="BytesType"):
            walked("data: x", Odd)


class TestSecrets:
    @pytest.mark.parametrize(
        "text",
        [
            "login: [hunter2]",
            "login: hunter2",
            "login: {hunter2: x}",
            "login: {password: [hunter2]}",
            "login: {password:hunter2}",
            "login: {passwort:hunter2}",
            "login: {password: 'hunter2', password2: hunter2, user: [hunter2]}",
        ],
    )
    def test_a_misplaced_secret_is_not_shown(self, text: str) -> None:
        _, walk = walked(text)
        assert walk.problems
        assert "hunter2" not in repr(walk.problems)

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("number: ${V}", "found a string (from ${V})"),
            ("number: ${V:-1}", "found a string (from ${V})"),
            ("numbers: ${V}", "found a string (from ${V})"),
            ("mode: ${V}", "found a string (from ${V})"),
            ("label: -${V}", "expected no dash, found something else (from ${V})"),
            ("label: odd${W}", "this is refused"),
            ("between: {names: [a, '-${V}']}", "expected no dash, found something else (from ${V})"),
            ("stubborn: {mood: '${V}'}", "this is refused"),
            ('either: ["${V}"]', "found a list of 1"),
        ],
    )
    def test_what_the_environment_gave_is_not_shown(self, text: str, shown: str) -> None:
        _, walk = walked(text, V="hunter2", W="2")
        [found] = walk.problems
        assert shown in found.message
        assert "hunter2" not in repr(found)

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ('login: {password: "${EMPTY}"}', "an empty string (from ${EMPTY})"),
            ('login: {password: ""}', "an empty string"),
            ("login: {password: '${LONG}'}", "a string (from ${LONG})"),
        ],
    )
    def test_what_a_secret_should_be_is_said(self, text: str, shown: str) -> None:
        _, walk = walked(text, EMPTY="", LONG="x" * 65_537)
        [found] = walk.problems
        assert found.message == (
            f"expected a string that isn't empty and of at most 65536 characters, found {shown}"
        )

    def test_a_name_from_the_environment_is_not_shown_either(self) -> None:
        _, walk = walked("text: ${V}", V="hunter2")
        assert walk.shown(("text",), "hunter2") == "what ${V} gives"
        assert walk.shown(("mode",), "fast") == '"fast"'


anything = st.recursive(
    st.integers(-3, 12) | st.sampled_from(["a", "fast", "red", "x" * 9, 1.5, True]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyAb"), inner, max_size=2),
    max_leaves=4,
)
number = st.integers(0, 9)
good: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text("ab", max_size=8),
    "number": number,
    "ratio": number | st.just(1.5),
    "flag": st.booleans(),
    "mode": st.sampled_from(["fast", "slow"]),
    "colour": st.sampled_from(["red", "blue"]),
    "maybe": number | st.none(),
    "either": number | st.just("a"),
    "numbers": st.lists(number),
    "pair": st.lists(number),
    "table": st.dictionaries(st.sampled_from("ab"), number),
    "when": st.none() | st.just("2027-01-01T00:00:00Z"),
    "anything": anything | st.none(),
    "re-named": number,
    "point": st.fixed_dictionaries({"x": number}, optional={"y": number}),
    "points": st.lists(st.fixed_dictionaries({"x": number}, optional={"y": number})),
}
whatever = st.fixed_dictionaries({}, optional=dict.fromkeys((*good, "numbr"), anything)).map(
    lambda wrong: dict(list(wrong.items())[:2])
)


class TestOracle:
    @given(st.fixed_dictionaries({}, optional=good), whatever)
    @example({}, {"point": {"x": 0, "A": 0}})
    def test_msgspec_agrees_on_what_fits(self, right: dict[str, Any], wrong: dict[str, Any]) -> None:
        text = msgspec.json.encode({**right, **wrong})
        try:
            expected: Sample | None = msgspec.json.decode(text, type=Sample)
        except msgspec.ValidationError:
            expected = None
        value, walk = walked(text.decode())
        assert (value if not walk.problems else None) == expected
        assert value is not FAILED or walk.problems


class TestManyProblems:
    def test_the_walk_ends_when_enough_was_said_and_says_so(self) -> None:
        _, walk = walked("{}")
        for number in range(PROBLEMS_MAX - 1):
            walk.problem(("a", number), "is wrong")
        with pytest.raises(TooMany):
            walk.problem(("b",), "is wrong too", place=Place(7, 8))
        walk.note_rest()
        last = walk.problems[-1]
        assert len(walk.problems) == PROBLEMS_MAX
        assert (last.line, last.column, last.path) == (7, 8, "")
        assert last.message == f"these are the first {PROBLEMS_MAX} problems, there may be more"

    def test_of_warnings_the_first_are_kept(self) -> None:
        _, walk = walked("{}")
        for number in range(PROBLEMS_MAX + 3):
            walk.warning((number,), "is odd")
        assert [warning.path for warning in walk.warnings] == [f"[{n}]" for n in range(PROBLEMS_MAX)]
        assert walk.problems == []

    def test_what_was_not_written_stands_where_it_would(self) -> None:
        _, walk = walked("\n\npoint: {x: 1}\n")
        assert walk.place(("point", "y", "z")) == walk.place(("point",)) == Place(3, 8)


class TestWhatIsShown:
    def test_no_part_of_what_may_be_a_secret(self) -> None:
        _, walk = walked("login: {user: u, password: 123456}")
        [found] = walk.problems
        assert "123456" not in found.message
        assert found.message.endswith("found a number")


class Numbers(msgspec.Struct, frozen=True):
    some: Annotated[list[int], Meta(min_length=1, max_length=2)] = field(default_factory=lambda: [1])


class TestLengths:
    @pytest.mark.parametrize(
        ("text", "found"), [("some: []", "an empty list"), ("some: [1, 2, 3]", "a list of 3")]
    )
    def test_a_list_of_another_length_is_refused(self, text: str, found: str) -> None:
        _, walk = walked(text, Numbers)
        [problem] = walk.problems
        assert problem.message == f"expected a list of at least 1 and at most 2, found {found}"


KNOWN: Final = {name: PluginSchema(name, Point) for name in ("cors", "probe")}


class TestPlugins:
    """What stands under `config` is read by the Struct that the plugin's name leads to."""

    @staticmethod
    def entry(text: str, **environ: str) -> tuple[Any, Walk]:
        root, problems = nodes.read(text)
        assert problems == []
        assert root is not None
        walk = Walk("f", environ, KNOWN)
        return walk.value(kinds.described(PluginEntry), root, ()), walk

    def test_wherever_the_name_stands(self) -> None:
        for text in ("{name: probe, config: {x: 3}}", "{config: {x: 3}, name: probe}"):
            value, walk = self.entry(text)
            assert walk.problems == []
            assert value.config == Point(3)

    def test_without_a_config_it_is_an_empty_one(self) -> None:
        _, walk = self.entry("{name: probe}")
        [found] = walk.problems
        assert found.message == "this setting is required, and missing"
        assert found.path == "config.x"

    def test_a_name_may_come_from_the_environment(self) -> None:
        value, walk = self.entry("{name: '${N}', config: {x: 3}}", N="probe")
        assert walk.problems == []
        assert value.config == Point(3)

    @pytest.mark.parametrize(
        ("text", "message", "hint"),
        [
            ("{name: prob, config: {x: 3}}", 'there is no plugin "prob"', "did you mean probe?"),
            ("{name: zzzzzz, config: {}}", 'there is no plugin "zzzzzz"', "known: cors, probe"),
            ("{name: '${N}', config: {}}", "there is no plugin this name", "known: cors, probe"),
        ],
    )
    def test_one_that_nobody_knows(self, text: str, message: str, hint: str) -> None:
        _, walk = self.entry(text, N="of-the-environment")
        [found] = walk.problems
        assert (found.path, found.message, found.hint) == ("name", message, hint)

    @pytest.mark.parametrize("name", ["[probe]", "'${NOBODY}'"])
    def test_a_name_that_is_none_is_said_once(self, name: str) -> None:
        _, walk = self.entry(f"{{name: {name}, config: {{x: wrong}}}}")
        assert [problem.path for problem in walk.problems] == ["name"]

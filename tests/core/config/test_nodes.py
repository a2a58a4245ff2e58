"""The YAML tree, with PyYAML's own composer and JSON as oracles."""

from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.config import nodes
from stargate_core.config.nodes import Mapping, Node, Scalar, Sequence, Unreadable, read, resolve
from stargate_core.config.problems import PROBLEMS_MAX
from support.config import marked

LOADERS = [yaml.CSafeLoader, yaml.SafeLoader]

# Beyond the BMP, JSON's escapes are pairs of surrogates, which YAML doesn't have.
json_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**18) + 1, 10**18 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
keys = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["C", "Z"]), min_size=1).filter(
    lambda k: "${" not in k and k != "<<"
)
json_values = st.recursive(
    json_scalars | st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


def native(node: Node | None) -> Any:
    match node:
        case None:
            return None
        case Scalar(text=text, plain=plain):
            return resolve(text) if plain else text
        case Sequence(items=items):
            return [native(item) for item in items]
        case Mapping(entries=entries):
            return {key.text: native(value) for key, value in entries}


def sketched(node: Node) -> Any:
    """Kind, place and text of every node."""
    at = (node.place.line - 1, node.place.column - 1)
    match node:
        case Scalar(text=text):
            return (at, text)
        case Sequence(items=items):
            return (at, [sketched(item) for item in items])
        case Mapping(entries=entries):
            return (at, [(sketched(key), sketched(value)) for key, value in entries])


def composed(node: yaml.Node) -> Any:
    """The same of PyYAML's tree."""
    at = (node.start_mark.line, node.start_mark.column)
    match node:
        case yaml.ScalarNode(value=text):
            return (at, text)
        case yaml.SequenceNode(value=items):
            return (at, [composed(item) for item in items])
        case yaml.MappingNode(value=entries):
            return (at, [(composed(key), composed(value)) for key, value in entries])
        case _:
            raise AssertionError(node)


class TestTree:
    @given(json_values, st.booleans(), st.sampled_from(LOADERS))
    def test_it_is_pyyamls_tree(self, value: Any, flow: bool, loader: Any) -> None:
        text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True)
        expected = yaml.compose(text, Loader=yaml.SafeLoader)
        assert expected is not None
        root, problems = read(text, loader)
        assert root is not None
        assert (sketched(root), problems) == (composed(expected), [])

    @given(json_values)
    def test_json_means_what_it_means_in_json(self, value: Any) -> None:
        # A DEL or a C1 control may stand raw in JSON and not in YAML.
        text = msgspec.json.encode(value).decode()
        text = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
        root, problems = read(text)
        assert (native(root), problems) == (msgspec.json.decode(text), [])

    @given(st.text(st.characters(codec="utf-8") | st.sampled_from("[]{}:,-?&*!|>'\"%@`#\n \t\\$<")))
    def test_no_text_does_harm(self, text: str) -> None:
        for loader in LOADERS:
            try:
                read(text, loader)
            except Unreadable as error:
                assert 1 <= error.place.line <= len(text.splitlines()) + 2
                assert error.place.column >= 1

    def test_the_empty_file_has_no_tree(self) -> None:
        assert read("# nothing yet\n") == (None, [])

    def test_a_byte_order_mark_is_no_part_of_the_text(self) -> None:
        root, _ = read("\ufeffa: 1")
        assert native(root) == {"a": 1}

    def test_a_key_is_a_text_whatever_it_looks_like(self) -> None:
        assert native(read("{on: 1, true: 2, 3: 3, null: 4}")[0]) == {"on": 1, "true": 2, "3": 3, "null": 4}


class TestResolve:
    @given(json_scalars)
    def test_json_scalars(self, value: Any) -> None:
        resolved = resolve(msgspec.json.encode(value).decode())
        assert (resolved, type(resolved)) == (value, type(value))

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            # YAML 1.2.2, 10.3.2: the core schema's own examples.
            ("", None), ("~", None), ("Null", None), ("TRUE", True), ("False", False),
            ("0", 0), ("0o7", 7), ("0x3A", 58), ("-19", -19), ("0.", 0.0), ("-0.0", -0.0), (".5", 0.5),
            ("+12e03", 12000.0), ("-2E+05", -200000.0), (".inf", float("inf")), ("-.Inf", float("-inf")),
            # What YAML 1.1 takes for something else.
            ("yes", "yes"), ("no", "no"), ("on", "on"), ("1:30", "1:30"), ("012", 12), ("1_000", "1_000"),
            ("2027-01-01", "2027-01-01"), ("=", "="), ("tRue", "tRue"),
            # Too many digits to be counted as an integer.
            ("1" * 19, float("1" * 19)), ("1" * 5000, "1" * 5000),
        ],
    )  # fmt: skip
    def test_the_core_schema(self, text: str, value: object) -> None:
        assert (resolve(text), type(resolve(text))) == (value, type(value))


class TestMerge:
    @pytest.mark.parametrize(
        "text",
        [
            "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}",
            "a: &a {x: 1, y: 2}\nb: {y: 3, <<: *a}",
            "a: &a {x: 1}\nb: &b {x: 2, z: 3}\nc: {<<: [*a, *b], w: 4}",
            "a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b}",
            "a: &a [1, {b: 2}]\nc: *a",
        ],
    )
    def test_aliases_and_merge_keys_work_as_in_pyyaml(self, text: str) -> None:
        root, problems = read(text)
        assert (native(root), problems) == (yaml.safe_load(text), [])

    def test_a_quoted_merge_key_is_a_key(self) -> None:
        assert native(read("{'<<': 1}")[0]) == {"<<": 1}


BAD = [
    ("a: 1\nb: {c: 1, d: 2, »c: 3}", ("b",), '"c" stands twice in one mapping, first in line 2'),
    ("a: 1\n»a: {b: 1}", (), '"a" stands twice'),
    ("a: [{}, {»[x]: 1, y: 2}]", ("a", 1), "expected a name as a key, found a list"),
    ("? »{x: 1}\n: 1", (), "expected a name as a key, found a mapping"),
    ("a: {»'': 1}", ("a",), "expected a name before the colon"),
    ('a: {»"${X}": 1}', ("a",), "variables stand in values only"),
    ("a:\n  b: »!!int 3", ("a", "b"), "found a tag"),
    ("a: »!secret", ("a",), "found a tag"),
    ("a: »!<tag:x> {b: 1}", ("a",), "found a tag"),
    ("a: {<<: »3}", ("a",), "expected a mapping, or a list of them, to merge"),
    ('{"sk-live »": 1, »"sk-live »": 2}'.replace('»":', '":'), (), "this key stands twice"),
]


class TestProblems:
    @pytest.mark.parametrize(("text", "path", "message"), BAD)
    @pytest.mark.parametrize("loader", LOADERS)
    def test_what_is_wrong_is_named_with_its_place(
        self, loader: Any, text: str, path: tuple[str | int, ...], message: str
    ) -> None:
        text, [place] = marked(text)
        _, [problem] = read(text, loader)
        assert (problem.place.line, problem.place.column) == place
        assert message in problem.message
        assert problem.path == path

    def test_what_is_right_beside_it_is_kept(self) -> None:
        root, problems = read("{a: 1, a: 2, [b]: 3, c: 4}")
        assert native(root) == {"a": 1, "c": 4}
        assert len(problems) == 2


UNREADABLE = [
    ("a: [$»{X:-3}]", "did not find expected ',' or ']'", "inside [ ] and { }, put ${…} in quotes"),
    ("a:\n»\tb: 1", "cannot start any token", "indent with spaces, not tabs"),
    ("a: b»: c", "mapping values are not allowed", "quotes"),
    ("a: 1\n---\nb: 2", "expected one document", ""),
    ("a: »*nowhere", "no anchor before it", "quotes"),
    ("a: &a [»*a]", "no anchor before it", ""),
    ("a: »\x00", "U+0000", ""),
    ("ab\r\nc: »\x1b[0m", "U+001B", ""),
    ("»\ud800", "U+D800", ""),
]


class TestUnreadable:
    @pytest.mark.parametrize("text", ["a:\nbc»", "a: [»", "a:\nb\n»", "[\n\n»"])
    def test_what_is_missing_at_the_end_is_missing_there(self, text: str) -> None:
        """And not on a line that the text does not have."""
        bare = marked(text)
        with pytest.raises(Unreadable) as caught:
            read(bare.text)
        assert [(caught.value.place.line, caught.value.place.column)] == bare.places
        assert "begins in line" not in caught.value.message or "line 2" in caught.value.message

    @pytest.mark.parametrize(("text", "message", "hint"), UNREADABLE)
    def test_it_says_why_and_where(self, text: str, message: str, hint: str) -> None:
        text, places = marked(text)
        with pytest.raises(Unreadable) as caught:
            read(text)
        place = caught.value.place
        assert places in ([(place.line, place.column)], [])
        assert message in caught.value.message
        assert hint in caught.value.hint

    @pytest.mark.parametrize("escape", ["\\ud800", "\\Uffffffff", "\\U00110000"])
    @pytest.mark.parametrize("loader", LOADERS)
    def test_an_escape_of_no_character_is_refused(self, loader: Any, escape: str) -> None:
        # The parser in Python lets the first pass and raises a bare ValueError on the others.
        with pytest.raises(Unreadable):
            read(f'a: "{escape}"', loader)

    def test_an_open_quote_is_named_by_its_beginning(self) -> None:
        with pytest.raises(Unreadable, match="quoted scalar that begins in line 2"):
            read('a: 1\nb: "x\nc: 2\n')

    @pytest.mark.parametrize(
        "secret", ["*sk-live-1", "!sk-live-1", "!sk-live!1", "@sk-live-1", "%sk-live-1", "&sk-live-1 x y: z"]
    )
    @pytest.mark.parametrize("loader", LOADERS)
    def test_what_yaml_takes_for_syntax_is_not_shown(self, secret: str, loader: Any) -> None:
        text = ""
        try:
            text = str(read(f"key: {secret}", loader)[1])
        except Unreadable as error:
            text = error.message + error.hint
        assert "live" not in text

    @pytest.mark.parametrize(
        "text",
        ["[" * nodes.DEPTH_MAX + "x" + "]" * nodes.DEPTH_MAX, "- " * nodes.DEPTH_MAX + "x"],
        ids=["flow", "block"],
    )
    def test_depth_is_bounded(self, text: str) -> None:
        read(text)
        with pytest.raises(Unreadable, match="levels of nesting"):
            read(f"[{text}]" if text[0] == "[" else f"- {text}")

    def test_an_alias_is_as_deep_as_what_it_stands_for(self) -> None:
        half = nodes.DEPTH_MAX // 2
        deep = "[" * half + "x" + "]" * half
        read(f"- &a {deep}\n- " + "[" * (half - 1) + "*a" + "]" * (half - 1))
        with pytest.raises(Unreadable, match="levels of nesting"):
            read(f"- &a {deep}\n- " + "[" * half + "*a" + "]" * half)

    def test_an_alias_counts_for_what_it_stands_for(self) -> None:
        lines = ["a0: &a0 [" + ", ".join("x" * 10) + "]"]
        lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 10)]
        with pytest.raises(Unreadable, match="aliases counted as what they stand for") as caught:
            read("\n".join(lines))
        assert caught.value.place.line == 6

    def test_length_is_bounded(self) -> None:
        with pytest.raises(Unreadable, match="characters"):
            read(" " * (nodes.TEXT_CHARS_MAX + 1))


def test_only_the_first_problems_of_a_tree_are_told() -> None:
    root, problems = read("\n".join(f"k{number}: !tag x" for number in range(PROBLEMS_MAX + 5)))
    assert root is not None
    assert [problem.place.line for problem in problems] == list(range(1, PROBLEMS_MAX + 1))

"""What groups give their members, and what is left where two lists of patterns meet."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.config.callers import covers, narrowed, with_groups
from stargate_core.config.plugin_configs import RequestLogger
from stargate_core.config.schema import Config, Consumer, ConsumerGroup, PluginEntry

GLOBS = st.text("ab*?", max_size=6)


def fullmatch(glob: str, text: str) -> bool:
    """What a pattern stands for, by the regular expression that it is short for."""
    pattern = "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in glob)
    return re.fullmatch(pattern, text) is not None


def log(path: str, **members: Any) -> PluginEntry:
    return PluginEntry(name="request-logger", config=RequestLogger(path=path), **members)


def member(consumer: Consumer, *groups: ConsumerGroup) -> Consumer:
    """The consumer with what its groups give it."""
    (found,) = with_groups(Config(consumers=[consumer], consumer_groups=list(groups))).consumers
    return found


class TestModels:
    RED = ConsumerGroup(name="red", models=["claude-*", "nova"])
    BLUE = ConsumerGroup(name="blue", models=["nova", "titan"])
    PALE = ConsumerGroup(name="pale")

    @pytest.mark.parametrize(
        ("groups", "own", "allowed"),
        [
            ([], None, None),
            ([], ["a"], ["a"]),
            (["red"], None, ["claude-*", "nova"]),
            (["red", "blue"], None, ["claude-*", "nova", "titan"]),
            (["red"], ["a"], ["a"]),
            (["red"], [], []),
            (["pale"], None, None),
            (["pale", "blue"], None, ["nova", "titan"]),
            (["green"], None, None),
            (["green", "red"], None, ["claude-*", "nova"]),
        ],
    )
    def test_its_own_list_counts_or_what_its_groups_allow_together(
        self, groups: list[str], own: list[str] | None, allowed: list[str] | None
    ) -> None:
        consumer = Consumer(username="ann", groups=groups, models=own)
        assert member(consumer, self.RED, self.BLUE, self.PALE).models == allowed

    def test_a_group_that_allows_nothing_allows_nothing(self) -> None:
        assert member(Consumer(username="ann", groups=["a"]), ConsumerGroup(name="a", models=[])).models == []


class TestPlugins:
    def test_a_groups_plugins_stand_at_each_member(self) -> None:
        group = ConsumerGroup(name="a", plugins=[log("of-a")])
        assert member(Consumer(username="ann", groups=["a"]), group).plugins == [log("of-a")]
        assert member(Consumer(username="bob"), group).plugins == []

    def test_what_stands_at_the_member_already_counts(self) -> None:
        group = ConsumerGroup(name="a", plugins=[log("of-a", route="r"), log("of-a")])
        ann = Consumer(username="ann", groups=["a"], plugins=[log("own")])
        assert member(ann, group).plugins == [log("own")]

    def test_the_group_that_is_named_first_counts(self) -> None:
        a = ConsumerGroup(name="a", plugins=[log("of-a", route="r"), log("of-a")])
        b = ConsumerGroup(name="b", plugins=[log("of-b")])
        ann = Consumer(username="ann", groups=["b", "a"])
        assert member(ann, a, b).plugins == [log("of-b")]
        bob = Consumer(username="bob", groups=["a", "b"])
        assert member(bob, a, b).plugins == [log("of-a", route="r"), log("of-a")]

    def test_twice_is_as_good_as_once(self) -> None:
        group = ConsumerGroup(name="a", models=["x"], plugins=[log("of-a")])
        config = with_groups(
            Config(consumers=[Consumer(username="ann", groups=["a"])], consumer_groups=[group])
        )
        assert with_groups(config) == config


class TestNarrowed:
    @pytest.mark.parametrize(
        ("models", "further", "left"),
        [
            (None, None, None),
            (None, ["a"], ["a"]),
            (["a"], None, ["a"]),
            (["claude-*"], ["claude-3-*", "nova"], ["claude-3-*"]),
            (["claude-3-*", "nova"], ["claude-*"], ["claude-3-*"]),
            (["claude-*"], ["*-haiku"], []),
            (["*"], ["*"], ["*"]),
            (["a"], [], []),
        ],
    )
    def test_what_lies_within_the_other_list_is_left(
        self, models: list[str] | None, further: list[str] | None, left: list[str] | None
    ) -> None:
        assert narrowed(models, further) == left

    @given(st.lists(GLOBS, max_size=3), st.lists(GLOBS, max_size=3), st.text("ab", max_size=6))
    def test_nothing_is_left_that_one_of_them_forbids(
        self, models: list[str], further: list[str], text: str
    ) -> None:
        left = narrowed(models, further) or []
        if any(fullmatch(glob, text) for glob in left):
            assert any(fullmatch(glob, text) for glob in models)
            assert any(fullmatch(glob, text) for glob in further)

    @given(GLOBS, GLOBS, st.text("ab", max_size=6))
    def test_a_pattern_covers_what_it_says_it_covers(self, wide: str, narrow: str, text: str) -> None:
        if covers(wide, narrow) and fullmatch(narrow, text):
            assert fullmatch(wide, text)

    @given(GLOBS, st.text("ab", max_size=6))
    def test_of_a_plain_name_it_is_exact(self, wide: str, name: str) -> None:
        assert covers(wide, name) == fullmatch(wide, name)

    def test_many_stars_are_no_matter(self) -> None:
        assert not covers("*a" * 500, "a" * 499 + "b" * 1500)

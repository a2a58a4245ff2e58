"""How problems look, and which names are near."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.config.problems import (
    ConfigProblems,
    Misfit,
    Path,
    Problem,
    looks_like_name,
    nearest,
    path_text,
    quoted,
    refuse,
)


class TestProblem:
    def test_it_reads_as_a_compilers_does(self) -> None:
        full = Problem("a.yaml", 3, 14, "plugins[0].name", "there is no plugin", "did you mean x?")
        assert str(full) == "a.yaml:3:14: plugins[0].name: there is no plugin (did you mean x?)"
        assert str(Problem("-", 1, 1, "", "not YAML")) == "-:1:1: not YAML"

    def test_all_of_them_are_raised_together(self) -> None:
        problems = [Problem("f", line, 1, "", "wrong") for line in (1, 2)]
        error = ConfigProblems(iter(problems))
        assert error.problems == tuple(problems)
        assert str(error) == "f:1:1: wrong\nf:2:1: wrong"


class TestPath:
    @pytest.mark.parametrize(
        ("path", "text"),
        [
            ((), ""),
            (("plugins", 0, "config", "timeout"), "plugins[0].config.timeout"),
            (("models", "claude-fast"), "models.claude-fast"),
            (("models", "a.b", "target"), 'models["a.b"].target'),
            (("models", "a b"), 'models["a b"]'),
            ((3,), "[3]"),
        ],
    )
    def test_it_is_written_as_in_a_program(self, path: Path, text: str) -> None:
        assert path_text(path) == text


class TestQuoting:
    @given(st.text())
    def test_it_is_one_short_printable_line(self, text: str) -> None:
        shown = quoted(text)
        assert shown.isprintable()
        assert len(shown) <= 62 * 9
        assert "\n" not in shown

    def test_a_long_text_is_cut(self) -> None:
        assert quoted("x" * 60) == '"' + "x" * 60 + '"'
        assert quoted("x" * 61) == '"' + "x" * 59 + '…"'

    @pytest.mark.parametrize(
        ("text", "is_name"), [("timeout", True), ("x-api-key", True), ("key:sk-1", False)]
    )
    def test_a_name_looks_like_one(self, text: str, is_name: bool) -> None:
        assert looks_like_name(text) is is_name
        assert not looks_like_name(text + "x" * 40)


class TestNearest:
    NAMES = ("timeout", "max_body_bytes", "rate-limiter", "keyauth_credentials", "model", "models")

    @pytest.mark.parametrize(
        ("wrong", "right"),
        [
            ("timout", "timeout"),
            ("Timeout", "timeout"),
            ("max-body-bytes", "max_body_bytes"),
            ("rate_limiting", "rate-limiter"),
            ("key_auth_credentials", "keyauth_credentials"),
            ("modell", "model"),
            ("zzz", None),
            ("", None),
            ("timeout" * 100, None),
        ],
    )
    def test_the_name_that_was_meant(self, wrong: str, right: str | None) -> None:
        assert nearest(wrong, self.NAMES) == right


class TestMisfit:
    def test_it_reads_well_by_itself(self) -> None:
        assert (
            str(Misfit(("paths", 1), "expected a path", "x\ny"))
            == 'paths[1]: expected a path, found "x\\x0ay"'
        )
        assert str(Misfit("", "expected one of a and b")) == "expected one of a and b"

    def test_the_first_is_raised_with_the_others(self) -> None:
        refuse([])
        misfits = [Misfit("a", "1"), Misfit("b", "2"), Misfit("c", "3")]
        with pytest.raises(Misfit, match="a: 1") as caught:
            refuse(iter(misfits))
        assert caught.value.others == (misfits[1], misfits[2])

"""Variables, with the shell itself as the oracle for `${NAME:-default}`."""

import subprocess

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stargate_core.config.expand import Expanded, ExpansionError, escape, expand

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
plain = st.text().filter(lambda text: "${" not in text)


class TestValues:
    @pytest.mark.parametrize("environ", [{}, {"X": ""}, {"X": "a b"}, {"X": "${Y}"}, {"X": "$Y", "Y": "}"}])
    @pytest.mark.parametrize(
        "text",
        ["${X:-d}", "a${X:-}b", "${X:-1}${Y:-2}", "${X:-https://h:1/p?q=1}", "x}${Y:-{}y", "${X:-a b}"],
    )
    def test_the_shell_agrees(self, text: str, environ: dict[str, str]) -> None:
        shell = subprocess.run(
            ["/bin/sh", "-c", f'printf %s "{text}"'], env=environ, capture_output=True, text=True, check=True
        )
        assert expand(text, environ).text == shell.stdout

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("${X}", "v"),
            ("-${X}-${X}-", "-v-v-"),
            ("${EMPTY}", ""),
            ("${EMPTY:-d}", "d"),
            ("$X ${X} $${X}", "$X v ${X}"),
        ],
    )
    def test_what_is_set_is_put_in(self, text: str, value: str) -> None:
        assert expand(text, {"X": "v", "EMPTY": ""}).text == value

    @pytest.mark.parametrize("text", ["$X", "$", "$$", "{X}", "$ {X}", "$(X)", "a$b{c}", "}{"])
    def test_nothing_else_is_a_variable(self, text: str) -> None:
        assert expand(text, {"X": "v", "b": "v"}) == Expanded(text)

    def test_all_variables_are_named_in_order(self) -> None:
        assert expand("${B:-}${A}$${C}${B:-}", {"A": "1"}).names == ("B", "A", "B")

    @given(plain)
    def test_a_text_without_variables_stays(self, text: str) -> None:
        assert expand(text, {}) == Expanded(text)

    @given(st.text())
    def test_an_escaped_text_expands_to_itself(self, text: str) -> None:
        assert expand(escape(text), {}) == Expanded(text)

    @given(names, st.text(), plain, plain)
    def test_a_value_is_never_expanded_again(self, name: str, value: str, before: str, after: str) -> None:
        # Unless the neighbours make another variable of the first's beginning: `$` + `${X}`.
        assume(not before.endswith("$"))
        assert expand(f"{before}${{{name}}}{after}", {name: value}).text == before + value + after


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "message", "hint"),
        [
            ("${X}", "the environment variable X is not set", "${X:-default}"),
            ("a ${Y:-1} ${X}", "the environment variable X is not set", ""),
            ("${}", "expected ${NAME} or ${NAME:-default}", "$${"),
            ("${X", "expected ${NAME} or ${NAME:-default}", "$${"),
            ("${1X}", "expected ${NAME}", ""),
            ("${X-d}", "expected ${NAME}", ""),
            ("${X:d}", "expected ${NAME}", ""),
            ("${ X }", "expected ${NAME}", ""),
            ("${X:-${Y}}", "expected a plain text as the default of ${X:-…}", ""),
        ],
    )
    def test_it_says_what_is_wrong(self, text: str, message: str, hint: str) -> None:
        with pytest.raises(ExpansionError) as caught:
            expand(text, {})
        assert message in caught.value.message
        assert hint in caught.value.hint

    def test_it_never_shows_a_value(self) -> None:
        with pytest.raises(ExpansionError) as caught:
            expand("${KEY} ${", {"KEY": "sk-live-1"})
        assert "sk-live-1" not in str(caught.value) + caught.value.hint

    @given(st.text(st.sampled_from("${}:-AB_0 \n")), st.dictionaries(names, st.text()))
    def test_no_text_raises_anything_else(self, text: str, environ: dict[str, str]) -> None:
        try:
            expand(text, environ)
        except ExpansionError as error:
            assert error.message

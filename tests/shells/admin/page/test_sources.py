"""What the status page's files may not hold, whatever a browser makes of it: markup made of strings, code
made of strings, anything from elsewhere, anything its policy forbids.
"""

import re
from typing import Final

import pytest

from stargate.admin.files import INDEX, page_files

FILES: Final = {name: file.body.decode() for name, file in page_files().items()}
SCRIPTS: Final = sorted(name for name in FILES if name.endswith(".js"))
MARKUP: Final = re.compile(
    r"\b(innerHTML|outerHTML|insertAdjacentHTML|setHTMLUnsafe|document\.write|DOMParser|eval|new Function)\b"
    r"|createContextualFragment|srcdoc|javascript:|set(Timeout|Interval)\(\s*[\"'`]"
)
ELSEWHERE: Final = re.compile(r"(?:https?:)?//[\w.-]+\.\w+")
KNOWN: Final = {"http://www.w3.org", "https://html.spec.whatwg.org"}
"""A namespace, and the source of a rule in a comment."""
LINES_MAX: Final = 400
COLUMNS_MAX: Final = 125


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_string_becomes_markup_or_code(name: str) -> None:
    assert MARKUP.findall(FILES[name]) == []


@pytest.mark.parametrize(
    "breach", ["node.innerHTML = name", "eval(text)", 'setTimeout("go()", 1)', "new Function(text)"]
)
def test_a_breach_would_be_noticed(breach: str) -> None:
    assert MARKUP.search(breach)


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_is_from_elsewhere(name: str) -> None:
    assert set(ELSEWHERE.findall(FILES[name])) <= KNOWN


def test_the_document_holds_no_script_and_no_style() -> None:
    document = FILES[INDEX]
    assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)[^>]*>", document) == []
    assert re.findall(r"<script[^>]*>([^<]*)</script>", document) == ["", ""]


def test_every_module_is_asked_for_at_once() -> None:
    # Else the browser would find them one after the other.
    imported = {name for text in FILES.values() for name in re.findall(r'from "\./([\w.]+)"', text)}
    assert imported == set(re.findall(r'modulepreload" href="page/([\w.]+)"', FILES[INDEX]))
    assert imported | {"app.js", "theme.js"} == set(SCRIPTS)


def test_every_element_that_a_script_names_is_there_once() -> None:
    ids = re.findall(r'\bid="([\w-]+)"', FILES[INDEX])
    assert sorted(set(ids)) == sorted(ids)
    named = {name for script in SCRIPTS for name in re.findall(r'byId\("([\w-]+)"\)', FILES[script])}
    assert named - set(ids) == set()


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_is_read_in_one_sitting(name: str) -> None:
    lines = FILES[name].splitlines()
    assert len(lines) <= LINES_MAX
    assert name == INDEX or max(map(len, lines)) <= COLUMNS_MAX

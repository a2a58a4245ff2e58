"""What the documents say is so: printed pages are fresh, links lead somewhere, examples work.

A document that has once misled its reader is not read again.
"""

import importlib.util
import re
from pathlib import Path
from typing import Any, Final

import pytest

from stargate_core.config.load import examine
from stargate_core.config.plugin_configs import BUILT_IN
from stargate_core.dialects.anthropic_converse_parameters import PARAMETERS as MESSAGES
from stargate_core.dialects.anthropic_converse_parameters import TOOL_MEMBERS
from stargate_core.dialects.openai_chat_parameters import EXTENSIONS
from stargate_core.dialects.openai_chat_parameters import PARAMETERS as CHAT
from stargate_core.dialects.openai_responses_parameters import PARAMETERS as RESPONSES
from stargate_core.faults import AWS_CAUSES, TABLE, Cause
from stargate_core.gateway import exchange, session
from stargate_core.transitions import Table

ROOT: Final = Path(__file__).parents[1]
DOCUMENTS: Final = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "bench/README.md", "changelog.d/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
PRINTED: Final = (
    "states.md",
    "faults.md",
    "parameters.md",
    "log-record.md",
    "metric-list.md",
    "configuration.md",
    "commands.md",
)

LINK: Final = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
TOCTREE: Final = re.compile(r"^:::\{toctree\}\n(?::[^\n]*\n)*\n(.*?)^:::$", re.MULTILINE | re.DOTALL)
"""Sphinx's lists of pages, in docs/index.md."""
FENCE: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def printed() -> dict[str, str]:
    """What docs/generate.py would write now."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    pages: dict[str, str] = generate.pages()
    return pages


def named(path: Path) -> str:
    """A path as a person would name it."""
    return path.relative_to(ROOT).as_posix()


def links(path: Path) -> list[str]:
    """Where a document leads, within this project."""
    prose = FENCE.sub("", path.read_text())
    told = [f"{entry}.md" for tree in TOCTREE.findall(prose) for entry in tree.split()]
    return told + [to for to in LINK.findall(prose) if "://" not in to and not to.startswith("mailto:")]


def examples(language: str) -> list[tuple[str, str]]:
    """The examples in a language: which document, and the text."""
    return [
        (named(path), text)
        for path in DOCUMENTS
        for tongue, text in FENCE.findall(path.read_text())
        if tongue == language and not text.startswith("apiVersion:")  # Kubernetes has files of its own.
    ]


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


class TestPrintedPages:
    def test_are_these(self) -> None:
        assert set(printed()) == set(PRINTED)

    @pytest.mark.parametrize("name", PRINTED)
    def test_are_fresh(self, name: str) -> None:
        written = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert written == printed()[name], "run `python docs/generate.py`"

    def test_every_cause_and_every_exception_is_told(self) -> None:
        cells = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "faults.md").read_text(), re.MULTILINE)
        assert sorted(cells) == sorted([*(cause.name for cause in Cause), *AWS_CAUSES])
        assert all(row.message in (ROOT / "docs" / "faults.md").read_text() for row in TABLE.values())

    def test_every_parameter_is_told_once(self) -> None:
        cells = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "parameters.md").read_text(), re.MULTILINE)
        tables = (CHAT, RESPONSES, MESSAGES, TOOL_MEMBERS, EXTENSIONS)
        assert sorted(cells) == sorted(name for table in tables for name in table)

    @pytest.mark.parametrize("table", [session.TABLE, exchange.TABLE], ids=["session", "exchange"])
    def test_every_state_tells_every_event_once(self, table: Table[Any]) -> None:
        page = (ROOT / "docs" / "states.md").read_text()
        for state in table.states:
            _, found, rest = page.partition(f"\n### {table.name}: {state.__name__}\n")
            assert found
            rows = re.findall(r"^\| ([A-Z]\w+(?:, \w+)*) \|", rest.partition("\n#")[0], re.MULTILINE)
            told = [event for row in rows[1:] for event in row.split(", ")]
            assert sorted(told) == sorted(event.__name__ for event in table.events)

    @pytest.mark.parametrize("name", PRINTED)
    def test_have_whole_tables(self, name: str) -> None:
        # A cell with an unescaped bar, or with a line break, would fall apart.
        columns = 0
        for line in (ROOT / "docs" / name).read_text().splitlines():
            if not line.startswith("|"):
                columns = 0
                continue
            assert line.endswith(" |")
            bars = len(re.findall(r"(?<!\\)\|", line))
            columns = columns or bars
            assert bars == columns


class TestLinks:
    @pytest.mark.parametrize("path", DOCUMENTS, ids=named)
    def test_lead_to_what_is_there(self, path: Path) -> None:
        dead = []
        for to in links(path):
            file, _, anchor = to.partition("#")
            target = (path.parent / file).resolve() if file else path
            # A picture has no headings, and no text.
            text = target.read_text() if target.suffix == ".md" and target.is_file() else ""
            headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            if not target.exists() or (anchor and anchor not in map(slug, headings)):
                dead.append(to)
        assert dead == []

    def test_are_found_at_all(self) -> None:
        assert "docs/faults.md" in links(ROOT / "README.md")

    def test_every_page_is_reached_from_the_readme(self) -> None:
        reached: set[Path] = set()
        ahead = [ROOT / "README.md"]
        while ahead:
            path = ahead.pop()
            if path in reached or path.suffix != ".md" or not path.is_file():
                continue
            reached.add(path)
            ahead += [(path.parent / to.partition("#")[0]).resolve() for to in links(path)]
        assert [named(page) for page in (ROOT / "docs").rglob("*.md") if page.resolve() not in reached] == []


class TestExamples:
    @pytest.mark.parametrize(("where", "text"), examples("yaml"))
    def test_a_configuration_is_without_fault(self, where: str, text: str) -> None:
        key = "k" * 40
        examined = examine(text, filename=where, environ={"TEAM_A_KEY": key}, schemas=BUILT_IN)
        assert examined.problems == ()
        assert examined.warnings == ()
        assert examined.config is not None

    def test_the_readmes_configuration_says_what_its_comments_say(self) -> None:
        ((where, text),) = [(where, text) for where, text in examples("yaml") if where == "README.md"]
        config = examine(text, filename=where, environ={"TEAM_A_KEY": "k" * 40}, schemas=BUILT_IN).config
        assert config is not None
        assert [consumer.username for consumer in config.consumers] == ["team-a"]
        assert [entry.name for entry in config.plugins] == ["api-key-auth", "bedrock-proxy", "request-logger"]

    def test_a_missing_key_is_not_passed_over(self) -> None:
        ((where, text),) = [(where, text) for where, text in examples("yaml") if where == "README.md"]
        problems = examine(text, filename=where, environ={}, schemas=BUILT_IN).problems
        assert any("TEAM_A_KEY" in str(problem) for problem in problems)

    @pytest.mark.parametrize(("where", "text"), examples("python"))
    def test_python_compiles(self, where: str, text: str) -> None:
        compile(text, where, "exec")

    @pytest.mark.parametrize("plugin", sorted(BUILT_IN))
    def test_the_readme_names_every_plugin(self, plugin: str) -> None:
        assert f"`{plugin}`" in (ROOT / "README.md").read_text()

"""The house rules that no linter knows, enforced as tests (as TigerBeetle's tidy.zig does).

Ruff already sees to long lines, missing docstrings and leftover TODOs in Python files (pyproject.toml);
import-linter to who may import whom; tests/core/test_purity.py to what keeps the core replayable. Here stand
the rest: how long a file and a function may be, that every file of the core has its tests, that the shells
stay thin and alike, that the two commands in README are the ones that are run. A limit is not an aim: a file
of 390 lines is usually two.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
SOURCE_FOLDERS: Final = ("core", "shells", "bench")

FILE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 70
LINE_COLUMNS_MAX: Final = 110

SHELL_PER_CORE_MAX: Final = 0.15
"""aioquic's asyncio shell is 0.06 of its core, firezone's 0.13, quinn's 0.19: what is more belongs in the
core.
"""
CORE_LINES_MIN: Final = 3_000
"""Below this the ratio says nothing."""

NO_CODE: Final = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
)

UNTESTED: Final[dict[str, str]] = {
    # A file of the core without a test file of its own, and why. This table shrinks.
}

TESTS_WITHOUT_SOURCE: Final[dict[str, str]] = {
    "core/test_purity.py": "tests the core as a whole",
    "core/dialects/test_recorded_everywhere.py": "holds all dialects to the same recordings",
    "core/journal/redact/test_canaries.py": "looks for words in whatever redaction gives",
}


def python_files(*folders: str) -> list[Path]:
    """The project's own Python files in these folders; vectors are other people's."""
    files = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in files if "vectors" not in path.parts)


def text_files() -> Iterator[Path]:
    """What a person writes here beside Python: settings, scripts, documents."""
    for path in sorted(ROOT.iterdir()):
        if path.is_file() and path.suffix in {".ini", ".toml", ".md"}:
            yield path
    yield ROOT / ".ci" / "run"
    for folder in ("core", "shells", "docs", "bench"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".ini", ".toml", ".md", ".yaml", ".yml", ".lua", ".sh"}:
                yield path


def named(path: Path) -> str:
    """A path as a person would name it."""
    return path.relative_to(ROOT).as_posix()


def code_lines(source: str) -> int:
    """Lines that carry code: neither blank, nor comment, nor docstring. Telling why is never discouraged."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str()), lineno=first, end_lineno=int(last)):
                lines.difference_update(range(first, last + 1))
            case _:
                pass
    return len(lines)


def long_functions(source: str) -> Iterator[tuple[str, int]]:
    """Each function that is longer than it may be, with its lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield node.name, lines


def core_sources() -> set[str]:
    """The core's files that hold something to test: a package's `__init__` often is only what it exports."""
    core = ROOT / "core" / "stargate_core"
    empty = ast.Expr | ast.Import | ast.ImportFrom | ast.Assign
    return {
        path.relative_to(core).as_posix()
        for path in core.rglob("*.py")
        if not all(isinstance(node, empty) for node in ast.parse(path.read_text()).body)
    }


def core_tests() -> set[str]:
    """The core's test files, relative to tests/."""
    tests = ROOT / "tests"
    return {path.relative_to(tests).as_posix() for path in (tests / "core").rglob("test_*.py")}


def mirrored(source: str) -> str:
    """`core/wire/test_sse.py` for `wire/sse.py`."""
    path = Path("core", source)
    return path.with_name(f"test_{path.name}").as_posix()


class TestSize:
    @pytest.mark.parametrize("path", python_files(*SOURCE_FOLDERS), ids=named)
    def test_a_file_is_read_in_one_sitting(self, path: Path) -> None:
        assert code_lines(path.read_text()) <= FILE_LINES_MAX

    @pytest.mark.parametrize("path", python_files(*SOURCE_FOLDERS, "tests"), ids=named)
    def test_a_function_fits_on_a_screen(self, path: Path) -> None:
        assert list(long_functions(path.read_text())) == []

    def test_a_long_function_is_noticed(self) -> None:
        source = "def short(): ...\n\n\ndef long():\n" + "    x = 1\n" * FUNCTION_LINES_MAX
        assert list(long_functions(source)) == [("long", FUNCTION_LINES_MAX + 1)]

    def test_prose_does_not_count_as_code(self) -> None:
        assert code_lines('"""An essay,\n\nof three lines."""\n\n# why\nx = (  # because\n    1\n)\n') == 3


class TestText:
    @pytest.mark.parametrize("path", list(text_files()), ids=named)
    def test_nothing_is_left_for_later(self, path: Path) -> None:
        marks = re.compile(r"(#|//|--|<!--)\s*(TODO|FIXME|XXX)\b")
        lines = enumerate(path.read_text().splitlines(), 1)
        assert [number for number, line in lines if marks.search(line)] == []

    @pytest.mark.parametrize("path", [p for p in text_files() if p.suffix != ".md"], ids=named)
    def test_lines_are_short(self, path: Path) -> None:
        # Tables and links make a document's lines long; it is the one exception.
        lines = enumerate(path.read_text().splitlines(), 1)
        assert [number for number, line in lines if len(line) > LINE_COLUMNS_MAX] == []


class TestMirror:
    """tests/ mirrors core/: whoever changes a file knows where its tests are, and the other way round."""

    def test_every_file_of_the_core_has_its_test_file(self) -> None:
        tests = core_tests()
        assert sorted(s for s in core_sources() - UNTESTED.keys() if mirrored(s) not in tests) == []

    def test_no_exception_outlives_its_reason(self) -> None:
        tests = core_tests()
        assert [s for s in UNTESTED if s not in core_sources() or mirrored(s) in tests] == []

    def test_every_test_file_of_the_core_has_its_source(self) -> None:
        """A state machine may stand in a file of its own beside it."""
        expected = {mirrored(source) for source in core_sources()}
        tests = {test.replace("_stateful.py", ".py") for test in core_tests()}
        assert sorted(tests - expected - TESTS_WITHOUT_SOURCE.keys()) == []


class TestShells:
    """The shells are thin, and twins: the same files, classes and methods, readable side by side."""

    TRIO: Final = ROOT / "shells" / "stargate" / "trio_shell"
    ASYNCIO: Final = ROOT / "shells" / "stargate" / "asyncio_shell"

    @staticmethod
    def lines(folder: Path) -> int:
        """Lines that are not blank; prose counts here on both sides."""
        return sum(
            1 for path in folder.rglob("*.py") for line in path.read_text().splitlines() if line.strip()
        )

    @staticmethod
    def vocabulary(folder: Path) -> set[str]:
        """The public names of a shell: `listener.py: Listener.serve`."""
        names: set[str] = set()
        for path in folder.rglob("*.py"):
            file = path.relative_to(folder).as_posix()
            names.add(file)
            for node in ast.parse(path.read_text()).body:
                if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                members = node.body if isinstance(node, ast.ClassDef) else []
                names.add(f"{file}: {node.name}")
                names.update(
                    f"{file}: {node.name}.{member.name}"
                    for member in members
                    if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef)
                )
        return {name for name in names if not name.rpartition(" ")[2].rpartition(".")[2].startswith("_")}

    @pytest.mark.parametrize("shell", [s for s in (TRIO, ASYNCIO) if s.is_dir()], ids=named)
    def test_a_shell_is_thin(self, shell: Path) -> None:
        core = self.lines(ROOT / "core")
        if core < CORE_LINES_MIN:
            pytest.skip(f"the core has {core} lines; the ratio means something from {CORE_LINES_MIN}")
        assert self.lines(shell) / core <= SHELL_PER_CORE_MAX

    @pytest.mark.skipif(not ASYNCIO.is_dir(), reason="there is one shell so far")
    def test_the_shells_are_twins(self) -> None:
        assert self.vocabulary(self.TRIO) == self.vocabulary(self.ASYNCIO)


class TestReadme:
    """The commands that README promises are the ones that are run."""

    def test_the_test_command_is_what_ci_runs(self) -> None:
        command = "pip install tox && tox"
        assert f"\n{command}\n" in (ROOT / "README.md").read_text()
        assert command in (ROOT / ".ci" / "run").read_text()

"""The core is pure: checked on the running interpreter, and in the source.

Two oracles. The first is `sys.modules`: a fresh interpreter without `site` imports every module of the core,
and whatever could do I/O must not be there afterwards, however it might have come in. The second is the
syntax tree, for habits that show in no import (support/purity.py). Each rule is shown to catch its planted
breach.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from support.purity import findings

THIRD_PARTIES: Final = ("h11", "httptools", "msgspec", "hiredis", "yaml")

# What the five bring along beside their own package: compiled support modules.
COMPANIONS: Final = ("_yaml", "cython_runtime", "typing_extensions")

BANNED: Final = frozenset(
    {
        # the network
        "_select", "_ssl", "email", "ftplib", "http.client", "http.server", "mimetypes", "select",
        "selectors", "smtplib", "socket", "socketserver", "ssl", "urllib.request", "urllib.response",
        "xmlrpc",
        # event loops, threads, processes
        "_asyncio", "_multiprocessing", "_posixsubprocess", "_queue", "anyio", "asyncio", "concurrent",
        "contextvars", "multiprocessing", "queue", "sched", "signal", "subprocess", "threading", "trio",
        "uvloop",
        # files, the terminal, the log
        "atexit", "fcntl", "fileinput", "getpass", "glob", "gzip", "logging", "mmap", "pathlib", "pickle",
        "pty", "resource", "shutil", "sqlite3", "syslog", "tempfile", "termios", "zipfile",
        # chance
        "secrets",
        # AWS and HTTP libraries, the command line, the shells
        "boto3", "botocore", "click", "httpx", "requests", "stargate", "urllib3",
    }
)  # fmt: skip

# Loaded all the same, though the core may not use them (import-linter sees to that), and why that is
# harmless:
#   time, posix   the interpreter itself brings them, at start-up.
#   os, platform  h11, httptools, msgspec, through `contextlib`, `inspect`, `uuid`; `random` needs os too.
#   uuid          msgspec, to encode UUIDs; it draws none.
#   _socket       `uuid`, through a C helper or `platform`; hence `socket` is banned, and not `_socket`.
#   warnings      almost everything; it only speaks when asked to.

_IMPORT_ALL: Final = """
import sys
paths, modules = sys.argv[1].split("\\n"), sys.argv[2].split("\\n")
sys.path.extend(paths)
for name in modules:
    __import__(name)
print("\\n".join(sys.modules))
"""


def package_folder(name: str) -> Path:
    """Where a package is installed: a wheel's site-packages, or the source tree when it is editable."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


CORE: Final = package_folder("stargate_core")
SOURCES: Final = sorted(CORE.rglob("*.py"))


def module_name(path: Path) -> str:
    """`stargate_core.wire.sse` for its file."""
    parts = path.relative_to(CORE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules_after_importing(*names: str) -> set[str]:
    """`sys.modules` of a fresh interpreter that has imported `names` and nothing else."""
    folders = sorted({str(package_folder(package).parent) for package in ("stargate_core", *THIRD_PARTIES)})
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _IMPORT_ALL, "\n".join(folders), "\n".join(names)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return set(ran.stdout.split())


def banned_among(modules: set[str]) -> list[str]:
    """The modules that are banned, themselves or through a parent package."""
    return sorted(m for m in modules if any(m == ban or m.startswith(f"{ban}.") for ban in BANNED))


class TestRunning:
    def test_importing_the_whole_core_loads_nothing_that_does_io(self) -> None:
        modules = modules_after_importing(*map(module_name, SOURCES))
        assert {module_name(path) for path in SOURCES} <= modules
        assert banned_among(modules) == []

    def test_the_core_loads_no_third_party_but_its_five(self) -> None:
        modules = modules_after_importing(*map(module_name, SOURCES))
        known = {*sys.stdlib_module_names, "__main__", "stargate_core", *THIRD_PARTIES, *COMPANIONS}
        strangers = {m.partition(".")[0] for m in modules} - known
        # `HASH__mypyc` is the core itself, where it is compiled.
        assert {m for m in strangers if not m.startswith("_cython_") and not m.endswith("__mypyc")} == set()

    @pytest.mark.parametrize("culprit", ["socket", "logging", "asyncio", "urllib.request", "subprocess"])
    def test_a_module_that_does_io_is_noticed(self, culprit: str) -> None:
        assert culprit in banned_among(modules_after_importing("stargate_core", culprit))


class TestSource:
    @pytest.mark.parametrize("path", SOURCES, ids=module_name)
    def test_a_module_keeps_the_rules(self, path: Path) -> None:
        assert [f"{path}:{line}: {what}" for line, what in findings(path.read_text())] == []


BREACHES: Final = {
    # waiting
    "async def f(): ...": "awaits nothing",
    "async def f():\n    await g()": "awaits nothing",
    "x = [i async for i in y]": "awaits nothing",
    # builtins
    "def f(path):\n    return open(path).read()": "reaches outside",
    "x = eval('1')": "reaches outside",
    # state that outlives a machine
    "def f():\n    global x\n    x = 1": "pass the value",
    "seen = {}": "is Final",
    "seen: dict[str, int] = {}": "is Final",
    "seen = collections.deque()": "is Final",
    "TABLE: Final = {}\ndef f(k):\n    TABLE[k] = 1": "written to",
    "TABLE: Final = {}\ndef f(k):\n    del TABLE[k]": "written to",
    "TABLE: Final = []\nclass C:\n    def f(self, k):\n        TABLE.append(k)": "written to",
    "from .other import TABLE\ndef f(k):\n    TABLE.update(k)": "written to",
    "@functools.cache\ndef f(k): ...": "states its bound",
    "@lru_cache\ndef f(k): ...": "states its bound",
    "@lru_cache(maxsize=None)\ndef f(k): ...": "states its bound",
    "@functools.lru_cache(None)\ndef f(k): ...": "states its bound",
    # order
    "x = hash('a')": "from run to run",
    "x = id(y)": "from run to run",
    "for x in {1, 2}: ...": "no order",
    "for x in a | set(b): ...": "no order",
    "NAMES: Final = frozenset('ab')\nx = [n for n in NAMES]": "no order",
    "NAMES: Final[frozenset[str]] = f()\nx = list(NAMES)": "no order",
    "def f(names: set[str]):\n    return ','.join(names)": "no order",
    "class C:\n    def f(self):\n        self.open: set[int] = g()\n        return (*self.open,)": "no order",
    "NAMES: Final = {1}\ndef f():\n    return lambda: list(NAMES)": "no order",
    # time
    "def f(now: float): ...": "time is an int",
    "class C:\n    idle_ns: float | None = None": "time is an int",
}  # fmt: skip

CLEAN: Final = (
    "TABLE: Final = {1: 2}\ndef f(k):\n    return TABLE[k]",
    "TABLE: Final = {1: 2}\ndef f(TABLE, k):\n    TABLE[k] = 1",
    "__all__ = ['f']",
    "@lru_cache(maxsize=64)\ndef f(k): ...",
    "@functools.lru_cache(512)\ndef f(k): ...",
    "for x in sorted({1, 2}): ...",
    "x = sorted(n.lower() for n in {1, 2})",
    "x = 1 in {1, 2}",
    "x = len({n for n in {1, 2}})",
    "def f(rate: float, now: int): ...",
    # One function's set is not another's list.
    "def f():\n    names = {1}\ndef g():\n    names = [1]\n    return list(names)",
    "def f(a):\n    names = set(a)\n    names = sorted(names)\n    return list(names)",
    "NAMES: Final = {1}\ndef f(NAMES: list[int]):\n    return list(NAMES)",
)


class TestRules:
    @pytest.mark.parametrize(("source", "what"), BREACHES.items())
    def test_a_planted_breach_is_found(self, source: str, what: str) -> None:
        assert any(what in finding.what for finding in findings(source))

    @pytest.mark.parametrize("source", CLEAN)
    def test_what_is_allowed_is_left_alone(self, source: str) -> None:
        assert findings(source) == []

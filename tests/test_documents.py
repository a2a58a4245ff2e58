"""Every block of code in the documents is run, page by page, as a reader would: in order, in one folder.

What becomes of a block is told by its language:

    sh        run by bash; its variables and its files are there for the next one
    console   as sh, line by line behind `$ `; each line of output must come, `…` standing for anything
    python    run as a program of its own
    yaml, json, toml    read; a configuration of Stargate's is checked by test_docs.py
    text      an output, a picture: nothing to run

A comment before a block says what is different: `<!-- run: background 8080 -->`, it goes on running, and
listens there; `<!-- run: file NAME -->`, it is written there; `<!-- run: not, REASON -->`, what it needs is
not here. Pages name ports as a reader would have them; here each page has ports of its own.

Of a page as a whole a comment says what it takes for granted: `<!-- stage: gateway -->`, a gateway at 8080
before a simulated Bedrock, with a key in $KEY; `<!-- stage: simulator -->`, that calls of the page's own
gateways go to one; `<!-- stage: after PAGE -->`, another page's files.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pytest
import yaml

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "bench/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE: Final = re.compile(
    r"(?:^<!-- run: (?P<how>[^\n]*?) -->\n+)?^ *```(?P<language>\w+)[^\n]*\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
HOW: Final = re.compile(r"background [0-9]+|file \S+|not, \S.*")
DATA: Final[Mapping[str, Callable[[str], object]]] = {
    "yaml": lambda text: list(yaml.safe_load_all(text)),
    "json": json.loads,
    "toml": tomllib.loads,
}
SHOWN: Final = frozenset({"text", "ini", "lua", "promql", "mermaid"})
PORTS: Final = re.compile(r"(?<=127\.0\.0\.1:)(8080|8001|9000|6379|4318)\b|(?<=localhost:)(8080|8001|9000)\b")
SECONDS: Final = 60.0
STAGE: Final = re.compile(r"^<!-- stage: (\w+)(?: (\S+))? -->$", re.MULTILINE)
KEY: Final = "sk-team-a-0123456789abcdef"
GATEWAY: Final = f"""\
gateway: {{listen: ["127.0.0.1:8080"]}}
consumers:
  - username: team-a
    keyauth_credentials: [{{key: {KEY}}}]
    sigv4_credentials: [{{access_key_id: AKIDTEAMA, secret_access_key: team-a-secret}}]
plugins:
  - name: api-key-auth
  - name: bedrock-proxy
    config:
      models: {{claude: us.anthropic.claude-sonnet-4-20250514-v1:0}}
      endpoint_url: http://127.0.0.1:9000
"""

pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None, reason="the blocks are bash's, and there is none"
)


class Block(NamedTuple):
    """One block, and how it is run where that is not as its language is."""

    line: int
    language: str
    how: str
    text: str


def blocks(path: Path) -> Iterator[Block]:
    """All of a page's."""
    source = path.read_text()
    for found in FENCE.finditer(source):
        line = source.count("\n", 0, found.start("text")) + 1
        yield Block(line, found["language"], found["how"] or "", found["text"])


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


class Reader:
    """Who goes through a page with a folder and ports of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports: dict[str, str] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._environ = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "AWS_ACCESS_KEY_ID": "AKIDSIMULATOR",
            "AWS_SECRET_ACCESS_KEY": "simulated-secret-access-key",
            "AWS_DEFAULT_REGION": "us-east-1",
            "KEY": KEY,
            "TEAM_A_KEY": KEY,
        }
        self._to_simulator = False
        (folder / ".variables").write_text("")

    def prepare(self, page: Path) -> None:
        """What the page takes for granted."""
        for stage, told in STAGE.findall(page.read_text()):
            if stage == "after":
                for block in blocks(page.parent / told):
                    if block.how.startswith("file "):
                        self.read(block)
                continue
            assert stage in ("gateway", "simulator")
            self.read(Block(0, "sh", "background 9000", "stargate simulate --listen 127.0.0.1:9000"))
            self._to_simulator = True
            if stage == "gateway":
                self.read(Block(0, "yaml", "file stage.yaml", GATEWAY))
                self.read(Block(0, "sh", "background 8080", "stargate serve -c stage.yaml"))
        for block in blocks(page):
            if block.how.startswith("file "):
                self.read(block)  # A page may show the file after the command.

    def read(self, block: Block) -> None:
        """Do what the block says."""
        how, _, told = block.how.partition(" ")
        if how == "not,":
            return
        text = PORTS.sub(lambda found: self._port(found[0]), block.text)
        if how == "file":
            (self._folder / told).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / told).write_text(self._staged(text) if block.language == "yaml" else text)
        elif how == "background":
            self._start(text, told)
        elif block.language == "sh":
            self._run(["bash", "-euo", "pipefail", "-c", self._whole(text)], block)
        elif block.language == "console":
            self._converse(text, block)
        elif block.language == "python":
            self._run([sys.executable, "-c", text], block)
        if block.language in DATA:
            DATA[block.language](text)

    def _staged(self, text: str) -> str:
        """A configuration whose calls go to the stage's simulator, where it leaves open where they go."""
        document = next(yaml.safe_load_all(text))
        for entry in document.get("plugins", ()) if self._to_simulator else ():
            if entry["name"] == "bedrock-proxy":
                url = f"http://127.0.0.1:{self._port('9000')}"
                entry.setdefault("config", {}).setdefault("endpoint_url", url)
        return yaml.safe_dump(document) if self._to_simulator else text

    def close(self) -> None:
        """End what still runs."""
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)

    def _port(self, meant: str) -> str:
        if meant not in self._ports:
            with socket.socket() as sock:
                sock.bind(("127.0.0.1", 0))
                self._ports[meant] = str(sock.getsockname()[1])
        return self._ports[meant]

    @staticmethod
    def _whole(text: str) -> str:
        return f"source .variables\n{text}\ndeclare -px > .variables"

    def _run(self, command: list[str], block: Block) -> str:
        ran = subprocess.run(
            command, cwd=self._folder, env=self._environ, capture_output=True, text=True, timeout=SECONDS,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        output = ran.stdout + ran.stderr
        assert ran.returncode == 0, f"line {block.line}: status {ran.returncode}:\n{block.text}\n{output}"
        return output

    def _converse(self, text: str, block: Block) -> None:
        for command, wanted in re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
            # What is to be told may be a refusal; where nothing is, that it went well is all there is to see.
            script = self._whole(f"{command.rstrip()} || true" if wanted.strip() else command.rstrip())
            lines = self._run(["bash", "-euo", "pipefail", "-c", script], block).splitlines()
            for line in wanted.splitlines():
                pattern = ".*".join(map(re.escape, line.split("…")))
                if line.strip():
                    assert any(re.fullmatch(pattern, got) for got in lines), f"{line!r} not among {lines}"

    def _start(self, text: str, port: str) -> None:
        log = (self._folder / f"background-{port}.log").open("wb")
        process = subprocess.Popen(
            ["bash", "-c", self._whole(f"exec {text.strip()}")], cwd=self._folder, env=self._environ,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        log.close()
        self._processes.append(process)
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", int(self._port(port))), timeout=1).close()
                return
            except OSError:
                told = (self._folder / f"background-{port}.log").read_text()
                assert process.poll() is None, f"{text.strip()} has ended:\n{told}"
                assert time.monotonic() < deadline, f"{text.strip()} does not listen:\n{told}"
                time.sleep(0.05)


@pytest.mark.parametrize("path", PAGES, ids=named)
class TestBlocks:
    def test_say_what_they_are(self, path: Path) -> None:
        known = {"sh", "console", "python", *DATA, *SHOWN}
        for block in blocks(path):
            assert block.language in known, f"line {block.line}: nobody knows how to run {block.language}"
            assert not block.how or HOW.fullmatch(block.how), f"line {block.line}: {block.how!r}"

    def test_are_all_found(self, path: Path) -> None:
        """A fence that the pattern does not see would not be run."""
        assert len(re.findall(r"^ *```", path.read_text(), re.MULTILINE)) == 2 * len(list(blocks(path)))

    def test_do_what_the_page_says(self, path: Path, tmp_path: Path) -> None:
        reader = Reader(tmp_path)
        try:
            reader.prepare(path)
            for block in blocks(path):
                reader.read(block)
        finally:
            reader.close()

"""A gateway for tests: the real `stargate serve` in a process of its own, and what can be seen of it from
outside.

`running_gateway` starts one, yields where it listens, and ends it with SIGTERM; a gateway that does not then
end with status 0, or that has told on standard error something a healthy one does not tell, fails its test.
What it says of its requests is read from its own request log.

What happens in another process cannot be waited for but by looking again: `eventually` does, within a bound.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import anthropic
import openai
import pytest

from stargate.simulator.settings import ACCESS_KEY_ID as SIMULATED_ACCESS_KEY_ID
from stargate.simulator.settings import SECRET_ACCESS_KEY as SIMULATED_SECRET_ACCESS_KEY
from support.simulator import bedrock_client

KEY: Final = "sk-team-a-0123456789abcdef"
ACCESS_KEY_ID: Final = "AKIDTEAMA"
NARROW_KEY: Final = "sk-team-b-0123456789abcdef"
"""A key that may use nothing but `claude-*`."""
STOP_SECONDS: Final = 15
PATIENCE_SECONDS: Final = 15
_LOOK_SECONDS: Final = 0.01
SHELL_OPTIONS: Final = tuple(os.environ.get("STARGATE_TEST_OPTIONS", "").split())
"""Options for every gateway of a run: `--shell asyncio` has the whole suite run on the other shell."""

CONSUMERS: Final[Sequence[Mapping[str, Any]]] = (
    {
        "username": "team-a",
        "keyauth_credentials": [{"key": KEY}],
        "sigv4_credentials": [{"access_key_id": ACCESS_KEY_ID, "secret_access_key": KEY}],
    },
    {"username": "team-b", "keyauth_credentials": [{"key": NARROW_KEY}], "models": ["claude-*"]},
)
MODELS: Final[Mapping[str, str]] = {
    "claude": "us.anthropic.claude-sonnet-4-20250514-v1:0",
    "claude-fast": "us.anthropic.claude-3-5-haiku-20241022-v1:0",
    "nova": "amazon.nova-lite-v1:0",
}

on_linux: Final = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="it is Linux that tells a process's memory and descriptors"
)
"""For tests that look at a process from outside, or rely on how Linux queues connections."""
_HEALTHY: Final = re.compile(r"stargate: |\S+ info: draining: |\S+ info: a second signal")
"""What a gateway in good health tells on standard error."""

T = TypeVar("T")


def eventually(look: Callable[[], T], *, seconds: float = PATIENCE_SECONDS) -> T:
    """What `look` gives as soon as that is true; it fails by its last answer when its time is over."""
    give_up_at = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < give_up_at, f"not within {seconds} s; last seen: {seen!r}"
        time.sleep(_LOOK_SECONDS)


class Served:
    """A gateway that listens somewhere and logs somewhere: what it says, and whom it serves."""

    def __init__(self, log: Path) -> None:
        self._log = log

    @property
    def url(self) -> str:
        """Where it listens."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------------ what it says

    def records(self, **members: Any) -> list[dict[str, Any]]:
        """The log records so far that have these members."""
        if not self._log.exists():
            return []
        whole = self._log.read_bytes().rpartition(b"\n")[0]
        records = [json.loads(line) for line in whole.splitlines()]
        return [record for record in records if members.items() <= record.items()]

    def record(self, **members: Any) -> dict[str, Any]:
        """The one log record that has these members, once it is there."""
        (record,) = eventually(lambda: self.records(**members))
        return record

    # ----------------------------------------------------------------------------------------- whom it serves

    def openai(self, **options: Any) -> openai.OpenAI:
        """openai-python, pointed at it and otherwise as it comes, but without retries."""
        return openai.OpenAI(**{**self.openai_options(), **options})

    def openai_options(self) -> dict[str, Any]:
        """What an OpenAI client must be told."""
        return {"base_url": f"{self.url}/v1", "api_key": KEY, "max_retries": 0, "timeout": 20}

    def anthropic(self, **options: Any) -> anthropic.Anthropic:
        """anthropic-sdk-python, pointed at it and otherwise as it comes, but without retries."""
        known = {"base_url": self.url, "api_key": KEY, "max_retries": 0, "timeout": 20}
        return anthropic.Anthropic(**{**known, **options})

    def bedrock(self, **options: Any) -> Any:
        """boto3's bedrock-runtime, pointed at it, signing with the consumer's own key pair."""
        keys = {"access_key_id": ACCESS_KEY_ID, "secret_access_key": KEY}
        return bedrock_client(self.url, **{**keys, **options})


class RunningGateway(Served):
    """A gateway in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path, file: Path = Path("/nowhere")) -> None:
        super().__init__(log)
        self.process = process
        self.file = file
        """Its configuration."""
        self.urls: list[str] = []
        self.told: list[str] = []
        """What it has told on standard error, line by line."""
        self._ready = threading.Event()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.told.append(line.rstrip())
            if line.startswith("stargate: listening on "):
                self.urls.append(line.partition("listening on ")[2].strip())
            if line.startswith("stargate: ready"):
                self._ready.set()
        self._ready.set()

    def wait_until_ready(self) -> None:
        """Wait until it says so; fails with what it has said instead."""
        assert self._ready.wait(PATIENCE_SECONDS), f"not ready; it told: {self.told}"
        assert any(line.startswith("stargate: ready") for line in self.told), self.told

    def wait_until_ended(self) -> int:
        """Its exit status, and everything it had to tell in `told`."""
        status = self.process.wait(STOP_SECONDS)
        self._listener.join(STOP_SECONDS)
        return status

    @property
    def url(self) -> str:
        """Where its first listener listens."""
        return self.urls[0]

    @property
    def port(self) -> int:
        """Its first listener's port."""
        return int(self.url.rpartition(":")[2])

    # ------------------------------------------------------------------------------------------- what it uses

    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def resident_bytes(self) -> int:
        """How much memory it has in use."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024


def configuration(
    upstream: str,
    log: Path | str,
    *,
    gateway: Mapping[str, Any] | None = None,
    proxy: Mapping[str, Any] | None = None,
    plugins: Sequence[Mapping[str, Any]] = (),
    **top: Any,
) -> dict[str, Any]:
    """A configuration with everything that tests use; `gateway`, `proxy` and `top` change or add members."""
    return {
        "gateway": {"listen": ["127.0.0.1:0"], "drain_seconds": 2, **(gateway or {})},
        "consumers": list(CONSUMERS),
        "plugins": [
            {"name": "api-key-auth"},
            {
                "name": "bedrock-proxy",
                "config": {
                    "region": "us-east-1",
                    "model": "claude",
                    "endpoint_url": upstream,
                    "credentials": {
                        "access_key_id": SIMULATED_ACCESS_KEY_ID,
                        "secret_access_key": SIMULATED_SECRET_ACCESS_KEY,
                    },
                    "models": dict(MODELS),
                    # One call for one request, unless a test is about repetitions.
                    "retry": {"count": 0},
                    "breaker": {"enabled": False},
                    **(proxy or {}),
                },
            },
            {"name": "request-logger", "config": {"path": str(log)}},
            *plugins,
        ],
        **top,
    }


@contextlib.contextmanager
def running_gateway(upstream: str, **changes: Any) -> Generator[RunningGateway]:
    """`stargate serve` in front of `upstream`, with `configuration`'s changes; ended by SIGTERM.

    `log`: where its request log goes, if not to a file of its own. `tells`: a pattern for lines on standard
    error that are expected beside a healthy gateway's. `environment`: variables it has beside ours. `ends`:
    the status it ends with, if a test kills it. `options`: more of the command's. `output`: where its
    standard output goes, if not to ours.
    """
    ends = changes.pop("ends", 0)
    tells = re.compile(changes.pop("tells", r"(?!)"))
    environment = {**os.environ, **changes.pop("environment", {})}
    options, output = (*SHELL_OPTIONS, *changes.pop("options", ())), changes.pop("output", None)
    with tempfile.TemporaryDirectory(prefix="stargate-test-") as folder:
        log, file = Path(changes.pop("log", f"{folder}/requests.jsonl")), Path(folder, "stargate.yaml")
        # JSON is YAML.
        file.write_text(json.dumps(configuration(upstream, log, **changes), indent=1))
        command = [sys.executable, "-m", "stargate", "serve", "-c", str(file), *options]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdout=output, stderr=pipe, text=True, env=environment) as process:
            running = RunningGateway(process, log, file)
            try:
                running.wait_until_ready()
                yield running
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                status = running.wait_until_ended()
            finally:
                process.kill()
        unexpected = [line for line in running.told if not (_HEALTHY.match(line) or tells.search(line))]
        assert (status, unexpected) == (ends, []), f"status {status}; told: {unexpected}"

"""A real gateway's journals: a fault at the simulated Bedrock becomes a file, which a fresh process lives to
the same end, whose text names the cause, and in which nothing is that anybody has said.
"""

import hashlib
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import openai
import pytest

from stargate.simulator.settings import SECRET_ACCESS_KEY
from stargate_core.journal.format import Journal, read
from support.gateway import CONSUMERS, KEY, RunningGateway, eventually, running_gateway
from support.hosts import SHELLS
from support.simulator import RunningSimulator, running_simulator

BOTH: Final = ("trio", "asyncio")
PLANTED: Final = "The purple otter sails at midnight"
"""What the caller says; the simulator repeats it."""
SECRETS: Final = (KEY, "otter", "purple", "midnight")
FAULTS: Final = {
    "bad-crc": ("STREAM_CORRUPT", "the upstream's mistake"),
    "reset-mid-stream": ("STREAM_CUT", "the upstream's mistake"),
    "stream-modelStreamErrorException": ("UPSTREAM_MODEL_ERROR", "ModelStreamErrorException at AWS"),
    "throw-InternalServerException": ("UPSTREAM_INTERNAL", "InternalServerException at AWS"),
}
"""Each scenario's cause, and what else the last line says of it."""


@pytest.fixture(scope="module")
def simulator() -> Generator[RunningSimulator]:
    """A simulated Bedrock."""
    with running_simulator() as running:
        yield running


def asked(gateway: RunningGateway, scenario: str, **options: Any) -> None:
    """Ask for a stream in which this goes wrong."""
    text = f"[[simulator: {scenario}]] {PLANTED}"
    with pytest.raises(openai.APIError):
        for _ in gateway.openai().chat.completions.create(
            model="claude", messages=[{"role": "user", "content": text}], stream=True, **options
        ):
            pass


def replayed(*args: str | Path) -> "subprocess.CompletedProcess[str]":
    """`stargate replay`, in a process of its own."""
    command = [sys.executable, "-m", "stargate", "replay", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def one_in(folder: Path) -> Path:
    """The one journal that is there, once it is."""
    (file,) = eventually(lambda: sorted(folder.glob("*.journal")))
    return file


@pytest.mark.parametrize("shell", BOTH)
@pytest.mark.parametrize("scenario", FAULTS)
def test_a_fault_becomes_a_journal_that_names_its_cause(
    tmp_path: Path, simulator: RunningSimulator, shell: str, scenario: str
) -> None:
    journal = {"directory": str(tmp_path)}
    with running_gateway(simulator.url, gateway={"journal": journal}, options=SHELLS[shell]) as gateway:
        gateway.openai().chat.completions.create(
            model="claude", messages=[{"role": "user", "content": PLANTED}]
        )
        asked(gateway, scenario)
        file = one_in(tmp_path)
        record = gateway.record(outcome="failed")
    cause, words = FAULTS[scenario]
    whole = read(file.read_bytes())
    assert whole.header.redacted
    assert whole.trailer.diverged_at is None, "redacted, it tells what happened"
    assert whole.header.request_id == record["request_id"]
    assert record["request_id"] in file.name
    result = replayed(file)
    assert result.returncode == 0, result.stdout + result.stderr
    *_, last, _, verdict = result.stdout.splitlines()
    assert last.startswith(f"Cause: {cause}: ")
    assert words in last
    assert verdict == f"same: {len(whole.entries)} entries, fingerprint {whole.trailer.fingerprint}"
    assert_nothing_said(file, result.stdout)


def assert_nothing_said(file: Path, text: str) -> None:
    """Neither the file nor what is told of it has any of what was planted."""
    data = file.read_bytes()
    assert [word for word in SECRETS if word.encode() in data or word in text] == []


@pytest.mark.parametrize("shell", BOTH)
def test_a_shared_call_is_written_beside_the_request(
    tmp_path: Path, simulator: RunningSimulator, shell: str
) -> None:
    with running_gateway(
        simulator.url,
        gateway={"journal": {"directory": str(tmp_path)}},
        plugins=[{"name": "response-cache"}],
        options=SHELLS[shell],
    ) as gateway:
        asked(gateway, "bad-crc")
        files = eventually(lambda: found if len(found := sorted(tmp_path.glob("*.journal"))) == 2 else [])
    flight, session = files
    assert flight.name == session.name.replace(".session.", ".flight-1.")
    for file in files:
        result = replayed(file)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "\nCause: STREAM_CORRUPT: " in result.stdout
        assert_nothing_said(file, result.stdout)


@pytest.mark.parametrize("shell", BOTH)
def test_who_signs_is_let_in_again(tmp_path: Path, simulator: RunningSimulator, shell: str) -> None:
    """The signature is over other bytes by then, with another secret, and good nevertheless."""
    journal = {"directory": str(tmp_path), "on": ["all"]}
    with running_gateway(simulator.url, gateway={"journal": journal}, options=SHELLS[shell]) as gateway:
        gateway.bedrock().converse(
            modelId="claude", messages=[{"role": "user", "content": [{"text": PLANTED}]}]
        )
        file = one_in(tmp_path)
    whole = read(file.read_bytes())
    assert whole.trailer.diverged_at is None
    result = replayed(file)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Outcome: complete, status 200." in result.stdout
    assert_nothing_said(file, result.stdout)


@pytest.mark.parametrize("shell", BOTH)
def test_unredacted_it_has_what_was_said_and_nothing_that_lets_anybody_in(
    tmp_path: Path, simulator: RunningSimulator, shell: str
) -> None:
    """Three callers: with a key, with one that the configuration knows by its digest, and with a signature.
    Each says what it has shown, and the simulator says it again, word by word.
    """
    hashed = "sk-hashed-0123456789abcdef"
    digest = hashlib.sha256(hashed.encode()).hexdigest()
    consumers = [*CONSUMERS, {"username": "team-c", "keyauth_credentials": [{"key_sha256": digest}]}]
    signatures: list[str] = []
    with running_gateway(
        simulator.url,
        gateway={"journal": {"directory": str(tmp_path), "redact": False, "on": ["all"]}},
        consumers=consumers,
        tells="written down in the clear",
        options=SHELLS[shell],
    ) as gateway:
        for key in (KEY, hashed):
            said = [{"role": "user", "content": f"{PLANTED}. My key is {key}."}]
            client = gateway.openai(api_key=key)
            for _ in client.chat.completions.create(model="claude", messages=said, stream=True):  # type: ignore[arg-type]
                pass
        signer = gateway.bedrock()

        def look(request: Any, **_: Any) -> None:
            signatures.append(request.headers["Authorization"].decode()[-64:])

        signer.meta.events.register("before-send.bedrock-runtime.*", look)
        text = {"text": f"{PLANTED}. I sign with {KEY}."}
        signer.converse(modelId="claude", messages=[{"role": "user", "content": [text]}])
        files = eventually(lambda: found if len(found := sorted(tmp_path.glob("*.journal"))) == 3 else [])
    assert len(signatures) == 1
    for file in files:
        whole = read(file.read_bytes())
        assert not whole.header.redacted
        assert whole.trailer.diverged_at is None
        result = replayed("--whole", file)
        assert result.returncode == 0, result.stdout + result.stderr
        assert result.stdout.endswith(f"fingerprint {whole.trailer.fingerprint}\n")
        assert "Outcome: complete, status 200." in result.stdout
        assert result.stdout.count(PLANTED) >= 2, "asked and answered"
        data = file.read_bytes()
        shown = [key for key in (KEY, hashed, digest, SECRET_ACCESS_KEY, *signatures) if key.encode() in data]
        assert shown == []
        assert [key for key in (KEY, hashed, digest, *signatures) if key in result.stdout] == []


@pytest.mark.parametrize("shell", BOTH)
def test_where_nothing_can_be_written_requests_are_served(
    tmp_path: Path, simulator: RunningSimulator, shell: str
) -> None:
    folder = tmp_path / "folder"
    folder.write_text("a file is no directory")
    with running_gateway(
        simulator.url,
        gateway={"journal": {"directory": str(folder)}},
        tells="cannot write journals to",
        options=SHELLS[shell],
    ) as gateway:
        for _ in range(3):
            asked(gateway, "bad-crc")
        eventually(lambda: len(gateway.records(outcome="failed")) == 3)
    assert sum("cannot write journals to" in line for line in gateway.told) == 1


def test_without_a_directory_nothing_is_written(tmp_path: Path, simulator: RunningSimulator) -> None:
    with running_gateway(simulator.url, environment={"TMPDIR": str(tmp_path)}) as gateway:
        asked(gateway, "bad-crc")
        gateway.record(outcome="failed")
    assert list(tmp_path.rglob("*.journal")) == []


def test_what_waits_is_written_before_it_ends(tmp_path: Path, simulator: RunningSimulator) -> None:
    """SIGTERM comes right behind the failure."""
    with running_gateway(simulator.url, gateway={"journal": {"directory": str(tmp_path)}}) as gateway:
        asked(gateway, "bad-crc")
    (file,) = tmp_path.glob("*.journal")
    journal: Journal = read(file.read_bytes())
    assert journal.header.cause == "STREAM_CORRUPT"

"""A real gateway's journals: a fault at the simulated Bedrock becomes a file, which a fresh process lives to
the same end, whose text names the cause, and in which nothing is that anybody has said.
"""

import datetime
import hashlib
import re
import subprocess
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
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
WITHIN: Final = "  Outcome: failed, status 200, within the answer."
FAULTS: Final[dict[str, tuple[str, ...]]] = {
    "bad-crc": (
        "a bad frame (message checksum mismatch): expected 0x",
        '"message":"The answer was damaged on its way"',
        WITHIN,
        "(event stream: BAD_MESSAGE_CRC)\n",
        "Cause: STREAM_CORRUPT: UPSTREAM_STREAM_BROKEN 502, the upstream's mistake: The answer was damaged ",
    ),
    "reset-mid-stream": (
        "the connection of lease 1 breaks\n",
        '"message":"The answer was cut off before its end"',
        WITHIN,
        "its end (the connection ended in the middle of an answer)\n",
        "Cause: STREAM_CUT: UPSTREAM_STREAM_BROKEN 502, the upstream's mistake: The answer was cut off ",
    ),
    "stream-modelStreamErrorException": (
        "exception modelStreamErrorException {",
        WITHIN,
        "Cause: UPSTREAM_MODEL_ERROR: MODEL_ERROR 502, the upstream's mistake, ModelStreamErrorException at ",
    ),
    "throw-InternalServerException": (
        "HTTP/1.1 500 Internal Server Error\n",
        "  Outcome: failed, status 500.",
        "Cause: UPSTREAM_INTERNAL: UPSTREAM_ERROR 500, the upstream's mistake, InternalServerException at ",
    ),
}
"""Each scenario's story, in the words that name the cause; the last are the last line's."""


@pytest.fixture(scope="module")
def simulator() -> Generator[RunningSimulator]:
    """A simulated Bedrock."""
    with running_simulator() as running:
        yield running


def asked(gateway: RunningGateway, scenario: str, said: str = PLANTED, **options: Any) -> None:
    """Ask for a stream in which this goes wrong."""
    text = f"[[simulator: {scenario}]] {said}"
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
    whole = read(file.read_bytes())
    assert whole.header.redacted
    assert whole.trailer.diverged_at is None, "redacted, it tells what happened"
    assert whole.header.request_id == record["request_id"]
    assert record["request_id"] in file.name
    result = replayed(file)
    assert result.returncode == 0, result.stdout + result.stderr
    *_, last, _, verdict = result.stdout.splitlines()
    assert [words for words in FAULTS[scenario] if words not in result.stdout] == []
    assert last.startswith(FAULTS[scenario][-1])
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


def test_encrypted_only_the_keys_owner_can_read_it(tmp_path: Path, simulator: RunningSimulator) -> None:
    """The pair is made by the command that an operator has."""
    key = tmp_path / "incidents.key"
    made = subprocess.run(
        [sys.executable, "-m", "stargate", "keys", "journal", str(key)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"journal-public-[A-Za-z0-9_-]+", made.stdout)
    assert found is not None, made.stdout
    # With what was said in it, for it is sealed; and no warning is told.
    journal = {"directory": str(tmp_path / "kept"), "encrypt_to": found[0], "redact": False}
    with running_gateway(simulator.url, gateway={"journal": journal}) as gateway:
        asked(gateway, "bad-crc")
        file = one_in(tmp_path / "kept")
    assert_nothing_said(file, "")
    without = replayed(file)
    assert without.returncode == 2
    assert "it is encrypted: give the file with its private key as --key" in without.stderr
    result = replayed("--key", key, file)
    assert result.returncode == 0, result.stdout + result.stderr
    assert PLANTED in result.stdout
    assert FAULTS["bad-crc"][-1] in result.stdout


@pytest.mark.parametrize("shell", BOTH)
def test_what_is_too_old_goes_and_a_new_one_says_when_it_will(
    tmp_path: Path, simulator: RunningSimulator, shell: str
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    days = [3, 1]
    old, kept = (
        tmp_path / f"{now - datetime.timedelta(days=each):%Y%m%dT%H%M%SZ}-0a.session.journal" for each in days
    )
    for file in (old, kept):
        file.write_bytes(b"")
    journal = {"directory": str(tmp_path), "keep_days": 2}
    with running_gateway(simulator.url, gateway={"journal": journal}, options=SHELLS[shell]) as gateway:
        asked(gateway, "bad-crc")
        eventually(lambda: len(list(tmp_path.glob("*.journal"))) == 2 and not old.exists())
    assert kept.exists()
    kept.unlink()
    header = read(one_in(tmp_path).read_bytes()).header
    expires = datetime.datetime.fromisoformat(header.expires_at)
    assert datetime.timedelta(days=1, hours=23) < expires - now < datetime.timedelta(days=2, hours=1)


@pytest.mark.parametrize("shell", BOTH)
def test_a_crowd_of_failures_keeps_the_bound(tmp_path: Path, simulator: RunningSimulator, shell: str) -> None:
    """Forty at once, each of half a MiB, and room for three of them: what is kept is whole, the rest is left
    out and told, and nobody is refused.
    """
    journal = {
        "directory": str(tmp_path),
        "memory_bytes": 3 << 19,
        "max_journal_bytes": 1 << 20,
        "redact": False,
    }

    def ask(gateway: RunningGateway) -> bool:
        asked(gateway, "bad-crc", f"{PLANTED} {'x' * (1 << 18)}", timeout=120)
        return True

    with (
        running_gateway(
            simulator.url,
            gateway={"journal": journal},
            tells="written down in the clear|journals were left out: ",
            options=SHELLS[shell],
        ) as gateway,
        ThreadPoolExecutor(40) as crowd,
    ):
        asked(gateway, "bad-crc")
        assert all(crowd.map(ask, [gateway] * 40))
        eventually(lambda: len(gateway.records(outcome="failed")) == 41)
    files = sorted(tmp_path.glob("*.journal"))
    left_out = sum(
        int(count)
        for line in gateway.told
        for count in re.findall(r"(\d+) (?:too large|more than)", line)
        if "left out" in line
    )
    assert (len(files) + left_out, left_out > 0) == (41, True), gateway.told
    for file in files:
        assert replayed("--quiet", file).returncode == 0

"""AWS credentials: found where AWS's own tools find them, asked for again in time, and no failure ends
anything.
"""

import contextlib
import datetime
import http.server
import json
import threading
from collections.abc import AsyncGenerator, Generator, Mapping
from pathlib import Path
from typing import Final

import pytest
import trio
from trio.testing import MockClock

from stargate.credentials import Found, find, find_all, keep_fresh
from stargate_core.aws.sigv4 import Credentials
from stargate_core.secret import Secret

HOUR: Final = 3_600
EPOCH: Final = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
"""botocore compares expiries with the time of day, so virtual time begins now."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home where AWS's tools find nothing."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_CA_BUNDLE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


def secrets_of(found: Found) -> tuple[str, str, str | None]:
    """A found key pair, and its session token."""
    assert found.credentials is not None
    token = found.credentials.session_token
    return (
        found.credentials.access_key_id,
        found.credentials.secret_access_key.reveal(),
        None if token is None else token.reveal(),
    )


class Process:
    """A `credential_process`: a command that prints credentials, here those in a file."""

    def __init__(self, home: Path) -> None:
        self.file = home / "printed.json"
        (home / "config").write_text(f"[default]\ncredential_process = cat {self.file}\n")

    def print(self, name: str, seconds: float | None) -> None:
        """From now on print these, which expire so long after `EPOCH`."""
        printed = {"Version": 1, "AccessKeyId": name, "SecretAccessKey": "s", "SessionToken": "t"}
        if seconds is not None:
            printed["Expiration"] = (EPOCH + datetime.timedelta(seconds=seconds)).isoformat()
        self.file.write_text(json.dumps(printed))


@contextlib.contextmanager
def sts(status: int, body: bytes) -> Generator[str]:
    """A token service that answers everything alike."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class TestFinding:
    def test_the_environment_comes_first(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (home / "credentials").write_text("[default]\naws_access_key_id=A\naws_secret_access_key=B\n")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
        found = find("")
        assert found.method == "env"
        assert secrets_of(found) == ("AKIDENV", "secret", "token")

    def test_a_profile_is_asked_for_by_name(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (home / "credentials").write_text(
            "[default]\naws_access_key_id=A\naws_secret_access_key=B\n"
            "[team]\naws_access_key_id=AKIDTEAM\naws_secret_access_key=secret\n"
        )
        found = find("team")
        assert found.method == "shared-credentials-file"
        assert secrets_of(found) == ("AKIDTEAM", "secret", None)
        assert find("").credentials != found.credentials

    def test_an_expiry_is_known(self, home: Path) -> None:
        Process(home).print("AKIDPROCESS", 5 * HOUR)
        found = find("")
        assert secrets_of(found) == ("AKIDPROCESS", "s", "t")
        assert found.credentials is not None
        assert found.credentials.expires_at_ns == int((EPOCH.timestamp() + 5 * HOUR) * 1e9)

    def test_nowhere_is_said(self) -> None:
        found = find("")
        assert (found.credentials, found.method) == (None, "nowhere")
        assert "none of the usual AWS places" in found.problem

    def test_secrets_are_not_shown(self, home: Path) -> None:
        (home / "credentials").write_text("[default]\naws_access_key_id=A\naws_secret_access_key=hush\n")
        assert "hush" not in repr(find(""))

    @pytest.mark.parametrize(
        ("config", "told"),
        [
            ("[default]\ncredential_process = /nowhere/at-all\n", "FileNotFoundError"),
            ("[default]\ncredential_process = false\n", "CredentialRetrievalError"),
            ("[default]\ncredential_process = echo nonsense\n", ""),
            ("[default\n", "ConfigParseError"),
            ("[profile other]\nregion = x\n", "none of the usual AWS places"),
        ],
    )
    def test_no_trouble_of_theirs_is_ours(self, home: Path, config: str, told: str) -> None:
        (home / "config").write_text(config)
        found = find("")
        assert found.credentials is None
        assert told in found.problem
        assert found.problem

    def test_a_profile_that_is_not_there(self) -> None:
        found = find("nobody")
        assert found.credentials is None
        assert "nobody" in found.problem

    @pytest.mark.parametrize(
        ("status", "body", "told"),
        [
            (
                403,
                b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>",
                "AccessDenied",
            ),
            (200, b"not XML at all", ""),
        ],
    )
    def test_a_role_that_cannot_be_assumed(
        self, home: Path, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, told: str
    ) -> None:
        (home / "config").write_text(
            "[default]\nrole_arn = arn:aws:iam::123456789012:role/bedrock\nsource_profile = base\n"
            "region = us-east-1\n[profile base]\naws_access_key_id = A\naws_secret_access_key = B\n"
        )
        with sts(status, body) as url:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
            found = find("")
        assert found.credentials is None
        assert told in found.problem

    @pytest.mark.trio
    async def test_several_accounts_are_asked_side_by_side(self, home: Path) -> None:
        (home / "credentials").write_text(
            "".join(f"[{n}]\naws_access_key_id=AKID{n}\naws_secret_access_key=s\n" for n in "abc")
        )
        found = await find_all(["a", "b", "c", "d"])
        assert {name: one.credentials is not None for name, one in found.items()} == {
            "a": True, "b": True, "c": True, "d": False,
        }  # fmt: skip


class Keeper:
    """`keep_fresh` in virtual time, and what it says."""

    def __init__(self, clock: MockClock) -> None:
        self._clock = clock
        self._begun = clock.current_time()
        self.held: list[str | None] = []
        self.notes: list[str] = []
        self._news = trio.Event()

    def wall_ns(self) -> int:
        """The time of day, as the gateway would read it."""
        return int((EPOCH.timestamp() + self._clock.current_time() - self._begun) * 1e9)

    def changed(self, credentials: Mapping[str, Credentials | None]) -> None:
        value = credentials[""]
        self.held.append(None if value is None else value.access_key_id)
        self._news.set()

    def note(self, level: str, text: str) -> None:
        self.notes.append(f"{level}: {text}")
        self._news.set()

    async def pass_time(self, seconds: float) -> None:
        """Let virtual time pass, once everybody waits for it."""
        await trio.testing.wait_all_tasks_blocked(0.05)
        self._clock.jump(seconds)

    async def news(self) -> None:
        """Wait for the next thing it says; the asking itself takes real time, in a thread."""
        await self._news.wait()
        self._news = trio.Event()


@contextlib.asynccontextmanager
async def keeping(keeper: Keeper, first: Found) -> AsyncGenerator[None]:
    """Credentials are kept fresh while the block runs."""
    async with trio.open_nursery() as nursery:

        async def keep() -> None:
            await keep_fresh({"": first}, wall_ns=keeper.wall_ns, changed=keeper.changed, note=keeper.note)

        nursery.start_soon(keep)
        yield
        nursery.cancel_scope.cancel()


@pytest.mark.trio
class TestKeepingFresh:
    async def test_they_are_asked_for_ahead_of_their_end(self, home: Path, mock_clock: MockClock) -> None:
        process, keeper = Process(home), Keeper(mock_clock)
        process.print("FIRST", 2 * HOUR)
        async with keeping(keeper, find("")):
            process.print("SECOND", 4 * HOUR)
            await keeper.pass_time(2 * HOUR - 15 * 60 - 10)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert keeper.held == []
            await keeper.pass_time(20)
            await keeper.news()
        assert keeper.held == ["SECOND"]
        assert keeper.notes == ["info: AWS credentials of default are now from custom-process"]

    async def test_those_that_live_shortly_are_not_asked_for_without_end(
        self, home: Path, mock_clock: MockClock
    ) -> None:
        """A role's session may last for fifteen minutes, which is all the time that one looks ahead."""
        process, keeper = Process(home), Keeper(mock_clock)
        process.print("FIRST", 900)
        async with keeping(keeper, find("")):
            process.print("SECOND", 1_800)
            await keeper.pass_time(440)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert keeper.held == []
            await keeper.pass_time(20)
            await keeper.news()
        assert keeper.held == ["SECOND"]

    async def test_the_old_ones_stay_while_they_are_good(self, home: Path, mock_clock: MockClock) -> None:
        process, keeper = Process(home), Keeper(mock_clock)
        process.print("FIRST", 2 * HOUR)
        async with keeping(keeper, find("")):
            process.file.write_text("not now")
            await keeper.pass_time(2 * HOUR - 14 * 60)
            await keeper.news()
            assert keeper.held == []
            assert keeper.notes[0].startswith(
                "warning: AWS credentials of default could not be refreshed, the old ones stay"
            )
            process.print("SECOND", 4 * HOUR)
            await keeper.pass_time(10 * 60)
            # Once it has waited after the failure, it asks at half of what is left.
            await keeper.pass_time(10 * 60)
            await keeper.news()
        assert keeper.held == ["SECOND"]

    async def test_and_go_when_they_are_not(self, home: Path, mock_clock: MockClock) -> None:
        process, keeper = Process(home), Keeper(mock_clock)
        process.print("FIRST", 2 * HOUR)
        first = find("")
        process.file.write_text("not now")
        async with keeping(keeper, first):
            await keeper.pass_time(3 * HOUR)
            await keeper.news()
        assert keeper.held == [None]

    async def test_where_there_were_none_they_are_looked_for(self, home: Path, mock_clock: MockClock) -> None:
        keeper = Keeper(mock_clock)
        async with keeping(keeper, Found(None, "nowhere", "none")):
            (home / "credentials").write_text("[default]\naws_access_key_id=NEW\naws_secret_access_key=s\n")
            await keeper.pass_time(31)
            await keeper.news()
        assert keeper.held == ["NEW"]

    async def test_long_lived_ones_are_looked_at_now_and_then(
        self, home: Path, mock_clock: MockClock
    ) -> None:
        """Somebody may have put others into the file."""
        keeper = Keeper(mock_clock)
        old = Found(Credentials("OLD", Secret("s"), None, None), "shared-credentials-file")
        async with keeping(keeper, old):
            (home / "credentials").write_text("[default]\naws_access_key_id=NEW\naws_secret_access_key=s\n")
            await keeper.pass_time(301)
            await keeper.news()
        assert keeper.held == ["NEW"]

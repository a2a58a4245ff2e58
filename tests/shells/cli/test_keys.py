"""`stargate keys`, as a person runs it, against a real Redis; what it writes is what a gateway reads."""

import datetime
import hashlib
import re
import socket
import ssl
import stat
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from click.testing import CliRunner, Result

from stargate.cli import key_store
from stargate.cli.key_store import StoreTrouble, open_key_store
from stargate.cli.keys import keys
from stargate.journal_keys import opened, sealed
from stargate_core.config.live_key import LiveKey, parse_live_key, write_live_key
from stargate_core.config.plugin_configs import ApiKeyAuth
from stargate_core.config.schema import Config, Consumer, PluginEntry
from stargate_core.gateway.redis_calls import READ_KEYS
from stargate_core.messages import KeysChanged
from support.config import loaded
from support.machines import LOG, Bench, a_plan, chat, proxy
from support.redis import RunningRedis, running_redis
from support.tls import Authority

KEY: Final = re.compile(r"^key         (sk-sg-[A-Za-z0-9_-]{43})$", re.MULTILINE)
DIGEST: Final = re.compile(r"^key_sha256  ([0-9a-f]{64})$", re.MULTILINE)
ANN: Final = hashlib.sha256(b"key-of-ann-0123456789").hexdigest()
FILE: Final = """\
gateway: {store: "${STORE:-memory:}"}
consumers:
  - username: ann
    keyauth_credentials:
      - {key: key-of-ann-0123456789, id: laptop}
      - {key: old-key-of-ann-012345, expires_at: 2020-01-01T00:00:00Z}
      - {key: off-key-of-ann-012345, disabled: true}
  - username: bob
plugins: [{name: api-key-auth}]
"""


def run(*args: str, stdin: str | None = None, **environ: str) -> Result:
    """The command, in an environment without a store of its own."""
    return CliRunner().invoke(keys, args, input=stdin, env={"STARGATE_STORE": None, **environ})


def good(*args: str, stdin: str | None = None, **environ: str) -> str:
    """What a command that succeeds prints on standard output."""
    result = run(*args, stdin=stdin, **environ)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def refused(*args: str, stdin: str | None = None, **environ: str) -> str:
    """What a command that fails says."""
    result = run(*args, stdin=stdin, **environ)
    assert result.exit_code in (1, 2), result.output
    assert not isinstance(result.exception, ValueError | TypeError | OSError)
    return str(result.output)


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def rows(output: str) -> list[list[str]]:
    """The table that `list` prints, without its head."""
    return [re.split(r"  +", line.strip()) for line in output.splitlines()[1:]]


@pytest.fixture(scope="module")
def server() -> Generator[RunningRedis]:
    with running_redis() as running:
        yield running


@pytest.fixture
def redis(server: RunningRedis) -> Generator[Any]:
    """A client of an empty server."""
    with server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "gateway.yaml"
    path.write_text(FILE)
    return str(path)


def stored(redis: Any, digest: str) -> LiveKey:
    """What the store has of a key, read as a gateway reads it."""
    return parse_live_key(redis.hget("stargate:keys", digest))


class TestNew:
    def test_a_key_is_printed_once_with_what_the_file_wants_of_it(self) -> None:
        output = good("new", "--consumer", "ann", "--id", "ci", "--model", "claude-*", "--model", "nova")
        (key,), (digest,) = KEY.findall(output), DIGEST.findall(output)
        assert digest == sha256(key)
        assert output.count(key) == 1
        snippet = output[output.index("consumers:") :]
        (consumer,) = loaded(snippet).consumers
        (credential,) = consumer.keyauth_credentials
        assert consumer.username == "ann"
        assert (credential.sha256, credential.id) == (digest, "ci")
        assert credential.models == ["claude-*", "nova"]

    @pytest.mark.parametrize("name", ["ann", 'Ann\'s "team"', "true", "7", "a: b", "ä", "${HOME}"])
    def test_the_snippet_loads_whatever_the_names(self, name: str) -> None:
        output = good("new", "--consumer", name, "--id", name, "--expires", "2027-01-01T00:00:00Z")
        (consumer,) = loaded(output[output.index("consumers:") :]).consumers
        (credential,) = consumer.keyauth_credentials
        assert (consumer.username, credential.id) == (name, name)
        assert credential.expires_at == datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)

    def test_no_two_are_alike(self) -> None:
        assert len({KEY.findall(good("new"))[0] for _ in range(20)}) == 20

    @pytest.mark.parametrize(
        ("text", "seconds"), [("30m", 1800), ("12h", 43_200), ("90d", 7_776_000), ("1w", 604_800)]
    )
    def test_it_ends_so_long_from_now(self, text: str, seconds: int) -> None:
        before = datetime.datetime.now(datetime.UTC)
        output = good("new", "--consumer", "a", "--expires", text)
        (consumer,) = loaded(output[output.index("consumers:") :]).consumers
        ends_at = consumer.keyauth_credentials[0].expires_at
        assert ends_at is not None
        assert seconds - 1 <= (ends_at - before).total_seconds() <= seconds + 60

    @pytest.mark.parametrize(
        "text", ["90", "d", "-1d", "0d", "90y", "soon", "999999w", "2027-13-01", "2027-01-01"]
    )
    def test_when_it_ends_must_be_a_time(self, text: str) -> None:
        output = refused("new", f"--expires={text}")
        assert "is neither like 90d" in output or "lacks an offset" in output

    def test_with_a_store_it_lives_there(self, server: RunningRedis, redis: Any) -> None:
        expiry = "2100-01-01T00:00:00Z"
        output = good("new", "--consumer", "ann", "--expires", expiry, "--id", "ci", "--store", server.url)
        (key,), (digest,) = KEY.findall(output), DIGEST.findall(output)
        assert digest == sha256(key)
        ends_at = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)
        assert stored(redis, digest) == LiveKey(consumer="ann", id="ci", expires_at=ends_at)
        assert redis.get("stargate:keys:version") == b"1"
        assert key.encode() not in b"".join(redis.hgetall("stargate:keys").values())

    def test_the_configurations_store_will_do(self, server: RunningRedis, redis: Any, file: str) -> None:
        output = good("new", "--consumer", "bob", "-c", file, STORE=server.url)
        assert stored(redis, DIGEST.findall(output)[0]) == LiveKey(consumer="bob")
        assert "consumers:" in good("new", "--consumer", "bob", "-c", file)

    def test_what_nobody_could_use_is_not_made(self, server: RunningRedis, redis: Any, file: str) -> None:
        assert "no consumer 'carol'" in refused("new", "--consumer", "carol", "-c", file, STORE=server.url)
        assert "give --consumer" in refused("new", "--store", server.url)
        assert "models" in refused("new", "--consumer", "a", "--model", "a b", "--store", server.url)
        assert redis.hgetall("stargate:keys") == {}


class TestHash:
    @pytest.mark.parametrize("stdin", ["sk-abc", "sk-abc\n", "sk-abc\r\n"])
    def test_of_what_standard_input_holds(self, stdin: str) -> None:
        assert good("hash", stdin=stdin) == sha256("sk-abc") + "\n"

    @pytest.mark.parametrize("stdin", ["", "\n", "two words", "ü", "a\nb", "x" * 5000])
    def test_what_could_not_come_in_a_header_is_no_key(self, stdin: str) -> None:
        output = refused("hash", stdin=stdin)
        assert "expected a key" in output

    def test_no_key_is_taken_as_an_argument(self) -> None:
        assert run("hash", "sk-abc").exit_code == 2


class TestAdd:
    def test_by_its_digest_or_from_standard_input(self, server: RunningRedis, redis: Any) -> None:
        good("add", ANN.upper(), "--consumer", "ann", "--store", server.url)
        good("add", "--consumer", "bob", "--store", server.url, stdin="sk-abc\n")
        assert stored(redis, ANN) == LiveKey(consumer="ann")
        assert stored(redis, sha256("sk-abc")) == LiveKey(consumer="bob")
        assert redis.get("stargate:keys:version") == b"2"

    def test_the_prefix_may_be_another(self, server: RunningRedis, redis: Any) -> None:
        good("add", ANN, "--consumer", "ann", "--store", server.url, "--prefix", "other:")
        assert redis.hexists("other:keys", ANN)
        assert redis.get("other:keys:version") == b"1"

    def test_a_key_in_the_digests_place_is_not_repeated(self, server: RunningRedis) -> None:
        output = refused("add", "sk-secret", "--consumer", "ann", "--store", server.url)
        assert "64 hexadecimal digits" in output
        assert "sk-secret" not in output

    def test_it_needs_a_store_and_an_owner(self, file: str) -> None:
        assert "Give a store" in refused("add", ANN, "--consumer", "ann")
        assert "Give a store" in refused("add", ANN, "--consumer", "ann", "-c", file)
        assert "give --consumer" in refused("add", ANN, STARGATE_STORE="redis://localhost:1")


class TestRevoke:
    def test_by_digest_id_or_last_digits(self, server: RunningRedis, redis: Any) -> None:
        for which in (ANN, ANN.upper(), "laptop", ANN[-4:], f"…{ANN[-4:]}"):
            redis.delete("stargate:keys")
            good("add", ANN, "--consumer", "ann", "--id", "laptop", "--store", server.url)
            before = int(redis.get("stargate:keys:version"))
            good("revoke", which, "--store", server.url)
            assert stored(redis, ANN) == LiveKey(consumer="ann", id="laptop", revoked=True)
            assert int(redis.get("stargate:keys:version")) == before + 1

    def test_a_key_of_the_files(self, server: RunningRedis, redis: Any, file: str) -> None:
        good("revoke", "laptop", "-c", file, STORE=server.url)
        assert stored(redis, ANN) == LiveKey(revoked=True)
        assert rows(good("list", "-c", file, STORE=server.url))[0][:4] == [
            "ann",
            "laptop",
            "file, store",
            "revoked",
        ]

    def test_one_that_nobody_has_heard_of_by_its_whole_digest_only(
        self, server: RunningRedis, redis: Any
    ) -> None:
        output = refused("revoke", "sk-secret", "--store", server.url)
        assert "there is no key of this id" in output
        assert "sk-secret" not in output
        good("revoke", ANN, "--store", server.url)
        assert stored(redis, ANN).revoked

    def test_not_one_of_two(self, server: RunningRedis, redis: Any) -> None:
        for number in range(2):
            redis.hset("stargate:keys", f"{number}" * 64, write_live_key(LiveKey(consumer="a", id="same")))
        assert "2 keys go by this name" in refused("revoke", "same", "--store", server.url)

    def test_what_cannot_be_read_is_revoked_too(self, server: RunningRedis, redis: Any) -> None:
        redis.hset("stargate:keys", ANN, b"{")
        good("revoke", ANN, "--store", server.url)
        assert stored(redis, ANN) == LiveKey(revoked=True)

    def test_it_needs_a_store(self) -> None:
        assert "Give a store" in refused("revoke", "laptop")


class TestList:
    def test_of_the_file(self, file: str) -> None:
        found = rows(good("list", "-c", file))
        assert ["ann", "laptop", "file", "live", "never"] in found
        assert [
            "ann",
            f"…{sha256('old-key-of-ann-012345')[-4:]}",
            "file",
            "expired",
            "2020-01-01T00:00:00Z",
        ] in found
        assert ["ann", f"…{sha256('off-key-of-ann-012345')[-4:]}", "file", "disabled", "never"] in found
        assert len(found) == 3

    def test_of_the_store(self, server: RunningRedis, redis: Any, file: str) -> None:
        long_ago = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
        entries = {
            "1": LiveKey(consumer="bob", id="ci"),
            "2": LiveKey(consumer="bob", expires_at=long_ago),
            "3": LiveKey(consumer="carol"),
            "4": LiveKey(consumer="bob", revoked=True),
            "5": LiveKey(consumer="bob", disabled=True),
        }
        for digit, key in entries.items():
            redis.hset("stargate:keys", digit * 64, write_live_key(key))
        redis.hset("stargate:keys", "6" * 64, b"[]")
        redis.hset("stargate:keys", b"\xff", b"{}")
        found = rows(good("list", "--store", server.url))
        assert ["bob", "ci", "store", "live", "never"] in found
        assert ["bob", "…2222", "store", "expired", "2020-01-01T00:00:00Z"] in found
        assert ["carol", "…3333", "store", "live", "never"] in found
        assert ["bob", "…4444", "store", "revoked", "never"] in found
        assert ["bob", "…5555", "store", "disabled", "never"] in found
        assert ["?", "…6666", "store", "unreadable", "?"] in found
        both = rows(good("list", "-c", file, STORE=server.url))
        assert ["carol", "…3333", "store", "no such consumer", "never"] in both
        assert ["ann", "laptop", "file", "live", "never"] in both

    def test_no_key_is_shown(self, file: str) -> None:
        assert "0123456789" not in good("list", "-c", file)

    def test_of_nothing(self) -> None:
        assert "Give a configuration (-c), a store (--store), or both" in refused("list")


class TestGateways:
    def test_what_is_written_is_what_a_gateway_reads(self, server: RunningRedis, redis: Any) -> None:
        """By the script that gateways call, and by the plugin that is told of the keys."""

        def read(version: bytes) -> Any:
            names = ["stargate:keys:version", "stargate:keys"]
            return redis.eval(READ_KEYS.text, len(names), *names, version)

        key = KEY.findall(good("new", "--consumer", "ann", "--id", "ci", "--store", server.url))[0]
        version, pairs = read(b"")
        assert read(version) is None
        config = Config(
            consumers=[Consumer(username="ann")],
            plugins=[proxy(), LOG, PluginEntry(name="api-key-auth", config=ApiKeyAuth())],
        )

        def asked(pairs: list[bytes]) -> Bench:
            machine = Bench(a_plan(config))
            entries = {name.decode(): entry for name, entry in zip(pairs[::2], pairs[1::2], strict=True)}
            machine.tell(KeysChanged(entries))
            machine.ask(chat(headers={"x-api-key": key}))
            return machine

        assert len(asked(pairs).asked) == 1
        good("revoke", "ci", "--store", server.url)
        newer, pairs = read(version)
        assert newer != version
        assert asked(pairs).only.status == 403


class TestStores:
    def test_with_a_password(self) -> None:
        with running_redis("--requirepass", "p@ss/word") as server:
            url = f"redis://:p%40ss%2Fword@127.0.0.1:{server.port}"
            assert good("list", "--store", url) == "CONSUMER  KEY  SOURCE  STATE  EXPIRES\n"
            assert "NOAUTH" in refused("list", "--store", server.url)
            output = refused("list", "--store", url.replace("word", "wort"))
            assert "refuses AUTH" in output
            assert "wort" not in output

    def test_with_a_user_and_a_database(self, server: RunningRedis, redis: Any) -> None:
        redis.execute_command("ACL", "SETUSER", "keeper", "on", ">secret", "~stargate:*", "+@all")
        url = f"redis://keeper:secret@127.0.0.1:{server.port}/3"
        good("add", ANN, "--consumer", "ann", "--store", url)
        redis.select(3)
        assert redis.hexists("stargate:keys", ANN)
        redis.flushdb()
        redis.select(0)

    def test_over_tls(self, tmp_path: Path) -> None:
        authority = Authority()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.configure(context, "localhost")
        ca = tmp_path / "ca.pem"
        ca.write_bytes(authority.pem)
        with running_redis(tls=context) as server:
            good("add", ANN, "--consumer", "ann", "--store", f"{server.url}?tls_ca={ca}")
            bare = server.url.replace("localhost", "127.0.0.1")
            assert "TLS: " in refused("list", "--store", f"{bare}?tls_ca={ca}")
            assert ANN[-4:] in good("list", "--store", f"{bare}?tls_ca={ca}&tls_hostname=false")
            assert "CERTIFICATE_VERIFY_FAILED" in refused("list", "--store", server.url)

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("redis+cluster://h:1", "expected redis://host:port or rediss://host:port"),
            ("http://h", "expected redis://host:port"),
            ("redis://", "expected redis://host:port"),
            ("redis://:hunter2@h:x", "this is no URL of a store"),
            ("redis://:hunter2@h/keys", "expected a number for the database"),
            ("redis://:hunter2@127.0.0.1:1", "refused"),
        ],
    )
    def test_one_that_cannot_be_asked(self, url: str, why: str) -> None:
        output = refused("list", "--store", url)
        assert why in output
        assert "hunter2" not in output

    def test_one_that_says_nothing_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(key_store, "_TIMEOUT_SECONDS", 0.05)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            assert "timed out" in refused("list", "--store", f"redis://127.0.0.1:{silent.getsockname()[1]}")

    def test_one_that_speaks_something_else(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"redis://127.0.0.1:{listener.getsockname()[1]}"
            with open_key_store(url, "stargate:") as store:
                peer, _ = listener.accept()
                with peer:
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    with pytest.raises(StoreTrouble, match="protocol"):
                        store.entries()
                with pytest.raises(StoreTrouble):
                    store.entries()

    def test_two_who_change_one_key_lose_nothing(self, server: RunningRedis, redis: Any) -> None:
        """Whoever comes second reads again what the first has written."""
        changes = 0

        def change(before: bytes | None) -> bytes:
            nonlocal changes
            changes += 1
            if changes == 1:
                redis.hset("stargate:keys", ANN, write_live_key(LiveKey(consumer="ann")))
            key = LiveKey() if before is None else parse_live_key(before)
            return write_live_key(msgspec.structs.replace(key, revoked=True))

        with open_key_store(server.url, "stargate:") as store:
            store.change(ANN, change)
        assert changes == 2
        assert stored(redis, ANN) == LiveKey(consumer="ann", revoked=True)
        assert redis.get("stargate:keys:version") == b"1"


class TestJournal:
    """A pair of keys for journals."""

    def test_the_private_one_is_in_the_file_and_the_public_one_in_the_snippet(self, tmp_path: Path) -> None:
        file = tmp_path / "journal.key"
        shown = good("journal", str(file))
        private = file.read_text()
        assert private.strip() not in shown
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        public = loaded(shown).gateway.journal.encrypt_to
        assert public is not None
        assert opened(sealed(b"words", public), private) == b"words"

    def test_a_file_that_is_there_stays_as_it_is(self, tmp_path: Path) -> None:
        file = tmp_path / "journal.key"
        file.write_text("mine")
        assert "File exists" in refused("journal", str(file))
        assert file.read_text() == "mine"

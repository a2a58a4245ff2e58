"""Reloading: what is wrong changes nothing and is told with its place; what is right counts from the next
request on, on connections that are kept as well; nobody loses a request or a connection by it.
"""

import json
import os
import re
import signal
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

from support.crowd_load import Load
from support.gateway import (
    KEY,
    NARROW_KEY,
    RunningGateway,
    configuration,
    eventually,
    on_linux,
    running_gateway,
)
from support.hosts import SHELLS as SHELLS_AND_LOOPS
from support.hosts import params
from support.raw import Raw, chat, connected, request
from support.simulator import RunningSimulator
from support.tls import Authority

SHELLS: Final = {"trio": ("--shell", "trio"), "asyncio": ("--shell", "asyncio")}
TELLS: Final = r"(info|error|warning): "
FAST_MODEL: Final = "us.anthropic.claude-3-5-haiku-20241022-v1:0"
SLOW: Final = "simulator.slow:ms.40:words.25"
RELOADED: Final = re.compile(r"the configuration was reloaded: generation (\d+)")
SECONDS: Final = 10
MINUTE_SECONDS: Final = 60


class Configured:
    """A gateway, its file, and what is written there."""

    def __init__(self, gateway: RunningGateway, file: Path) -> None:
        self.gateway = gateway
        self.file = file
        self.written: dict[str, Any] = json.loads(file.read_text())

    @property
    def proxy(self) -> dict[str, Any]:
        """The settings of bedrock-proxy."""
        config: dict[str, Any] = self.written["plugins"][1]["config"]
        return config

    def write(self) -> None:
        """Replace the file as editors and tools do: in one step."""
        beside = self.file.with_suffix(".new")
        beside.write_text(json.dumps(self.written, indent=1))
        beside.replace(self.file)

    def reload(self) -> int:
        """Have it read again; the generation that came of it."""
        before = self.generation
        self.write()
        self.gateway.process.send_signal(signal.SIGHUP)
        return eventually(lambda: self.generation > before and self.generation)

    def refused(self) -> list[str]:
        """Have it read again; what is told of why it changes nothing."""
        before = len(self.gateway.told)
        self.gateway.process.send_signal(signal.SIGHUP)
        eventually(lambda: any("stays (generation" in line for line in self.gateway.told[before:]))
        return self.gateway.told[before:]

    @property
    def generation(self) -> int:
        """The last one that was told."""
        found = [RELOADED.search(line) for line in tuple(self.gateway.told)]
        return max((int(each[1]) for each in found if each), default=1)


@pytest.fixture(scope="module", params=list(SHELLS), name="options")
def _options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return SHELLS[request.param]


@pytest.fixture(name="configured")
def _configured(simulator: RunningSimulator, options: tuple[str, ...]) -> Generator[Configured]:
    with running_gateway(simulator.url, options=options, tells=TELLS) as gateway:
        yield Configured(gateway, gateway.file)


def status(raw: Raw, model: str = "claude", key: str = KEY) -> int:
    """What a request is answered with, on this connection."""
    raw.send(request(body=chat("Hello", model=model), key=key))
    return raw.answer().status


class TestBadFiles:
    def test_everything_that_is_wrong_is_told_and_nothing_changes(self, configured: Configured) -> None:
        configured.file.write_text(
            "gateway: {listne: [x]}\nplugins:\n  - name: api-key-auht\n  - name: bedrock-proxy\n"
            "    config: {region: 7}\n"
        )
        told = configured.refused()
        assert [re.search(r"stargate\.yaml:(\d+):\d+: ", line) is not None for line in told] == [
            *(True for _ in told[:-1]),
            False,
        ]
        assert len(told) == 4
        assert "did you mean listen?" in told[0]
        assert told[-1].endswith("error: the running configuration stays (generation 1)")
        with connected(configured.gateway.url) as raw:
            assert status(raw) == 200
        assert configured.gateway.record(status=200)["generation"] == 1

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (None, "can't be read: No such file or directory"),
            (b"gateway: {workers: \xff}", "1:20: expected UTF-8"),
            (b"gateway: [", "1:"),
        ],
        ids=["gone", "no text", "no YAML"],
    )
    def test_neither_does_one_that_cannot_be_read(
        self, configured: Configured, content: bytes | None, told: str
    ) -> None:
        configured.file.unlink()
        if content is not None:
            configured.file.write_bytes(content)
        first, last = configured.refused()
        assert told in first
        assert "stays (generation 1)" in last
        assert configured.reload() == 2

    def test_nor_one_that_names_a_bad_certificate(self, configured: Configured) -> None:
        listener = {"address": "127.0.0.1:0", "tls": {"cert": "/nowhere/cert.pem", "key": "k"}}
        configured.written["gateway"]["listen"] = [listener]
        configured.write()
        first, _ = configured.refused()
        assert "TLS of the listener 127.0.0.1:0: /nowhere/cert.pem: No such file or directory" in first

    def test_what_takes_a_restart_stays_and_is_named(self, configured: Configured) -> None:
        configured.written["gateway"] |= {"listen": ["127.0.0.1:1"], "cache": {"memory_bytes": 2_000_000}}
        configured.written["gateway"]["cache"]["max_entry_bytes"] = 1_000_000
        assert configured.reload() == 2
        warnings = [line.partition("warning: ")[2] for line in configured.gateway.told if "restart" in line]
        assert warnings == [
            "gateway.cache has changed; that takes a restart, and stays as it was",
            "gateway.listen has changed; that takes a restart, and stays as it was",
        ]
        with connected(configured.gateway.url) as raw:
            assert status(raw) == 200


class TestGoodFiles:
    def test_another_name_and_another_key_count_from_the_next_request(self, configured: Configured) -> None:
        with connected(configured.gateway.url) as kept, connected(configured.gateway.url) as narrow:
            assert status(kept, "haiku") != 200
            assert status(narrow, "claude-fast", NARROW_KEY) == 200
            configured.proxy["models"]["haiku"] = FAST_MODEL
            del configured.written["consumers"][1]
            assert configured.reload() == 2
            assert status(kept, "haiku") == 200
            assert status(narrow, "claude-fast", NARROW_KEY) == 403
            with connected(configured.gateway.url) as fresh:
                assert status(fresh, "haiku") == 200
        records = eventually(lambda: (found := configured.gateway.records(status=200))[2:] and found)
        assert [record["generation"] for record in records] == [1, 2, 2]

    def test_a_stream_that_runs_ends_on_its_own_generation(self, configured: Configured) -> None:
        with connected(configured.gateway.url) as raw:
            raw.send(request(body=chat("Hello", model=SLOW, stream=True)))
            begun = raw.read_until(b"data: ")
            configured.proxy["endpoint_url"] = "http://127.0.0.1:1"
            assert configured.reload() == 2
            answer = begun + raw.read_until(b"\r\n0\r\n\r\n")
            assert b"data: [DONE]" in answer
            assert b"error" not in answer
            assert status(raw) == 502, "the next request goes where the new configuration says"
        assert configured.gateway.record(model=SLOW)["outcome"] == "complete"
        assert configured.gateway.record(model=SLOW)["generation"] == 1
        assert configured.gateway.record(status=502)["generation"] == 2

    def test_bounds_count_on_connections_that_are_kept(self, configured: Configured) -> None:
        with connected(configured.gateway.url) as raw:
            assert status(raw) == 200
            configured.written["gateway"]["max_body_bytes"] = 1024
            configured.reload()
            raw.send(request(body=chat("x" * 4096)))
            assert raw.answer().status == 413

    def test_another_account_is_looked_for(self, configured: Configured, tmp_path: Path) -> None:
        """Before the first request needs it, and a warning says that it has no credentials."""
        configured.proxy.pop("credentials")
        configured.proxy["accounts"] = {"b": {"profile": "nobody-has-this-profile"}}
        configured.proxy["targets"] = [{"account": "b"}]
        configured.reload()
        assert any("no AWS credentials of b: " in line for line in configured.gateway.told)
        with connected(configured.gateway.url) as raw:
            assert status(raw) == 503


class TestLoad:
    @pytest.mark.parametrize("shell", params(*SHELLS_AND_LOOPS))
    def test_no_request_fails_while_it_reloads_again_and_again(
        self, simulator: RunningSimulator, shell: str
    ) -> None:
        """Ten seconds, every second, and a file that is wrong between any two that are right."""
        with running_gateway(simulator.url, options=SHELLS_AND_LOOPS[shell], tells=TELLS) as gateway:
            reload_under_load(gateway, SECONDS, wrong_between=True)

    @on_linux
    @pytest.mark.timeout(200)
    def test_nor_with_several_workers_for_a_whole_minute(self, simulator: RunningSimulator) -> None:
        options = ("--workers", "2", "--shell", "asyncio")
        gateway = {"per_worker_limits": True}
        with running_gateway(simulator.url, options=options, tells=TELLS, gateway=gateway) as running:
            reload_under_load(running, MINUTE_SECONDS)


def reload_under_load(gateway: RunningGateway, seconds: int, *, wrong_between: bool = False) -> None:
    """Reload once a second: each request is answered wholly, each new generation serves, and who asks again
    on the same connection is never served by an older one than before.
    """
    configured = Configured(gateway, gateway.file)
    load = Load(gateway.url)
    with load.running():
        load.go_on(1)
        for turn in range(1, seconds + 1):
            began = time.monotonic()
            if wrong_between:
                good = configured.file.read_text()
                configured.file.write_text("gateway: {nonsense: 1}")
                configured.refused()
                configured.file.write_text(good)
            assert configured.reload() == 1 + turn
            eventually(lambda: gateway.records(generation=1 + turn))  # noqa: B023  (it is over by the next turn)
            time.sleep(max(0.0, began + 1 - time.monotonic()))
        load.go_on(1)
    assert load.failed == []
    eventually(lambda: len(gateway.records()) >= len(load.asked))  # What is logged last is written last.
    served = {record["request_id"]: record["generation"] for record in gateway.records()}
    assert {served[asked.request_id] for asked in load.asked} == set(range(1, seconds + 2))
    assert {record["outcome"] for record in gateway.records()} == {"complete"}
    for asked in load.orders():
        by_connection: dict[int, list[int]] = {}
        for one in asked:
            by_connection.setdefault(one.port, []).append(served[one.request_id])
        assert all(generations == sorted(generations) for generations in by_connection.values())


class TestTls:
    def test_a_certificate_that_was_renewed_is_shown_to_who_comes_then(
        self, simulator: RunningSimulator, options: tuple[str, ...], tmp_path: Path
    ) -> None:
        first, second = Authority(), Authority()
        cert, key = first.write(tmp_path, "localhost")
        listener = {"address": "127.0.0.1:0", "tls": {"cert": str(cert), "key": str(key)}}
        with running_gateway(
            simulator.url, options=options, tells=TELLS, gateway={"listen": [listener]}
        ) as gateway:
            with connected(gateway.url, tls=first.client_context()) as kept:
                assert status(kept) == 200
                second.write(tmp_path, "localhost")
                Configured(gateway, gateway.file).reload()
                assert status(kept) == 200
                with connected(gateway.url, tls=second.client_context()) as fresh:
                    assert status(fresh) == 200


class TestWatching:
    @pytest.fixture(name="watched")
    def _watched(self, simulator: RunningSimulator, options: tuple[str, ...]) -> Generator[Configured]:
        with running_gateway(simulator.url, options=(*options, "--watch"), tells=TELLS) as gateway:
            yield Configured(gateway, gateway.file)

    def test_a_file_that_says_something_else_is_read(self, watched: Configured) -> None:
        watched.proxy["models"]["haiku"] = FAST_MODEL
        watched.write()
        eventually(lambda: watched.generation == 2)
        with connected(watched.gateway.url) as raw:
            assert status(raw, "haiku") == 200

    def test_a_bad_one_is_told_once_and_the_next_good_one_counts(self, watched: Configured) -> None:
        watched.file.write_text("gateway: [")
        eventually(lambda: any("stays (generation 1)" in line for line in watched.gateway.told))
        time.sleep(1.5)
        assert len([line for line in watched.gateway.told if "stays" in line]) == 1
        watched.write()
        eventually(lambda: watched.generation == 2)

    def test_one_that_was_touched_only_is_not(self, watched: Configured) -> None:
        os.utime(watched.file)
        time.sleep(2.5)
        assert watched.generation == 1


def test_a_folder_swapped_as_kubernetes_swaps_it_is_seen(
    simulator: RunningSimulator, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """The file is a link through a link: `stargate.yaml -> ..data/stargate.yaml`, `..data -> ..one`."""
    written = configuration(simulator.url, tmp_path / "requests.jsonl")
    file = tmp_path / "stargate.yaml"
    for folder in ("..one", "..two"):
        (tmp_path / folder).mkdir()
    (tmp_path / "..one" / "stargate.yaml").write_text(json.dumps(written))
    (tmp_path / "..data").symlink_to("..one")
    file.symlink_to("..data/stargate.yaml")
    with running_gateway(
        simulator.url, options=(*options, "--watch", "-c", str(file)), tells=TELLS
    ) as gateway:
        configured = Configured(gateway, file)
        configured.proxy["models"]["haiku"] = FAST_MODEL
        (tmp_path / "..two" / "stargate.yaml").write_text(json.dumps(configured.written))
        (tmp_path / "..new").symlink_to("..two")
        (tmp_path / "..new").replace(tmp_path / "..data")
        eventually(lambda: configured.generation == 2)
        with connected(gateway.url) as raw:
            assert status(raw, "haiku") == 200

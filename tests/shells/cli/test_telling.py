"""What `stargate serve` tells as it starts: what is on, what is off, what wants attention."""

import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import pytest
from click.testing import CliRunner

from stargate.cli.telling import ATTENTION, labelled, of_gateway, of_worker, ready, tell, unreachable
from stargate.credentials import Found
from stargate.embedding.configuration import compiled
from stargate.operations import Operations
from stargate.shell_common.starting import Started
from stargate_core.gateway.plan import Plan

ADMIN: Final = "admin listener (gateway.admin_listen)"
JOURNALS: Final = "journals (gateway.journal)"
TRACING: Final = "tracing (gateway.tracing)"
MISSING: Final = "calls are answered 503 until there are some"
LIMITS: Final = "600 requests a minute, 5 at a time, 200,000 tokens a hour, $25.5 a month"
PLUGINS: Final[Any] = [{"name": "api-key-auth"}, {"name": "bedrock-proxy", "config": {"region": "us-east-1"}}]


def planned(**members: Any) -> Plan:
    return compiled({"plugins": PLUGINS, **members}, ()).plan


@pytest.fixture(name="told")
def _told() -> Generator[Any]:
    """What is told of a configuration; its listeners are closed afterwards."""
    opened: list[Operations] = []

    def told(**members: Any) -> list[str]:
        plan = planned(**members)
        opened.append(Operations(plan.config))
        return of_gateway(plan, opened[-1])

    yield told
    for operations in opened:
        for sock in operations.admin.sockets if operations.admin is not None else ():
            sock.close()


def started(**found: Found) -> Started:
    return Started(["http://127.0.0.1:8080"], {name.strip("_"): one for name, one in found.items()})


class TestGateway:
    def test_what_is_off_stands_in_one_line_with_how_to_have_it(self, told: Any) -> None:
        assert told() == [
            "plugins          api-key-auth, bedrock-proxy",
            labelled("off", f"{ADMIN}, limits (rate-limiter), cache (response-cache), {JOURNALS}, {TRACING}"),
        ]

    def test_what_is_on_says_how(self, told: Any, tmp_path: Path) -> None:
        limiter = {
            "minute": 600, "tokens_per_hour": 200000, "usd_per_month": 25.5, "concurrency": 5,
            "limits": [{"unit": "requests", "limit": 7, "window": 90, "by": []}],
        }  # fmt: skip
        lines = told(
            gateway={"journal": {"directory": str(tmp_path)}},
            plugins=[
                *PLUGINS,
                {"name": "rate-limiter", "config": limiter},
                {"name": "response-cache", "config": {"cache_ttl": 60}},
            ],
        )
        assert lines[1:-1] == [
            labelled("limits", f"{LIMITS} for each consumer; 7 requests in 90 s for all together"),
            "cache            answers for 60 s, in 64 MiB of each worker",
            f"journals         error, redacted, in {tmp_path}",
        ]
        assert lines[-1] == labelled("off", f"{ADMIN}, {TRACING}")

    def test_where_traces_go_is_told_without_what_may_be_secret(self, told: Any) -> None:
        tracing = {"endpoint": "https://user:secret-word@collector.example/v1/traces", "sample": 0.25}
        assert labelled("tracing", "0.25 of traces to collector.example") in told(
            gateway={"tracing": tracing}
        )

    def test_the_admin_listener_says_where_and_that_it_asks_for_nothing(self, told: Any) -> None:
        first, second, *_ = told(gateway={"admin_listen": "127.0.0.1:0"})
        url = first.split()[3]
        assert first == f"admin listens on {url} (page, API, metrics; stargate top {url})"
        assert second.startswith(ATTENTION)
        assert "gateway.admin_token" in second
        token = {"admin_listen": "127.0.0.1:0", "admin_token": "a-token-of-some-length"}
        assert not any(line.startswith(ATTENTION) for line in told(gateway=token))


class TestWorker:
    def test_credentials_say_where_they_are_from(self) -> None:
        lines = of_worker(planned(), started(_=Found(object(), "env", ""), b=Found(None, "", "no profile b")))  # type: ignore[arg-type]
        assert lines == [
            "listening on     http://127.0.0.1:8080",
            "credentials      from env",
            labelled(ATTENTION, f"no AWS credentials of account b: no profile b; {MISSING}"),
        ]

    def test_calls_that_lead_nowhere_want_attention(self) -> None:
        config = planned().config
        bare = Plan(msgspec.structs.replace(config, plugins=config.plugins[:1]), planned().plugins)
        (_, line) = of_worker(bare, started())
        assert line == "attention        calls have nowhere to go: add the plugin bedrock-proxy"

    def test_so_does_a_store_that_is_not_there(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
            here = {"store": f"redis://:secret-word@127.0.0.1:{port}"}
            assert of_worker(planned(gateway=here), started())[1:] == [
                f"store            redis 127.0.0.1:{port}"
            ]
        store, line = of_worker(planned(gateway=here), started())[1:]
        assert "Connection refused; until it does, limits follow on_store_failure" in line
        assert "secret-word" not in store + line
        either = {"store": f"redis+cluster://127.0.0.1:{port},127.0.0.2:{port}"}
        assert of_worker(planned(gateway=either), started())[2].startswith(ATTENTION)

    def test_one_of_several_will_do(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            assert unreachable([("127.0.0.1", 1), sock.getsockname()]) == ""


class TestLook:
    def test_labels_are_aligned_and_no_colour_goes_to_a_file(self) -> None:
        @click.command()
        def command() -> None:
            tell([labelled("listening on", "here"), labelled(ATTENTION, "there"), "ready"])

        result = CliRunner().invoke(command)
        assert result.stderr.splitlines() == [
            "stargate: listening on     here",
            "stargate: attention        there",
            "stargate: ready",
        ]

    @pytest.mark.parametrize(
        ("members", "told"),
        [
            ({}, "ready (0 consumers)"),
            ({"consumers": [{"username": "a"}]}, "ready (1 consumer)"),
            ({"gateway": {"workers": 3, "per_worker_limits": True}}, "ready (0 consumers, 3 workers)"),
        ],
    )
    def test_the_last_line_counts(self, members: Any, told: str) -> None:
        assert ready(planned(**members).config) == told

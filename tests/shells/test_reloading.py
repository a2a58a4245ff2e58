"""Another generation is prepared whole or not at all; what cannot change stays, and is named."""

import json
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from stargate.credentials import Keeper
from stargate.plugins import installed
from stargate.reloading import REFUSAL_LINES_MAX, Reloader, Unfit, kept, prepare, refusal
from stargate.shell_common.listening import Door
from stargate.sources import Source
from stargate_core.gateway.plan import Plan
from stargate_core.plugins.registry import BUILT_IN
from stargate_core.plugins.request_logger import RequestLoggerPlugin
from support.tls import Authority

RUNNING = "gateway: {listen: ['127.0.0.1:8080'], workers: 1}\n"


def planned(source: Source, text: str) -> Plan:
    """What runs."""
    config = source.examine(text).config
    assert config is not None
    return Plan(config, source.plugins)


def prepared(text: str, running: str = RUNNING) -> Any:
    """What becomes of a text."""
    source = Source("/nowhere/f.yaml", installed())
    return prepare(source, text, planned(source, running), 2)


class TestGood:
    def test_it_is_the_generation_one_asked_for(self) -> None:
        made = prepared(RUNNING + "consumers: [{username: a}]")
        assert made.plan.generation == 2
        assert [one.username for one in made.plan.config.consumers] == ["a"]
        assert made.doors == (None,)

    def test_its_warnings_are_told_again(self) -> None:
        assert any("the gateway is open" in warning for warning in prepared(RUNNING).warnings)

    @pytest.mark.parametrize(
        ("setting", "name"),
        [
            ("listen: ['127.0.0.1:9090']", "listen"),
            ("listen: ['127.0.0.1:8080', '127.0.0.1:9090']", "listen"),
            ("store: 'redis://elsewhere'", "store"),
            ("workers: 2, store: 'redis://elsewhere'", "workers"),
            ("cache: {memory_bytes: 9999999}", "cache"),
        ],
    )
    def test_what_takes_a_restart_stays(self, setting: str, name: str) -> None:
        gateway = setting if "listen" in setting else "listen: ['127.0.0.1:8080'], " + setting
        made = prepared(f"gateway: {{{gateway}, drain_seconds: 7}}")
        source = Source("/nowhere/f.yaml", installed())
        before = planned(source, RUNNING).config.gateway
        assert getattr(made.plan.config.gateway, name) == getattr(before, name)
        assert made.plan.config.gateway.drain_seconds == 7
        wanted = f"gateway.{name} has changed; that takes a restart, and stays as it was"
        assert wanted in made.warnings

    def test_a_listeners_certificate_may_change(self) -> None:
        issued = Authority().issue("localhost")
        tls = {"address": "127.0.0.1:8080", "tls": issued}
        # JSON is YAML.
        made = prepared(json.dumps({"gateway": {"listen": [tls]}}))
        assert made.doors[0] is not None
        assert not any("restart" in warning for warning in made.warnings)


class TestBad:
    def test_all_problems_are_named_with_their_places(self) -> None:
        with pytest.raises(Unfit) as caught:
            prepared("gateway: {listne: 1}\nplugins:\n  - name: nobody\n")
        places = [problem.split(": ")[0] for problem in caught.value.problems]
        assert places == ["/nowhere/f.yaml:1:11", "/nowhere/f.yaml:3:11"]

    @pytest.mark.parametrize(
        ("gateway", "told"),
        [
            (
                "listen: [{address: '127.0.0.1:8080', tls: {cert: /nowhere/c, key: k}}]",
                "TLS of the listener 127.0.0.1:8080: /nowhere/c: No such file or directory",
            ),
            ("upstream_tls: {ca: /nowhere/ca}", "gateway.upstream_tls.ca: /nowhere/ca: No such file"),
        ],
    )
    def test_so_is_a_certificate_that_cannot_be_used(self, gateway: str, told: str) -> None:
        with pytest.raises(Unfit, match=told):
            prepared(f"gateway: {{{gateway}}}")

    def test_a_plugin_that_cannot_be_made_is_a_mistake_of_the_file(self) -> None:
        class Broken(RequestLoggerPlugin):
            def __init__(self, config: Any) -> None:
                raise LookupError("no such thing")

        source = Source("/nowhere/f.yaml", {**BUILT_IN, "request-logger": Broken})
        running = planned(source, "plugins: []")
        with pytest.raises(Unfit, match=r"/nowhere/f\.yaml: LookupError: no such thing"):
            prepare(source, "plugins: [{name: request-logger}]", running, 2)

    def test_the_last_line_says_what_runs(self) -> None:
        lines = refusal(Unfit("here", "there"), 7)
        assert lines == ["here", "there", "the running configuration stays (generation 7)"]

    def test_what_is_kept_of_it_is_bounded(self) -> None:
        refused = kept(Unfit(*(f"{number}: {'x' * 5000}" for number in range(REFUSAL_LINES_MAX + 7))))
        assert len(refused.lines) == REFUSAL_LINES_MAX + 1
        assert max(map(len, refused.lines)) == 1000
        assert refused.lines[-1] == "and 7 more"


class Runs:
    """A gateway that takes any plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def reconfigure(self, plan: Plan, tls: object) -> None:
        self.plan = plan


@pytest.mark.trio
class TestReloader:
    async def test_how_the_last_one_went_is_kept_until_the_next(self, tmp_path: Path) -> None:
        file = tmp_path / "f.yaml"
        source = Source(str(file), installed())
        notes: list[str] = []
        gateway = Runs(planned(source, "plugins: []"))
        keeper = Keeper((), wall_ns=time.time_ns, changed=lambda *_: None, note=lambda *_: None)
        reloader = Reloader(source, gateway, keeper, [Door(None)], lambda _, text: notes.append(text))
        begun = reloader.loaded_at_ns
        assert reloader.refused is None

        async def reloads(text: str, end: str) -> None:
            file.write_text(text)
            notes.clear()
            reloader.want()
            with anyio.fail_after(10):
                while not any(note.startswith(end) for note in notes):
                    await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            group.start_soon(reloader.run)
            await reloads("gateway: {listne: 1}", "the running configuration stays")
            refused = reloader.refused
            assert refused is not None
            assert refused.lines == tuple(notes[:-1])
            assert refused.at_ns >= begun
            assert reloader.loaded_at_ns == begun
            await reloads("gateway: {listen: ['127.0.0.1:8080']}", "the configuration was reloaded")
            assert reloader.refused is None
            assert reloader.loaded_at_ns > refused.at_ns
            assert gateway.plan.generation == 2
            group.cancel_scope.cancel()

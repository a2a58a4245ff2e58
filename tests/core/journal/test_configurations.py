"""Configurations in journals: to JSON and back, the same; every plugin's own config among them."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.config.load import default_config, examine
from stargate_core.config.plugin_configs import RequestLogger
from stargate_core.config.schema import (
    Config,
    Consumer,
    ConsumerGroup,
    KeyCredential,
    PluginEntry,
    Route,
    Scope,
    Service,
)
from stargate_core.gateway.plan import Plan
from stargate_core.journal.configurations import plans_of, read, written
from stargate_core.journal.format import BreakerBeginning, Header, Unreadable
from stargate_core.journal.placeholders import Placeholders
from stargate_core.plugins.registry import BUILT_IN
from stargate_core.secret import Secret
from stargate_core.views import Plugin, schema_of

SCHEMAS: Final = {name: schema_of(plugin) for name, plugin in BUILT_IN.items()}
TESTS: Final = Path(__file__).parents[2]
FILES: Final = sorted((TESTS / "core" / "config").glob("test_*.py")) + sorted(
    (TESTS / "core" / "plugins").glob("test_*.py")
)


OTHERS: Final = """
plugins:
  - name: cors
    config: {origins: ["https://chat.test"], credentials: true, max_age: 60}
  - {name: ip-restriction, config: {allow: [10.0.0.0/8], deny: [10.1.2.3]}}
  - {name: request-size, config: {max_body_bytes: 1000, max_messages: 5, on_output_excess: clamp}}
  - name: prompt-template
    config:
      decorate: {prepend: [{role: system, content: Be brief.}]}
      templates: [{name: greet, template: '{"messages": [{"role": "user", "content": "Greet {{name}}"}]}'}]
  - {name: bedrock-guardrail, config: {identifier: abc123, version: "1", apply: true}}
  - {name: pii-redactor, config: {patterns: [email], custom: [{name: staff_id, pattern: "S-[0-9]{4}"}]}}
  - {name: prompt-guard, config: {deny_patterns: ["(?i)secret"], max_prompt_chars: 1000}}
"""
JWT: Final = """
plugins:
  - name: jwt-auth
    config:
      issuers:
        - {issuer: "https://id.test", audience: [a, b], jwks_url: "https://id.test/keys", consumers: {x: c}}
        - {issuer: "https://other.test", audience: a, secret: "0123456789abcdef0123456789abcdef"}
consumers: [{username: c}]
"""


class Weird(msgspec.Struct, frozen=True):
    """A config with a secret and a nested Struct."""

    token: Secret
    inner: KeyCredential
    many: dict[str, list[int]] = {}


class Visitor:
    """A third party's plugin."""

    NAME: ClassVar[str] = "visitor"
    PRIORITY: ClassVar[int] = 1
    CONFIG: ClassVar[type[msgspec.Struct]] = Weird
    SCOPES: ClassVar[frozenset[Scope]] = frozenset(Scope)

    def __init__(self, config: Weird) -> None:
        if config.token == Secret("never"):
            raise ValueError("never")


WITH_VISITOR: Final[dict[str, type[Plugin]]] = {**BUILT_IN, "visitor": Visitor}


def texts() -> Iterator[str]:
    """Every text in the tests of the configuration that could be one."""
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Constant(value=str(text)) if ":" in text:
                    yield text.replace("»", "")
                case _:
                    pass


def configs() -> list[Config]:
    """All configurations that the tests of the configuration hold."""
    found = [default_config({}, SCHEMAS)]
    for text in (JWT, OTHERS, *texts()):
        examined = examine(text, filename="x", environ={}, schemas=SCHEMAS)
        if examined.config is not None:
            found.append(examined.config)
    return found


CONFIGS: Final = configs()


def visited(token: str = "s3cret") -> Config:
    """A configuration with a third party's plugin at every place there is."""
    entry = PluginEntry(
        name="visitor", config=Weird(Secret(token), KeyCredential(key=Secret("key")), {"a": [1, 2]})
    )
    log = PluginEntry(name="request-logger", config=RequestLogger(path="log"))
    route = Route(name="r", paths=["/r"], plugins=[entry])
    return Config(
        services=[Service(name="s", routes=[route], plugins=[entry, log])],
        routes=[Route(name="q", paths=["/q"], service="s", plugins=[log, entry])],
        consumers=[Consumer(username="c", plugins=[entry]), Consumer(username="d")],
        consumer_groups=[ConsumerGroup(name="g", plugins=[entry])],
        plugins=[log, entry],
    )


class TestRoundTrip:
    def test_there_are_configurations_of_every_plugin(self) -> None:
        used = {entry.name for config in CONFIGS for entry in config.plugins}
        assert used == set(BUILT_IN)
        assert len(CONFIGS) > 50

    def test_each_is_the_same_again(self) -> None:
        for config in CONFIGS:
            assert read(written(config, Secret.reveal), BUILT_IN) == config

    def test_with_placeholders_each_is_one_that_loads(self) -> None:
        for config in CONFIGS:
            secret = Placeholders()
            data = written(config, secret)
            again = read(data, BUILT_IN)
            assert written(again, Secret.reveal) == data
            Plan(again, BUILT_IN)

    @given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
    def test_so_is_a_third_partys_wherever_it_stands(self, token: str) -> None:
        config = visited(token)
        assert read(written(config, Secret.reveal), WITH_VISITOR) == config

    def test_the_secret_is_not_written(self) -> None:
        data = written(visited("PLANTED"), Placeholders())
        assert b"PLANTED" not in data


class TestUnreadable:
    def test_a_plugin_that_is_not_there_is_named(self) -> None:
        with pytest.raises(Unreadable, match="it needs the plugin 'visitor', which is not installed here"):
            read(written(visited(), Secret.reveal), BUILT_IN)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"[]",
            b'{"gateway": 5}',
            b'{"plugins": 5}',
            b'{"plugins": [5]}',
            b'{"plugins": [{"name": "request-logger", "config": 5}]}',
            b'{"plugins": [{"name": "request-logger", "config": {"path": 5}}]}',
            b'{"services": [{"name": "s", "plugins": {"a": 1}}]}',
            b'{"consumers": "text"}',
            b'{"gateway": {"store": {"url": "nonsense"}}}',
            b"[" * 100_000,
        ],
    )
    def test_what_is_none_is_malformed(self, data: bytes) -> None:
        with pytest.raises(Unreadable, match="its configuration is malformed"):
            read(data, BUILT_IN)

    def test_what_json_cannot_say_is_not_written(self) -> None:
        class Odd(msgspec.Struct, frozen=True):
            value: Any

        config = Config(plugins=[PluginEntry(name="odd", config=Odd(object()))])
        with pytest.raises(TypeError, match="a configuration in a journal can't have this: object"):
            written(config, Secret.reveal)


class TestPlans:
    def header(self, config: Config) -> Header:
        data = written(config, Secret.reveal)
        return Header(package="0", beginning=BreakerBeginning(), began_ns=0, configurations={3: data})

    def test_they_are_compiled_by_generation(self) -> None:
        plans = plans_of(self.header(visited()), WITH_VISITOR)
        assert list(plans) == [3]
        assert plans[3].generation == 3
        assert plans[3].config == visited()

    def test_what_cannot_be_compiled_is_said(self) -> None:
        with pytest.raises(Unreadable, match="its configuration 3 can't be compiled: never"):
            plans_of(self.header(visited("never")), WITH_VISITOR)

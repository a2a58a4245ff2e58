"""The plugins that come with Stargate, and their schemas for the loader: one list, told twice."""

from typing import Any

import msgspec

from stargate_core.config import plugin_configs
from stargate_core.plugins.registry import BUILT_IN
from stargate_core.views import schema_of


class TestRegistry:
    def test_each_goes_by_its_name(self) -> None:
        assert all(name == plugin.NAME for name, plugin in BUILT_IN.items())

    def test_the_loader_knows_the_same_ones_and_the_same_of_each(self) -> None:
        assert {name: schema_of(plugin) for name, plugin in BUILT_IN.items()} == dict(plugin_configs.BUILT_IN)

    def test_each_can_be_made_with_the_least_it_must_be_told(self) -> None:
        least: dict[str, dict[str, Any]] = {
            "bedrock-guardrail": {"identifier": "abc123"},
            "ip-restriction": {"deny": ["192.0.2.0/24"]},
            "prompt-guard": {"deny_patterns": ["a"]},
            "prompt-template": {"decorate": {"prepend": [{"role": "system", "content": "Be kind."}]}},
            "rate-limiter": {"minute": 1},
            "request-size": {"max_messages": 1},
        }
        for name, plugin in BUILT_IN.items():
            assert name == plugin(msgspec.convert(least.get(name, {}), plugin.CONFIG)).NAME

"""The built-in plugins' configs: defaults, and what each refuses."""

from typing import Final

import pytest

from stargate_core.config.plugin_configs import (
    BUILT_IN,
    KONG_NAMES,
    ApiKeyAuth,
    RequestLogger,
)
from stargate_core.config.problems import Misfit
from stargate_core.config.schema import Scope

IDLE: Final = {
    "bedrock-guardrail": "expected the id of a guardrail",
    "ip-restriction": "expected allow or deny",
    "prompt-guard": "guard against",
    "prompt-template": "expected templates, or decorate",
    "rate-limiter": "at least one limit",
    "request-size": "at least one limit",
}
"""Those that would do nothing, and what they say then."""


class TestRegistry:
    def test_every_plugin_can_do_without_a_config_but_one_that_would_do_nothing(self) -> None:
        for name, schema in BUILT_IN.items():
            assert schema.name == name
            if name in IDLE:
                with pytest.raises(Misfit, match=IDLE[name]):
                    schema.config_type()
            else:
                schema.config_type()

    def test_who_is_calling_is_not_asked_at_a_consumer(self) -> None:
        asking = ("api-key-auth", "cors", "jwt-auth")
        assert all(BUILT_IN[name].scopes == {Scope.GLOBAL, Scope.SERVICE, Scope.ROUTE} for name in asking)
        assert all(Scope.CONSUMER in schema.scopes for name, schema in BUILT_IN.items() if name not in asking)

    def test_kongs_names_are_not_ours(self) -> None:
        assert not KONG_NAMES.keys() & BUILT_IN.keys()


class TestApiKeyAuth:
    def test_defaults(self) -> None:
        assert ApiKeyAuth().key_names == ["authorization", "x-api-key", "api-key"]

    def test_a_key_never_travels_on(self) -> None:
        with pytest.raises(Misfit, match="hide_credentials: expected true"):
            ApiKeyAuth(hide_credentials=False)


class TestRequestLogger:
    def test_it_writes_to_standard_output(self) -> None:
        assert [sink.path for sink in RequestLogger().every] == ["/dev/stdout"]

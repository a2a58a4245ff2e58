"""The built-in plugins' configs: defaults, and what each refuses."""

from typing import Final

import pytest

from stargate_core.config.plugin_configs import (
    BUILT_IN,
    KONG_NAMES,
    ApiKeyAuth,
    Names,
    Renames,
    RequestLogger,
    ResponseTransform,
    Values,
)
from stargate_core.config.problems import Misfit
from stargate_core.config.schema import Scope
from support.config import examined, loaded, said

IDLE: Final = {
    "ip-restriction": "expected allow or deny",
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
        assert RequestLogger().path == "/dev/stdout"


class TestResponseTransform:
    def test_kongs_form(self) -> None:
        config = loaded(
            """
            plugins:
              - name: response-transform
                config:
                  remove: {headers: [x-a], json: [a]}
                  rename: {headers: ["x-b:x-c"], json: ["b:c"]}
                  replace: {headers: ["x-d: 1:2"], json: ["d: 1"], json_types: [number]}
                  add: {json: ["e:true", "f:x"], json_types: [boolean, string]}
                  append: {headers: ["x-g:h"]}
            """
        )
        assert config.plugins[0].config == ResponseTransform(
            remove=Names(headers=["x-a"], json=["a"]),
            rename=Renames(headers=["x-b:x-c"], json=["b:c"]),
            replace=Values(headers=["x-d: 1:2"], json=["d: 1"], json_types=["number"]),
            add=Values(json=["e:true", "f:x"], json_types=["boolean", "string"]),
            append=Values(headers=["x-g:h"]),
        )

    @pytest.mark.parametrize(
        ("config", "problem"),
        [
            ("remove: {headers: ['x a']}", "remove.headers[0]: expected the name of a header"),
            ("rename: {headers: [x-a]}", 'rename.headers[0]: expected a text of the form "name:value"'),
            ("rename: {headers: ['x-a:b c']}", "rename.headers[0]: expected the name of a header"),
            ("rename: {json: ['a: ']}", "rename.json[0]: expected a new name after the colon"),
            ("add: {headers: ['x-a:1', 'x b:1']}", "add.headers[1]: expected the name of a header"),
            ('add: {headers: ["x-a:1\\r\\nx-b: 2"]}', "add.headers[0]: expected a header's value"),
            (
                "add: {json: ['a:1'], json_types: [number, string]}",
                "add.json_types: expected as many types as",
            ),
            ("add: {json: ['a:1', 'b:x'], json_types: [string, number]}", "add.json[1]: expected a number"),
            ("add: {json: ['a:yes'], json_types: [boolean]}", "add.json[0]: expected true or false"),
            ("append: {json: ['a:NaN'], json_types: [number]}", "append.json[0]: expected a number"),
            ("replace: {json: ['a:1'], json_types: [integer]}", "replace.json_types[0]: expected one of"),
            ("remove: {json_types: [string]}", "remove.json_types: there is no such setting"),
        ],
    )
    def test_what_is_wrong_is_named(self, config: str, problem: str) -> None:
        found = examined(f"plugins: [{{name: response-transform, config: {{{config}}}}}]")
        [message] = said(found.problems)
        assert message.startswith(f"plugins[0].config.{problem}")

"""response-transform's configuration: Kong's form, and what is wrong with it."""

import pytest

from stargate_core.config.response_transform import Names, Renames, ResponseTransform, Values
from support.config import examined, loaded, said


def test_kongs_form() -> None:
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
def test_what_is_wrong_is_named(config: str, problem: str) -> None:
    found = examined(f"plugins: [{{name: response-transform, config: {{{config}}}}}]")
    [message] = said(found.problems)
    assert message.startswith(f"plugins[0].config.{problem}")

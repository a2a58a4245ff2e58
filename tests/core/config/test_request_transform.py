"""request-transform's configuration: Kong's form, and what is not for changing."""

import pytest

from stargate_core.config.request_transform import (
    UNTOUCHED,
    RequestNames,
    RequestRenames,
    RequestTransform,
    RequestValues,
)
from support.config import examined, loaded, marked, places, said

ENTRY = "plugins: [{name: request-transform, config: {%s}}]"


def test_kongs_form() -> None:
    config = loaded(
        """
        plugins:
          - name: request-transform
            config:
              remove: {headers: [x-a], querystring: [q], body: [user]}
              rename: {headers: ["x-b:x-c"], querystring: ["q:r"], body: ["b:c"]}
              replace: {headers: ["x-d: 1:2"], body: ["temperature: 1"], body_types: [number]}
              add: {body: ["e:true", "f:x"], body_types: [boolean, string]}
              append: {querystring: ["g:h"]}
              models: {gpt-4o: claude}
        """
    )
    assert config.plugins[0].config == RequestTransform(
        remove=RequestNames(headers=["x-a"], querystring=["q"], body=["user"]),
        rename=RequestRenames(headers=["x-b:x-c"], querystring=["q:r"], body=["b:c"]),
        replace=RequestValues(headers=["x-d: 1:2"], body=["temperature: 1"], body_types=["number"]),
        add=RequestValues(body=["e:true", "f:x"], body_types=["boolean", "string"]),
        append=RequestValues(querystring=["g:h"]),
        models={"gpt-4o": "claude"},
    )


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("remove: {headers: [»'x a']}", "expected the name of a header"),
        ("remove: {headers: [x-a, »Authorization]}", "expected another header: this one carries credentials"),
        ("rename: {headers: [»'x-a:host']}", "expected another header"),
        ("rename: {headers: [»'x-api-key:x-a']}", "expected another header"),
        ("rename: {headers: [»x-a]}", 'expected a text of the form "name:value"'),
        ("rename: {body: ['a:b', »'a: ']}", "expected a new name after the colon"),
        ("rename: {querystring: [»'a:']}", "expected a new name after the colon"),
        ("add: {headers: ['x-a:1', »'x b:1']}", "expected the name of a header"),
        ("add: {headers: [»'connection:x']}", "expected another header"),
        ('add: {headers: [»"x-a:1\\r\\nx-b: 2"]}', "expected a header's value in printable ASCII"),
        ("add: {headers: [»'x-a:ä']}", "expected a header's value in printable ASCII"),
        ("add: {headers: [»'x-a:$(headers.x)']}", "what stands in $(…) is not evaluated"),
        ("replace: {querystring: [»'a:$(uri_captures.1)']}", "is not evaluated"),
        ("append: {body: ['a:b', »'a:$(body.c)']}", "is not evaluated"),
        (
            "add: {body: ['a:1'], body_types: »[number, string]}",
            "expected as many types as body has values: 1",
        ),
        ("add: {body: ['a:1', »'b:x'], body_types: [string, number]}", "expected a number"),
        ("add: {body: [»'a:yes'], body_types: [boolean]}", "expected true or false"),
        ("models: {gpt-4o: »' '}", "expected the name of a model"),
    ],
)
def test_what_is_wrong_is_named_where_it_stands(config: str, problem: str) -> None:
    text, where = marked(ENTRY % config)
    problems = examined(text).problems
    assert places(problems) == where
    assert problem in said(problems)[0]


def test_all_are_told_at_once() -> None:
    problems = examined(ENTRY % "add: {body: ['a:x', 'b:y'], body_types: [number, boolean]}").problems
    assert len(problems) == 2


@pytest.mark.parametrize("name", sorted(UNTOUCHED))
def test_nothing_touches_credentials_and_framing(name: str) -> None:
    assert examined(ENTRY % f"remove: {{headers: [{name.upper()}]}}").problems
    assert examined(ENTRY % f"add: {{headers: ['{name}:x']}}").problems


def test_kongs_name_leads_here() -> None:
    problem = said(examined("plugins: [{name: request-transformer}]").problems)[0]
    assert "did you mean request-transform?" in problem

"""prompt-template's configuration: templates that are none, and variables that nobody knows."""

import pytest

from stargate_core.config.prompt_template import PromptTemplate, Template, variables_of
from support.config import examined, loaded, marked, places, said

ENTRY = "plugins: [{name: prompt-template, config: {%s}}]"
GOOD = """{name: a, template: '{"messages": [{"role": "user", "content": "{{x}} and {{ y }}"}]}'}"""


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("""templates: [{name: a, template: »'{"messages": ['}]""", "expected a JSON object, or a text"),
        ("""templates: [{name: a, template: »'{"temperature": 1}'}]""", "expected one of messages, input"),
        ("""templates: [{name: a, template: »'Say {{x y}}'}]""", "expected a variable as {{name}}, found"),
        ("""templates: [{name: a, template: »'{"prompt": "{{x}"}'}]""", "expected a variable as {{name}}"),
        ("""templates: [{name: a, template: »'Say {{topik}}', variables: [topic]}]""", "did you mean topic?"),
        (
            """templates: [{name: a, template: »'Say {{x}} {{qq}}', variables: [x]}]""",
            "or name it in variables",
        ),
        (
            """templates: [{name: a, template: 'Say {{x}}', variables: [x, »y]}]""",
            "expected a variable of the",
        ),
        (f"templates: [{GOOD}, {{name: »a, template: x}}]", "expected a name of its own"),
        ("templates: [{name: »'a b', template: x}]", "a name of letters, digits"),
        ("decorate: {prepend: [{role: system, content: »'For {{consumr}}'}]}", "did you mean consumer?"),
        (
            "decorate: {append: [{role: user, content: »'{{zzz}}'}]}",
            "expected only these variables: consumer, model",
        ),
        ("decorate: {append: [{role: user, content: »'{{'}]}", "expected a variable as {{name}}"),
        ("decorate: {append: [{role: »tool, content: x}]}", "system"),
        (
            "decorate: {append: [{role: user, content: x}]}, allow_untemplated_requests: »false",
            "no request could",
        ),
    ],
)
def test_what_is_wrong_is_named_where_it_stands(config: str, problem: str) -> None:
    text, where = marked(ENTRY % config)
    problems = examined(text).problems
    assert places(problems)[: len(where)] == where
    assert problem in said(problems)[0]


def test_without_anything_it_would_do_nothing() -> None:
    assert "expected templates, or decorate" in said(examined(ENTRY % "").problems)[0]


def test_a_deep_one_is_none() -> None:
    template = '{"messages": ' + "[" * 100_000
    with pytest.raises(ValueError, match="expected a JSON object"):
        Template(name="a", template=template)


def test_good_ones() -> None:
    config = loaded(
        "plugins: [{name: prompt-template, config: {templates: ["
        + GOOD
        + ", {name: b, template: '{{greeting}}, say hello', variables: [greeting]}],"
        "decorate: {prepend: [{role: system, content: 'For {{consumer}}, {{date}}'}]}}}]"
    )
    told = config.plugins[0].config
    assert isinstance(told, PromptTemplate)
    first, second = told.templates
    assert variables_of(first.members) == ["x", "y"]
    assert second.members == {"messages": [{"role": "user", "content": "{{greeting}}, say hello"}]}


def test_kongs_names_lead_here() -> None:
    for name in ("ai-prompt-template", "ai-prompt-decorator"):
        assert "did you mean prompt-template?" in said(examined(f"plugins: [{{name: {name}}}]").problems)[0]

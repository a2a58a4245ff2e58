"""Several entries that write to one sink agree on how; and what is probably not meant is told."""

import pytest

from support.config import examined, marked, places, said

TWO = """
plugins:
  - name: request-logger
    config: {first}
routes:
  - name: r
    paths: [/r]
    plugins:
      - name: request-logger
        config: {second}
"""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{path: log}", "{path: log}"),
        ("{path: log}", "{path: log, sample: 0.5}"),
        ("{path: log, rotate: {keep: 3}}", "{path: log, fields: {exclude: [client]}, rotate: {keep: 3}}"),
        ("{path: log, rotate: {keep: 3}}", "{path: other, rotate: {keep: 4}}"),
        ("{path: log}", "{sinks: [{path: a}, {path: log}]}"),
    ],
)
def test_what_may_differ(first: str, second: str) -> None:
    assert examined(TWO.format(first=first, second=second)).problems == ()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{path: log, rotate: {keep: 3}}", "»{path: log, rotate: {keep: 4}}"),
        ("{path: log, rotate: {keep: 3}}", "{sinks: [{path: a}, »{path: log}]}"),
        ("{path: 'http://127.0.0.1'}", "»{path: 'http://127.0.0.1', http: {retries: 0}}"),
    ],
)
def test_what_may_not(first: str, second: str) -> None:
    text, marks = marked(TWO.format(first=first, second=second))
    problems = examined(text).problems
    assert places(problems) == marks
    assert [problem.message for problem in problems] == [
        "expected the same rotate and http as at plugins[0].config, line 4, which has the same path"
    ]


@pytest.mark.parametrize(
    ("config", "warning"),
    [
        (
            "{path: 'http://logs.example:80/in'}",
            "path: log records leave this machine unencrypted (use https)",
        ),
        ("{path: 'http://[2001:db8::1]/in'}", "path: log records leave this machine unencrypted (use https)"),
        (
            "{path: 'https://l.example', http: {verify: false}}",
            "http.verify: whoever answers in the collector's place is believed",
        ),
    ],
)
def test_what_is_probably_not_meant(config: str, warning: str) -> None:
    told = said(examined(TWO.format(first=config, second="{path: '-'}")).warnings)
    assert f"plugins[0].config.{warning}" in told


@pytest.mark.parametrize(
    "url", ["http://localhost/in", "http://127.0.0.1:9/", "http://[::1]?x", "https://l.example"]
)
def test_what_stays_here_or_is_encrypted_is_fine(url: str) -> None:
    told = said(examined(TWO.format(first=f"{{path: '{url}'}}", second="{path: '-'}")).warnings)
    assert not [line for line in told if "config" in line]

"""`gateway.tracing`: off unless it stands there, everything bounded, and header values are secrets."""

import pytest

from stargate_core.config.tracing import Tracing
from support.config import examined, loaded, marked, places, said


def test_nothing_is_traced_unless_it_stands_there() -> None:
    assert loaded("{}").gateway.tracing is None
    assert loaded("gateway: {tracing: {}}").gateway.tracing == Tracing()


def test_the_defaults_record_all_and_tell_nobody_else() -> None:
    tracing = Tracing()
    assert (tracing.sample, tracing.propagate, tracing.respond) == (1.0, False, False)
    assert (tracing.endpoint, tracing.service_name) == (None, None)


def test_headers_are_secrets() -> None:
    text = "gateway: {tracing: {endpoint: 'http://c:4318/v1/traces', headers: {x-key: '${KEY}'}}}"
    tracing = loaded(text, KEY="hunter2").gateway.tracing
    assert tracing is not None
    assert tracing.headers["x-key"].reveal() == "hunter2"
    assert "hunter2" not in repr(tracing)


@pytest.mark.parametrize(
    "members",
    [
        "endpoint: »'c:4318'",
        "endpoint: »'grpc://c:4317'",
        "sample: »1.1",
        "sample: »-0.1",
        "timeout_seconds: »0",
        "timeout_seconds: »61",
        "queue_spans_max: »1",
        "service_name: »''",
    ],
)
def test_what_is_wrong_is_told_where_it_stands(members: str) -> None:
    text, where = marked(f"gateway: {{tracing: {{{members}}}}}")
    found = examined(text).problems
    assert places(found) == where
    assert said(found)


def test_a_header_that_http_does_not_know_is_refused() -> None:
    assert examined("gateway: {tracing: {headers: {'a b': x}}}").problems

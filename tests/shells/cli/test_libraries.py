"""A configuration that takes a library which is not there is told of the command that brings it."""

import sys

import pytest

from stargate.cli.libraries import missing_libraries
from stargate_core.config.gateway_block import Gateway
from stargate_core.config.tracing import Tracing


def test_nothing_is_missing_where_nothing_is_wanted() -> None:
    assert missing_libraries(Gateway()) == []
    assert missing_libraries(Gateway(tracing=Tracing())) == []


def test_what_is_missing_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "stargate.tracing.export", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    (missing,) = missing_libraries(Gateway(tracing=Tracing()))
    assert "pip install 'stargate-gateway[otel]'" in missing

"""The face of a dialect: the little it knows itself, and that every built-in dialect wears it."""

from stargate_core.dialects.face import BadAnswer, Dialect, Usage
from stargate_core.dialects.registry import BEDROCK_NATIVE, OPENAI_CHAT, OPENAI_MODELS
from stargate_core.faults import Cause, Fault
from support.dialects import a_request

# The type checkers hold each to the protocol.
DIALECTS: tuple[Dialect, ...] = (OPENAI_CHAT, OPENAI_MODELS, BEDROCK_NATIVE)


def test_a_header_is_found_by_its_name_the_first_one_first() -> None:
    request = a_request(headers=[(b"accept", b"a"), (b"x-api-key", b"one"), (b"x-api-key", b"two")])
    assert request.header(b"x-api-key") == b"one"
    assert request.header(b"cookie") is None


def test_whether_any_of_some_headers_is_there() -> None:
    request = a_request(headers=[(b"accept", b"a"), (b"x-api-key", b"one")])
    assert request.has_any(frozenset({b"cookie", b"x-api-key"}))
    assert not request.has_any(frozenset({b"cookie"}))
    assert not request.has_any(frozenset())


def test_all_tokens() -> None:
    assert Usage(1, 20, 300, 4000).total_tokens == 4321


def test_every_dialect_has_its_name_and_its_sdks_header() -> None:
    assert len({dialect.NAME for dialect in DIALECTS}) == len(DIALECTS)
    assert {dialect.LIMIT_FAMILY for dialect in DIALECTS} <= {"", "openai", "anthropic"}
    assert OPENAI_CHAT.LIMIT_FAMILY == "openai"
    assert BEDROCK_NATIVE.LIMIT_FAMILY == ""
    assert {dialect.REQUEST_ID_HEADER for dialect in DIALECTS} == {b"x-request-id", b"x-amzn-requestid"}


def test_an_answer_that_is_none_bears_its_fault_and_shows_its_cause_only() -> None:
    fault = Fault(Cause.UPSTREAM_GARBLED, detail="secret")
    bad = BadAnswer(fault)
    assert bad.fault is fault
    assert str(bad) == "UPSTREAM_GARBLED"

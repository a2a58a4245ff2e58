"""What of a caller's headers travels on is fit to be signed; what is not is the caller's mistake, and never
looks as if the gateway's credentials were at fault.
"""

from typing import Any

import msgspec
import pytest

from support.machines import MODEL, Bench, chat, converse, request

MESSAGES = msgspec.json.encode(
    {"model": MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
)
PATHS = ["/v1/messages", f"/model/{MODEL}/invoke", f"/model/{MODEL}/invoke-with-response-stream"]
NAMES = ["x-amzn-bedrock-service-tier", "x-amzn-bedrock-request-metadata"]


def asked(path: str, name: str, value: str) -> Bench:
    bench = Bench()
    bench.ask(request(path, MESSAGES, headers={name: value}))
    return bench


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["\xff", "caf\xe9", '{"a": "\xc3\xa9"}', "a\tb"])
def test_what_is_not_plain_is_refused_and_the_header_named(path: str, name: str, value: str) -> None:
    bench = asked(path, name, value)
    assert bench.opened == []
    body: Any = msgspec.json.decode(bench.only.body)
    assert bench.only.status == 400
    assert name in (body["message"] if "message" in body else body["error"]["message"])
    bench.settle()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("value", ["", "flex", "a  b", '{"a": "b c"}'])
def test_what_is_plain_travels(path: str, value: str) -> None:
    bench = asked(path, NAMES[0], value)
    bench.open()
    assert bench.call.headers[NAMES[0]] == value


def test_a_header_that_does_not_travel_may_be_anything() -> None:
    for body in (chat(headers={"x-note": "\xff"}), converse(headers={"cookie": "\xff"})):
        bench = Bench()
        bench.ask(body)
        assert len(bench.opened) == 1

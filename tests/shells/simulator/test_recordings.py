"""Recorded answers come back byte for byte: by their request, and by their name, whatever the cutter does."""

import json
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from stargate.simulator.recordings import Recording, Recordings, canonical
from stargate.simulator.scenarios import SCENARIOS
from support.simulator import Reply, Wire, converse_request, signed
from support.vectors import RECORDED, recordings
from support.vectors import Recording as Recorded

RECORDINGS: Final = Recordings.load(RECORDED)
FRAMING: Final = {"content-length", "transfer-encoding"}


def first_of_its_request() -> list[Recorded]:
    """The recordings that a request finds: of several answers to one request, the first."""
    seen: set[tuple[str, bytes | None]] = set()
    found: list[Recorded] = []
    for item in recordings():
        key = (item.uri, canonical(item.request_body.encode()))
        if key[1] is not None and key not in seen:
            seen.add(key)
            found.append(item)
    return found


def check(reply: Reply, item: Recorded) -> None:
    """Hold an answer against its recording."""
    assert reply.whole
    assert reply.status == item.status
    assert reply.body == item.body
    recorded = {name.lower(): value for name, value in item.response_headers.items()}
    kept = {
        name: value for name, value in recorded.items() if name not in FRAMING and "REDACTED" not in value
    }
    assert {name: reply.headers[name] for name in kept} == kept
    assert "REDACTED" not in str(reply.headers)
    expected = "application/vnd.amazon.eventstream" if item.is_stream else "application/json"
    assert reply.headers["content-type"] == expected
    assert ("transfer-encoding" in reply.headers) is item.is_stream


@pytest.mark.parametrize("item", recordings(), ids=lambda item: str(item.file))
@pytest.mark.parametrize("operation", ["converse", "converse-stream"])
def test_by_name(item: Recorded, operation: str) -> None:
    stem = item.file.rpartition("/")[2].rpartition(".")[0]
    wire = Wire(recordings=RECORDINGS)
    check(wire.ask(converse_request("anything", model_id=f"recording.{stem}", operation=operation)), item)


@pytest.mark.parametrize("item", first_of_its_request(), ids=lambda item: str(item.file))
def test_by_request(item: Recorded) -> None:
    url = urlsplit(item.uri)
    # Another spelling of the same JSON is the same request.
    body = json.dumps(json.loads(item.request_body), indent=3, sort_keys=True).encode()
    reply = Wire(recordings=RECORDINGS).ask(signed(url.path, body))
    check(reply, item)


@pytest.mark.parametrize("changes", [{"events_per_second": 100.0}, {"scenario": "drip"}, {"seed": 9}])
def test_however_it_is_cut(changes: dict[str, Any]) -> None:
    item = next(item for item in recordings() if "8e88c115ac14" in item.file)
    name = "recording.otel__converse-stream__8e88c115ac14"
    wire = Wire(**changes, recordings=RECORDINGS)
    check(wire.ask(converse_request("x", model_id=name, operation="converse-stream")), item)
    # The file has 60 frames, and each is counted.
    assert wire.ledger.requests()[0].events_sent == 60


def test_a_recording_can_be_broken_like_an_answer() -> None:
    name = "recording.otel__converse-stream__8e88c115ac14"
    wire = Wire(scenario="cut-mid-frame after=5", recordings=RECORDINGS)
    reply = wire.ask(converse_request("x", model_id=name, operation="converse-stream"))
    assert not reply.whole
    item = next(item for item in recordings() if "8e88c115ac14" in item.file)
    assert item.body.startswith(reply.body)


def test_a_recording_needs_a_signature_too() -> None:
    body = b'{"messages":[]}'
    request = signed("/model/recording.otel__converse__1ace27db2d07/converse", body, secret_access_key="x")
    assert Wire(recordings=RECORDINGS).ask(request).status == 403


def test_a_name_that_is_none() -> None:
    reply = Wire(recordings=RECORDINGS).ask(converse_request("x", model_id="recording.no-such"))
    assert (reply.status, reply.json()["message"]) == (400, "The provided model identifier is invalid.")


def test_other_requests_are_answered_as_ever() -> None:
    assert len(RECORDINGS) == len(recordings())
    assert Wire(recordings=RECORDINGS).ask(converse_request("something new")).status == 200


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("streaming", [False, True])
def test_an_empty_recording_can_be_broken_in_every_way(scenario: str, *, streaming: bool) -> None:
    kind = b"application/vnd.amazon.eventstream" if streaming else b"text/plain"
    empty = Recordings({"empty": Recording("empty", 200, [(b"content-type", kind)], b"")}, {})
    wire = Wire(scenario=scenario, recordings=empty)
    wire.ask(converse_request("x", model_id="recording.empty"))
    assert wire.ledger.requests()[0].error == ""

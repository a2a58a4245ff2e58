"""Streams that break at Bedrock, on every host, by hand: an error in-band, and a good connection after."""

import json

import pytest

from support.gateway import RunningGateway
from support.hosts import RunningServer
from support.raw import chat, connected, request

Host = RunningGateway | RunningServer


@pytest.mark.parametrize(
    ("scenario", "code"),
    [
        ("reset-mid-stream", "upstream_stream_broken"),
        ("cut-mid-frame", "upstream_stream_broken"),
        ("stream-throttlingException", "rate_limit_exceeded"),
    ],
)
def test_a_stream_that_breaks_ends_in_an_error(host: Host, scenario: str, code: str) -> None:
    with connected(host.url) as raw:
        text = f"[[simulator: {scenario} after=3 words=40 pace=100]]"
        raw.send(request(body=chat(text, stream=True)))
        answer = raw.answer()
        assert (answer.status, answer.whole) == (200, True)
        assert b"[DONE]" not in answer.body
        last = json.loads(answer.body.rpartition(b"data: ")[2])
        assert last["error"]["code"] == code
        # The client's connection is as good as before.
        raw.send(request(body=chat("Still there?")))
        assert "“Still there?”" in raw.answer().body.decode()


def test_a_reset_before_the_answer_is_an_error(host: Host) -> None:
    with connected(host.url) as raw:
        raw.send(request(body=chat("[[simulator: reset-mid-stream after=0]]")))
        assert raw.answer().status == 502

"""Streams that break, on every host, by hand. At Bedrock: an error in-band, and a good connection after. At a
client that takes nothing: a cut.
"""

import json
import socket

import pytest

from support.gateway import RunningGateway
from support.hosts import RunningServer, running_host
from support.raw import chat, connected, converse, request
from support.upstream import converse_stream, running_upstream

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


def test_who_takes_nothing_for_too_long_is_cut_and_told_no_good_end(name: str) -> None:
    model = "anthropic.claude-3-haiku-20240307-v1:0"
    with running_upstream(lambda: converse_stream("x" * 200, 60_000)) as upstream:
        with running_host(name, upstream.url, gateway={"time_limits": {"client_stall": 0.5}}) as host:
            with connected(host.url) as raw:
                raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
                raw.send(request(path=f"/model/{model}/converse-stream", body=converse("Hello")))
                assert host.record()["outcome"] == "client_left"
                body = raw.rest()
    assert b"messageStop" not in body
    assert not body.endswith(b"0\r\n\r\n")

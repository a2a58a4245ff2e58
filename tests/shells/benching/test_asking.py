"""What is asked, and where: read by h11, as a server would."""

import json
from typing import Any

import h11
import pytest

from stargate.benching.asking import BadUrl, Endpoint, Question, composed, endpoint
from stargate_core.secret import Secret


def question(**changes: Any) -> Question:
    known: dict[str, Any] = {
        "model": "m",
        "key": None,
        "prompt": None,
        "prompt_tokens": 40,
        "max_tokens": 9,
        "is_streamed": True,
    }
    return Question(**{**known, **changes})


WHERE = endpoint("http://127.0.0.1:8080")


def asked(where: Endpoint = WHERE, number: int = 1, seed: int = 0, **changes: Any) -> tuple[h11.Request, Any]:
    server = h11.Connection(h11.SERVER)
    server.receive_data(composed(where, question(**changes), seed, number))
    head, body = server.next_event(), server.next_event()
    assert isinstance(head, h11.Request)
    assert isinstance(body, h11.Data)
    assert isinstance(server.next_event(), h11.EndOfMessage)
    return head, json.loads(body.data)


class TestEndpoint:
    @pytest.mark.parametrize(
        ("url", "full", "port"),
        [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/chat/completions", 8080),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1/chat/completions", 8080),
            ("https://api.test/v1", "https://api.test/v1/chat/completions", 443),
            ("https://api.test/v1/", "https://api.test/v1/chat/completions", 443),
            ("https://api.test:443/v1/chat/completions", "https://api.test/v1/chat/completions", 443),
            ("http://api.test/a b/v2", "http://api.test/a%20b/v2/chat/completions", 80),
            ("http://[::1]:9/v1", "http://[::1]:9/v1/chat/completions", 9),
            ("http://bücher.test", "http://xn--bcher-kva.test/v1/chat/completions", 80),
        ],
    )
    def test_a_url_leads_to_the_completions(self, url: str, full: str, port: int) -> None:
        where = endpoint(url)
        assert (where.url, where.port, where.is_tls) == (full, port, url.startswith("https"))
        head, _ = asked(where)
        assert full.endswith(where.authority + head.target.decode())
        assert (b"host", where.authority.encode()) in head.headers

    @pytest.mark.parametrize(
        "url",
        [
            "127.0.0.1:8080",
            "ftp://api.test",
            "http://",
            "http://user:secret@api.test",
            "http://api.test:99999",
            "http://api.test/v1?x=1",
            "http://api.test/v1#x",
            "http://[::1",
            "http://a..test",
        ],
    )
    def test_others_are_refused(self, url: str) -> None:
        with pytest.raises(BadUrl):
            endpoint(url)


class TestQuestion:
    def test_it_asks_for_a_stream_that_tells_its_usage(self) -> None:
        head, body = asked(prompt="Hi")
        assert (head.method, head.target) == (b"POST", b"/v1/chat/completions")
        assert body == {
            "model": "m",
            "messages": [{"role": "user", "content": "Hi"}],
            "max_tokens": 9,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def test_or_for_none(self) -> None:
        head, body = asked(prompt="Hi", is_streamed=False)
        assert {"stream", "stream_options"}.isdisjoint(body)
        assert (b"accept", b"application/json") in head.headers

    def test_members_are_set_and_left_out(self) -> None:
        members = {"max_tokens": None, "max_completion_tokens": 5, "stream_options": None, "model": "n"}
        _, body = asked(prompt="Hi", members=members)
        assert body == {
            "model": "n",
            "messages": [{"role": "user", "content": "Hi"}],
            "max_completion_tokens": 5,
            "stream": True,
        }

    def test_the_key_is_shown_as_a_bearers(self) -> None:
        head, _ = asked(key=Secret("sk-1"))
        assert (b"authorization", b"Bearer sk-1") in head.headers
        assert "sk-1" not in repr(question(key=Secret("sk-1")))

    def test_a_key_that_is_no_header_is_refused(self) -> None:
        with pytest.raises(ValueError):
            composed(WHERE, question(key=Secret("sk\r\nx: y")), 0, 1)


class TestPrompts:
    @pytest.mark.parametrize("tokens", [12, 40, 1_000, 20_000])
    def test_they_are_as_long_as_they_should_be(self, tokens: int) -> None:
        _, body = asked(prompt_tokens=tokens)
        assert len(body["messages"][0]["content"].split()) == tokens

    def test_no_two_are_the_same(self) -> None:
        beginnings = {asked(number=number)[1]["messages"][0]["content"][:110] for number in range(200)}
        assert len(beginnings) == 200

    def test_a_run_can_be_asked_again(self) -> None:
        assert asked(number=5, seed=3)[1] == asked(number=5, seed=3)[1]
        assert asked(number=5, seed=3)[1] != asked(number=5, seed=4)[1]

    def test_a_prompt_that_is_given_is_sent_each_time(self) -> None:
        assert asked(number=1, prompt="Hi")[1] == asked(number=2, prompt="Hi")[1]

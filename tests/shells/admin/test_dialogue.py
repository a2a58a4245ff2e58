"""The admin listener's machine: any cut of the bytes gives the same requests, and nobody has room for a body
before he is let in.
"""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate.admin.dialogue import MORE, Dialogue, More, Over
from stargate.admin.messages import PARAMETERS_MAX, Reply, Request, Streamed, json_reply, problem
from stargate_core.wire.http1 import Limits, RequestHead

LIMITS: Final = Limits(head_bytes_max=2048, body_bytes_max=1000)
STATUS: Final = b"GET /api/status HTTP/1.1\r\nhost: localhost\r\n\r\n"
EXPLAIN: Final = (
    b"POST /api/explain?a=1&b=x%20y&a=2 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\n{  }"
)
CHUNKED: Final = (
    b"POST /v1/x%2Fy HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{ \r\n2\r\n }\r\n0\r\n\r\n"
)


def allow(_head: RequestHead) -> Reply | None:
    return None


def lived(pieces: list[bytes], judge: object = allow) -> tuple[list[tuple[str, str, bytes]], bytes]:
    """The requests that these pieces bring, and everything that was said."""
    dialogue = Dialogue(LIMITS, judge)  # type: ignore[arg-type]
    asked: list[tuple[str, str, bytes]] = []
    said = b""
    for piece in pieces:
        dialogue.hear(piece)
        while True:
            event = dialogue.next()
            if isinstance(event, More):
                said += event.say
                break
            if isinstance(event, Over):
                return asked, said
            if isinstance(event, Reply):
                return asked, said + dialogue.whole(event)
            asked.append((event.method, event.path, event.body))
            said += dialogue.whole(json_reply(len(asked)))
            if not dialogue.go_on():
                return asked, said
    return asked, said


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> list[bytes]:
    places = sorted(draw(st.sets(st.integers(1, len(data) - 1), max_size=12)))
    return [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True)]


WHOLE: Final = STATUS + EXPLAIN + CHUNKED + STATUS


class TestCuts:
    @given(cuts(WHOLE))
    def test_any_cut_gives_the_same_requests_and_answers(self, pieces: list[bytes]) -> None:
        assert lived(pieces) == lived([WHOLE])

    def test_which_are_these(self) -> None:
        asked, said = lived([WHOLE, b""])
        assert asked == [
            ("GET", "/api/status", b""),
            ("POST", "/api/explain", b"{  }"),
            ("POST", "/v1/x/y", b"{  }"),
            ("GET", "/api/status", b""),
        ]
        assert said.count(b"HTTP/1.1 200 OK\r\n") == 4

    @given(st.lists(st.binary(max_size=300), max_size=5))
    def test_no_bytes_break_it(self, pieces: list[bytes]) -> None:
        lived(pieces)

    @given(st.data())
    def test_nor_do_bytes_within_good_ones(self, data: st.DataObject) -> None:
        at, wild = data.draw(st.integers(0, len(WHOLE))), data.draw(st.binary(min_size=1, max_size=20))
        for pieces in ([WHOLE[:at] + wild + WHOLE[at:]], [WHOLE[:at], wild, WHOLE[at:]]):
            pieces = [piece for piece in pieces if piece]  # None at all would be the end.
            assert lived(pieces) == lived([b"".join(pieces)])


class TestRequests:
    def test_the_query_is_read_and_of_two_values_the_last_counts(self) -> None:
        dialogue = Dialogue(LIMITS, allow, "10.0.0.1")
        dialogue.hear(EXPLAIN)
        request = dialogue.next()
        assert isinstance(request, Request)
        assert (request.parameters, request.peer) == ({"a": "2", "b": "x y"}, "10.0.0.1")

    def test_too_many_parameters_are_refused(self) -> None:
        query = "&".join(f"a{number}" for number in range(PARAMETERS_MAX + 1))
        _, said = lived([f"GET /?{query} HTTP/1.1\r\nhost: a\r\n\r\n".encode()])
        assert said.startswith(b"HTTP/1.1 400 ")

    @pytest.mark.parametrize(
        "target", ["http://localhost/api/status?x=1", "/api/status?x=1", "/api/%73tatus"]
    )
    def test_a_target_may_be_absolute_or_encoded(self, target: str) -> None:
        asked, _ = lived([f"GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()])
        assert asked == [("GET", "/api/status", b"")]

    def test_it_is_idle_only_between_requests(self) -> None:
        dialogue = Dialogue(LIMITS, allow)
        assert dialogue.idle
        dialogue.hear(STATUS[:5])
        assert dialogue.next() is MORE
        assert not dialogue.idle
        dialogue.hear(STATUS[5:])
        assert isinstance(dialogue.next(), Request)
        assert not dialogue.idle
        dialogue.whole(json_reply(1))
        assert dialogue.go_on()
        assert dialogue.idle

    def test_the_next_one_waits_for_the_answer(self) -> None:
        dialogue = Dialogue(LIMITS, allow)
        dialogue.hear(STATUS + STATUS)
        dialogue.next()
        with pytest.raises(RuntimeError, match="before this one was answered"):
            dialogue.next()


class TestRefusals:
    HEAD: Final = b"POST /api/explain HTTP/1.1\r\nhost: a\r\ncontent-length: 900\r\n\r\n"

    def test_who_may_not_ask_hears_so_before_his_body_comes(self) -> None:
        asked, said = lived([self.HEAD, b"x" * 900], lambda head: problem(401, "who are you?"))
        assert asked == []
        assert said.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
        assert b"connection: close\r\n" in said

    def test_nor_is_he_told_to_go_on(self) -> None:
        head = self.HEAD.replace(b"host", b"expect: 100-continue\r\nhost")
        _, said = lived([head], lambda head: problem(401, "who are you?"))
        assert b"100 Continue" not in said
        _, said = lived([head])
        assert said == b"HTTP/1.1 100 Continue\r\n\r\n"

    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"GARBAGE\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 3000 + b"\r\n\r\n", 431),
            (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1001\r\n\r\n", 413),
            (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        ],
    )
    def test_what_is_no_request_is_answered_and_ends_it(self, data: bytes, status: int) -> None:
        asked, said = lived([data + STATUS])
        assert asked == []
        assert said.startswith(b"HTTP/1.1 %d " % status)
        assert b'{"error":{"message":"' in said
        assert b"connection: close\r\n" in said

    def test_an_end_within_a_request_is_its_end(self) -> None:
        _, said = lived([STATUS[:20], b""])
        assert said.startswith(b"HTTP/1.1 400 ")


class TestAnswers:
    def test_one_may_come_in_pieces(self) -> None:
        async def nothing() -> object:
            yield b""

        dialogue = Dialogue(LIMITS, allow)
        dialogue.hear(STATUS)
        dialogue.next()
        answer = Streamed(200, [(b"content-type", b"text/plain")], nothing())  # type: ignore[arg-type]
        said = dialogue.begin(answer) + dialogue.piece(b"abc") + dialogue.end()
        assert said.endswith(b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        assert dialogue.go_on()

"""RESP: replies of every type, cut anywhere, against an encoder written from the specification; what is no
reply; and a real server's replies in both versions of the protocol.
"""

import itertools
import socket
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.wire.eventstream import NEED_DATA
from stargate_core.wire.resp import BadReply, ErrorReply, Push, Reply, ReplyReader, command, packed, pipeline
from support.redis import RunningRedis, running_redis


def read(*pieces: bytes, reply_bytes_max: int = 1 << 20) -> list[Reply]:
    """All replies in bytes that arrive in pieces."""
    reader = ReplyReader(reply_bytes_max)
    replies: list[Reply] = []
    for piece in pieces:
        reader.receive_data(piece)
        while (reply := reader.next_reply()) is not NEED_DATA:
            replies.append(reply)
    return replies


def comparable(reply: Any) -> Any:
    """Errors and pushes told from what they are made of."""
    match reply:
        case ErrorReply():
            return ("error", str(reply))
        case Push():
            return ("push", [comparable(one) for one in reply])
        case list():
            return [comparable(one) for one in reply]
        case dict():
            return {key: comparable(value) for key, value in reply.items()}
        case _:
            return (type(reply), reply)


def encoded(value: Any) -> bytes:
    """A value in RESP3, as the specification has it."""
    match value:
        case None:
            return b"_\r\n"
        case bool():
            return b"#t\r\n" if value else b"#f\r\n"
        case int():
            return b":%d\r\n" % value
        case float():
            return f",{value!r}\r\n".encode()
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(value), value)
        case ErrorReply():
            return f"-{value}\r\n".encode()
        case Push():
            return b">%d\r\n" % len(value) + b"".join(map(encoded, value))
        case list():
            return b"*%d\r\n" % len(value) + b"".join(map(encoded, value))
        case dict():
            pairs = (encoded(key) + encoded(one) for key, one in value.items())
            return b"%%%d\r\n" % len(value) + b"".join(pairs)
        case _:
            raise TypeError(value)


LEAVES: Final = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=40)
    | st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20).map(ErrorReply)
)
REPLIES: Final = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=5), inner, max_size=4),
    max_leaves=12,
)
PUSHES: Final = st.lists(LEAVES, min_size=1, max_size=3).map(Push)


class TestReading:
    @given(st.lists(REPLIES | PUSHES, max_size=5), st.lists(st.integers(0, 400), max_size=8))
    def test_any_replies_cut_anywhere(self, replies: list[Any], cuts: list[int]) -> None:
        stream = b"".join(map(encoded, replies))
        at = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        pieces = [stream[start:end] for start, end in itertools.pairwise(at)]
        assert comparable(read(*pieces)) == comparable(replies)

    @pytest.mark.parametrize(
        ("stream", "reply"),
        [
            (b"+OK\r\n", b"OK"),
            (b"$-1\r\n", None),
            (b"*-1\r\n", None),
            (b"_\r\n", None),
            (b"~2\r\n:1\r\n:2\r\n", [1, 2]),
            (b"=7\r\ntxt:abc\r\n", b"abc"),
            (
                b"(3492890328409238509324850943850943825024385\r\n",
                b"3492890328409238509324850943850943825024385",
            ),
            (b",inf\r\n", float("inf")),
        ],
    )
    def test_what_is_spelt_in_several_ways(self, stream: bytes, reply: Reply) -> None:
        for at in range(len(stream)):
            assert read(stream[:at], stream[at:]) == [reply]

    def test_false_is_an_answer(self) -> None:
        assert read(b"#f\r\n") == [False]
        assert read(b"*1\r\n") == []

    def test_what_nobody_asked_for_is_told_from_answers(self) -> None:
        (push, answer) = read(b">2\r\n+invalidate\r\n*0\r\n*2\r\n+invalidate\r\n*0\r\n")
        assert isinstance(push, Push)
        assert not isinstance(answer, Push)

    def test_errors_are_values_wherever_they_stand(self) -> None:
        replies = read(b"*2\r\n-WRONGTYPE no\r\n:1\r\n-ERR\r\n")
        assert comparable(replies) == [[("error", "WRONGTYPE no"), (int, 1)], ("error", "ERR")]


class TestRefusing:
    @pytest.mark.parametrize(
        "stream",
        [
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"?x\r\n",
            b"\r\n",
            b":1x\r\n",
            b":9223372036854775808\r\n",
            b"$-2\r\n",
            b"$x\r\n",
            b"*4294967296\r\n",
            b"#x\r\n",
            b"%1\r\n*0\r\n:1\r\n",
            b"%1\r\n%0\r\n:1\r\n",
        ],
    )
    def test_what_is_no_reply(self, stream: bytes) -> None:
        with pytest.raises(BadReply) as whole:
            read(stream)
        with pytest.raises(BadReply) as by_byte:
            read(*(stream[at : at + 1] for at in range(len(stream))))
        assert str(whole.value) == str(by_byte.value)

    def test_nothing_of_it_is_quoted(self) -> None:
        with pytest.raises(BadReply) as caught:
            read(b"Xhunter2\r\n")
        assert "X" not in str(caught.value)

    @given(st.binary(max_size=60), st.integers(0, 60))
    def test_garbage_is_refused_or_read_but_never_worse(self, stream: bytes, at: int) -> None:
        def outcome(*pieces: bytes) -> object:
            try:
                return comparable(read(*pieces))
            except BadReply:
                return BadReply

        assert outcome(stream) == outcome(stream[:at], stream[at:])

    @given(st.integers(1, 400))
    def test_what_is_within_the_bound_is_read_however_it_is_cut(self, piece: int) -> None:
        stream = b"$990\r\n" + b"x" * 990 + b"\r\n"
        pieces = [stream[at : at + piece] for at in range(0, len(stream), piece)]
        assert read(*pieces, *pieces, reply_bytes_max=1000) == [b"x" * 990] * 2

    @pytest.mark.parametrize("stream", [b"$5000\r\n" + b"x" * 5000, b"*5000\r\n" + b":1\r\n" * 4000])
    def test_what_grows_beyond_it_is_not(self, stream: bytes) -> None:
        pieces = [stream[at : at + 100] for at in range(0, len(stream), 100)]
        with pytest.raises(BadReply, match="larger than 1000 bytes"):
            read(b":1\r\n", *pieces, reply_bytes_max=1000)


class TestCodes:
    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("READONLY You can't write against a read only replica.", "READONLY"),
            ("ERR unknown command", "ERR"),
            ("Err", "ERR"),
            ("", "ERR"),
            ("über", "ERR"),
            (
                "ERR Error running script (call to f_db8d): @user_script:1: @user_script: 1: -OOM not now",
                "OOM",
            ),
            ("OOM command not allowed. script: db8d, on @user_script:1.", "OOM"),
            ("ERR Error running script (call to f_db8d): @user_script:1: user_script:1: no", "ERR"),
        ],
    )
    def test_what_programs_tell_errors_apart_by(self, text: str, code: str) -> None:
        assert ErrorReply(text).code == code


class TestWriting:
    @given(st.lists(st.binary(max_size=20), min_size=1, max_size=6))
    def test_a_command_is_an_array_of_strings(self, words: list[bytes]) -> None:
        assert read(packed(words)) == [words]

    def test_texts_and_numbers(self) -> None:
        assert (
            command("SET", "é", 1, b"\xff")
            == b"*4\r\n$3\r\nSET\r\n$2\r\n\xc3\xa9\r\n$1\r\n1\r\n$1\r\n\xff\r\n"
        )

    def test_several_at_once(self) -> None:
        assert pipeline([("PING",), (b"GET", "a")]) == command("PING") + command("GET", "a")


class TestRealServer:
    @staticmethod
    def ask(server: RunningRedis, *commands: tuple[bytes | str | int, ...]) -> list[Reply]:
        reader = ReplyReader()
        replies: list[Reply] = []
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
            sock.sendall(pipeline(commands))
            while len(replies) < len(commands):
                data = sock.recv(7)
                assert data, "closed"
                reader.receive_data(data)
                while (reply := reader.next_reply()) is not NEED_DATA:
                    replies.append(reply)
        return replies

    def test_the_same_in_both_versions_but_for_the_types_that_one_lacks(self) -> None:
        commands: tuple[tuple[bytes | str | int, ...], ...] = (
            ("SET", "text", b"\x00\r\n\xff"),
            ("GET", "text"),
            ("GET", "nothing"),
            ("INCRBY", "number", 2**60),
            ("HSET", "hash", "a", "1"),
            ("HGETALL", "hash"),
            ("HGETALL", "nothing"),
            ("LPUSH", "text", "x"),
            ("EVAL", "return { 1, false, 'x' }", 0),
        )
        with running_redis() as server:
            second = self.ask(server, *commands)
            with server.client() as client:
                client.flushall()
            hello, *third = self.ask(server, ("HELLO", 3), *commands)
        assert isinstance(hello, dict)
        assert hello[b"proto"] == 3
        expected = [b"OK", b"\x00\r\n\xff", None, 2**60, 1]
        assert second[:5] == third[:5] == expected
        assert (second[5], third[5]) == ([b"a", b"1"], {b"a": b"1"})
        assert (second[6], third[6]) == ([], {})
        assert [one.code for one in (second[7], third[7]) if isinstance(one, ErrorReply)] == ["WRONGTYPE"] * 2
        assert second[8] == third[8] == [1, None, b"x"]

    def test_an_error_inside_of_a_script_keeps_its_code(self) -> None:
        write = ("EVAL", "return redis.call('SET', KEYS[1], '1')", 1, "k")
        with running_redis() as server:
            (_, full) = self.ask(server, ("CONFIG", "SET", "maxmemory", 1), write)
            (_, _, replica) = self.ask(
                server, ("CONFIG", "SET", "maxmemory", 0), ("REPLICAOF", "127.0.0.1", 1), write
            )
        assert isinstance(full, ErrorReply)
        assert isinstance(replica, ErrorReply)
        assert (full.code, replica.code) == ("OOM", "READONLY")

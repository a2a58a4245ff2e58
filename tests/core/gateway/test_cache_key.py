"""What makes two calls the same: everything that Bedrock sees, and nothing else."""

from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.operations import Operation
from stargate_core.dialects.bedrock_native import BedrockNative
from stargate_core.dialects.face import Call, Dialect, Request, Target
from stargate_core.dialects.openai_chat import OpenAIChat
from stargate_core.gateway.cache_key import cache_key

CALL: Final = Call(
    Operation.CONVERSE,
    b"POST",
    b"/model/m/converse",
    [(b"content-type", b"application/json"), (b"accept", b"*/*")],
    b'{"messages":[]}',
    False,
)
KEY: Final = cache_key(CALL, "m", "ann")


def changed(**members: Any) -> Call:
    """The call with other members."""
    return msgspec.structs.replace(CALL, **members)


OTHERS: Final = {
    "operation": changed(operation=Operation.INVOKE_MODEL),
    "stream": changed(stream=True),
    "method": changed(method=b"PUT"),
    "target": changed(target=b"/model/n/converse"),
    "body": changed(body=b'{"messages": []}'),
    "one header less": changed(headers=CALL.headers[:1]),
    "a header's value": changed(headers=[(b"content-type", b"application/json"), (b"accept", b"*")]),
    "a header's name": changed(headers=[(b"content-type", b"application/json"), (b"accepts", b"*/*")]),
    "where a header's name ends": changed(
        headers=[(b"content-type", b"application/json"), (b"accept*", b"/*")]
    ),
    "where the headers end": changed(headers=[], body=b"content-typeapplication/jsonaccept*/*"),
}


class TestSame:
    def test_the_same_call_has_the_same_key(self) -> None:
        assert cache_key(changed(), "m", "ann") == KEY
        assert len(KEY) == 64
        assert KEY.lower() == KEY

    def test_the_order_of_headers_says_nothing(self) -> None:
        assert cache_key(changed(headers=CALL.headers[::-1]), "m", "ann") == KEY

    def test_but_that_of_one_name_s_values_does(self) -> None:
        values = [(b"accept", b"a"), (b"accept", b"b")]
        assert cache_key(changed(headers=values), "", "") != cache_key(changed(headers=values[::-1]), "", "")


class TestOther:
    @pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
    def test_anything_that_bedrock_sees_makes_another_call(self, other: Call) -> None:
        assert cache_key(other, "m", "ann") != KEY

    def test_so_do_the_models_and_the_scope(self) -> None:
        assert (
            len({KEY, cache_key(CALL, "n", "ann"), cache_key(CALL, "m", "bob"), cache_key(CALL, "m", "")})
            == 4
        )

    def test_a_body_that_reads_like_a_header_is_none(self) -> None:
        first = changed(headers=[(b"a", b"b")], body=b"xy")
        second = changed(headers=[], body=b"1:a1:b2:xy")
        third = changed(headers=[], body=b"1:a1:bxy")
        assert len({cache_key(each, "", "") for each in (first, second, third)}) == 3

    def test_a_text_that_is_no_utf8_is_as_good_as_any(self) -> None:
        assert len({KEY, cache_key(CALL, "m", "\ud800"), cache_key(CALL, "\ud800", "ann")}) == 3

    @given(
        st.lists(
            st.tuples(
                st.builds(
                    Call,
                    operation=st.sampled_from([Operation.CONVERSE, Operation.INVOKE_MODEL]),
                    method=st.just(b"POST"),
                    target=st.sampled_from([b"", b"1", b"1:", b"a", b"ab"]),
                    headers=st.lists(
                        st.tuples(
                            st.sampled_from([b"", b"a", b"b", b"1:a"]), st.sampled_from([b"", b"a", b"b"])
                        ),
                        max_size=3,
                    ),
                    body=st.sampled_from([b"", b"0:", b"a", b"ab", b"1:a1:b", b"1:a1:b1:a"]),
                    stream=st.booleans(),
                ),
                st.sampled_from(["", "a", "b", "ab"]),
                st.sampled_from(["", "a", "b", "ab"]),
            ),
            max_size=20,
        )
    )
    def test_no_two_calls_are_written_alike(self, cases: list[tuple[Call, str, str]]) -> None:
        """Whatever is moved from one part into the next."""
        meanings = {
            (
                call.operation,
                call.target,
                tuple(sorted(call.headers, key=lambda header: header[0])),
                call.body,
                call.stream,
                models,
                scope,
            )
            for call, models, scope in cases
        }
        assert len({cache_key(*case) for case in cases}) == len(meanings)


class TestDialects:
    """The claims of the essay about what dialects compose."""

    @staticmethod
    def key(dialect: Dialect, path: bytes, body: bytes, *headers: tuple[bytes, bytes]) -> str:
        request = Request(b"POST", path, path, b"", list(headers), body, "0" * 32, 0)
        ask = dialect.read(request)
        return cache_key(dialect.compose(request, ask, Target("m")), "m", "")

    def test_an_openai_request_counts_by_what_it_means(self) -> None:
        path = b"/v1/chat/completions"
        keys = {
            self.key(OpenAIChat(), path, b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'),
            self.key(
                OpenAIChat(), path, b'{ "messages" : [{"content":"hi", "role":"user"}],\n "model": "m" }'
            ),
            self.key(
                OpenAIChat(),
                path,
                b'{"model":"m","messages":[{"role":"user","content":"hi"}]}',
                (b"user-agent", b"another"),
            ),
        }
        assert len(keys) == 1
        other = self.key(OpenAIChat(), path, b'{"model":"m","messages":[{"role":"user","content":"ho"}]}')
        assert other not in keys

    def test_a_native_one_byte_for_byte(self) -> None:
        path = b"/model/m/converse"
        first = self.key(BedrockNative(), path, b'{"messages":[]}')
        assert first == self.key(BedrockNative(), path, b'{"messages":[]}', (b"x-api-key", b"secret"))
        assert first != self.key(BedrockNative(), path, b'{"messages": []}')

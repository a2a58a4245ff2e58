"""What callers receive, changed: headers, plain answers, and every event of a stream, in both dialects."""

import base64
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.config.plugin_configs import Names, Renames, ResponseTransform, Values
from stargate_core.config.schema import PluginEntry
from stargate_core.plugins.response_transform import ResponseTransformPlugin
from stargate_core.wire.eventstream import EventStreamDecoder
from stargate_core.wire.frames import Frame
from support.bedrock import (
    AWS_REQUEST_ID,
    LAST_CHUNK,
    chunk,
    converse_answer,
    converse_story,
    exception,
    invoke_story,
    stream_head,
)
from support.machines import Answer, Bench, a_config, a_plan, chat, converse, request, sse

STORY: Final = converse_story()


def answered(sent: bytes, *said: bytes, **rules: Any) -> Answer:
    """What the caller of `sent` is given, when Bedrock says this and these are the rules."""
    transform = PluginEntry(name="response-transform", config=ResponseTransform(**rules))
    bench = Bench(a_plan(a_config(transform)))
    bench.ask(sent)
    if bench.asked:
        bench.open()
        bench.answer(*said)
    bench.settle()
    return bench.only


def plain(**rules: Any) -> Answer:
    """A plain answer to an OpenAI caller."""
    return answered(chat(), converse_answer("Hello."), **rules)


def frames(answer: Answer) -> list[Frame]:
    """The frames that an AWS caller was sent."""
    decoder = EventStreamDecoder()
    found = decoder.feed(answer.body)
    decoder.check()
    return found


class TestHeaders:
    def test_remove(self) -> None:
        answer = plain(remove=Names(headers=["Content-Type", "x-nothing"]))
        assert answer.header("content-type") is None
        assert answer.status == 200

    def test_rename(self) -> None:
        answer = plain(rename=Renames(headers=["content-type:X-Type", "x-nothing:x-else"]))
        assert answer.header("x-type") == "application/json"
        assert answer.header("content-type") is None
        assert answer.header("x-else") is None

    def test_replace_touches_only_what_is_there(self) -> None:
        answer = plain(replace=Values(headers=["Content-Type: text/plain", "x-nothing:1"]))
        assert answer.header("content-type") == "text/plain"
        assert answer.header("x-nothing") is None

    def test_add_touches_only_what_is_not(self) -> None:
        answer = plain(add=Values(headers=["Content-Type:text/plain", "X-New: a:b "]))
        assert answer.header("content-type") == "application/json"
        assert answer.header("x-new") == "a:b"

    def test_append_puts_one_beside_it(self) -> None:
        answer = plain(append=Values(headers=["x-new:1", "x-new:2", "content-type:x"]))
        assert [value for name, value in answer.headers if name == b"x-new"] == [b"1", b"2"]
        assert [value for name, value in answer.headers if name == b"content-type"] == [
            b"application/json",
            b"x",
        ]

    def test_all_of_them_in_kongs_order(self) -> None:
        answer = plain(
            remove=Names(headers=["x-b"]),
            rename=Renames(headers=["content-type:x-b"]),
            replace=Values(headers=["x-b:replaced", "content-type:never"]),
            add=Values(headers=["x-b:never", "x-c:added"]),
            append=Values(headers=["x-c:appended"]),
        )
        assert answer.header("x-b") == "replaced"
        assert [value for name, value in answer.headers if name == b"x-c"] == [b"added", b"appended"]

    @pytest.mark.parametrize(
        "name", ["content-length", "Transfer-Encoding", "connection", "trailer", "upgrade"]
    )
    @pytest.mark.parametrize("sent", [chat(), chat(stream=True)])
    def test_framing_is_not_for_changing(self, name: str, sent: bytes) -> None:
        said = (
            stream_head() + chunk(STORY.whole) + LAST_CHUNK if b'"stream":true' in sent else converse_answer()
        )
        plainly = answered(sent, said)
        rules: list[dict[str, Any]] = [
            {"remove": Names(headers=[name])},
            {"rename": Renames(headers=[f"{name}:x-framing"])},
            {"rename": Renames(headers=[f"content-type:{name}"])},
            {"replace": Values(headers=[f"{name}:7"])},
            {"add": Values(headers=[f"{name}:7"])},
            {"append": Values(headers=[f"{name}:7"])},
        ]
        for rule in rules:
            assert answered(sent, said, **rule).told == plainly.told

    @pytest.mark.parametrize("name", ["x-request-id", "x-amzn-requestid"])
    def test_nor_is_the_request_id(self, name: str) -> None:
        for rule in (
            {"remove": Names(headers=[name])},
            {"rename": Renames(headers=[f"{name}:x-id"])},
            {"replace": Values(headers=[f"{name}:7"])},
            {"append": Values(headers=[f"{name}:7"])},
        ):
            answer = answered(converse(), converse_answer(), **rule)
            assert len(answer.header("x-request-id") or "") == 32
            assert answer.header("x-amzn-requestid") == AWS_REQUEST_ID

    def test_errors_and_health_checks_are_changed_too(self) -> None:
        for sent, status in (
            (request("/nothing", b""), 404),
            (request("/healthz", method="GET"), 200),
            (request("/v1/models", method="GET"), 200),
        ):
            answer = answered(sent, add=Values(headers=["x-new:1"]))
            assert (answer.status, answer.header("x-new")) == (status, "1")

    def test_a_value_may_be_latin_1(self) -> None:
        answer = plain(add=Values(headers=["x-new: für"]))
        assert dict(answer.headers)[b"x-new"] == "für".encode("latin-1")


class TestPlainAnswers:
    def test_remove(self) -> None:
        payload = plain(remove=Names(json=["usage.prompt_tokens_details", "nothing.at.all", "id"])).json
        assert "prompt_tokens_details" not in payload["usage"]
        assert "id" not in payload
        assert payload["usage"]["total_tokens"] == 15

    def test_rename_stays_beside_its_siblings(self) -> None:
        payload = plain(rename=Renames(json=["usage.total_tokens:sum", "model:engine"])).json
        assert payload["usage"]["sum"] == 15
        assert "total_tokens" not in payload["usage"]
        assert "engine" in payload

    def test_replace_touches_only_what_is_there(self) -> None:
        payload = plain(replace=Values(json=["model:other", "nothing:1", "nothing.deeper:1"])).json
        assert payload["model"] == "other"
        assert "nothing" not in payload

    def test_add_touches_only_what_is_not(self) -> None:
        payload = plain(add=Values(json=["model:other", "team:red", "usage.team:blue", "a.b:1"])).json
        assert payload["model"] != "other"
        assert (payload["team"], payload["usage"]["team"]) == ("red", "blue")
        assert "a" not in payload

    def test_append_makes_an_array(self) -> None:
        payload = plain(append=Values(json=["model:b", "tags:a", "tags:b", "choices:x"])).json
        assert payload["model"][1:] == ["b"]
        assert payload["tags"] == ["a", "b"]
        assert payload["choices"][1:] == ["x"]

    def test_a_number_names_a_place_in_an_array(self) -> None:
        payload = plain(
            replace=Values(json=["choices.0.message.content:Bye.", "choices.1.index:7", "choices.x:8"]),
            remove=Names(json=["choices.0.logprobs", "choices.9"]),
        ).json
        (choice,) = payload["choices"]
        assert choice["message"]["content"] == "Bye."
        assert "logprobs" not in choice

    def test_a_place_in_an_array_is_taken_and_set_like_any_other(self) -> None:
        assert plain(remove=Names(json=["choices.0"])).json["choices"] == []
        assert plain(replace=Values(json=["choices.0:gone"])).json["choices"] == ["gone"]
        # Past its end there is nothing to replace, and no place to add.
        payload = plain(replace=Values(json=["choices.1:x"]), add=Values(json=["choices.1:x"])).json
        assert len(payload["choices"]) == 1

    def test_types(self) -> None:
        payload = plain(
            add=Values(
                json=["a:1", "b:1", "c:true", "d:-1.5e3"],
                json_types=["string", "number", "boolean", "number"],
            )
        ).json
        assert (payload["a"], payload["b"], payload["c"], payload["d"]) == ("1", 1, True, -1500.0)

    def test_all_of_them_in_kongs_order(self) -> None:
        payload = plain(
            remove=Names(json=["model"]),
            rename=Renames(json=["object:model"]),
            replace=Values(json=["model:replaced"]),
            add=Values(json=["model:never", "object:added"]),
            append=Values(json=["object:appended"]),
        ).json
        assert payload["model"] == "replaced"
        assert payload["object"] == ["added", "appended"]

    def test_a_native_answer(self) -> None:
        answer = answered(
            converse(),
            converse_answer(),
            remove=Names(json=["metrics"]),
            replace=Values(json=["output.message.content.0.text:Bye."]),
        )
        assert answer.json["output"]["message"]["content"] == [{"text": "Bye."}]
        assert "metrics" not in answer.json

    def test_one_that_no_rule_touches_keeps_its_bytes(self) -> None:
        said = converse_answer()
        for rules in ({}, {"remove": Names(json=["nothing"])}, {"add": Values(headers=["x-new:1"])}):
            answer = answered(converse(), said, **rules)
            assert answer.body == said.partition(b"\r\n\r\n")[2]

    def test_an_answer_that_is_no_object_stays_as_it_is(self) -> None:
        for body in (b"[1,2]", b'"text"', b"5", b"null", b"not JSON"):
            said = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            answer = answered(converse("invoke"), said, add=Values(json=["a:1"]), remove=Names(json=["b.c"]))
            assert answer.body == body


class TestStreams:
    def test_every_event_of_an_openai_stream(self) -> None:
        answer = answered(
            chat(stream=True, stream_options={"include_usage": True}),
            stream_head() + chunk(STORY.whole) + LAST_CHUNK,
            remove=Names(json=["created"]),
            replace=Values(json=["model:other"]),
            add=Values(json=["team:red"]),
        )
        *events, done = sse(answer.body)
        assert done == "[DONE]"
        assert len(events) == 5
        assert all(
            "created" not in each and each["model"] == "other" and each["team"] == "red" for each in events
        )
        text = "".join(c["delta"].get("content") or "" for each in events for c in each["choices"])
        assert text == "Hello."

    def test_every_event_of_a_converse_stream(self) -> None:
        answer = answered(
            converse("converse-stream"),
            stream_head() + chunk(STORY.whole) + LAST_CHUNK,
            replace=Values(json=["delta.text:x"]),
            add=Values(json=["team:red"]),
        )
        payloads = [(frame.name, msgspec.json.decode(frame.payload)) for frame in frames(answer)]
        assert [name for name, _ in payloads] == [
            frame.name for frame in EventStreamDecoder().feed(STORY.whole)
        ]
        assert all(payload["team"] == "red" for _, payload in payloads)
        assert [p["delta"]["text"] for name, p in payloads if name == "contentBlockDelta"] == ["x", "x"]
        # Bedrock's padding hides how long the words are; it stays, and hides the new ones.
        assert all(payload["p"] == "abcdef" for _, payload in payloads)

    def test_every_event_of_an_invoke_stream(self) -> None:
        story = invoke_story()
        answer = answered(
            converse("invoke-with-response-stream"),
            stream_head() + chunk(story.whole) + LAST_CHUNK,
            remove=Names(json=["amazon-bedrock-invocationMetrics"]),
            add=Values(json=["team:red"]),
        )
        chunks = [
            msgspec.json.decode(base64.b64decode(msgspec.json.decode(frame.payload)["bytes"]))
            for frame in frames(answer)
        ]
        assert all(each["team"] == "red" for each in chunks)
        assert [each["type"] for each in chunks][-1] == "message_stop"
        assert "amazon-bedrock-invocationMetrics" not in chunks[-1]

    def test_an_events_headers_are_the_streams(self) -> None:
        answer = answered(
            chat(stream=True),
            stream_head() + chunk(STORY.whole) + LAST_CHUNK,
            add=Values(headers=["x-new:1"]),
            replace=Values(headers=["cache-control:private"]),
        )
        assert (answer.header("x-new"), answer.header("cache-control")) == ("1", "private")

    def test_an_error_in_a_stream_is_left_alone(self) -> None:
        for sent in (chat(stream=True), converse("converse-stream")):
            said = stream_head() + chunk(STORY.beginning + STORY.middle + exception("throttlingException"))
            answer = answered(
                sent, said, add=Values(json=["team:red"]), remove=Names(json=["error", "message"])
            )
            if b"data:" in answer.body:
                assert set(sse(answer.body)[-1]) == {"error"}
            else:
                assert msgspec.json.decode(frames(answer)[-1].payload) == {"message": "Not now."}

    def test_each_event_goes_out_when_it_comes(self) -> None:
        transform = ResponseTransform(add=Values(json=["team:red"]))
        bench = Bench(a_plan(a_config(PluginEntry(name="response-transform", config=transform))))
        bench.ask(chat(stream=True))
        bench.open()
        bench.answer(stream_head() + chunk(STORY.beginning + STORY.frames[1]))
        first = len(sse(bench.only.body))
        bench.answer(chunk(STORY.frames[2]))
        assert len(sse(bench.only.body)) == first + 1

    def test_a_stream_that_no_rule_touches_is_not_taken_apart(self) -> None:
        assert ResponseTransformPlugin(ResponseTransform()).body_filter is None
        assert ResponseTransformPlugin(ResponseTransform(add=Values(headers=["a:b"]))).body_filter is None
        answer = answered(
            converse("converse-stream"),
            stream_head() + chunk(STORY.whole) + LAST_CHUNK,
            add=Values(headers=["x-new:1"]),
        )
        assert answer.body == STORY.whole


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab0"), inner, max_size=3),
    max_leaves=10,
)
PATHS: Final = st.lists(st.sampled_from(["a", "b", "0", "1", "²", "-1", ""]), min_size=1, max_size=3).map(
    ".".join
)


class TestAnything:
    @given(
        payload=JSON,
        removed=st.lists(PATHS.filter(bool), max_size=2),
        renamed=st.lists(PATHS.filter(bool), max_size=2),
        set_=st.lists(PATHS.filter(bool), max_size=2),
    )
    def test_no_rule_fails_on_any_answer(
        self, payload: Any, removed: list[str], renamed: list[str], set_: list[str]
    ) -> None:
        """Whatever a model answers, and wherever the rules point."""
        values = Values(json=[f"{path}:v" for path in set_])
        body = msgspec.json.encode(payload)
        said = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        answer = answered(
            converse("invoke"),
            said,
            remove=Names(json=removed),
            rename=Renames(json=[f"{path}:new" for path in renamed]),
            replace=values,
            add=values,
            append=values,
        )
        assert answer.status == 200
        msgspec.json.decode(answer.body)

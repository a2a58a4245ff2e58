"""Faults inside the vendors' streams, byte by byte; and the scenarios that came with them in AWS's own."""

import json
from typing import Any, Final

import pytest

from stargate.simulator.ledger import Outcome
from stargate.simulator.messages import Abort, Close
from stargate_core.wire.eventstream import EventStreamDecoder
from stargate_core.wire.frames import ServerEvent
from stargate_core.wire.sse import SseDecoder
from support.simulator import Reply, Wire, converse_request, signed

CHAT: Final = "/openai/v1/chat/completions"
RESPONSES: Final = "/openai/v1/responses"
MESSAGES: Final = "/anthropic/v1/messages"
PATHS: Final = (CHAT, RESPONSES, MESSAGES)
MESSAGE_EVENTS: Final = [
    *("message_start", "content_block_start", "ping", *["content_block_delta"] * 5, "content_block_stop"),
    *("message_delta", "message_stop"),
]
RESPONSE_EVENTS: Final = [
    *(
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ),
    *(*["response.output_text.delta"] * 5, "response.output_text.done", "response.content_part.done"),
    *("response.output_item.done", "response.completed"),
]


class Played:
    """A scenario that has been played to its end, on a stream of five words."""

    def __init__(self, path: str, wish: str, *, stream: bool = True) -> None:
        text = f"hi [[simulator: {wish} words=5]]"
        message = {"role": "user", "content": text}
        body: dict[str, Any] = {"model": "simulator.", "stream": stream}
        if path == RESPONSES:
            body |= {"model": "openai.gpt-oss-20b-1:0", "input": text}
        elif path == CHAT:
            options = {"stream_options": {"include_usage": True}} if stream else {}
            body |= {"model": "openai.gpt-oss-20b-1:0", "messages": [message], **options}
        else:
            body |= {
                "model": "anthropic.claude-3-haiku-20240307-v1:0",
                "messages": [message],
                "max_tokens": 99,
            }
        self.wire = Wire()
        headers = {"anthropic-version": "2023-06-01"}
        self.reply: Reply = self.wire.ask(signed(path, json.dumps(body).encode(), headers=headers))
        self.last = self.wire.commands[-1] if self.wire.commands else None
        self.exchange = self.wire.ledger.requests()[0]

    def events(self) -> list[ServerEvent]:
        """The whole events of the stream, as a decoder reads them that knows the standard."""
        return SseDecoder().feed(self.reply.body)

    def names(self) -> list[str]:
        """Their names."""
        return [event.name for event in self.events()]

    def data(self) -> list[Any]:
        """Their data."""
        return [event.data if event.data == "[DONE]" else json.loads(event.data) for event in self.events()]


class TestGoodOnes:
    def test_for_comparison(self) -> None:
        assert Played(MESSAGES, "").names() == MESSAGE_EVENTS
        assert Played(RESPONSES, "").names() == RESPONSE_EVENTS
        assert Played(CHAT, "").names() == ["message"] * (1 + 5 + 1 + 1 + 1)

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("wish", ["odd-lines", "drip", "pace=1000", "slow ms=1", "until-close"])
    def test_the_same_in_other_ways(self, path: str, wish: str) -> None:
        good, odd = Played(path, ""), Played(path, wish)
        assert odd.names() == good.names()
        kinds = [set(event) if isinstance(event, dict) else event for event in odd.data()]
        assert kinds == [set(event) if isinstance(event, dict) else event for event in good.data()]

    @pytest.mark.parametrize("path", PATHS)
    def test_unknown_events_beside_the_known(self, path: str) -> None:
        good, odd = Played(path, "").names(), Played(path, "unknown-events").names()
        known = [name for name in odd if name in good]
        assert len(odd) > len(good)
        if path != CHAT:
            assert [name for name in known if name != "ping"] == [name for name in good if name != "ping"]


class TestErrorsInside:
    @pytest.mark.parametrize(("after", "before"), [("0", 0), ("start", 1), ("2", 3), ("stop", 7)])
    def test_chat_completions(self, after: str, before: int) -> None:
        played = Played(CHAT, f"stream-throttlingException after={after} message=oh")
        *good, last = played.data()
        assert len(good) == before
        error = {"message": "oh", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}
        assert last == {"error": error}
        assert played.reply.whole

    @pytest.mark.parametrize(("after", "before"), [("0", 0), ("start", 1), ("2", 5), ("stop", 10)])
    def test_messages(self, after: str, before: int) -> None:
        played = Played(MESSAGES, f"stream-serviceUnavailableException after={after} message=oh")
        *good, last = played.names()
        assert (good, last) == (MESSAGE_EVENTS[:before], "error")
        assert played.data()[-1]["error"] == {"type": "overloaded_error", "message": "oh"}

    @pytest.mark.parametrize(
        ("style", "names"),
        [
            ("error", ["error"]),
            ("failed", ["response.failed"]),
            ("both", ["error", "response.failed"]),
        ],
    )
    def test_responses(self, style: str, names: list[str]) -> None:
        played = Played(RESPONSES, f"stream-internalServerException message=oh style={style}")
        assert played.names() == [*RESPONSE_EVENTS[:6], *names]
        events = played.data()
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        last = events[-1]
        if last["type"] == "error":
            assert (last["code"], last["message"]) == ("internal_error", "oh")
        else:
            assert last["response"]["status"] == "failed"
            assert last["response"]["error"] == {"code": "server_error", "message": "oh"}
            assert last["response"]["id"] == events[0]["response"]["id"]

    def test_errors_that_no_model_names(self) -> None:
        wish = "stream-error code=odd message=oh"
        assert Played(CHAT, wish).data()[-1]["error"]["code"] == "odd"
        assert Played(RESPONSES, wish).data()[-1]["code"] == "odd"
        assert Played(MESSAGES, wish).data()[-1]["error"]["type"] == "odd"

    @pytest.mark.parametrize("path", PATHS)
    def test_in_a_document_it_is_the_error_itself(self, path: str) -> None:
        assert Played(path, "stream-throttlingException", stream=False).reply.status == 429


class TestBrokenStreams:
    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize(
        ("wish", "command"),
        [
            ("cut-mid-frame", Close(abrupt=True)),
            ("cut-between-frames", Close(abrupt=True)),
            ("reset-mid-stream", Abort()),
        ],
    )
    def test_cuts(self, path: str, wish: str, command: object) -> None:
        played = Played(path, wish)
        assert (played.last, played.reply.whole, played.exchange.outcome) == (command, False, Outcome.BROKEN)
        assert len(played.names()) == {CHAT: 3, RESPONSES: 6, MESSAGES: 5}[path]
        assert played.reply.body.endswith(b"\n\n") is (wish != "cut-mid-frame")

    def test_good_ends_that_come_too_early(self) -> None:
        for wish, chat, responses, messages in (
            ("end-before-messageStop", 6, 12, 9),
            ("end-before-done", 8, 12, 10),
            ("no-metadata", 8, 12, 10),
            ("end-mid-frame", 3, 6, 5),
            ("empty-stream", 0, 0, 0),
        ):
            for path, count in ((CHAT, chat), (RESPONSES, responses), (MESSAGES, messages)):
                played = Played(path, wish)
                assert len(played.names()) == count, (wish, path)
                assert (played.reply.whole, played.wire.closed) == (True, False)

    def test_what_is_missing_without_metadata(self) -> None:
        assert Played(CHAT, "no-metadata").data()[-1] == "[DONE]"
        assert Played(CHAT, "end-before-done").data()[-1]["usage"]

    @pytest.mark.parametrize("path", PATHS)
    def test_stalls(self, path: str) -> None:
        played = Played(path, "stall-mid-stream")
        assert (played.reply.whole, played.wire.closed) == (False, False)
        assert played.names()
        assert Played(path, "stall-before-first-token").reply.body == b""

    @pytest.mark.parametrize("path", PATHS)
    def test_text_that_is_no_json(self, path: str) -> None:
        played = Played(path, "bad-json")
        [bad] = [event for event in played.events() if event.data.startswith('{"unfinished')]
        with pytest.raises(json.JSONDecodeError):
            json.loads(bad.data)
        assert (bad.name == "message") is (path == CHAT)
        assert len(played.events()) == len(Played(path, "").events()) + 1

    @pytest.mark.parametrize("path", PATHS)
    def test_noise(self, path: str) -> None:
        played = Played(path, "garbage")
        assert len(played.reply.body) == 512
        assert played.reply.headers["content-type"].startswith("text/event-stream")

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("wish", ["oversize-line length=200000", "oversize-frame length=200000"])
    def test_a_line_without_end(self, path: str, wish: str) -> None:
        played = Played(path, wish)
        line = played.reply.body.rpartition(b"\n")[2]
        assert len(line) > 190_000
        assert (played.reply.whole, played.wire.closed) == (False, False)

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("wish", ["bad-crc", "bad-prelude-crc"])
    def test_there_are_no_checksums_to_be_wrong(self, path: str, wish: str) -> None:
        assert Played(path, wish).names() == Played(path, "").names()

    @pytest.mark.parametrize("path", PATHS)
    def test_a_wrong_label(self, path: str) -> None:
        played = Played(path, "wrong-content-type type=application/json")
        assert played.reply.headers["content-type"] == "application/json"
        assert played.names()

    @pytest.mark.parametrize("path", PATHS)
    def test_a_document_where_a_stream_was_asked_for(self, path: str) -> None:
        reply = Played(path, "document-for-stream").reply
        assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
        plain = Played(path, "", stream=False).reply.json()
        assert reply.json().keys() == plain.keys()


class TestInAwssStreams:
    def reply(self, wish: str, operation: str = "converse-stream") -> Reply:
        """The answer of an operation of AWS's own."""
        return Wire().ask(converse_request(f"hi [[simulator: {wish} words=5]]", operation=operation))

    def test_a_document(self) -> None:
        reply = self.reply("document-for-stream")
        assert reply.headers["content-type"] == "application/json"
        assert reply.json().keys() == self.reply("", "converse").json().keys()

    def test_a_frame_whose_payload_is_no_json(self) -> None:
        payloads = [frame.payload for frame in EventStreamDecoder().feed(self.reply("bad-json").body)]
        [bad] = [payload for payload in payloads if payload.startswith(b'{"unfinished')]
        assert len(payloads) == 10
        assert bad

    def test_the_last_event_is_missing(self) -> None:
        names = [frame.name for frame in EventStreamDecoder().feed(self.reply("end-before-done").body)]
        assert names[-1] == "messageStop"

    @pytest.mark.parametrize("wish", ["odd-lines", "oversize-line"])
    def test_what_concerns_lines_does_not_concern_frames(self, wish: str) -> None:
        assert len(EventStreamDecoder().feed(self.reply(wish).body)) == 9


class TestCitations:
    @pytest.mark.parametrize(
        "kind", ["documentChar", "documentPage", "documentChunk", "web", "searchResultLocation"]
    )
    def test_come_before_the_text_that_they_belong_to(self, kind: str) -> None:
        wish = f"[[simulator: citations words=6 kind={kind}]]"
        document = Wire().ask(converse_request(wish, operation="converse")).json()
        plain, cited = document["output"]["message"]["content"]
        [citation] = cited["citationsContent"]["citations"]
        assert list(citation["location"]) == [kind]
        reply = Wire().ask(converse_request(wish, operation="converse-stream"))
        deltas = [
            json.loads(frame.payload)
            for frame in EventStreamDecoder().feed(reply.body)
            if frame.name == "contentBlockDelta"
        ]
        assert [delta["contentBlockIndex"] for delta in deltas] == [0] * 3 + [1] * 4
        assert deltas[3]["delta"] == {"citation": citation}
        assert "".join(delta["delta"].get("text", "") for delta in deltas[:3]) == plain["text"]
        text = "".join(delta["delta"].get("text", "") for delta in deltas[3:])
        assert cited["citationsContent"]["content"] == [{"text": text}]

    def test_of_no_other_kind(self) -> None:
        assert Wire().ask(converse_request("[[simulator: citations kind=rumour]]")).status == 400

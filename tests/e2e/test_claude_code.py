"""The running gateway as Claude Code's own: its written contract with gateways, point by point, and
anthropic-sdk-python as the reader of streams.

A turn of Claude Code's is written down here as it sends it: both credentials at once, betas in several lines,
a system prompt in blocks with marks of the cache, tools, and headers that name its session.

Source: https://code.claude.com/docs/en/llm-gateway-protocol.
"""

import datetime
import json
from collections.abc import Generator, Mapping
from typing import Any, Final, cast

import anthropic
import msgspec
import pytest
from anthropic.types import Message

from stargate_core.wire.frames import ServerEvent
from stargate_core.wire.sse import SseDecoder
from support import bedrock
from support.gateway import KEY, NARROW_KEY, RunningGateway, eventually, running_gateway
from support.raw import Answer, connected, request
from support.simulator import RunningSimulator
from support.upstream import running_upstream

CLAUDE: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"
PATH: Final = "/v1/messages?beta=true"
TOOLS: Final[Any] = [
    {
        "name": "get_weather",
        "description": "Weather – „now“",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "url": {"type": "string"}},
            "required": ["city"],
        },
        "cache_control": {"type": "ephemeral"},
    }
]
SYSTEM: Final[Any] = [
    {"type": "text", "text": "x-anthropic-billing-header: a"},
    {"type": "text", "text": "You are Claude Code. 🦀", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
]
SESSION: Final = {
    "x-claude-code-session-id": "5e551011-0000-4000-8000-000000000001",
    "x-claude-code-agent-id": "agent-7",
    "x-claude-code-parent-agent-id": "agent-1",
    "x-claude-code-request-class": "subagent",
}
A_MESSAGE: Final[Any] = {
    "id": "msg_bdrk_01",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 1},
}
HEADERS: Final = {
    "x-api-key": KEY,
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "interleaved-thinking-2025-05-14,context-management-2025-06-27",
    "user-agent": "claude-cli/2.0 (external, cli)",
    "x-app": "cli",
}


@pytest.fixture(scope="module")
def attentive(simulator: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway that breaks a silence early, and counts."""
    limits = {"minute": 1000, "tokens_per_minute": 1_000_000, "by": "consumer"}
    with running_gateway(
        simulator.url,
        gateway={"keepalive_seconds": 0.15},
        plugins=[{"name": "rate-limiter", "config": limits}],
    ) as running:
        yield running


@pytest.fixture(scope="module")
def sdk(attentive: RunningGateway) -> Generator[anthropic.Anthropic]:
    """The SDK with both credentials, as Claude Code has it."""
    with anthropic.Anthropic(
        base_url=attentive.url,
        auth_token=KEY,
        default_headers={"x-api-key": KEY},
        default_query={"beta": "true"},
        max_retries=0,
        timeout=20,
    ) as client:
        yield client


def a_turn(text: str = "Hello", **members: Any) -> dict[str, Any]:
    return {
        "model": "claude",
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
        "system": SYSTEM,
        "tools": TOOLS,
        "metadata": {"user_id": "user_1_account__session_2"},
        "max_tokens": 1024,
        "stream": True,
        **members,
    }


def asked(
    gateway: RunningGateway,
    body: Mapping[str, Any] | bytes,
    *,
    path: str = PATH,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """The answer to one POST."""
    raw_body = body if isinstance(body, bytes) else json.dumps(body).encode()
    with connected(gateway.url) as raw:
        raw.send(request("POST", path, raw_body, {**HEADERS, **(headers or {})}))
        return raw.answer()


def events_of(answer: Answer) -> list[ServerEvent]:
    assert (answer.status, answer.whole) == (200, True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    return SseDecoder().feed(answer.body)


def simple(text: str) -> Any:
    """The arguments of a call of the SDK's."""
    return {"model": "claude", "max_tokens": 2048, "messages": [{"role": "user", "content": text}]}


class TestRequest:
    def test_a_turn_reaches_bedrock_as_it_was_written(
        self, attentive: RunningGateway, simulator: RunningSimulator
    ) -> None:
        body = json.dumps(a_turn("Grüße \u2028 \\/"), indent=1).replace(
            '"max_tokens": 1024', '"max_tokens":  1024'
        )
        answer = asked(attentive, body.encode())
        assert events_of(answer)[-1].name == "message_stop"
        noted = simulator.requests()[-1]
        expected = {
            **json.loads(body),
            "anthropic_version": "bedrock-2023-05-31",
            "anthropic_beta": ["interleaved-thinking-2025-05-14", "context-management-2025-06-27"],
        }
        del expected["model"], expected["stream"]
        assert noted["body"] == expected
        assert list(noted["body"]) == list(expected)
        assert noted["target"] == f"/model/{CLAUDE.replace(':', '%3A')}/invoke-with-response-stream"
        # Whatever is carried has its own bytes, spaces and escapes too.
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        carried = [members[name] for name in ("messages", "system", "tools", "metadata", "max_tokens")]
        assert noted["body_bytes"] > sum(len(bytes(value)) for value in carried)
        added = {name: expected[name] for name in ("anthropic_version", "anthropic_beta")}
        sent = {name: members[name] for name in expected if name in members} | added
        assert noted["body_bytes"] == len(msgspec.json.encode(sent))

    def test_no_header_of_the_callers_goes_along(
        self, attentive: RunningGateway, simulator: RunningSimulator
    ) -> None:
        asked(attentive, a_turn(), headers=SESSION)
        names = {name.lower() for name, _ in simulator.requests()[-1]["headers"]}
        assert not {"x-api-key", "anthropic-beta", "anthropic-version", "x-app", *SESSION} & names

    def test_betas_of_several_lines_are_one_list(
        self, attentive: RunningGateway, simulator: RunningSimulator
    ) -> None:
        body = json.dumps(a_turn()).encode()
        raw_request = request("POST", PATH, body, HEADERS).replace(
            b"x-app: cli\r\n", b"anthropic-beta: output-128k-2025-02-19 , prompt-caching-2024-07-31\r\n"
        )
        with connected(attentive.url) as raw:
            raw.send(raw_request)
            assert raw.answer().status == 200
        # One of them is known to be refused by Bedrock, and left out as the default configuration says.
        assert simulator.requests()[-1]["body"]["anthropic_beta"] == [
            "interleaved-thinking-2025-05-14",
            "context-management-2025-06-27",
            "output-128k-2025-02-19",
        ]

    @pytest.mark.parametrize("headers", [{"x-api-key": KEY}, {"x-api-key": ""}])
    def test_a_key_may_come_in_either_header(
        self, attentive: RunningGateway, headers: dict[str, str]
    ) -> None:
        kept = {name: value for name, value in headers.items() if value}
        body = json.dumps(a_turn()).encode()
        sent = request("POST", PATH, body, {"anthropic-version": "2023-06-01", **kept})
        if kept:
            sent = sent.replace(f"Authorization: Bearer {KEY}\r\n".encode(), b"")
        with connected(attentive.url) as raw:
            raw.send(sent)
            assert raw.answer().status == 200

    def test_two_keys_that_disagree_are_refused(self, attentive: RunningGateway) -> None:
        answer = asked(attentive, a_turn(), headers={"x-api-key": NARROW_KEY})
        assert answer.status in (401, 403)
        assert answer.json()["type"] == "error"

    @pytest.mark.parametrize(
        "source", [{"type": "url", "url": "https://a.test/a.png"}, {"type": "file", "file_id": "f"}]
    )
    def test_an_image_that_is_elsewhere_is_refused_by_its_place(
        self, attentive: RunningGateway, source: dict[str, str]
    ) -> None:
        content = [{"type": "text", "text": "See"}, {"type": "image", "source": source}]
        answer = asked(attentive, a_turn(messages=[{"role": "user", "content": content}]))
        assert answer.status == 400
        assert answer.json()["error"]["message"].startswith("messages.0.content.1.source: ")

    def test_fields_that_bedrock_lacks_are_named(self, attentive: RunningGateway) -> None:
        answer = asked(attentive, a_turn(container={"id": "c"}, mcp_servers=[{"type": "url"}]))
        assert answer.status == 400
        told = answer.json()["error"]
        assert told["type"] == "invalid_request_error"
        for name in ("container", "mcp_servers"):
            assert f"{name}: Extra inputs are not permitted" in told["message"]


class TestStream:
    def test_the_sdk_reads_the_same_with_and_without_one(self, sdk: anthropic.Anthropic) -> None:
        whole = cast("Message", sdk.messages.create(**simple("Say it twice")))
        with sdk.messages.stream(**simple("Say it twice")) as stream:
            pieces = list(stream.text_stream)
            final = stream.get_final_message()
        assert ["".join(pieces)] == [block.text for block in whole.content if block.type == "text"]
        assert len(pieces) > 3
        assert (final.model, whole.model) == ("claude", "claude")
        assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", whole.usage.output_tokens)
        assert final.id.startswith("msg_")

    def test_its_grammar_is_anthropics_and_nothing_of_bedrocks_is_in_it(
        self, attentive: RunningGateway
    ) -> None:
        answer = asked(attentive, a_turn())
        names = [event.name for event in events_of(answer) if event.name != "ping"]
        assert names[:2] == ["message_start", "content_block_start"]
        assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
        assert set(names[2:-3]) == {"content_block_delta"}
        assert b"amazon-bedrock" not in answer.body
        assert all(json.loads(event.data)["type"] == event.name for event in events_of(answer))

    def test_thoughts_come_back_signed_and_are_taken_again(
        self, sdk: anthropic.Anthropic, simulator: RunningSimulator
    ) -> None:
        thinking: Any = {"type": "enabled", "budget_tokens": 1024}
        question = simple("[[simulator: interleaved-reasoning]] Why?")
        with sdk.messages.stream(**question, thinking=thinking) as stream:
            final = stream.get_final_message()
        thoughts = [block for block in final.content if block.type == "thinking"]
        assert thoughts
        assert all(thought.signature for thought in thoughts)
        said: Any = [block.model_dump(exclude_none=True) for block in final.content]
        messages: Any = [
            *question["messages"],
            {"role": "assistant", "content": said},
            {"role": "user", "content": "Go on."},
        ]
        call: Any = {**question, "messages": messages, "thinking": thinking}
        again = cast("Message", sdk.messages.create(**call))
        assert again.stop_reason == "end_turn"
        carried = simulator.requests()[-1]["body"]["messages"][1]["content"]
        assert [block.get("signature") for block in carried] == [block.get("signature") for block in said]

    def test_tools_stream_their_arguments_in_fragments(self) -> None:
        """Each as Bedrock sent it: none joined, cut, or left out for being empty."""
        fragments = ["", '{"ci', 'ty":', ' "Os', "lo – 🦀", '"', "}"]
        opened = {"type": "tool_use", "id": "toolu_bdrk_01", "name": "get_weather", "input": {}}
        frames = [
            {"type": "message_start", "message": A_MESSAGE},
            {"type": "content_block_start", "index": 0, "content_block": opened},
            *(
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "input_json_delta", "partial_json": fragment},
                }
                for fragment in fragments
            ),
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "tool_use", "stop_sequence": None},
                "usage": {"output_tokens": 5},
            },
            {"type": "message_stop"},
        ]
        told = [bedrock.stream_head(), *(bedrock.chunk(bedrock.inner(frame)) for frame in frames)]
        call: Any = {**simple("Weather in Oslo?"), "tools": TOOLS, "tool_choice": {"type": "any"}}
        with (
            running_upstream(lambda: iter([*told, bedrock.LAST_CHUNK])) as upstream,
            running_gateway(upstream.url) as gateway,
            gateway.anthropic() as sdk,
            sdk.beta.messages.stream(**call, betas=["fine-grained-tool-streaming-2025-05-14"]) as stream,
        ):
            heard = [event.partial_json for event in stream if event.type == "input_json"]
            final = stream.get_final_message()
        assert heard == fragments
        (use,) = final.content
        assert use.type == "tool_use"
        assert (final.stop_reason, use.name, use.input) == ("tool_use", "get_weather", {"city": "Oslo – 🦀"})

    @pytest.mark.parametrize("scenario", ["slow ms=400 words=3", "first-token-ms=700 words=3"])
    def test_silence_is_filled_with_pings_that_the_sdk_skips(
        self, attentive: RunningGateway, sdk: anthropic.Anthropic, scenario: str
    ) -> None:
        text = f"[[simulator: {scenario}]] Hello"
        events = events_of(asked(attentive, a_turn(text)))
        pings = [event for event in events if event.name == "ping"]
        assert len(pings) >= 2
        assert {event.data for event in pings} == {'{"type": "ping"}'}
        assert events[-1].name == "message_stop"
        with sdk.messages.stream(**simple(text)) as stream:
            assert stream.get_final_message().stop_reason == "end_turn"

    def test_a_stream_that_stalls_is_kept_alive_until_its_reader_leaves(
        self, attentive: RunningGateway
    ) -> None:
        headers = {**HEADERS, "x-claude-code-session-id": "stalled"}
        body = json.dumps(a_turn("[[simulator: stall-mid-stream after=2]]")).encode()
        with connected(attentive.url) as raw:
            raw.send(request("POST", PATH, body, headers))
            raw.read_until(b"event: content_block_delta")
            for _ in range(3):
                raw.read_until(b'event: ping\ndata: {"type": "ping"}\n\n')
        record = attentive.record(session_id="stalled")
        assert record["outcome"] == "client_left"

    def test_other_models_speak_the_same_way(self, sdk: anthropic.Anthropic) -> None:
        call: Any = {**simple("Hello, Nova"), "model": "nova"}
        with sdk.messages.stream(**call) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        assert "Hello, Nova" in text
        assert (final.model, final.stop_reason) == ("nova", "end_turn")


@pytest.fixture(scope="module")
def direct(simulator: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway whose models are reached by it, and whose answers are kept."""
    models = {
        name: {"target": CLAUDE.removeprefix("us."), "surface": surface}
        for name, surface in (("claude", "anthropic"), ("claude-mantle", "mantle_anthropic"))
    }
    plugins = [{"name": "response-cache", "config": {"max_temperature": 1}}]
    settings = {"keepalive_seconds": 0.15}
    with running_gateway(
        simulator.url, gateway=settings, proxy={"models": models}, plugins=plugins
    ) as running:
        yield running


class TestSurfaces:
    """The same through the Messages API that AWS serves itself, at both its hosts, and shared."""

    @pytest.mark.parametrize("model", ["claude", "claude-mantle"])
    @pytest.mark.parametrize("cache_control", ["no-store", "no-cache"])
    def test_a_turn_goes_as_it_is(
        self, direct: RunningGateway, simulator: RunningSimulator, model: str, cache_control: str
    ) -> None:
        answer = asked(direct, a_turn(model=model), headers={"cache-control": cache_control})
        events = events_of(answer)
        assert [events[0].name, events[-1].name] == ["message_start", "message_stop"]
        assert json.loads(events[0].data)["message"]["model"] == model
        noted = simulator.requests()[-1]
        target = CLAUDE.removeprefix("us.")
        assert noted["target"].endswith("/anthropic/v1/messages")
        assert noted["body"] == {**a_turn(model=target)}
        sent = {name.lower(): value for name, value in noted["headers"]}
        assert sent["anthropic-beta"] == HEADERS["anthropic-beta"]
        assert sent["anthropic-version"] == "2023-06-01"

    @pytest.mark.parametrize("model", ["claude", "claude-mantle"])
    def test_a_shared_stream_is_the_same_each_time(self, direct: RunningGateway, model: str) -> None:
        body = a_turn(f"Once for all, {model}", model=model)
        first, second = (asked(direct, body) for _ in range(2))
        assert [one.headers["x-cache-status"] for one in (first, second)] == ["Miss", "Hit"]
        shown = [[event for event in events_of(one) if event.name != "ping"] for one in (first, second)]
        assert shown[0] == shown[1]
        assert shown[0][-1].name == "message_stop"

    @pytest.mark.parametrize("scenario", ["cut-between-frames after=2", "stream-throttlingException after=2"])
    @pytest.mark.parametrize("cache_control", ["no-store", "max-age=60"])
    def test_a_broken_one_ends_in_an_error_and_is_not_kept(
        self, direct: RunningGateway, scenario: str, cache_control: str
    ) -> None:
        for _ in range(2):
            body = a_turn(f"[[simulator: {scenario} pace=100]]")
            answer = asked(direct, body, headers={"cache-control": cache_control})
            events = events_of(answer)
            assert events[-1].name == "error"
            assert answer.headers["x-cache-status"] != "Hit"

    def test_errors_before_it_keep_the_vendors_words(self, direct: RunningGateway) -> None:
        answer = asked(direct, a_turn(messages=[{"role": "user", "content": " "}]))
        assert (answer.status, answer.json()["error"]["type"]) == (400, "invalid_request_error")
        assert "non-whitespace" in answer.json()["error"]["message"]

    def test_tokens_are_counted_there(self, direct: RunningGateway, simulator: RunningSimulator) -> None:
        body = {"model": "claude", "messages": simple("How many?")["messages"]}
        answer = asked(direct, body, path="/v1/messages/count_tokens")
        assert answer.status == 200
        assert answer.json()["input_tokens"] > 0
        assert simulator.requests()[-1]["target"].endswith("/anthropic/v1/messages/count_tokens")


class TestGuarded:
    GUARDRAIL: Final = {
        "x-amzn-bedrock-guardrailidentifier": "gr1",
        "x-amzn-bedrock-guardrailversion": "1",
    }

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_guardrail_is_asked_and_what_it_does_is_logged(
        self, attentive: RunningGateway, simulator: RunningSimulator, stream: bool
    ) -> None:
        session = f"guarded-{stream}"
        answer = asked(
            attentive,
            a_turn("[[simulator: stop=guardrail_intervened]]", stream=stream),
            headers={**self.GUARDRAIL, "x-claude-code-session-id": session},
        )
        assert answer.status == 200
        assert b"amazon-bedrock" not in answer.body
        assert simulator.requests()[-1]["guardrail_id"] == "gr1"
        assert attentive.record(session_id=session)["stop_reason"] == "guardrail_intervened"

    def test_half_a_guardrail_is_refused(self, attentive: RunningGateway) -> None:
        answer = asked(attentive, a_turn(), headers={"x-amzn-bedrock-guardrailidentifier": "gr-1"})
        assert (answer.status, answer.json()["error"]["type"]) == (400, "invalid_request_error")


class TestErrors:
    @pytest.mark.parametrize("stream", [False, True])
    def test_a_throttle_says_when_to_come_back_in_whole_seconds(
        self, attentive: RunningGateway, stream: bool
    ) -> None:
        answer = asked(attentive, a_turn("[[simulator: retry-after seconds=7]]", stream=stream))
        assert (answer.status, answer.headers["retry-after"]) == (429, "7")
        assert answer.headers["x-should-retry"] == "true"
        told = answer.json()
        assert told["error"]["type"] == "rate_limit_error"
        assert told["request_id"] == answer.headers["request-id"]

    def test_never_later_than_a_minute(self, attentive: RunningGateway) -> None:
        answer = asked(attentive, a_turn("[[simulator: retry-after seconds=3600]]"))
        assert (answer.status, answer.headers["retry-after"]) == (429, "60")

    def test_an_overloaded_model_is_anthropics_529(
        self, attentive: RunningGateway, sdk: anthropic.Anthropic
    ) -> None:
        answer = asked(attentive, a_turn("[[simulator: throw-ServiceUnavailableException]]"))
        assert (answer.status, answer.json()["error"]["type"]) == (529, "overloaded_error")
        with pytest.raises(anthropic.OverloadedError):
            sdk.messages.create(**simple("[[simulator: throw-ServiceUnavailableException]]"))

    @pytest.mark.parametrize(
        ("members", "words"),
        [
            (
                {"messages": [{"role": "user", "content": " "}]},
                "messages: text content blocks must contain non-whitespace text",
            ),
            (
                {"messages": [{"role": "assistant", "content": "a"}]},
                'messages: first message must use the "user" role',
            ),
            ({"something_new": 1}, "something_new: Extra inputs are not permitted"),
        ],
    )
    def test_bedrocks_own_words_are_in_the_message(
        self, attentive: RunningGateway, members: dict[str, Any], words: str
    ) -> None:
        answer = asked(attentive, a_turn(**members))
        assert answer.status == 400
        assert answer.headers["x-should-retry"] == "false"
        told = answer.json()["error"]
        assert told["type"] == "invalid_request_error"
        assert words in told["message"]

    def test_so_are_those_by_which_it_shortens_its_prompt(self, sdk: anthropic.Anthropic) -> None:
        words = "prompt is too long: 210000 tokens > 200000 maximum"
        with pytest.raises(anthropic.BadRequestError, match=words):
            sdk.messages.create(**simple(f"[[simulator: throw-ValidationException message='{words}']]"))

    @pytest.mark.parametrize(
        ("scenario", "kind"),
        [
            ("stream-throttlingException", "rate_limit_error"),
            ("stream-serviceUnavailableException", "overloaded_error"),
            ("cut-mid-frame", "api_error"),
            ("bad-crc", "api_error"),
            ("end-before-messageStop", "api_error"),
        ],
    )
    def test_inside_a_stream_one_is_its_last_event(
        self, attentive: RunningGateway, sdk: anthropic.Anthropic, scenario: str, kind: str
    ) -> None:
        text = f"[[simulator: {scenario} after=2 pace=100]]"
        answer = asked(attentive, a_turn(text))
        events = events_of(answer)
        told = json.loads(events[-1].data)
        assert (events[-1].name, told["error"]["type"]) == ("error", kind)
        assert told["request_id"] == answer.headers["request-id"]
        assert [event.name for event in events].count("error") == 1
        assert "message_stop" not in [event.name for event in events]
        with sdk.messages.stream(**simple(text)) as stream:
            with pytest.raises(anthropic.APIStatusError) as caught:
                stream.until_done()
        body: Any = caught.value.body
        assert body["error"]["type"] == kind

    def test_before_anything_is_said_it_is_an_honest_status(self, attentive: RunningGateway) -> None:
        answer = asked(attentive, a_turn("[[simulator: stream-throttlingException after=start]]"))
        assert (answer.status, answer.json()["error"]["type"]) == (429, "rate_limit_error")

    def test_a_wrong_key_is_told_in_anthropics_envelope(self, attentive: RunningGateway) -> None:
        with anthropic.Anthropic(base_url=attentive.url, api_key="sk-wrong", max_retries=0) as client:
            with pytest.raises(anthropic.APIStatusError) as caught:
                client.messages.create(**simple("Hello"))
        body: Any = caught.value.body
        assert caught.value.status_code in (401, 403)
        assert body["type"] == "error"


class TestCounting:
    def test_it_is_asked_of_the_model_behind_the_profile(
        self, sdk: anthropic.Anthropic, simulator: RunningSimulator
    ) -> None:
        counted = sdk.messages.count_tokens(
            model="claude", messages=simple("How many?")["messages"], system=SYSTEM
        )
        assert counted.input_tokens > 0
        noted = simulator.requests()[-1]
        base = CLAUDE.removeprefix("us.").replace(":", "%3A")
        assert (noted["operation"], noted["target"]) == ("CountTokens", f"/model/{base}/count-tokens")

    def test_of_other_models_too(self, sdk: anthropic.Anthropic) -> None:
        messages: Any = simple("How many?")["messages"]
        assert sdk.messages.count_tokens(model="nova", messages=messages).input_tokens > 0

    def test_an_error_is_told_as_any(self, attentive: RunningGateway) -> None:
        body = {"model": "claude", "messages": [{"role": "user", "content": " "}]}
        answer = asked(attentive, body, path="/v1/messages/count_tokens?beta=true")
        assert (answer.status, answer.json()["type"]) == (400, "error")


class TestAround:
    def test_the_log_knows_the_session_and_the_agent(self, attentive: RunningGateway) -> None:
        asked(attentive, a_turn(), headers=SESSION)
        record = attentive.record(session_id=SESSION["x-claude-code-session-id"])
        assert (record["agent_id"], record["parent_agent_id"]) == ("agent-7", "agent-1")
        assert record["request_class"] == "subagent"
        assert (record["dialect"], record["stop_reason"]) == ("anthropic-messages", "end_turn")
        assert record["output_tokens"] > 0
        assert "Hello" not in json.dumps(record)

    def test_its_native_form_is_logged_with_them_too(self, attentive: RunningGateway) -> None:
        body = {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 9,
            "messages": simple("Hello")["messages"],
        }
        answer = asked(
            attentive,
            body,
            path=f"/model/{CLAUDE}/invoke",
            headers={"x-claude-code-session-id": "native-form"},
        )
        assert answer.status == 200
        assert attentive.record(session_id="native-form")["dialect"] == "bedrock-native"

    def test_rate_limits_are_told_in_its_own_headers(self, attentive: RunningGateway) -> None:
        answer = asked(attentive, a_turn())
        for what, limit in (("requests", 1000), ("tokens", 1_000_000)):
            assert int(answer.headers[f"anthropic-ratelimit-{what}-limit"]) == limit
            assert 0 <= int(answer.headers[f"anthropic-ratelimit-{what}-remaining"]) < limit
            reset = datetime.datetime.fromisoformat(answer.headers[f"anthropic-ratelimit-{what}-reset"])
            assert reset.tzinfo is not None

    def test_its_greeting_is_refused_calmly(self, attentive: RunningGateway) -> None:
        with connected(attentive.url) as raw:
            for _ in range(2):
                raw.send(request("HEAD", "/api/hello"))
                answer = raw.answer(method="HEAD")
                assert (answer.status, answer.body, answer.whole) == (404, b"", True)
        records = eventually(lambda: attentive.records(status=404))
        assert {record["outcome"] for record in records} == {"failed"}

    def test_models_are_listed_in_its_form(self, attentive: RunningGateway) -> None:
        with connected(attentive.url) as raw:
            raw.send(request("GET", "/v1/models?limit=1000", headers=HEADERS))
            answer = raw.answer(method="GET")
        assert answer.status == 200
        assert "claude" in [model["id"] for model in answer.json()["data"]]

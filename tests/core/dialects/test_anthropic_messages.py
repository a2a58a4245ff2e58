"""The dialect of Anthropic's messages: which of Bedrock's APIs a request goes through, with what headers; and
anthropic-sdk-python as the reader of its answers.
"""

import functools
import itertools
from typing import Any, Final, cast

import anthropic
import msgspec
import pytest
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.operations import Operation
from stargate_core.aws.surfaces import SURFACES, GuardrailWay, Surface
from stargate_core.dialects.anthropic_converse_stream import ConverseTranslator
from stargate_core.dialects.anthropic_invoke_stream import InvokeTranslator
from stargate_core.dialects.anthropic_messages import AnthropicMessages
from stargate_core.dialects.anthropic_passing import MessagesPassing
from stargate_core.dialects.face import (
    Call,
    Headers,
    Options,
    PromptCaching,
    Reply,
    Request,
    Target,
    Translator,
)
from stargate_core.faults import Cause, Fault, Refused
from stargate_core.wire.eventstream import EventStreamDecoder
from stargate_core.wire.sse import SseDecoder, SseFrameDecoder
from support.bedrock import LAST_CHUNK, chunk, exception, flipped, inner, invoke_story, stream_head
from support.bedrock_model import objections
from support.dialects import EVENT_STREAM, HAIKU, REQUEST_ID, a_request, deeper, streamed
from support.machines import MODEL, Bench, request
from support.sdks import anthropic_client
from support.vectors import recorded_streams, recordings

DIALECT: Final = AnthropicMessages()
SONNET: Final = "anthropic.claude-sonnet-4-20250514-v1:0"
ALL: Final = (Surface.INVOKE, Surface.CONVERSE, Surface.ANTHROPIC, Surface.MANTLE_ANTHROPIC)
ARN: Final = (
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0"
)
ASKED: Final[Any] = {
    "model": "claude",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Say this is a test"}],
}
GUARDRAIL: Final[Headers] = [
    (b"x-amzn-bedrock-guardrailidentifier", b"gr-1"),
    (b"x-amzn-bedrock-guardrailversion", b"2"),
]


def target_of(surface: Surface, model: str = HAIKU) -> Target:
    return Target(model, surface, Options(guardrail=SURFACES[surface].guardrail))


def composed(surface: Surface, *, model: str = HAIKU, headers: Headers | None = None, **members: Any) -> Call:
    request = a_request(msgspec.json.encode({**ASKED, **members}), b"/v1/messages?beta=true", headers=headers)
    return DIALECT.compose(request, DIALECT.read(request), target_of(surface, model))


def translated(surface: Surface, **members: Any) -> Translator:
    request = a_request(msgspec.json.encode({**ASKED, **members}), b"/v1/messages")
    ask = DIALECT.read(request)
    return DIALECT.translator(request, ask, DIALECT.compose(request, ask, target_of(surface)))


class TestWay:
    @pytest.mark.parametrize(
        ("surface", "stream", "operation", "target"),
        [
            (Surface.INVOKE, False, Operation.INVOKE_MODEL, b"/model/%b/invoke"),
            (
                Surface.INVOKE,
                True,
                Operation.INVOKE_MODEL_WITH_RESPONSE_STREAM,
                b"/model/%b/invoke-with-response-stream",
            ),
            (Surface.CONVERSE, False, Operation.CONVERSE, b"/model/%b/converse"),
            (Surface.CONVERSE, True, Operation.CONVERSE_STREAM, b"/model/%b/converse-stream"),
            (Surface.ANTHROPIC, False, Operation.MESSAGES, b"/messages"),
            (Surface.MANTLE_ANTHROPIC, True, Operation.MESSAGES, b"/messages"),
        ],
    )
    def test_is_the_surfaces(
        self, surface: Surface, stream: bool, operation: Operation, target: bytes
    ) -> None:
        call = composed(surface, stream=stream)
        path = target % HAIKU.replace(":", "%3A").encode() if b"%b" in target else target
        assert (call.operation, call.method, call.target, call.stream) == (operation, b"POST", path, stream)
        assert (b"content-type", b"application/json") in call.headers

    def test_an_arn_is_one_segment_of_the_path(self) -> None:
        target = composed(Surface.INVOKE, model=ARN).target
        assert target.startswith(b"/model/arn%3Aaws%3Abedrock%3A")
        assert target.count(b"/") == 3

    @pytest.mark.parametrize("surface", ALL[:2])
    def test_a_name_that_cannot_stand_in_a_path_is_no_model(self, surface: Surface) -> None:
        with pytest.raises(Refused) as caught:
            composed(surface, model="..")
        assert caught.value.fault.cause is Cause.MODEL_UNKNOWN

    @pytest.mark.parametrize("surface", [surface for surface in Surface if surface not in ALL])
    def test_other_vendors_apis_are_none(self, surface: Surface) -> None:
        with pytest.raises(Refused) as caught:
            composed(surface)
        assert caught.value.fault.param == "model"

    def test_converse_is_given_a_body_that_its_model_knows(self) -> None:
        for stream in (False, True):
            call = composed(Surface.CONVERSE, stream=stream)
            assert objections(call.operation.value, call.body, modelId=HAIKU) == []

    def test_converse_produces_at_least_one_token(self) -> None:
        with pytest.raises(Refused) as caught:
            composed(Surface.CONVERSE, max_tokens=0)
        assert caught.value.fault.param == "max_tokens"
        assert msgspec.json.decode(composed(Surface.INVOKE, max_tokens=0).body)["max_tokens"] == 0

    @pytest.mark.parametrize(
        ("surface", "kind"),
        [
            (Surface.INVOKE, InvokeTranslator),
            (Surface.CONVERSE, ConverseTranslator),
            (Surface.ANTHROPIC, MessagesPassing),
            (Surface.MANTLE_ANTHROPIC, MessagesPassing),
        ],
    )
    @pytest.mark.parametrize("stream", [False, True])
    def test_the_answer_is_read_as_it_was_asked_for(self, surface: Surface, kind: type, stream: bool) -> None:
        assert type(translated(surface, stream=stream)) is kind

    @pytest.mark.parametrize("surface", [Surface.INVOKE, Surface.ANTHROPIC])
    def test_a_caller_that_names_no_model_is_told_the_targets(self, surface: Surface) -> None:
        translator = translated(surface, model=None)
        part = translator.answer([], b'{"type":"message","model":"internal","content":[]}')
        assert part.payload["model"] == HAIKU

    @pytest.mark.parametrize("surface", ALL)
    def test_the_request_is_composed_the_same_again(self, surface: Surface) -> None:
        request = a_request(msgspec.json.encode({**ASKED, "stream": True}), b"/v1/messages")
        ask = DIALECT.read(request)
        calls = [DIALECT.compose(request, ask, target_of(surface)) for _ in range(2)]
        assert calls[0] == calls[1]


class TestHeaders:
    SENT: Final[Headers] = [
        (b"authorization", b"Bearer secret"),
        (b"x-api-key", b"secret"),
        (b"cookie", b"secret"),
        (b"x-amz-security-token", b"secret"),
        (b"accept-encoding", b"gzip"),
        (b"x-claude-code-session-id", b"s"),
        (b"x-amzn-bedrock-accept", b"secret"),
        (b"x-amzn-bedrock-service-tier", b"flex"),
        (b"x-amzn-bedrock-performanceconfig-latency", b"optimized"),
    ]

    @pytest.mark.parametrize("surface", ALL)
    def test_nothing_that_bears_authority_travels_on(self, surface: Surface) -> None:
        call = composed(surface, headers=self.SENT)
        assert b"secret" not in b"".join([*(value for _, value in call.headers), call.body])

    @pytest.mark.parametrize("surface", [Surface.INVOKE, Surface.ANTHROPIC, Surface.MANTLE_ANTHROPIC])
    def test_how_bedrock_is_to_serve_it_does(self, surface: Surface) -> None:
        headers = dict(composed(surface, headers=self.SENT).headers)
        assert headers[b"x-amzn-bedrock-service-tier"] == b"flex"
        assert headers[b"x-amzn-bedrock-performanceconfig-latency"] == b"optimized"

    @pytest.mark.parametrize("surface", [Surface.INVOKE, Surface.ANTHROPIC])
    def test_a_guardrail_travels_in_them(self, surface: Surface) -> None:
        assert [
            one for one in composed(surface, headers=GUARDRAIL).headers if b"guardrail" in one[0]
        ] == GUARDRAIL
        member = {"guardrailIdentifier": "gr-1", "guardrailVersion": "2"}
        call = composed(surface, guardrailConfig=member)
        assert [one for one in call.headers if b"guardrail" in one[0]] == GUARDRAIL
        assert b"guardrailConfig" not in call.body

    def test_or_in_converses_body(self) -> None:
        body = msgspec.json.decode(composed(Surface.CONVERSE, headers=GUARDRAIL).body)
        assert body["guardrailConfig"] == {"guardrailIdentifier": "gr-1", "guardrailVersion": "2"}

    def test_or_is_refused_where_it_cannot_be_applied(self) -> None:
        assert SURFACES[Surface.MANTLE_ANTHROPIC].guardrail is GuardrailWay.NONE
        with pytest.raises(Refused):
            composed(Surface.MANTLE_ANTHROPIC, headers=GUARDRAIL)

    def test_versions_and_betas_go_where_each_surface_has_them(self) -> None:
        headers: Headers = [(b"anthropic-version", b"2023-06-01"), (b"anthropic-beta", b"a,b")]
        call = composed(Surface.INVOKE, headers=headers)
        assert call.headers == [(b"content-type", b"application/json")]
        body = msgspec.json.decode(call.body)
        assert (body["anthropic_version"], body["anthropic_beta"]) == ("bedrock-2023-05-31", ["a", "b"])
        call = composed(Surface.ANTHROPIC, headers=headers)
        assert call.headers == [(b"content-type", b"application/json"), *headers]
        assert msgspec.json.decode(call.body) == {**ASKED, "model": HAIKU}


def answering(body: bytes, surface: Surface = Surface.INVOKE) -> Any:
    """A gateway in front of a Bedrock that always answers this."""

    def answer(request: Request) -> Reply:
        try:
            ask = DIALECT.read(request)
            call = DIALECT.compose(request, ask, target_of(surface))
        except Refused as refused:
            return DIALECT.failure(refused.fault, request.request_id)
        translator = DIALECT.translator(request, ask, call)
        if not call.stream:
            return translator.render_answer(translator.answer([], body), [])
        by_sse = surface is not Surface.INVOKE
        frames = SseFrameDecoder().feed(body) if by_sse else EventStreamDecoder().feed(body)
        return Reply(200, translator.stream_headers(EVENT_STREAM), streamed(translator, frames))

    return answer


class TestSdk:
    def test_it_reads_recorded_streams(self) -> None:
        read = 0
        for recording in recorded_streams():
            if "anthropic" not in recording.uri or "/invoke" not in recording.uri:
                continue
            with (
                anthropic_client(answering(recording.body)) as client,
                client.messages.stream(**ASKED) as stream,
            ):
                text = "".join(stream.text_stream)
                message = stream.get_final_message()
            assert message.model == "claude"
            assert message.stop_reason in ("end_turn", "max_tokens", "tool_use")
            assert text == "".join([block.text for block in message.content if block.type == "text"])
            for block in message.content:
                if block.type == "tool_use":
                    assert isinstance(block.input, dict)
                    assert block.input
            read += 1
        assert read > 6

    def test_it_reads_recorded_answers(self) -> None:
        read = 0
        for recording in recordings():
            uri = recording.uri
            if "anthropic" in uri and uri.endswith("/invoke") and recording.status == 200:
                with anthropic_client(answering(recording.body)) as client:
                    message = cast("Message", client.messages.create(**ASKED))
                told = msgspec.json.decode(recording.body)
                assert (message.model, message.id) == ("claude", told["id"])
                assert message.usage.output_tokens == told["usage"]["output_tokens"]
                read += 1
        assert read > 8

    def test_it_raises_where_a_stream_is_cut(self) -> None:
        body = next(one.body for one in recorded_streams() if "anthropic" in one.uri and "/invoke" in one.uri)
        cut = b"".join([frame.raw for frame in EventStreamDecoder().feed(body)][:-1])
        with anthropic_client(answering(cut)) as client, client.messages.stream(**ASKED) as stream:
            with pytest.raises(anthropic.APIStatusError) as caught:
                stream.until_done()
        told: Any = caught.value.body
        assert told["error"] == {"type": "api_error", "message": "The answer was cut off before its end"}
        assert told["request_id"] == REQUEST_ID

    def test_it_raises_what_bedrock_lacks_by_its_name(self) -> None:
        with anthropic_client(answering(b"")) as client:
            with pytest.raises(
                anthropic.BadRequestError, match="service_tier: Extra inputs are not permitted"
            ):
                client.messages.create(**ASKED, service_tier="auto")

    def test_its_betas_and_its_prompt_cache_arrive(self) -> None:
        seen: list[Request] = []
        answer = answering(b'{"type":"message","content":[]}')

        def gateway(request: Request) -> Reply:
            seen.append(request)
            return answer(request)  # type: ignore[no-any-return]

        system: Any = [
            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
        ]
        with anthropic_client(gateway) as client:
            client.beta.messages.create(**ASKED, system=system, betas=["context-1m-2025-08-07"])
        (request,) = seen
        assert request.path == b"/v1/messages"
        call = DIALECT.compose(request, DIALECT.read(request), target_of(Surface.INVOKE))
        body = msgspec.json.decode(call.body)
        assert body["system"] == system
        assert body["anthropic_beta"] == ["context-1m-2025-08-07"]


class TestDepth:
    @pytest.mark.parametrize("surface", [Surface.INVOKE, Surface.ANTHROPIC])
    @pytest.mark.parametrize(
        "options", [Options(), Options(prompt_caching=PromptCaching.AUTO, drop_params=True)]
    )
    def test_what_is_nested_too_deeply_is_refused_at_any_depth(
        self, surface: Surface, options: Options
    ) -> None:
        for depth in range(700, 1100, 7):
            nest = b"[" * depth + b"]" * depth
            for member in (
                b'"system":[{"a":%b}]',
                b'"cache_control":{"scope":%b}',
                b'"tools":[%b]',
                b'"x":%b',
            ):
                body = b'{"max_tokens":1,"messages":[%b],' % nest + member % nest + b"}"
                sent = a_request(body, b"/v1/messages")
                try:
                    ask = DIALECT.read(sent)
                    deeper(
                        40, functools.partial(DIALECT.compose, sent, ask, Target(SONNET, surface, options))
                    )
                except Refused as refused:
                    assert refused.fault.row.status == 400


STORY: Final = invoke_story()
ENDS: Final = {
    "a good one": STORY.whole,
    "and more behind its end": STORY.whole + STORY.middle,
    "an exception at once": exception("throttlingException"),
    "an exception late": STORY.beginning + STORY.middle + exception("serviceUnavailableException"),
    "a flipped bit": STORY.beginning + STORY.middle + flipped(STORY.end, 40),
    "no end": STORY.beginning + STORY.middle,
    "an error of the model's": STORY.beginning
    + STORY.middle
    + inner({"type": "error", "error": {"type": "overloaded_error", "message": "Busy."}})
    + STORY.end,
}


def lived(data: bytes, cuts: list[int]) -> tuple[Any, Any]:
    """What a caller and the log see of a stream, its bytes cut at these places."""
    bench = Bench()
    bench.ask(
        request("/v1/messages?beta=true", msgspec.json.encode({**ASKED, "model": MODEL, "stream": True}))
    )
    bench.open()
    whole = stream_head() + chunk(data) + LAST_CHUNK
    places = [0, *sorted(cut % len(whole) for cut in cuts), len(whole)]
    for start, end in itertools.pairwise(places):
        if bench.held and start < end:
            bench.answer(whole[start:end])
    bench.settle()
    return bench.only.told, {**bench.record, "response_bytes": 0}


class TestInTheGateway:
    @given(st.sampled_from(sorted(ENDS)), st.lists(st.integers(0, 10_000), max_size=8))
    def test_any_cut_of_bedrocks_bytes_gives_the_same_answer(self, name: str, cuts: list[int]) -> None:
        assert lived(ENDS[name], cuts) == lived(ENDS[name], [])

    @pytest.mark.parametrize("name", sorted(ENDS))
    def test_a_stream_ends_well_only_at_its_own_end(self, name: str) -> None:
        (status, _, body, whole), record = lived(ENDS[name], [])
        assert whole
        good = ENDS[name].startswith(STORY.whole)
        assert record["outcome"] == ("complete" if good else "failed")
        if status != 200:
            assert (status, msgspec.json.decode(body)["error"]["type"]) == (429, "rate_limit_error")
            return
        events = SseDecoder().feed(body)
        assert events[-1].name == ("message_stop" if good else "error")
        assert [event.name for event in events].count("error") == (0 if good else 1)
        assert [event.name for event in events].count("message_stop") == (1 if good else 0)
        if good:
            assert (record["input_tokens"], record["output_tokens"]) == (10, 5)
            assert record["stop_reason"] == "end_turn"
        else:
            told = msgspec.json.decode(events[-1].data)
            assert told["request_id"] == record["request_id"]


def test_a_message_is_never_answered_from_here() -> None:
    request = a_request(msgspec.json.encode(ASKED))
    with pytest.raises(AssertionError):
        DIALECT.answer_locally(request, DIALECT.read(request), [])


def test_a_failure_is_anthropics() -> None:
    reply = DIALECT.failure(Fault(Cause.UPSTREAM_UNAVAILABLE), REQUEST_ID)
    assert reply.status == 529
    assert msgspec.json.decode(reply.body)["error"]["type"] == "overloaded_error"

"""One of AWS's guardrails looks on: attached to the call in each dialect's way, or applied before it."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import pytest

from stargate_core.config.bedrock_guardrail import BedrockGuardrail
from stargate_core.config.bedrock_proxy import ModelTarget
from stargate_core.config.schema import PluginEntry
from stargate_core.faults import Cause, Fault
from stargate_core.messages import AnswerBegan, AnswerEnded, AnswerFailed, AnswerSent, Source
from support.machines import MODEL, Bench, a_config, a_plan, chat, converse, proxy, request

NOVA: Final = "amazon.nova-lite-v1:0"
PATH: Final = f"/model/{NOVA.replace(':', '%3A')}"
USER: Final = {"role": "user", "content": "hi"}
OURS: Final = {"guardrailIdentifier": "ours1", "guardrailVersion": "3"}
THEIRS: Final = {"guardrailIdentifier": "theirs", "guardrailVersion": "1"}
NAMED: Final = {
    "X-Amzn-Bedrock-GuardrailIdentifier": "theirs",
    "X-Amzn-Bedrock-GuardrailVersion": "1",
    "X-Amzn-Bedrock-Trace": "DISABLED",
}
WHICH: Final = "x-amzn-bedrock-guardrailidentifier"


def body(target: str, headers: dict[str, str] | None = None, **members: Any) -> bytes:
    """A request with a body."""
    return request(target, msgspec.json.encode(members), headers=headers)


def a_bench(**config: Any) -> Bench:
    """A gateway with this guardrail."""
    told = BedrockGuardrail(**{"identifier": "ours1", "version": "3", **config})
    return Bench(a_plan(a_config(PluginEntry(name="bedrock-guardrail", config=told))))


def called(sent: bytes, **config: Any) -> Any:
    """The call that Bedrock gets."""
    bench = a_bench(**config)
    bench.ask(sent)
    bench.open()
    return bench.call


CHAT: Final = "/v1/chat/completions"
IN_BODY: Final = {
    "chat": lambda headers, more: body(CHAT, headers, model=NOVA, messages=[USER], **more),
    "responses": lambda headers, more: body("/v1/responses", headers, model=NOVA, input="hi", **more),
    "messages": lambda headers, more: body(
        "/v1/messages", headers, model=NOVA, max_tokens=5, messages=[USER], **more
    ),
    "converse": lambda headers, more: body(
        f"{PATH}/converse", headers, messages=[{"role": "user", "content": [{"text": "hi"}]}], **more
    ),
}
"""Calls that go by Converse."""
IN_HEADERS: Final = {
    "messages": lambda headers, more: body(
        "/v1/messages", headers, model=MODEL, max_tokens=5, messages=[USER], **more
    ),
    "invoke": lambda headers, more: body(f"{PATH}/invoke", headers, messages=[USER], **more),
    "stream": lambda headers, more: body(
        f"{PATH}/invoke-with-response-stream", headers, messages=[USER], **more
    ),
}
"""Calls that go by InvokeModel."""


class TestAttached:
    @pytest.mark.parametrize("caller", IN_BODY)
    @pytest.mark.parametrize("way", ["none", "headers", "member"])
    def test_in_the_body(self, caller: str, way: str) -> None:
        headers = dict(list(NAMED.items())[:2]) if way == "headers" else None
        sent = IN_BODY[caller](headers, {"guardrailConfig": THEIRS} if way == "member" else {})
        assert msgspec.json.decode(called(sent).body)["guardrailConfig"] == OURS
        told = msgspec.json.decode(called(sent, override="allow").body)["guardrailConfig"]
        by_header = way == "headers" and caller != "converse"
        assert told["guardrailIdentifier"] == ("theirs" if way == "member" or by_header else "ours1")

    @pytest.mark.parametrize("caller", IN_HEADERS)
    @pytest.mark.parametrize("named", [False, True])
    def test_in_headers(self, caller: str, named: bool) -> None:
        sent = IN_HEADERS[caller](NAMED if named else None, {})
        call = called(sent, trace="enabled")
        assert call.headers[WHICH] == "ours1"
        assert call.headers["x-amzn-bedrock-trace"] == "ENABLED"
        assert called(sent, override="allow").headers[WHICH] == ("theirs" if named else "ours1")

    def test_a_name_that_is_written_in_another_way_is_found(self) -> None:
        sent = (
            b'{"model": "%s", "messages": [{"role": "user", "content": "hi"}], "guardrailConf\\u0069g":'
            b' {"guardrailIdentifier": "theirs", "guardrailVersion": "1"}}' % NOVA.encode()
        )
        call = called(request(CHAT, sent))
        assert msgspec.json.decode(call.body)["guardrailConfig"] == OURS

    @pytest.mark.parametrize("stream", [False, True])
    def test_how_a_stream_waits_for_it(self, stream: bool) -> None:
        sent = chat(model=NOVA, stream=stream)
        told = msgspec.json.decode(called(sent, stream_processing_mode="async").body)["guardrailConfig"]
        assert told == ({**OURS, "streamProcessingMode": "async"} if stream else OURS)

    def test_the_callers_trace_stays_where_nothing_else_is_said(self) -> None:
        told = {"X-Amzn-Bedrock-Trace": "ENABLED_FULL"}
        call = called(IN_HEADERS["invoke"](told, {}))
        assert call.headers["x-amzn-bedrock-trace"] == "ENABLED_FULL"

    def test_a_surface_that_takes_none(self) -> None:
        guard = PluginEntry(name="bedrock-guardrail", config=BedrockGuardrail(identifier="ours1"))
        mantle = proxy(models={"m": ModelTarget("openai.gpt-oss-20b", surface="mantle_openai")})
        bench = Bench(a_plan(a_config(plugins=[mantle, guard])))
        bench.ask(chat(model="m"))
        assert bench.only.status == 400
        assert "takes no guardrail" in bench.only.json["error"]["message"]

    def test_an_operation_that_takes_none(self) -> None:
        sent = body("/async-invoke", modelId=NOVA, modelInput={"text": "hi"}, outputDataConfig={})
        bench = a_bench()
        bench.ask(sent)
        assert bench.only.status == 400
        assert "StartAsyncInvoke takes no guardrail" in bench.only.json["message"]
        assert called(sent, unguarded="allow").target == "/async-invoke"

    def test_what_asks_no_model_is_left_alone(self) -> None:
        bench = a_bench()
        bench.ask(request("/v1/models", method="GET"))
        assert bench.only.status == 200
        assert WHICH not in called(request("/foundation-models", method="GET")).headers
        sent = body("/v1/embeddings", model="amazon.titan-embed-text-v2:0", input="hi")
        assert WHICH not in called(sent).headers

    def test_what_is_no_object_is_the_models_to_refuse(self) -> None:
        assert called(request(f"{PATH}/invoke", b"[1]")).headers[WHICH] == "ours1"
        bench = a_bench()
        bench.ask(request(f"{PATH}/converse", b"[]"))
        assert bench.only.status == 400


class Judge:
    """A gateway whose guardrail is applied, and what the guardrail is asked."""

    def __init__(self, sent: bytes, **config: Any) -> None:
        self.bench = a_bench(**{"attach": False, "apply": True, **config})
        self.bench.ask(sent)

    @property
    def asked(self) -> list[str]:
        """The texts that it is given."""
        (follow,) = self.bench.followed.values()
        call = follow.order.call
        assert call.target == b"/guardrail/ours1/version/3/apply"
        told = msgspec.json.decode(call.body)
        assert told["source"] == "INPUT"
        return [block["text"]["text"] for block in told["content"]]

    def says(self, action: str = "NONE", outputs: Sequence[str] = (), *found: str) -> Bench:
        """It judges; what the gateway makes of it."""
        answer = {
            "action": action,
            "outputs": [{"text": text} for text in outputs],
            "assessments": [
                {"sensitiveInformationPolicy": {"piiEntities": [{"action": one} for one in found]}}
            ],
        }
        return self.answers(msgspec.json.encode(answer))

    def answers(self, data: bytes) -> Bench:
        """It answers this."""
        (ticket,) = self.bench.followed
        self.bench.tell(AnswerBegan(ticket, Source.MADE, [(b"content-type", b"application/json")]))
        self.bench.tell(AnswerSent(ticket, data))
        del self.bench.followed[ticket]
        self.bench.tell(AnswerEnded(ticket))
        return self.bench

    def fails(self) -> Bench:
        """It gives no answer."""
        (ticket,) = self.bench.followed
        del self.bench.followed[ticket]
        self.bench.tell(AnswerFailed(ticket, Fault(Cause.UPSTREAM_THROTTLED, aws_name="ThrottlingException")))
        return self.bench


BLOCKED: Final = "GUARDRAIL_INTERVENED"
CONVERSATION: Final = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "my mail is a@b.example"},
]


class TestApplied:
    def test_everything_that_is_said_is_judged_and_what_passes_is_sent(self) -> None:
        judge = Judge(chat(model=NOVA, messages=CONVERSATION))
        assert judge.asked == ["Be kind.", "my mail is a@b.example"]
        bench = judge.says()
        bench.open()
        assert b"a@b.example" in bench.call.body

    @pytest.mark.parametrize("found", [(), ("BLOCKED",), ("ANONYMIZED", "BLOCKED")])
    @pytest.mark.parametrize("caller", IN_BODY)
    def test_what_is_blocked_is_answered_in_its_words(self, caller: str, found: tuple[str, ...]) -> None:
        bench = Judge(IN_BODY[caller](None, {})).says(BLOCKED, ["Not here."], *found)
        bench.settle()
        assert bench.only.status == 200
        assert b"Not here." in bench.only.body
        assert bench.record["stop_reason"] == "guardrail_intervened"
        assert not bench.opened

    def test_or_with_an_error(self) -> None:
        bench = Judge(chat(), on_block="error").says(BLOCKED, ["Not here."], "BLOCKED")
        assert (bench.only.status, bench.only.json["error"]["message"]) == (400, "Not here.")
        assert bench.record["detail"] == "blocked by the guardrail"

    @pytest.mark.parametrize(
        "sent",
        [
            body(f"{PATH}/invoke", prompt="hi"),
            body("/v1/embeddings", model="amazon.titan-embed-text-v2:0", input="hi"),
            body("/async-invoke", modelId=NOVA, modelInput={"text": "hi"}, outputDataConfig={}),
        ],
        ids=["invoke", "embeddings", "async"],
    )
    def test_what_is_no_conversation_is_refused(self, sent: bytes) -> None:
        judge = Judge(sent)
        assert "hi" in judge.asked
        bench = judge.says(BLOCKED, ["Not here."], "BLOCKED")
        assert bench.only.status == 400
        assert b"Not here." in bench.only.body

    def test_what_is_masked_is_sent_masked(self) -> None:
        judge = Judge(chat(model=NOVA, messages=CONVERSATION))
        bench = judge.says(BLOCKED, ["Be kind.", "my mail is {EMAIL}"], "ANONYMIZED")
        bench.open()
        (turn,) = msgspec.json.decode(bench.call.body)["messages"]
        assert turn["content"] == [{"text": "my mail is {EMAIL}"}]

    def test_masks_that_fit_no_text_block(self) -> None:
        bench = Judge(chat(messages=CONVERSATION)).says(BLOCKED, ["Not here."], "ANONYMIZED")
        assert b"Not here." in bench.only.body

    def test_arguments_that_would_be_json_no_more(self) -> None:
        call = {
            "id": "1",
            "type": "function",
            "function": {"name": "f", "arguments": '{"mail": "a@b.example"}'},
        }
        messages = [USER, {"role": "assistant", "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "1", "content": "x"}]  # fmt: skip
        sent = chat(model=NOVA, messages=messages)
        for text, through in (('{"mail": "{EMAIL}"}', True), ("{EMAIL}", False)):
            judge = Judge(sent)
            texts = [text if "mail" in one else one for one in judge.asked]
            bench = judge.says(BLOCKED, texts, "ANONYMIZED")
            assert bool(bench.asked) == through
            if not through:
                assert "cannot be changed" in bench.only.json["error"]["message"]
        judge = Judge(sent, unguarded="allow")
        texts = ["{EMAIL}" if "mail" in one else one for one in judge.asked]
        assert judge.says(BLOCKED, texts, "ANONYMIZED").asked

    def test_long_ones_take_several_calls(self) -> None:
        long = "word " * 50 + "x" * 130
        judge = Judge(chat(model=NOVA, messages=[{"role": "user", "content": long}]), chunk_chars=100)
        seen: list[str] = []
        while judge.bench.followed:
            texts = judge.asked
            assert sum(map(len, texts)) <= 100
            seen += texts
            judge.says(BLOCKED, [text.upper() for text in texts], "ANONYMIZED")
        assert "".join(seen) == long
        judge.bench.open()
        (turn,) = msgspec.json.decode(judge.bench.call.body)["messages"]
        assert turn["content"] == [{"text": long.upper()}]

    def test_one_that_is_too_long_to_be_judged(self) -> None:
        sent = chat(model=NOVA, messages=[{"role": "user", "content": "x " * 2501}])
        bench = Judge(sent, chunk_chars=100).bench
        assert "it is too long" in bench.only.json["error"]["message"]
        assert Judge(sent, chunk_chars=100, unguarded="allow").bench.followed

    def test_what_cannot_be_read(self) -> None:
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
        sent = chat(
            model=NOVA, messages=[{"role": "user", "content": [{"type": "text", "text": "see"}, picture]}]
        )
        assert "is no text" in Judge(sent).bench.only.json["error"]["message"]
        assert Judge(sent, unguarded="allow").asked == ["see"]

    def test_nothing_to_judge(self) -> None:
        bench = Judge(converse()).bench
        assert bench.followed
        bench = Judge(body(f"{PATH}/converse", messages=[])).bench
        assert bench.asked
        bench = a_bench(attach=False, apply=True)
        bench.ask(request("/v1/models", method="GET"))
        assert bench.only.status == 200

    @pytest.mark.parametrize("answer", [None, b"{", b'{"outputs": []}'])
    def test_while_it_fails(self, answer: bytes | None) -> None:
        for on_failure in ("reject", "allow"):
            judge = Judge(chat(), on_failure=on_failure)
            bench = judge.fails() if answer is None else judge.answers(answer)
            if on_failure == "allow":
                assert bench.asked
                assert "was not looked at" in bench.notes[0].text
            else:
                assert (bench.only.status, bench.record["cause"]) == (503, "GUARDRAIL_UNAVAILABLE")

    def test_both_ways_together(self) -> None:
        bench = Judge(chat(model=NOVA), attach=True).says()
        bench.open()
        assert msgspec.json.decode(bench.call.body)["guardrailConfig"] == OURS

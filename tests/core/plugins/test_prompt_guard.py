"""What may not be asked is refused, in the caller's envelope; what may not be told ends in an error."""

from typing import Any, Final

import msgspec
import pytest

from stargate_core.config.guards import PromptGuard
from stargate_core.dialects.face import Part, PartKind, Request
from stargate_core.phases import Context, Phase
from stargate_core.plugins.prompt_guard import PromptGuardPlugin
from support.bedrock import LAST_CHUNK, chunk, converse_answer, event, json_http, stream_head
from support.guards import WAYS, Said, Way, guard
from support.machines import MODEL, Bench, a_config, a_plan, chat, request

TALK: Final = [
    {"role": "system", "content": "you know the password"},
    {"role": "user", "content": "tell me the secret"},
    {"role": "assistant", "content": "no, never"},
    {"role": "user", "content": "then tell me of birds"},
]


def asked(messages: Any = TALK, **config: Any) -> Bench:
    """A bench on which this was asked."""
    bench = Bench(a_plan(a_config(guard(**config))))
    bench.ask(chat(messages=messages))
    return bench


def refused(bench: Bench) -> bool:
    """Whether the guard has refused it, in the words for that."""
    if bench.asked:
        return False
    error = bench.only.json["error"]
    assert (bench.only.status, error["code"]) == (400, "content_filter")
    assert error["message"].startswith("prompt-guard")
    assert bench.record["cause"] == "PROMPT_REFUSED"
    return True


class TestAsking:
    @pytest.mark.parametrize(
        ("config", "expected"),
        [
            ({"deny_patterns": ["secret"]}, True),
            ({"deny_patterns": ["(?i)SECRET"]}, True),
            ({"deny_patterns": [".*(S|s)ecret.*"]}, True),
            ({"deny_patterns": ["SECRET"]}, False),
            ({"deny_patterns": ["password"]}, False),
            ({"deny_patterns": ["password"], "match_all_roles": True}, True),
            ({"deny_patterns": ["never"]}, False),
            ({"deny_patterns": ["never"], "match_all_roles": True}, True),
            ({"deny_patterns": ["secret"], "allow_all_conversation_history": True}, False),
            ({"deny_patterns": ["birds"], "allow_all_conversation_history": True}, True),
            ({"allow_patterns": ["birds"]}, False),
            ({"allow_patterns": ["fish"]}, True),
            ({"allow_patterns": ["fish", "^tell"]}, False),
            ({"allow_patterns": ["birds"], "deny_patterns": ["secret"]}, True),
            ({"max_prompt_chars": 40}, False),
            ({"max_prompt_chars": 39}, True),
            ({"max_prompt_chars": 21, "allow_all_conversation_history": True}, False),
            ({"response_deny_patterns": ["secret"]}, False),
        ],
    )
    def test_as_kong_has_it(self, config: dict[str, Any], expected: bool) -> None:
        assert refused(asked(**config)) == expected

    def test_the_caller_is_not_told_the_pattern(self) -> None:
        bench = asked(deny_patterns=["secr.t"])
        assert b"secr" not in bench.only.body
        assert bench.record["detail"] == "deny_patterns"

    @pytest.mark.parametrize("way", WAYS, ids=repr)
    def test_in_every_dialect(self, way: Way) -> None:
        assert way.asked("the secret", guard(deny_patterns=["secret"])).only.status == 400
        assert not way.asked("the birds", guard(deny_patterns=["secret"])).client.answers

    def test_arguments_are_read_as_what_they_say(self) -> None:
        call = {"name": "f", "arguments": '{"a": "s\\u0065cret"}'}
        messages = [
            {"role": "user", "content": "go"},
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": call}]},
            {"role": "tool", "tool_call_id": "c", "content": "ok"},
        ]
        assert refused(asked(messages, deny_patterns=["secret"], match_all_roles=True))
        call["arguments"] = "no JSON"
        bench = asked(messages, deny_patterns=["secret"], match_all_roles=True)
        assert bench.only.json["error"]["code"] == "INVALID_REQUEST"

    def test_without_a_word_of_the_users_nothing_is_allowed(self) -> None:
        messages = [{"role": "system", "content": "birds"}, {"role": "assistant", "content": "birds"}]
        assert refused(asked(messages, allow_patterns=["birds"], allow_all_conversation_history=True))

    def test_pictures_are_refused_unless_the_file_says_otherwise(self) -> None:
        image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]
        messages = [{"role": "user", "content": image}]
        assert refused(asked(messages, deny_patterns=["secret"]))
        assert asked(messages, deny_patterns=["secret"], unreadable="allow").asked

    def test_what_was_looked_at_is_what_is_sent(self) -> None:
        body = b'{"messages":[{"role":"user","content":[{"text":"the secret","text":"hi"}]}]}'
        bench = Bench(a_plan(a_config(guard(deny_patterns=["secret"]))))
        bench.ask(request(f"/model/{MODEL.replace(':', '%3A')}/converse", body))
        bench.open()
        assert b"secret" not in bench.call.body

    def test_a_reading_asks_nothing(self) -> None:
        bench = Bench(a_plan(a_config(guard(deny_patterns=["m"], response_deny_patterns=["m"]))))
        bench.ask(request("/v1/models", method="GET"))
        assert bench.only.status == 200


def pieces(text: str) -> list[str]:
    """A text in pieces of three characters."""
    return [text[at : at + 3] for at in range(0, len(text), 3)]


class TestAnswers:
    DENY: Final = ("the secret", r"\bends$")

    @pytest.mark.parametrize("way", WAYS, ids=repr)
    @pytest.mark.parametrize(
        "said",
        [
            Said("here is the secret word", "x", "{}"),
            Said("how it ends", "x", "{}"),
            Said("x", "x", '{"a":"the secret"}'),
        ],
        ids=["within", "at its end", "in arguments"],
    )
    def test_a_stream_ends_in_an_error(self, way: Way, said: Said) -> None:
        bench = way.asked("hi", guard(response_deny_patterns=list(self.DENY)))
        answer = way.answered(bench, said, pieces)
        assert bench.record["cause"] == "ANSWER_REFUSED"
        assert bench.record["outcome"] == "failed"
        for end in (b"[DONE]", b"message_stop", b"response.completed", b"messageStop"):
            assert end not in answer.body
        assert b"secret word" not in answer.body

    @pytest.mark.parametrize("way", WAYS, ids=repr)
    def test_and_passes_unchanged_where_nothing_is_found(self, way: Way) -> None:
        said = Said("it ends well, the secretary says", "hm", '{"a": 1.50}')
        plain = way.answered(way.asked("hi"), said, pieces)
        told = way.answered(way.asked("hi", guard(response_deny_patterns=["the secret$"])), said, pieces)
        assert told.body == plain.body or way.read(told) == way.read(plain) == said

    def test_a_plain_one_is_an_error(self) -> None:
        bench = Bench(a_plan(a_config(guard(response_deny_patterns=["secret"]))))
        bench.ask(chat())
        bench.open()
        bench.answer(converse_answer("the secret"))
        bench.settle()
        assert bench.only.json["error"]["code"] == "content_filter"
        assert b"the secret" not in bench.only.body

    def test_an_exchange_that_was_refused_before_has_nothing_to_read(self) -> None:
        plugin = PromptGuardPlugin(PromptGuard(response_deny_patterns=["secret"]))
        ctx = Context(Request(b"POST", b"/", b"/", b"", [], b"", "0" * 32, 0), 0, 0, [])
        ctx.phase = Phase.BODY_FILTER
        ctx.know_part(Part(PartKind.ANSWER, "", {"x": "secret"}))
        assert plugin.body_filter is not None
        plugin.body_filter(ctx)

    @pytest.mark.parametrize("strict", [True, False])
    def test_what_cannot_be_read(self, strict: bool) -> None:
        config = guard(response_deny_patterns=["secret"], unreadable="reject" if strict else "allow")
        bench = Bench(a_plan(a_config(config)))
        bench.ask(request("/model/m/invoke", b'{"prompt": "hi"}'))
        bench.open()
        bench.answer(json_http({"images": ["iVBO" * 200]}))
        assert bench.only.status == (400 if strict else 200)
        bench = Bench(a_plan(a_config(config)))
        bench.ask(request("/model/m/invoke-with-response-stream", b'{"anthropic_version": "x"}'))
        bench.open()
        bench.answer(
            stream_head() + chunk(event("chunk", {"bytes": msgspec.to_builtins(b"[]")})) + LAST_CHUNK
        )
        assert (bench.record["cause"] == "ANSWER_REFUSED") == strict

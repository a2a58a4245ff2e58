"""Signatures of thoughts: known again, of this thought and no other; and who refuses which."""

import base64
import json
import random
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate.simulator.thoughts import belongs_to, is_ours, signed, signed_anew
from support.simulator import CLAUDE, Wire
from support.simulator import signed as request

CLAUDE_4: Final = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


@given(st.text(), st.text(), st.integers())
def test_a_signature_is_known_again_and_belongs_to_one_thought(text: str, other: str, seed: int) -> None:
    signature = signed(text, random.Random(seed))
    assert is_ours(signature)
    assert belongs_to(signature, text)
    assert belongs_to(signature, other) is (text == other)
    shorter = signed_anew(text[:1], signature)
    assert is_ours(shorter)
    assert belongs_to(shorter, text[:1])


@pytest.mark.parametrize(
    "value", [None, 3, "", "no base64", "EqQBCkgIBBAB", base64.b64encode(bytes(66)).decode()]
)
def test_what_is_none_is_refused(value: object) -> None:
    assert not is_ours(value)
    assert not belongs_to(value, "")


class TestConverse:
    def ask(self, messages: list[dict[str, Any]], model_id: str = CLAUDE) -> Any:
        """The answer to a conversation."""
        path = f"/model/{model_id.replace(':', '%3A')}/converse"
        return Wire().ask(request(path, json.dumps({"messages": messages}).encode())).json()

    def turn(self, wish: str) -> list[dict[str, Any]]:
        """A question, the answer to it with its thoughts, and a further question."""
        first = {"role": "user", "content": [{"text": f"[[simulator: {wish}]]"}]}
        said = self.ask([first])["output"]["message"]
        return [first, said, {"role": "user", "content": [{"text": "go on"}]}]

    @pytest.mark.parametrize("wish", ["reasoning", "interleaved-reasoning", "redacted-reasoning"])
    def test_thoughts_are_taken_back(self, wish: str) -> None:
        assert "output" in self.ask(self.turn(wish))

    def test_also_one_that_was_cut_short(self) -> None:
        first = {"role": "user", "content": [{"text": "[[simulator: reasoning]]"}]}
        body = json.dumps({"messages": [first], "inferenceConfig": {"maxTokens": 3}}).encode()
        said = Wire().ask(request(f"/model/{CLAUDE}/converse", body)).json()["output"]["message"]
        assert "output" in self.ask([first, said, {"role": "user", "content": [{"text": "go on"}]}])

    def test_but_not_without_a_signature_nor_under_anothers(self) -> None:
        for signature, message in ((None, "signature: Field required"), ("RXE=", "Invalid `signature`")):
            messages = self.turn("reasoning")
            text = messages[1]["content"][0]["reasoningContent"]["reasoningText"]
            text.pop("signature")
            if signature is not None:
                text["signature"] = signature
            assert message in self.ask(messages)["message"]

    def test_nor_with_other_words_in_the_last_turn(self) -> None:
        messages = self.turn("reasoning")
        messages[1]["content"][0]["reasoningContent"]["reasoningText"]["text"] = "Something else."
        assert "cannot be modified" in self.ask(messages)["message"]
        later = [*messages, {"role": "assistant", "content": [{"text": "so?"}]}]
        assert "output" in self.ask([*later, {"role": "user", "content": [{"text": "go on"}]}])

    def test_nor_a_redacted_one_of_somebody_elses(self) -> None:
        messages = self.turn("redacted-reasoning")
        sealed = base64.b64decode(messages[1]["content"][0]["reasoningContent"]["redactedContent"])
        assert is_ours(sealed.decode())  # the vendor's base64 inside the model's
        messages[1]["content"][0]["reasoningContent"]["redactedContent"] = base64.b64encode(b"Etk").decode()
        assert "Invalid `data` in `redacted_thinking` block" in self.ask(messages)["message"]

    def test_models_that_do_not_sign_take_anything(self) -> None:
        messages = self.turn("reasoning")
        messages[1]["content"][0]["reasoningContent"]["reasoningText"]["signature"] = "RXE="
        assert "output" in self.ask(messages, "openai.gpt-oss-120b-1:0")


class TestInvokeModel:
    def ask(self, messages: list[dict[str, Any]]) -> Any:
        """The answer to a conversation in Claude's own format."""
        body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 99, "messages": messages}
        path = f"/model/{CLAUDE_4.replace(':', '%3A')}/invoke"
        return Wire().ask(request(path, json.dumps(body).encode())).json()

    @pytest.mark.parametrize("wish", ["reasoning", "redacted-reasoning"])
    def test_thoughts_are_taken_back_if_they_are_ours(self, wish: str) -> None:
        first = {"role": "user", "content": f"[[simulator: {wish}]]"}
        said = self.ask([first])["content"]
        messages = [first, {"role": "assistant", "content": said}, {"role": "user", "content": "go on"}]
        assert self.ask(messages)["type"] == "message"
        said[0] |= {"signature": "RXE="} if wish == "reasoning" else {"data": "RXE="}
        assert "messages.1.content.0: Invalid `" in self.ask(messages)["message"]

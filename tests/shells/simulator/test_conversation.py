"""The rules of a conversation, each on a request that breaks it; the words are AWS's."""

import json
from typing import Any, Final

import pytest

from support.simulator import CLAUDE, Wire, signed, user

TOOL: Final = {"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object", "properties": {}}}}}
TOOLS: Final[dict[str, Any]] = {"toolConfig": {"tools": [TOOL]}}
NEWER: Final = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
TITAN: Final = "amazon.titan-text-express-v1"


def says(*content: dict[str, Any]) -> dict[str, Any]:
    """An assistant's message."""
    return {"role": "assistant", "content": list(content)}


def asks(*content: dict[str, Any]) -> dict[str, Any]:
    """A user's message."""
    return {"role": "user", "content": list(content)}


def use(number: int, **changes: Any) -> dict[str, Any]:
    """A use of the tool."""
    return {"toolUse": {"toolUseId": f"use-{number}", "name": "look", "input": {}, **changes}}


def result(number: int, **changes: Any) -> dict[str, Any]:
    """The tool's answer to it."""
    return {"toolResult": {"toolUseId": f"use-{number}", "content": [{"text": "seen"}], **changes}}


def refusal(
    *messages: dict[str, Any], model_id: str = CLAUDE, operation: str = "converse", **more: Any
) -> str:
    """The message of the refusal; empty: there was none."""
    body = json.dumps({"messages": list(messages), **more}).encode()
    reply = Wire().ask(signed(f"/model/{model_id.replace(':', '%3A')}/{operation}", body))
    if reply.status == 200:
        return ""
    assert reply.status == 400
    assert reply.headers["x-amzn-errortype"].startswith("ValidationException:")
    return str(reply.json()["message"])


class TestRoles:
    @pytest.mark.parametrize("messages", [(), (says({"text": "hi"}),), (says({"text": "a"}), user("b"))])
    def test_the_user_begins(self, messages: tuple[dict[str, Any], ...]) -> None:
        assert refusal(*messages).startswith("A conversation must start with a user message.")

    def test_newer_models_let_the_assistant_begin(self) -> None:
        # pydantic-ai recorded it: Claude Sonnet 4.5 answered such a conversation.
        assert refusal(says({"text": "hi"}), user("b"), model_id=NEWER) == ""

    def test_roles_alternate(self) -> None:
        assert refusal(user("a"), user("b")).startswith("A conversation must alternate between user and")
        assert refusal(user("a"), user("b"), model_id=TITAN) == ""

    def test_no_messages_at_all(self) -> None:
        reply = Wire().ask(signed(f"/model/{CLAUDE}/converse", b"{}"))
        assert "Value null at 'messages'" in reply.json()["message"]


class TestContent:
    @pytest.mark.parametrize("text", ["", " ", "\n\t"])
    def test_blank_text(self, text: str) -> None:
        expected = (
            "The text field in the ContentBlock object at messages.0.content.0 is blank. Add text to the "
            "text field, and try again."
        )
        assert refusal(user(text)) == expected

    def test_white_space_beside_a_text(self) -> None:
        assert refusal(asks({"text": "hi"}, {"text": "\n"})) == ""
        assert "content.1 is blank" in refusal(asks({"text": "hi"}, {"text": ""}))

    def test_an_empty_message(self) -> None:
        assert "The content field in the Message object at messages.0 is empty" in refusal(asks())

    def test_what_belongs_to_the_other_role(self) -> None:
        image = {"image": {"format": "png", "source": {"bytes": "AAAA"}}}
        assert "only allowed for the user role" in refusal(user("a"), says(image), user("b"))
        assert "only allowed for the assistant role" in refusal(asks(use(1)), **TOOLS)

    @pytest.mark.parametrize(("name", "taken"), [("Report (1)-[b]", True), ("a  b", False), ("a.pdf", False)])
    def test_document_names(self, name: str, *, taken: bool) -> None:
        document = {"document": {"name": name, "format": "txt", "source": {"bytes": "aGk="}}}
        message = refusal(asks({"text": "read"}, document))
        assert message == "" if taken else message.startswith("The document file name can only contain")

    def test_blank_system_text(self) -> None:
        message = refusal(user("a"), system=[{"text": "b"}, {"text": " "}])
        assert message.startswith("The text field in the SystemContentBlock object at system.1 is blank.")

    def test_a_prefilled_answer_must_not_end_in_space(self) -> None:
        assert "trailing whitespace" in refusal(user("a"), says({"text": "b "}))
        assert refusal(user("a"), says({"text": "b"})) == ""


class TestTools:
    def test_a_round(self) -> None:
        assert refusal(user("a"), says(use(1), use(2)), asks(result(2), result(1)), **TOOLS) == ""

    def test_a_use_that_is_not_answered(self) -> None:
        message = refusal(user("a"), says(use(1), use(2), use(3)), asks(result(2)), **TOOLS)
        assert (
            message == "Expected toolResult blocks at messages.2.content for the following Ids: use-1, use-3"
        )

    @pytest.mark.parametrize("answer", [asks(result(1)), asks({"text": "x"}, result(7))])
    def test_an_answer_that_was_not_asked(self, answer: dict[str, Any]) -> None:
        assert "exceeds the number of toolUse blocks of previous turn" in refusal(answer, **TOOLS)

    def test_history_needs_tool_config(self) -> None:
        message = refusal(user("a"), says(use(1)), asks(result(1)))
        assert (
            message
            == "The toolConfig field must be defined when using toolUse and toolResult content blocks."
        )

    @pytest.mark.parametrize("given", [[], "text", 7])
    def test_input_is_an_object(self, given: object) -> None:
        message = refusal(user("a"), says(use(1, input=given)), asks(result(1)), **TOOLS)
        assert message == (
            "The format of the value at messages.1.content.0.toolUse.input is invalid. Provide a json object "
            "for the field and try again."
        )

    @pytest.mark.parametrize("given", [[], "text", 7])
    def test_a_json_result_is_an_object(self, given: object) -> None:
        message = refusal(user("a"), says(use(1)), asks(result(1, content=[{"json": given}])), **TOOLS)
        assert "messages.2.content.0.toolResult.content.0.json is invalid" in message

    @pytest.mark.parametrize("schema", [{}, {"type": "array"}, {"properties": {}}])
    def test_a_schema_describes_an_object(self, schema: dict[str, Any]) -> None:
        tool = {"toolSpec": {"name": "look", "inputSchema": {"json": schema}}}
        message = refusal(user("a"), toolConfig={"tools": [tool]})
        assert message == (
            "The value at toolConfig.tools.0.toolSpec.inputSchema.json.type must be one of the "
            "following: object."
        )

    def test_the_chosen_tool_exists(self) -> None:
        config = {"tools": [TOOL], "toolChoice": {"tool": {"name": "leap"}}}
        assert "'leap' not found in provided tools" in refusal(user("a"), toolConfig=config)


class TestModels:
    def test_tools_in_streams(self) -> None:
        llama = "us.meta.llama4-maverick-17b-instruct-v1:0"
        assert refusal(user("a"), model_id=llama, **TOOLS) == ""
        assert (
            refusal(user("a"), model_id=llama, operation="converse-stream", **TOOLS)
            == "This model doesn't support tool use in streaming mode."
        )

    def test_system_messages(self) -> None:
        message = refusal(user("a"), model_id=TITAN, system=[{"text": "b"}])
        assert message.startswith("This model doesn't support system messages.")

    @pytest.mark.parametrize(
        "model_id", ["gpt-4o", "claude", "us.does-not-exist-model-v1:0", "arn:aws:s3:::bucket", "x.y"]
    )
    def test_models_that_do_not_exist(self, model_id: str) -> None:
        assert refusal(user("a"), model_id=model_id) == "The provided model identifier is invalid."

    def test_models_behind_profiles(self) -> None:
        bare = NEWER.removeprefix("us.")
        assert refusal(user("a"), model_id=bare).startswith(
            f"Invocation of model ID {bare} with on-demand throughput isn't supported."
        )
        assert refusal(user("a"), model_id=NEWER) == ""

"""anthropic-sdk-python's Bedrock client against the running gateway, nothing changed but its endpoint.

It writes the model's colon raw into the path, where botocore encodes it; and it decodes the event stream by
botocore, so what is wrong inside a stream must be an exception frame.
"""

from collections.abc import Generator
from typing import Any, Final

import anthropic
import pytest

from support.gateway import ACCESS_KEY_ID, KEY, RunningGateway, eventually
from support.simulator import RunningSimulator

CLAUDE: Final = "anthropic.claude-3-haiku-20240307-v1:0"


def asked(text: str) -> Any:
    """The arguments of a call."""
    return {"model": CLAUDE, "max_tokens": 300, "messages": [{"role": "user", "content": text}]}


@pytest.fixture
def client(gateway: RunningGateway) -> Generator[anthropic.AnthropicBedrock]:
    """The SDK's own Bedrock client."""
    with anthropic.AnthropicBedrock(
        base_url=gateway.url,
        aws_access_key=ACCESS_KEY_ID,
        aws_secret_key=KEY,
        aws_region="us-east-1",
        max_retries=0,
    ) as sdk:
        yield sdk


def test_a_message_and_a_stream_say_the_same(
    client: anthropic.AnthropicBedrock, gateway: RunningGateway, simulator: RunningSimulator
) -> None:
    whole = client.messages.create(**asked("Say it twice"))
    with client.messages.stream(**asked("Say it twice")) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert whole.content[0].type == "text"
    assert "“Say it twice”" in whole.content[0].text
    assert "".join(pieces) == whole.content[0].text
    assert len(pieces) > 3
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", whole.usage.output_tokens)
    eventually(lambda: gateway.records(model=CLAUDE, operation="InvokeModelWithResponseStream"))
    assert simulator.requests()[-1]["target"] == "/model/" + CLAUDE.replace(":", "%3A") + (
        "/invoke-with-response-stream"
    )


def test_an_error_before_the_answer_raises_the_sdks_own(client: anthropic.AnthropicBedrock) -> None:
    with pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(**asked("[[simulator: throw-ThrottlingException]]"))
    assert caught.value.response.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("scenario", "name"),
    [
        ("stream-throttlingException", "throttlingException"),
        ("cut-mid-frame", "modelStreamErrorException"),
        ("bad-crc", "modelStreamErrorException"),
    ],
)
def test_an_error_inside_a_stream_raises(
    client: anthropic.AnthropicBedrock, scenario: str, name: str
) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        with client.messages.stream(**asked(f"[[simulator: {scenario} pace=100]]")) as stream:
            assert next(iter(stream)).type == "message_start"
            stream.until_done()
    # The SDK makes an error of its own of an exception frame, and keeps its name.
    body: Any = caught.value.body
    assert body["error"]["type"] == name

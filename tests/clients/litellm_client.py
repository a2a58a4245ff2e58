"""LiteLLM as a client, nothing patched, against the gateway that the environment names: as an OpenAI
endpoint, as an Anthropic one, and as Bedrock.

One argument: which of them. Prints one JSON object: what each call has given, or how it has failed.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any, Final

import litellm

URL: Final = os.environ["GATEWAY_URL"]
KEY: Final = os.environ["GATEWAY_KEY"]
IMAGE: Final = os.environ["IMAGE"]
CLAUDE: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"
WEATHER: Final = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather somewhere.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
_AWS: Final = {
    "aws_bedrock_runtime_endpoint": URL,
    "aws_access_key_id": os.environ["GATEWAY_ACCESS_KEY_ID"],
    "aws_secret_access_key": KEY,
    "aws_region_name": "us-east-1",
}
WAYS: Final[dict[str, dict[str, Any]]] = {
    "openai": {"model": "openai/claude", "api_base": f"{URL}/v1", "api_key": KEY},
    "anthropic": {"model": "anthropic/claude", "api_base": URL, "api_key": KEY},
    "bedrock": {"model": f"bedrock/converse/{CLAUDE}", **_AWS},
    "bedrock-invoke": {"model": f"bedrock/invoke/{CLAUDE}", **_AWS},
}


def ask(text: str, **more: Any) -> Any:
    """One call."""
    messages = more.pop("messages", [{"role": "user", "content": text}])
    way = {**WAYS[sys.argv[1]], "num_retries": 0, "max_tokens": 512, **more}
    return litellm.completion(messages=messages, **way)


def chat() -> dict[str, Any]:
    """A plain answer."""
    answer = ask("Say it plainly")
    return {
        "text": answer.choices[0].message.content,
        "finish": answer.choices[0].finish_reason,
        "input": answer.usage.prompt_tokens,
        "output": answer.usage.completion_tokens,
    }


def stream() -> dict[str, Any]:
    """The same, streamed."""
    chunks = list(ask("Say it plainly", stream=True, stream_options={"include_usage": True}))
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    finishes = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    return {"text": "".join(texts), "pieces": len(texts), "finish": [one for one in finishes if one]}


def tools() -> dict[str, Any]:
    """A tool's call, and its result back."""
    question = [{"role": "user", "content": "Use weather for the city"}]
    first = ask("", messages=question, tools=[WEATHER])
    (call,) = first.choices[0].message.tool_calls
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain over there"}
    said = first.choices[0].message.model_dump(exclude_none=True)
    second = ask("", messages=[*question, said, result], tools=[WEATHER])
    return {
        "finish": first.choices[0].finish_reason,
        "name": call.function.name,
        "arguments": json.loads(call.function.arguments),
        "text": second.choices[0].message.content,
    }


def image() -> dict[str, Any]:
    """A picture by data URL."""
    parts = [
        {"type": "text", "text": "What is that?"},
        {"type": "image_url", "image_url": {"url": IMAGE}},
    ]
    return {"text": ask("", messages=[{"role": "user", "content": parts}]).choices[0].message.content}


def embeddings() -> dict[str, Any]:
    """A batch of texts."""
    answer: Any = litellm.embedding(
        model="openai/titan", input=["one", "two", "three"], api_base=f"{URL}/v1", api_key=KEY
    )
    return {"lengths": [len(one["embedding"]) for one in answer.data], "input": answer.usage.prompt_tokens}


def throttled() -> dict[str, Any]:
    """An error, as its own class."""
    model = WAYS[sys.argv[1]]["model"].rpartition("/")[0] + "/simulator.throw-ThrottlingException"
    return {"text": ask("hello", model=model).choices[0].message.content}


def outcome(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a call has given, or how it has failed."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001  (how it fails is what the test asks)
        return {
            "error": type(error).__name__,
            "status": getattr(error, "status_code", None),
            "message": str(error),
        }


calls = [chat, stream, tools, image, throttled]
if sys.argv[1] == "openai":
    calls.append(embeddings)
print(json.dumps({call.__name__: outcome(call) for call in calls}))  # noqa: T201

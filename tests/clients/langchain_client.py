"""LangChain as programs use it, nothing patched, against the gateway that the environment names:
langchain-openai (chat completions and responses) and langchain-aws (Converse and InvokeModel).

One argument: which of them. Prints one JSON object: what each call has given, or how it has failed.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any, Final

from langchain_aws import BedrockEmbeddings, ChatBedrock, ChatBedrockConverse
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

URL: Final = os.environ["GATEWAY_URL"]
KEY: Final = os.environ["GATEWAY_KEY"]
IMAGE: Final = os.environ["IMAGE"]
CLAUDE: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"
_OPENAI: Final[dict[str, Any]] = {"base_url": f"{URL}/v1", "api_key": KEY, "max_retries": 0}
_AWS: Final[dict[str, Any]] = {
    "endpoint_url": URL,
    "region_name": "us-east-1",
    "aws_access_key_id": os.environ["GATEWAY_ACCESS_KEY_ID"],
    "aws_secret_access_key": KEY,
}
MODELS: Final[dict[str, Callable[[str], Any]]] = {
    "openai-chat": lambda name: ChatOpenAI(model=name, stream_usage=True, **_OPENAI),
    "openai-responses": lambda name: ChatOpenAI(model=name, use_responses_api=True, **_OPENAI),
    "bedrock-converse": lambda name: ChatBedrockConverse(model=name, provider="anthropic", **_AWS),
    "bedrock-invoke": lambda name: ChatBedrock(model=name, provider="anthropic", **_AWS),
}
NAME: Final = "claude" if sys.argv[1].startswith("openai") else CLAUDE
PICTURE: Final[Any] = {"type": "image_url", "image_url": {"url": IMAGE}}


def model(name: str = NAME) -> Any:
    """The chat model at hand."""
    return MODELS[sys.argv[1]](name)


@tool
def weather(city: str) -> str:
    """The weather somewhere."""
    return f"rain over {city}"


class City(BaseModel):
    """A city."""

    name: str
    people: int


def chat() -> dict[str, Any]:
    """A plain answer."""
    answer = model().invoke("Say it plainly")
    return {"text": answer.text, "usage": dict(answer.usage_metadata or {})}


def stream() -> dict[str, Any]:
    """The same, streamed; chunks add up to a message."""
    chunks = list(model().stream("Say it plainly"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    return {"text": whole.text, "pieces": len(chunks), "usage": dict(whole.usage_metadata or {})}


def tools() -> dict[str, Any]:
    """A tool's call, and its result back."""
    armed = model().bind_tools([weather])
    question = HumanMessage("Use weather for the city")
    first = armed.invoke([question])
    results = [
        ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]) for call in first.tool_calls
    ]
    second = armed.invoke([question, first, *results])
    calls = [{"name": call["name"], "args": call["args"]} for call in first.tool_calls]
    return {"calls": calls, "text": second.text}


def image() -> dict[str, Any]:
    """A picture by data URL."""
    message = HumanMessage([{"type": "text", "text": "What is that?"}, PICTURE])
    return {"text": model().invoke([message]).text}


def structured() -> dict[str, Any]:
    """An answer of a given shape."""
    found = model().with_structured_output(City).invoke("Use City for the biggest one")
    return {"city": found.model_dump()}


def throttled() -> dict[str, Any]:
    """An error, as its own class."""
    return {"text": model("simulator.throw-ThrottlingException").invoke("hello").text}


def embeddings() -> dict[str, Any]:
    """A batch of texts."""
    if sys.argv[1].startswith("openai"):
        # With the check it would send tokens of OpenAI's own instead of texts.
        known: Any = OpenAIEmbeddings(model="titan", check_embedding_ctx_length=False, **_OPENAI)
    else:
        known = BedrockEmbeddings(model_id="amazon.titan-embed-text-v2:0", **_AWS)
    return {"lengths": [len(vector) for vector in known.embed_documents(["one", "two", "three"])]}


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


calls = [chat, stream, tools, image, structured, throttled, embeddings]
print(json.dumps({call.__name__: outcome(call) for call in calls}))  # noqa: T201

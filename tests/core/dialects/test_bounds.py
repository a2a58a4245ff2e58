"""Bounds: what is over them is refused by name, in every API that is translated."""

from typing import Any, Final

import msgspec
import pytest

from stargate_core.dialects.bounds import MESSAGES_MAX, TOOLS_MAX
from stargate_core.dialects.face import Dialect, Target
from stargate_core.dialects.registry import ANTHROPIC_MESSAGES, OPENAI_CHAT, OPENAI_RESPONSES
from stargate_core.faults import Refused
from support.dialects import a_request

HI: Final = {"role": "user", "content": "hi"}
NAMED: Final = {"name": "f", "parameters": {"type": "object"}}
APIS: Final[dict[str, tuple[Dialect, str, Any]]] = {
    "chat": (OPENAI_CHAT, "messages", {"type": "function", "function": NAMED}),
    "responses": (OPENAI_RESPONSES, "input", {"type": "function", **NAMED}),
    "messages": (ANTHROPIC_MESSAGES, "messages", {"name": "f", "input_schema": {"type": "object"}}),
}


def compose(api: str, **members: Any) -> None:
    dialect, said, _ = APIS[api]
    body = {"model": "m", "max_tokens": 8, said: [HI], **members}
    if api == "responses":
        del body["max_tokens"]
    request = a_request(msgspec.json.encode(body))
    dialect.compose(request, dialect.read(request), Target("amazon.nova-lite-v1:0"))


@pytest.mark.parametrize("api", APIS)
class TestBounds:
    def test_so_many_messages_and_no_more(self, api: str) -> None:
        said = APIS[api][1]
        compose(api, **{said: [HI] * MESSAGES_MAX})
        with pytest.raises(Refused) as refused:
            compose(api, **{said: [HI] * (MESSAGES_MAX + 1)})
        assert refused.value.fault.param == said

    def test_so_many_tools_and_no_more(self, api: str) -> None:
        tool = APIS[api][2]
        with pytest.raises(Refused) as refused:
            compose(api, tools=[tool] * (TOOLS_MAX + 1))
        assert refused.value.fault.param == "tools"

"""A chat request on its way to Bedrock, as values: what was read, and what has been made of it so far.

The part that is the same for every target is made once and kept with the request (`Prepared`), since a retry
may go to another target. Who makes it is `openai_chat_compose`.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from stargate_core.dialects.face import Fetched
from stargate_core.dialects.openai_chat_media import NOTHING
from stargate_core.dialects.openai_chat_request import ChatRequest
from stargate_core.faults import Fault
from stargate_core.secret import Private


class ChatAsk(Private, msgspec.Struct):
    """A request as it was read, and what has been made of it so far."""

    request: ChatRequest
    extras: dict[str, Raw]
    """Members that OpenAI doesn't define."""
    refused: tuple[str, ...] = ()
    """The names of members that ask for what Converse cannot give."""
    invalid: Fault | None = None
    """What is wrong with the request for Converse; another surface may take it."""
    fetched: Mapping[str, Fetched] = NOTHING
    """What was at the URLs of the request."""
    prepared: "Prepared | None" = None


class Prepared(Private, msgspec.Struct, frozen=True):
    """The part of a call that is the same for every target."""

    body: dict[str, Any]
    names: dict[str, str]
    """Bedrock's name of a tool to the caller's, where they differ."""
    thoughts_lost: bool
    """The assistant is in the middle of its turn, without the signed thoughts with which the turn began."""
    marked: bool
    """The caller has marked what is to be cached."""
    thoughtful: bool
    """There are thoughts in the conversation."""

"""Converse's whole answer as a message of Anthropic's."""

from collections.abc import Mapping
from typing import Any

from stargate_core.dialects.converse import Answer
from stargate_core.dialects.face import Request


def message_object(answer: Answer, request: Request, model: str, names: Mapping[str, str]) -> dict[str, Any]:
    """The answer in Anthropic's form. names: Bedrock's name of a tool to the caller's. Raises BadAnswer."""
    return {}

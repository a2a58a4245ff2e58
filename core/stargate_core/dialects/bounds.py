"""Bounds of what one request may hold, for every API that is translated.

A body is bounded in bytes, but a few megabytes hold a million tiny messages, and each of them costs more to
translate than to send: reading such a body would hold up everybody else for seconds. The bounds are far above
what any conversation has (Anthropic's own is 100,000 messages, and no model reads so many).
"""

from typing import Final

INT32_MAX: Final = 2**31 - 1
"""The largest number that Bedrock's counts can be."""
MESSAGES_MAX: Final = 10_000
"""Messages of a chat, items of a response."""
TOOLS_MAX: Final = 1_000

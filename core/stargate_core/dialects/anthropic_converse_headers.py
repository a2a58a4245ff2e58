"""What a caller of Messages says in headers, as members of a Converse call.

Beside Bedrock's own headers (`converse_headers`) Anthropic has one that says whom a request is made for:
`anthropic-user-profile-id` becomes requestMetadata.user_profile_id, where the other headers say nothing of
that name. Betas are Claude's alone (`anthropic_betas`).

Source: anthropic-sdk-python src/anthropic/resources/beta/messages.
"""

from typing import Any, Final

from stargate_core.dialects import converse_headers
from stargate_core.dialects.face import Request

_USER_PROFILE: Final = b"anthropic-user-profile-id"


def members_of_headers(request: Request) -> dict[str, Any]:
    """The members that stand for a request's headers. Raises Refused for a value that Bedrock has not."""
    members = converse_headers.members_of_headers(request)
    profile = request.header(_USER_PROFILE)
    if profile:
        pairs = {"user_profile_id": profile.decode("latin-1")}
        members["requestMetadata"] = pairs | members.get("requestMetadata", {})
    return members

"""Whom a request is made for, said in Anthropic's header: it joins what Bedrock's own headers say."""

from typing import Any

import pytest

from stargate_core.dialects.anthropic_converse_headers import members_of_headers
from support.anthropic_converse import NOVA, composed, messages_request

TIER = b"x-amzn-bedrock-service-tier"
METADATA = b"x-amzn-bedrock-request-metadata"
PROFILE = b"anthropic-user-profile-id"


@pytest.mark.parametrize(
    ("headers", "members"),
    [
        ([(PROFILE, b"up_1")], {"requestMetadata": {"user_profile_id": "up_1"}}),
        ([(PROFILE, b"")], {}),
        ([(TIER, b"flex")], {"serviceTier": {"type": "flex"}}),
        (
            [(PROFILE, b"up_1"), (METADATA, b'{"team": "a"}')],
            {"requestMetadata": {"user_profile_id": "up_1", "team": "a"}},
        ),
        (
            [(PROFILE, b"up_1"), (METADATA, b'{"user_profile_id": "b"}')],
            {"requestMetadata": {"user_profile_id": "b"}},
        ),
    ],
)
def test_each_has_its_member(headers: Any, members: Any) -> None:
    assert members_of_headers(messages_request(headers)) == members
    assert set(composed(NOVA, headers=headers)) == {"messages", "inferenceConfig", *members}


def test_the_body_wins() -> None:
    headers = [(METADATA, b'{"team": "a", "user_id": "b"}'), (PROFILE, b"c")]
    made = composed(headers=headers, metadata={"user_id": "d"})
    assert made["requestMetadata"] == {"team": "a", "user_id": "d", "user_profile_id": "c"}

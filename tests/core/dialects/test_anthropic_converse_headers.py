"""What callers say in headers: each has its member of Converse's, and the body wins."""

from typing import Any

import pytest

from stargate_core.dialects.anthropic_converse_headers import members_of_headers
from stargate_core.faults import Cause, Refused
from support.anthropic_converse import NOVA, composed, messages_request

LATENCY = b"x-amzn-bedrock-performanceconfig-latency"
TIER = b"x-amzn-bedrock-service-tier"
METADATA = b"x-amzn-bedrock-request-metadata"
PROFILE = b"anthropic-user-profile-id"


@pytest.mark.parametrize(
    ("name", "value", "members"),
    [
        (LATENCY, b"optimized", {"performanceConfig": {"latency": "optimized"}}),
        (LATENCY, b"STANDARD", {"performanceConfig": {"latency": "standard"}}),
        (TIER, b"flex", {"serviceTier": {"type": "flex"}}),
        (METADATA, b'{"team": "a"}', {"requestMetadata": {"team": "a"}}),
        (METADATA, b"{}", {}),
        (PROFILE, b"up_1", {"requestMetadata": {"user_profile_id": "up_1"}}),
        (PROFILE, b"", {}),
        (b"x-api-key", b"k", {}),
    ],
)
def test_each_has_its_member(name: bytes, value: bytes, members: Any) -> None:
    assert members_of_headers(messages_request([(name, value)])) == members
    assert set(composed(NOVA, headers=[(name, value)])) == {"messages", "inferenceConfig", *members}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (LATENCY, b"fast"),
        (TIER, b"\xff"),
        (METADATA, b"team=a"),
        (METADATA, b'{"a": 1}'),
        (METADATA, b"\xff"),
    ],
)
def test_what_bedrock_does_not_have_is_refused(name: bytes, value: bytes) -> None:
    with pytest.raises(Refused) as caught:
        members_of_headers(messages_request([(name, value)]))
    assert caught.value.fault.cause is Cause.BODY_INVALID


def test_the_body_wins() -> None:
    headers = [
        (LATENCY, b"standard"),
        (TIER, b"flex"),
        (METADATA, b'{"team": "a", "user_id": "b"}'),
        (PROFILE, b"c"),
    ]
    made = composed(
        headers=headers,
        performanceConfig={"latency": "optimized"},
        service_tier="priority",
        metadata={"user_id": "d"},
    )
    assert made["performanceConfig"] == {"latency": "optimized"}
    assert made["serviceTier"] == {"type": "priority"}
    assert made["requestMetadata"] == {"team": "a", "user_id": "d", "user_profile_id": "c"}
    assert composed(headers=headers, service_tier="auto")["serviceTier"] == {"type": "flex"}

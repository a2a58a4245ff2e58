"""How a call is to be served, said in Bedrock's headers by callers of every API: as members where the model
is reached through Converse, as headers elsewhere; and the body wins.
"""

from typing import Any

import msgspec
import pytest

from stargate_core.aws.surfaces import Surface
from stargate_core.dialects.converse_headers import members_of_headers, served_headers
from stargate_core.dialects.face import Dialect, Headers, Target
from stargate_core.dialects.registry import ANTHROPIC_MESSAGES, OPENAI_CHAT, OPENAI_RESPONSES
from stargate_core.faults import Cause, Refused
from support.bedrock_model import objections
from support.dialects import a_request

NOVA = "amazon.nova-lite-v1:0"
LATENCY = b"x-amzn-bedrock-performanceconfig-latency"
TIER = b"x-amzn-bedrock-service-tier"
METADATA = b"x-amzn-bedrock-request-metadata"
HI: Any = [{"role": "user", "content": "hi"}]
APIS: tuple[tuple[Dialect, bytes, dict[str, Any]], ...] = (
    (ANTHROPIC_MESSAGES, b"/v1/messages", {"messages": HI, "max_tokens": 8}),
    (OPENAI_CHAT, b"/v1/chat/completions", {"messages": HI}),
    (OPENAI_RESPONSES, b"/v1/responses", {"input": "hi"}),
)
OPENAIS = APIS[1:]


def named(api: tuple[Dialect, bytes, dict[str, Any]]) -> str:
    """What a test with this API is called."""
    return api[0].NAME


def sent(api: tuple[Dialect, bytes, dict[str, Any]], headers: Headers, **members: Any) -> Any:
    """The body of the Converse call, which botocore takes for one."""
    dialect, path, body = api
    request = a_request(msgspec.json.encode({"model": "m", **body, **members}), path, headers=headers)
    call = dialect.compose(request, dialect.read(request), Target(NOVA))
    assert objections("Converse", call.body, modelId=NOVA) == []
    assert not any(name.startswith(b"x-amzn-") for name, _ in call.headers)
    return msgspec.json.decode(call.body)


@pytest.mark.parametrize("api", APIS, ids=named)
@pytest.mark.parametrize(
    ("headers", "members"),
    [
        ([], {}),
        ([(LATENCY, b"optimized")], {"performanceConfig": {"latency": "optimized"}}),
        ([(LATENCY, b"STANDARD")], {"performanceConfig": {"latency": "standard"}}),
        ([(TIER, b"flex")], {"serviceTier": {"type": "flex"}}),
        ([(TIER, b"reserved")], {"serviceTier": {"type": "reserved"}}),
        ([(METADATA, b'{"team": "a"}')], {"requestMetadata": {"team": "a"}}),
        ([(METADATA, b"{}")], {}),
        ([(b"x-api-key", b"k"), (b"x-amzn-bedrock-accept", b"text/plain")], {}),
        (
            [(LATENCY, b"optimized"), (TIER, b"priority")],
            {"performanceConfig": {"latency": "optimized"}, "serviceTier": {"type": "priority"}},
        ),
    ],
    ids=str,
)
def test_each_has_its_member(api: Any, headers: Headers, members: dict[str, Any]) -> None:
    assert members_of_headers(a_request(b"", b"/", headers=headers)) == members
    without = sent(api, [])
    assert sent(api, headers) == {**without, **members}


@pytest.mark.parametrize("api", APIS, ids=named)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        (LATENCY, b"fast"),
        (TIER, b"\xff"),
        (TIER, b""),
        (METADATA, b"team=a"),
        (METADATA, b'{"a": 1}'),
        (METADATA, b"\xff"),
        (METADATA, b"[" * 100_000),
    ],
)
def test_what_bedrock_does_not_have_is_refused(api: Any, name: bytes, value: bytes) -> None:
    with pytest.raises(Refused) as caught:
        sent(api, [(name, value)])
    assert caught.value.fault.cause is Cause.BODY_INVALID


@pytest.mark.parametrize("api", APIS, ids=named)
def test_the_body_wins(api: Any) -> None:
    headers = [(LATENCY, b"standard"), (TIER, b"flex"), (METADATA, b'{"team": "a", "user_id": "b"}')]
    made = sent(
        api,
        headers,
        performanceConfig={"latency": "optimized"},
        service_tier="priority",
        metadata={"user_id": "d"},
    )
    assert made["performanceConfig"] == {"latency": "optimized"}
    assert made["serviceTier"] == {"type": "priority"}
    assert made["requestMetadata"] == {"team": "a", "user_id": "d"}
    assert sent(api, headers, service_tier="auto")["serviceTier"] == {"type": "flex"}


@pytest.mark.parametrize("api", OPENAIS, ids=named)
@pytest.mark.parametrize("tier", ["default", "scale"])
def test_a_tier_in_the_body_wins_where_it_is_but_the_usual_one(api: Any, tier: str) -> None:
    assert "serviceTier" not in sent(api, [(TIER, b"flex")], service_tier=tier)


@pytest.mark.parametrize("api", OPENAIS, ids=named)
def test_metadata_of_the_header_is_not_cut_off_for_other_words(api: Any) -> None:
    pairs = {f"h{n}": "" for n in range(15)}
    made = sent(
        api, [(METADATA, msgspec.json.encode(pairs))], metadata={f"b{n}": "" for n in range(16)}, user="u"
    )
    assert len(made["requestMetadata"]) == 16
    assert pairs.keys() < made["requestMetadata"].keys()


@pytest.mark.parametrize(
    ("api", "surface"),
    [
        (APIS[0], Surface.INVOKE),
        (APIS[0], Surface.ANTHROPIC),
        (APIS[1], Surface.OPENAI),
        (APIS[2], Surface.OPENAI),
    ],
    ids=lambda value: value.name if isinstance(value, Surface) else named(value),
)
def test_where_a_surface_takes_headers_they_travel_as_they_came(api: Any, surface: Surface) -> None:
    dialect, path, body = api
    headers = [(TIER, b"Flex"), (b"authorization", b"Bearer k"), (METADATA, b'{"a": "b"}'), (LATENCY, b"x")]
    request = a_request(msgspec.json.encode({"model": "m", **body}), path, headers=headers)
    call = dialect.compose(request, dialect.read(request), Target("anthropic.claude-x", surface))
    told = [one for one in call.headers if one[0].startswith(b"x-amzn-") or one[0] == b"authorization"]
    assert told == served_headers(request) == [headers[0], headers[2], headers[3]]


class TestMembersAsHeaders:
    """Converse's own members in a request that goes to a model in its vendor's words."""

    def told(self, headers: Headers, **members: Any) -> tuple[Headers, Any]:
        body = msgspec.json.encode({"model": "m", "messages": HI, "max_tokens": 8, **members})
        request = a_request(body, b"/v1/messages", headers=headers)
        call = ANTHROPIC_MESSAGES.compose(
            request, ANTHROPIC_MESSAGES.read(request), Target("anthropic.claude-x", Surface.INVOKE)
        )
        return [one for one in call.headers if one[0].startswith(b"x-amzn-")], msgspec.json.decode(call.body)

    def test_they_travel_as_headers_and_not_in_the_body(self) -> None:
        headers, body = self.told(
            [], requestMetadata={"team": "a"}, performanceConfig={"latency": "optimized"}
        )
        assert dict(headers) == {LATENCY: b"optimized", METADATA: b'{"team":"a"}'}
        assert not {"requestMetadata", "performanceConfig"} & set(body)

    def test_the_body_wins(self) -> None:
        headers, _ = self.told(
            [(LATENCY, b"standard"), (TIER, b"flex")], performanceConfig={"latency": "optimized"}
        )
        assert dict(headers) == {LATENCY: b"optimized", TIER: b"flex"}

    def test_null_says_nothing(self) -> None:
        headers, body = self.told([], requestMetadata=None, performanceConfig=None)
        assert headers == []
        assert "requestMetadata" not in body

    @pytest.mark.parametrize(
        "members",
        [
            {"requestMetadata": {"team": 1}},
            {"requestMetadata": {"team": "ä"}},
            {"requestMetadata": []},
            {"performanceConfig": {"latency": "fast"}},
            {"performanceConfig": "optimized"},
            {"additionalModelResponseFieldPaths": ["/stop_sequence"]},
        ],
    )
    def test_what_cannot_travel_is_refused(self, members: dict[str, Any]) -> None:
        with pytest.raises(Refused) as refused:
            self.told([], **members)
        assert refused.value.fault.cause is Cause.BODY_INVALID

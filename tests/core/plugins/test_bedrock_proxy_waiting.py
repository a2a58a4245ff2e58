"""What a call waits for before it goes out: pages that a request names, and AWS's list of models; and where
calls go that are to no model.
"""

from typing import Any, ClassVar, Final

import msgspec
import pytest

from stargate_core.aws.credentials import Credentials
from stargate_core.aws.endpoints import Endpoint
from stargate_core.clock import SECOND
from stargate_core.config.bedrock_proxy import AwsCredentials, BedrockProxy, ModelTarget, ProxyTarget, Retry
from stargate_core.config.plugin_configs import ApiKeyAuth, ResponseCache
from stargate_core.config.request_options import Discovery, ImageUrls
from stargate_core.config.schema import Config, Consumer, KeyCredential, PluginEntry, Scope
from stargate_core.dialects.face import Fetched
from stargate_core.faults import TABLE, Cause
from stargate_core.gateway.session import Exchanging
from stargate_core.questions import FetchUrl, ListModels, Models
from stargate_core.secret import Secret
from stargate_core.views import Access
from support.bedrock import aws_error, converse_answer, http
from support.machines import LOG, Bench, a_plan, chat, converse, request

TARGET: Final = "anthropic.claude-3-haiku-20240307-v1:0"
PICTURE: Final = Fetched("image/png", b"picture")
KEY: Final = {"x-api-key": "k"}
JOB: Final = "arn:aws:bedrock:eu-west-1:123456789012:async-invoke/abc"
JOB_PATH: Final = "/async-invoke/" + JOB.replace(":", "%3A").replace("/", "%2F")


def bench(allowed: list[str] | None = None, *extra: PluginEntry, **config: Any) -> Bench:
    """A gateway with this plugin, whose only caller may use these models."""
    config.setdefault("models", {"claude": ModelTarget(TARGET)})
    consumer = Consumer(username="ann", keyauth_credentials=[KeyCredential(key=Secret("k"))], models=allowed)
    plugins = [
        PluginEntry(name="api-key-auth", config=ApiKeyAuth()),
        PluginEntry(name="bedrock-proxy", config=BedrockProxy(**config)),
        LOG,
        *extra,
    ]
    return Bench(a_plan(Config(consumers=[consumer], plugins=plugins), Naming))


def get(machine: Bench, path: str, method: str = "GET") -> Bench:
    """The caller reads something; where that leads to Bedrock, the call has its connection."""
    machine.ask(request(path, method=method, headers=KEY))
    if machine.asked:
        machine.open()
    return machine


def started(machine: Bench, model: str = "claude") -> Bench:
    """The caller begins a job."""
    body: dict[str, Any] = {"modelId": model, "modelInput": {}, "outputDataConfig": {}}
    machine.ask(request("/async-invoke", msgspec.json.encode(body), headers=KEY))
    if machine.asked:
        machine.open()
    return machine


def endpoints(machine: Bench) -> list[str]:
    """The hosts that connections were asked for."""
    return [opened.endpoint.host for opened in machine.opened]


# --------------------------------------------------------------------------------------- what URLs stand for


class Urls(msgspec.Struct, frozen=True):
    """A plugin's config: URLs that every request names."""

    urls: list[str] = []


class Naming:
    """A plugin that says of every request that it names URLs, as a dialect does where it does."""

    NAME: ClassVar[str] = "naming"
    PRIORITY: ClassVar[int] = 900
    CONFIG: ClassVar[type[msgspec.Struct]] = Urls
    SCOPES: ClassVar[frozenset[Scope]] = frozenset(Scope)

    def __init__(self, config: Urls) -> None:
        self._urls = tuple(config.urls)

    def access(self, ctx: Access) -> None:
        ctx.ask.urls = self._urls


A: Final = "https://a.test/1.png"
B: Final = "https://b.test/2.png"


def naming(*urls: str, allowed: list[str] | None = None, **config: Any) -> Bench:
    """A caller's chat names these URLs."""
    machine = bench(allowed, PluginEntry(name="naming", config=Urls(list(urls))), **config)
    machine.ask(chat(headers=KEY))
    return machine


def found_by(machine: Bench) -> dict[str, Fetched]:
    """What the request at hand has found at its URLs."""
    state = machine.session.state
    assert isinstance(state, Exchanging)
    return state.exchange.ctx.read_ask().fetched


class TestUrls:
    OPTIONS: Final = ImageUrls(
        enabled=True, hosts=["*.Test"], max_bytes=1000, max_count=2, timeout=2.5, plain_http=True
    )

    def test_each_is_fetched_in_its_turn_and_then_the_call_is_made(self) -> None:
        machine = naming(A, B, image_urls=self.OPTIONS)
        assert list(machine.questions.values()) == [
            FetchUrl(A, 1000, 5 * SECOND // 2, ("*.test",), plain=True)
        ]
        assert machine.asked == {}
        machine.reply(PICTURE)
        other = Fetched("application/pdf", b"paper")
        asked = machine.reply(other)
        assert isinstance(asked, FetchUrl)
        assert asked.url == B
        assert found_by(machine) == {A: PICTURE, B: other}
        machine.open()
        machine.answer(converse_answer())
        assert machine.only.status == 200

    def test_why_one_cannot_be_had_is_the_callers_to_know(self) -> None:
        machine = naming(A, B, image_urls=self.OPTIONS)
        machine.reply("its server answered 404")
        error = machine.only.json["error"]
        assert machine.only.status == TABLE[Cause.BODY_INVALID].status == 400
        assert A in error["message"]
        assert "its server answered 404" in error["message"]
        assert (len(machine.asks), machine.opened) == (1, [])
        machine.settle()

    def test_nor_does_one_that_nobody_answers_for_cost_more_than_its_request(self) -> None:
        machine = naming(A, image_urls=self.OPTIONS)
        machine.fail_question("the shell is broken")
        assert machine.only.status == 400
        assert "the shell is broken" not in machine.only.json["error"]["message"]
        assert "the shell is broken" in machine.notes[-1].text

    def test_more_than_may_be_are_refused_before_any_is_fetched(self) -> None:
        machine = naming(A, B, "https://c.test/3.png", image_urls=self.OPTIONS)
        assert (machine.only.status, machine.asks) == (400, [])
        assert "At most 2 URLs" in machine.only.json["error"]["message"]

    def test_a_long_url_is_shown_at_its_beginning(self) -> None:
        machine = naming("https://a.test/" + "x" * 5000, image_urls=self.OPTIONS)
        machine.reply("no")
        assert len(machine.only.body) < 500

    def test_where_that_is_not_switched_on_nothing_is_fetched(self) -> None:
        machine = naming(A)
        assert machine.asks == []
        assert found_by(machine) == {}

    def test_a_model_that_may_not_be_used_costs_no_fetch(self) -> None:
        machine = naming(A, allowed=["amazon.*"], image_urls=self.OPTIONS)
        assert (machine.only.status, machine.asks) == (403, [])

    def test_a_caller_who_leaves_wants_it_no_more(self) -> None:
        machine = naming(A, image_urls=self.OPTIONS)
        machine.leave()
        assert machine.questions == {}
        machine.settle()


# -------------------------------------------------------------------------------------------- AWS's own list

FOUND: Final = Models((TARGET, "claude", "amazon.nova-lite-v1:0", "us.amazon.nova-lite-v1:0"))


def names(machine: Bench) -> list[str]:
    """The names that the caller is offered."""
    assert machine.only.status == 200
    return [model["id"] for model in machine.only.json["data"]]


class TestDiscovery:
    ON: Final = Discovery(enabled=True, ttl=7)

    def test_the_control_plane_is_asked_with_the_plugins_authority(self) -> None:
        machine = get(bench(discovery=self.ON), "/v1/models")
        host = "bedrock.us-east-1.amazonaws.com"
        where = Endpoint("https", host, 443, "bedrock", "us-east-1")
        assert machine.asks == [ListModels(where, "", None, None, 7 * SECOND)]
        assert machine.opened == []

    @pytest.mark.parametrize(
        ("config", "where"),
        [
            ({"endpoint_url": "http://a.test:1"}, ("http", "a.test", 1, "")),
            (
                {"region": "eu-west-1", "fips": True},
                ("https", "bedrock-fips.eu-west-1.amazonaws.com", 443, ""),
            ),
            (
                {"endpoint_url": "http://a.test:1", "discovery": "https://b.test/x"},
                ("https", "b.test", 443, "/x"),
            ),
            (
                {"targets": [ProxyTarget(region="eu-west-3"), ProxyTarget(region="us-west-2")]},
                ("https", "bedrock.eu-west-3.amazonaws.com", 443, ""),
            ),
        ],
    )
    def test_where_that_is(self, config: dict[str, Any], where: tuple[str, str, int, str]) -> None:
        url = config.pop("discovery", None)
        machine = get(bench(discovery=Discovery(enabled=True, url=url), **config), "/v1/models")
        (asked,) = machine.asks
        assert isinstance(asked, ListModels)
        found = asked.endpoint
        assert (found.scheme, found.host, found.port, found.prefix) == where
        assert found.signing_name == "bedrock"

    def test_fixed_credentials_and_keys_go_with_the_question(self) -> None:
        fixed = AwsCredentials(access_key_id="AKID", secret_access_key=Secret("s"))
        (asked,) = get(bench(discovery=self.ON, credentials=fixed), "/v1/models").asks
        assert isinstance(asked, ListModels)
        assert asked.credentials == Credentials("AKID", Secret("s"))
        (asked,) = get(bench(discovery=self.ON, api_key=Secret("b")), "/v1/models").asks
        assert isinstance(asked, ListModels)
        assert asked.api_key == Secret("b")

    def test_own_names_come_first_and_each_stands_once(self) -> None:
        machine = get(bench(discovery=self.ON), "/v1/models")
        machine.reply(FOUND)
        assert names(machine) == ["claude", TARGET, "amazon.nova-lite-v1:0", "us.amazon.nova-lite-v1:0"]

    def test_without_own_names_it_is_aws_list(self) -> None:
        machine = get(bench(discovery=self.ON, models={}), "/v1/models")
        machine.reply(FOUND)
        assert names(machine) == list(FOUND.ids)

    def test_nobody_is_offered_what_it_may_not_use(self) -> None:
        machine = get(bench(["amazon.*"], discovery=self.ON), "/v1/models")
        machine.reply(FOUND)
        assert names(machine) == ["amazon.nova-lite-v1:0"]

    def test_where_aws_does_not_say_own_names_are_left(self) -> None:
        machine = get(bench(discovery=self.ON), "/v1/models")
        machine.fail_question("denied")
        assert names(machine) == ["claude"]
        machine = get(bench(discovery=self.ON, models={}, model=TARGET), "/v1/models")
        machine.fail_question("denied")
        assert names(machine) == [TARGET]
        assert machine.notes == []

    @pytest.mark.parametrize(
        ("name", "status"), [("amazon.nova-lite-v1%3A0", 200), ("claude", 200), ("x", 404)]
    )
    def test_one_of_them_can_be_asked_for(self, name: str, status: int) -> None:
        machine = get(bench(discovery=self.ON), f"/v1/models/{name}")
        machine.reply(FOUND)
        assert machine.only.status == status

    def test_where_it_is_off_nobody_is_asked(self) -> None:
        machine = get(bench(), "/v1/models")
        assert (names(machine), machine.asks) == (["claude"], [])


# --------------------------------------------------------------------------------------- the control plane


class TestControlPlane:
    @pytest.mark.parametrize(
        ("path", "target"),
        [
            ("/foundation-models?byProvider=a&x=1", "/foundation-models?byProvider=a"),
            ("/inference-profiles?type=SYSTEM_DEFINED", "/inference-profiles?type=SYSTEM_DEFINED"),
            ("/inference-profiles/us.x-v1:0", "/inference-profiles/us.x-v1%3A0"),
            ("/foundation-models/claude", f"/foundation-models/{TARGET.replace(':', '%3A')}"),
        ],
    )
    def test_readings_go_there(self, path: str, target: str) -> None:
        machine = get(bench(), path)
        assert endpoints(machine) == ["bedrock.us-east-1.amazonaws.com"]
        assert machine.call.target == target
        assert "/us-east-1/bedrock/aws4_request" in machine.call.headers["authorization"]
        assert "content-length" not in machine.call.headers
        machine.answer(http(b"{}"))
        assert (machine.only.status, machine.only.body) == (200, b"{}")
        machine.settle()

    def test_an_arn_is_asked_for_in_its_region(self) -> None:
        targets = [ProxyTarget(region="us-east-1"), ProxyTarget(region="eu-west-1")]
        arn = "arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2Fx"
        machine = get(bench(targets=targets), f"/inference-profiles/{arn}")
        assert endpoints(machine) == ["bedrock.eu-west-1.amazonaws.com"]

    def test_aws_errors_pass(self) -> None:
        machine = get(bench(retry=Retry(count=0)), "/foundation-models/x")
        machine.answer(aws_error("ResourceNotFoundException", 404, "no such model"))
        assert machine.only.header("x-amzn-errortype") == "ResourceNotFoundException"

    @pytest.mark.parametrize(
        ("path", "allowed", "status"),
        [
            ("/foundation-models", ["claude-*"], 200),
            ("/foundation-models/claude-x", ["claude-*"], 200),
            ("/foundation-models/claude", [TARGET], 200),
            ("/inference-profiles/claude-x", ["claude-*"], 200),
            ("/foundation-models/nova", ["claude-*"], 403),
            ("/inference-profiles/nova", ["claude-*"], 403),
            ("/inference-profiles", ["claude-*"], 403),
            ("/inference-profiles", ["claude-*", "*"], 200),
            ("/async-invoke", ["claude-*"], 403),
            (JOB_PATH, ["claude-*"], 403),
            (JOB_PATH, ["*"], 200),
            ("/async-invoke", [], 403),
            ("/async-invoke", None, 200),
        ],
    )
    def test_a_caller_reads_of_what_it_may_use(
        self, path: str, allowed: list[str] | None, status: int
    ) -> None:
        machine = get(bench(allowed), path)
        if status == 200:
            assert len(machine.calls) == 1
        else:
            assert machine.only.status == status
            assert machine.only.header("x-amzn-errortype") == "AccessDeniedException"
            assert machine.opened == []

    def test_a_name_beside_a_closed_list_is_unknown_here_too(self) -> None:
        machine = get(bench(allow_unlisted=False, model="claude"), "/foundation-models/x")
        assert machine.only.header("x-amzn-errortype") == "ResourceNotFoundException"

    def test_nothing_of_the_account_is_changed(self) -> None:
        machine = get(bench(), "/inference-profiles", "POST")
        assert (machine.only.status, machine.only.header("allow")) == (405, "GET")
        assert machine.only.header("x-amzn-errortype") == "UnknownOperationException"


class TestJobs:
    TARGETS: Final = [ProxyTarget(region="us-east-1"), ProxyTarget(region="eu-west-1")]

    def test_the_name_is_what_it_stands_for(self) -> None:
        machine = started(bench())
        assert machine.call.target == "/async-invoke"
        assert msgspec.json.decode(machine.call.body)["modelId"] == TARGET
        machine.answer(http(b'{"invocationArn":"a"}'))
        assert machine.only.json == {"invocationArn": "a"}
        assert (machine.record["model"], machine.record["target"]) == ("claude", TARGET)

    def test_the_allow_list_is_asked_for_it(self) -> None:
        machine = started(bench(["amazon.*"]), TARGET)
        assert (machine.only.status, machine.opened) == (403, [])
        assert len(started(bench(["amazon.*"]), "amazon.nova-reel-v1:0").calls) == 1

    def test_it_is_begun_once(self) -> None:
        machine = started(bench(targets=self.TARGETS, retry=Retry(count=3)))
        machine.answer(aws_error("ThrottlingException", 429, "slow"))
        assert (machine.only.status, len(machine.opened)) == (429, 1)

    def test_and_found_where_it_lives(self) -> None:
        machine = get(bench(targets=self.TARGETS), JOB_PATH)
        assert endpoints(machine) == ["bedrock-runtime.eu-west-1.amazonaws.com"]
        assert machine.call.target == JOB_PATH
        assert endpoints(get(bench(targets=self.TARGETS), "/async-invoke")) == [
            "bedrock-runtime.us-east-1.amazonaws.com"
        ]

    def test_no_breaker_is_kept_for_each_job(self) -> None:
        machine = get(bench(retry=Retry(count=0)), JOB_PATH)
        machine.answer(aws_error("InternalServerException", 500, "x"))
        assert [statement.target for statement in machine.told] == ["us-east-1"]  # type: ignore[union-attr]

    @pytest.mark.parametrize("path", ["", JOB_PATH, "/async-invoke", "/foundation-models"])
    def test_no_job_and_no_reading_is_answered_from_the_cache(self, path: str) -> None:
        cache = PluginEntry(name="response-cache", config=ResponseCache(cache_ttl=300))
        machine = get(bench(None, cache), path) if path else started(bench(None, cache))
        assert (machine.followed, len(machine.calls)) == ({}, 1)
        machine.answer(http(b"{}"))
        assert machine.only.header("x-cache-status") == "Bypass"
        machine = bench(None, cache)
        machine.ask(converse(model="claude", headers=KEY))
        assert len(machine.followed) == 1

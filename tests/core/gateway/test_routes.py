"""Where requests lead: Kong's order of routes, what each claims and strips, and what is spoken there."""

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.config.schema import Config, Route, Service
from stargate_core.dialects.face import Request
from stargate_core.dialects.registry import ANTHROPIC_MODELS, BEDROCK_NATIVE, OPENAI_CHAT, OPENAI_MODELS
from stargate_core.faults import Cause, Refused
from stargate_core.gateway.places import NOWHERE, Match, Place
from stargate_core.gateway.routes import Routes

CHAT: Final = "/v1/chat/completions"


def asking(path: str = CHAT, method: str = "POST", **headers: str) -> Request:
    """A request; header names are written with underscores."""
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request(method.encode(), path.encode(), path.encode(), b"", fields, b"", "0" * 32, 0)


def routes(*configured: Route, **members: Any) -> Routes:
    """The routes of a configuration."""
    return Routes(Config(routes=list(configured), **members))


def route(name: str, *paths: str, **members: Any) -> Route:
    """A route that strips nothing, to chat completions, unless said otherwise."""
    members.setdefault("strip_path", False)
    return Route(name=name, paths=list(paths), **members)


def found(table: Routes, request: Request) -> str | None:
    """The route that a request takes; None where it takes none."""
    try:
        return table.match(request).name
    except Refused:
        return None


def refusal(table: Routes, request: Request) -> tuple[Cause, bytes | None]:
    """Why a request leads nowhere, and the methods it is told of."""
    with pytest.raises(Refused) as refused:
        table.match(request)
    return refused.value.fault.cause, dict(refused.value.fault.headers).get(b"allow")


class TestUsualPaths:
    def test_without_routes_every_dialect_has_its_own(self) -> None:
        table = routes()
        assert table.match(asking()) == Match(NOWHERE, "openai-chat", OPENAI_CHAT, asking())
        assert table.match(asking("/v1/models", "GET")).dialect is OPENAI_MODELS
        assert table.match(asking("/model/m/converse")).dialect is BEDROCK_NATIVE

    @pytest.mark.parametrize("path", ["/v1/models", "/v1/models/claude"])
    def test_of_two_apis_with_one_path_the_headers_tell_which_is_spoken(self, path: str) -> None:
        tables = (routes(), routes(route("own", "/v1")), routes(route("named", "/", dialect="openai_models")))
        for table in tables:
            assert table.match(asking(path, "GET")).dialect is OPENAI_MODELS
            assert table.match(asking(path, "GET", anthropic_version="x")).dialect is ANTHROPIC_MODELS

    @pytest.mark.parametrize(
        ("request_", "cause", "allow"),
        [
            (asking("/"), Cause.ROUTE_UNKNOWN, None),
            (asking("/v1/chat/completions/"), Cause.ROUTE_UNKNOWN, None),
            (asking("//v1/chat/completions"), Cause.ROUTE_UNKNOWN, None),
            (asking("/V1/chat/completions"), Cause.ROUTE_UNKNOWN, None),
            (asking("/x/../v1/chat/completions"), Cause.ROUTE_UNKNOWN, None),
            (asking("/v1%2Fchat/completions"), Cause.ROUTE_UNKNOWN, None),
            (asking(method="GET"), Cause.METHOD_NOT_ALLOWED, b"POST"),
            (asking("/v1/models"), Cause.METHOD_NOT_ALLOWED, b"GET"),
            (asking("/model/m/converse", "GET"), Cause.METHOD_NOT_ALLOWED, b"POST"),
        ],
    )
    def test_everything_else_leads_nowhere(
        self, request_: Request, cause: Cause, allow: bytes | None
    ) -> None:
        assert refusal(routes(), request_) == (cause, allow)

    def test_with_routes_only_they_lead_anywhere(self) -> None:
        table = routes(route("a", "/a", strip_path=True))
        assert refusal(table, asking()) == (Cause.ROUTE_UNKNOWN, None)
        assert found(table, asking("/a" + CHAT)) == "a"

    @pytest.mark.parametrize("top", [False, True])
    def test_a_service_that_is_switched_off_takes_its_routes_along(self, top: bool) -> None:
        """And opens no other way: what its plugins guard must not be had by the usual path."""
        own = Route(name="a", paths=["/a"], service="s" if top else None)
        service = Service(name="s", enabled=False, routes=[] if top else [own])
        table = routes(*([own] if top else []), services=[service])
        for path in (CHAT, "/a" + CHAT):
            assert refusal(table, asking(path)) == (Cause.ROUTE_UNKNOWN, None)


class TestClaims:
    def test_a_prefix_claims_what_begins_with_it(self) -> None:
        table = routes(route("a", "/v1/chat"))
        assert found(table, asking("/v1/chat")) == "a"
        assert found(table, asking()) == "a"
        assert found(table, asking("/v1/models", "GET")) is None

    def test_a_regular_expression_claims_from_the_start(self) -> None:
        table = routes(route("a", r"~/v\d+/chat"))
        assert found(table, asking()) == "a"
        assert found(table, asking("/x" + CHAT)) is None

    @pytest.mark.parametrize(
        ("pattern", "host", "claims"),
        [
            ("api.example", "api.example", True),
            ("API.example", "api.EXAMPLE", True),
            ("api.example", "api.example:8080", True),
            ("api.example:8080", "api.example:8080", True),
            ("api.example:8080", "api.example:9090", False),
            ("api.example:8080", "api.example", False),
            ("api.example", "xapi.example", False),
            ("api.example", "api.example.evil", False),
            ("*.example", "api.example", True),
            ("*.example", "a.b.example:80", True),
            ("*.example", "example", False),
            ("*.example", ".example", False),
            ("*.example", "evilexample", False),
            ("*.example:8080", "api.example:8080", True),
            ("*.example:8080", "api.example:9090", False),
            ("api.*", "api.example", True),
            ("api.*", "api.x", True),
            ("*.example", "a.example", True),
            ("api.*", "api.example:80", True),
            ("api.*", "api.", False),
            ("api.*", "xapi.example", False),
            ("api.*:8080", "api.example:8080", True),
            ("api.*:8080", "api.example", False),
        ],
    )
    def test_hosts(self, pattern: str, host: str, claims: bool) -> None:
        table = routes(Route(name="a", hosts=[pattern], strip_path=False))
        assert (found(table, asking(host=host)) == "a") == claims

    def test_a_request_without_a_host_is_nobodys(self) -> None:
        assert found(routes(Route(name="a", hosts=["x.example"])), asking()) is None

    def test_methods(self) -> None:
        table = routes(route("a", "/v1", methods=["POST", "PUT"]))
        assert found(table, asking()) == "a"
        # No route claims it, so there is nothing; Kong says so too.
        assert refusal(table, asking("/v1/models", "GET")) == (Cause.ROUTE_UNKNOWN, None)

    def test_headers_all_of_them_one_value_each(self) -> None:
        table = routes(route("a", "/v1", headers={"X-Team": ["red", "Blue"], "x-env": ["prod"]}))
        assert found(table, asking(x_team="blue", x_env="PROD")) == "a"
        assert found(table, asking(x_team="green", x_env="prod")) is None
        assert found(table, asking(x_team="red")) is None


class TestStripping:
    @pytest.mark.parametrize(
        ("path", "asked", "left"),
        [
            ("/a", "/a" + CHAT, CHAT),
            ("/a/", "/a" + CHAT, CHAT),
            ("/", CHAT, CHAT),
            ("~/team-[a-z]+", "/team-red" + CHAT, CHAT),
        ],
    )
    def test_its_own_part_is_taken_off(self, path: str, asked: str, left: str) -> None:
        match = routes(Route(name="a", paths=[path])).match(asking(asked))
        assert (match.request.path, match.request.target) == (left.encode(), asked.encode())

    def test_or_left_on(self) -> None:
        match = routes(route("a", "/v1")).match(asking())
        assert match.request.path == CHAT.encode()

    def test_what_is_left_must_be_some_dialects_path(self) -> None:
        table = routes(Route(name="a", paths=["/a"]))
        assert refusal(table, asking("/a/nothing")) == (Cause.ROUTE_UNKNOWN, None)
        assert refusal(table, asking("/a" + CHAT, "GET")) == (Cause.METHOD_NOT_ALLOWED, b"POST")

    def test_a_second_route_gets_its_chance(self) -> None:
        table = routes(Route(name="long", paths=["/a/b"]), Route(name="short", paths=["/a/"]))
        assert found(table, asking("/a/b" + CHAT)) == "long"

    @pytest.mark.parametrize(
        ("dialect", "method", "allow"),
        [
            ("openai_chat", "POST", b"POST"),
            ("openai_responses", "POST", b"POST"),
            ("openai_embeddings", "POST", b"POST"),
            ("openai_models", "GET", b"GET"),
            ("anthropic_messages", "POST", b"POST"),
            ("anthropic_count_tokens", "POST", b"POST"),
            ("bedrock_native", "POST", b"POST, GET"),
        ],
    )
    def test_a_dialect_that_is_named_is_spoken_whatever_is_left(
        self, dialect: Any, method: str, allow: bytes
    ) -> None:
        table = routes(Route(name="a", paths=["/anything"], dialect=dialect))
        match = table.match(asking("/anything/at/all", method))
        assert dialect.replace("_", "-") == match.dialect.NAME
        assert refusal(table, asking("/anything", "DELETE")) == (Cause.METHOD_NOT_ALLOWED, allow)

    def test_a_place_names_service_and_route(self) -> None:
        service = Service(name="s", routes=[route("below", "/v1/chat")])
        table = routes(route("top", "/v1/models", service="s"), services=[service])
        assert table.match(asking()).place == Place("s", "below")
        assert table.match(asking("/v1/models", "GET")).place == Place("s", "top")

    def test_a_route_without_a_name_is_counted(self) -> None:
        table = routes(route("a", "/x"), Route(paths=["/v1"], strip_path=False))
        assert found(table, asking()) == "route-2"


class TestOrder:
    """Of two routes that claim a request, the one that Kong's traditional router takes."""

    PAIRS: Final = {
        "two kinds before one": (
            route("won", "/", methods=["POST"]),
            route("lost", CHAT),
        ),
        "three kinds before two": (
            Route(name="won", hosts=["x.example"], methods=["POST"], paths=["/"], strip_path=False),
            Route(name="lost", hosts=["x.example"], paths=[CHAT], strip_path=False),
        ),
        "a host before a header": (
            Route(name="won", hosts=["*.example"], strip_path=False),
            Route(name="lost", headers={"x-a": ["1"]}, strip_path=False),
        ),
        "a header before a path": (
            Route(name="won", headers={"x-a": ["1"]}, strip_path=False),
            route("lost", CHAT),
        ),
        "a path before a method": (
            route("won", "/"),
            Route(name="lost", methods=["POST"], strip_path=False),
        ),
        "a host and a path before a host and a method": (
            Route(name="won", hosts=["x.example"], paths=["/"], strip_path=False),
            Route(name="lost", hosts=["x.example"], methods=["POST"], strip_path=False),
        ),
        "a whole host before a pattern": (
            Route(name="won", hosts=["x.example"], strip_path=False),
            Route(name="lost", hosts=["*.example"], strip_path=False),
        ),
        "a pattern with a port before a whole host": (
            Route(name="won", hosts=["*.example:80"], strip_path=False),
            Route(name="lost", hosts=["x.example"], strip_path=False),
        ),
        "a regular expression before a longer prefix": (
            route("won", "~/v"),
            route("lost", CHAT),
        ),
        "a whole host and a prefix before a pattern and a regular expression": (
            Route(name="won", hosts=["x.example"], paths=["/"], strip_path=False),
            Route(name="lost", hosts=["*.example"], paths=["~/v1"], strip_path=False),
        ),
        "two headers before one": (
            Route(name="won", headers={"x-a": ["1"], "x-b": ["2"]}, strip_path=False),
            Route(name="lost", headers={"x-a": ["1"]}, strip_path=False),
        ),
        "the higher priority of two expressions": (
            route("won", "~/v", regex_priority=5),
            route("lost", "~/v1/chat/completions", regex_priority=4),
        ),
        "the longer of two prefixes": (
            route("won", "/v1/chat"),
            route("lost", "/v1"),
        ),
        "the longer of two prefixes, whatever their priority": (
            route("won", "/v1/chat"),
            route("lost", "/v1", regex_priority=5),
        ),
    }

    @pytest.mark.parametrize("turned", [False, True])
    @pytest.mark.parametrize(("won", "lost"), PAIRS.values(), ids=list(PAIRS))
    def test_of_two(self, won: Route, lost: Route, turned: bool) -> None:
        pair = (lost, won) if turned else (won, lost)
        assert found(routes(*pair), asking(host="x.example:80", x_a="1", x_b="2")) == "won"

    def test_of_two_alike_the_first_in_the_file(self) -> None:
        assert found(routes(route("first", "/v1"), route("second", "/v1")), asking()) == "first"

    def test_each_path_of_a_route_has_its_own_rank(self) -> None:
        table = routes(route("two", "/", CHAT), route("one", "/v1"))
        assert found(table, asking()) == "two"
        assert found(table, asking("/v1/chat")) == "one"


SEGMENTS: Final = st.sampled_from(["a", "ab", "v1", "chat", "completions", "", "..", "%2F"])
PATHS: Final = st.lists(SEGMENTS, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


class TestAnything:
    @given(configured=st.lists(PATHS, max_size=5), asked=PATHS, strip=st.booleans())
    def test_a_request_finds_a_route_that_claims_it_or_is_refused(
        self, configured: list[str], asked: str, strip: bool
    ) -> None:
        ways = [route(str(n), path, strip_path=strip) for n, path in enumerate(configured)]
        table = routes(*ways)
        try:
            match = table.match(asking(asked))
        except Refused as refused:
            assert refused.fault.cause in {Cause.ROUTE_UNKNOWN, Cause.METHOD_NOT_ALLOWED}
            return
        if ways:
            assert asked.startswith(configured[int(match.name)])
        assert match.request.path.startswith(b"/")
        assert match.request.target == asked.encode()

    @pytest.mark.parametrize(
        ("path", "dialect"),
        [
            (b"/team-a/model/m/converse", BEDROCK_NATIVE),
            (b"/team-a/v1/models/x", OPENAI_MODELS),
            (b"/team-a/v1/chat", OPENAI_CHAT),
            (b"/aws/anything", BEDROCK_NATIVE),
            (b"/model/m/converse", BEDROCK_NATIVE),
            (b"", OPENAI_CHAT),
        ],
    )
    def test_an_error_is_worded_for_what_a_route_leaves_of_the_path(self, path: bytes, dialect: Any) -> None:
        table = routes(
            Route(name="a", paths=["~/team-[ab]"]), Route(name="b", paths=["/aws"], dialect="bedrock_native")
        )
        assert table.guess(path) is dialect

    @given(path=st.binary(max_size=40))
    def test_some_dialect_words_every_error(self, path: bytes) -> None:
        assert routes().guess(path) in {OPENAI_CHAT, OPENAI_MODELS, BEDROCK_NATIVE}


def test_of_a_request_of_which_nothing_is_known_errors_are_worded_for_openais_clients() -> None:
    assert routes().default is routes().guess(b"/") is OPENAI_CHAT

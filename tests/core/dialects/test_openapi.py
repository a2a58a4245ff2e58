"""Our own OpenAPI document: that all the gateway answers is in it, and that what is in it is answered."""

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from stargate_core.aws.operations import OPERATIONS, match
from stargate_core.dialects.bedrock_native import SERVED
from stargate_core.dialects.face import Request
from stargate_core.dialects.openapi import SECURITY, document
from stargate_core.dialects.registry import BEDROCK_NATIVE, ROUTES, Route, route_for

DOCUMENT: Final = document(version="1.2.3", server="https://llm.test")
OPERATIONS_: Final = [
    (path, method, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]


def filled(path: str) -> bytes:
    """The path, with a word for each of its labels."""
    return re.sub(r"\{\w+\}", "x", path).encode()


def described(route: Route) -> list[str]:
    """The document's paths that a route serves, with its method."""
    method = route.method.decode().lower()
    return [
        path
        for path, methods in DOCUMENT["paths"].items()
        if method in methods and route.serves(filled(path))
    ]


def references(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for name, member in value.items():
                if name == "$ref":
                    yield member
                else:
                    yield from references(member)
        case list():
            for item in value:
                yield from references(item)
        case _:
            pass


class TestPaths:
    @pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
    def test_every_route_is_in_it(self, route: Route) -> None:
        assert described(route)

    @pytest.mark.parametrize(("path", "method"), [(path, method) for path, method, _ in OPERATIONS_])
    def test_every_path_is_answered(self, path: str, method: str) -> None:
        if path in ("/healthz", "/readyz"):
            return
        route = route_for(method.upper().encode(), filled(path))
        assert route is not None
        if route.dialect is BEDROCK_NATIVE:
            found = match(method.upper().encode(), filled(path))
            assert found is not None
            assert found.operation in SERVED
            assert OPERATIONS[found.operation].uri == path

    def test_every_operation_of_bedrocks_that_is_served_is_in_it(self) -> None:
        named = {operation["operationId"] for _, _, operation in OPERATIONS_}
        assert {operation.value for operation in SERVED} <= named

    def test_operations_have_names_of_their_own(self) -> None:
        names = [operation["operationId"] for _, _, operation in OPERATIONS_]
        assert len(names) == len(set(names))

    @pytest.mark.parametrize(("path", "operation"), [(path, operation) for path, _, operation in OPERATIONS_])
    def test_every_label_is_a_parameter(self, path: str, operation: dict[str, Any]) -> None:
        labels = [one["name"] for one in operation.get("parameters", []) if one["in"] == "path"]
        assert labels == re.findall(r"\{(\w+)\}", path)

    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
    def test_what_may_stream_says_so(self, path: str) -> None:
        answer = DOCUMENT["paths"][path]["post"]["responses"]["200"]
        assert set(answer["content"]) == {"application/json", "text/event-stream"}

    def test_a_stream_of_bedrocks_is_of_frames(self) -> None:
        answer = DOCUMENT["paths"]["/model/{modelId}/converse-stream"]["post"]["responses"]["200"]
        assert set(answer["content"]) == {"application/vnd.amazon.eventstream"}


class TestWhole:
    def test_it_is_of_this_version_and_this_server(self) -> None:
        assert DOCUMENT["openapi"].startswith("3.1.")
        assert DOCUMENT["info"]["version"] == "1.2.3"
        assert DOCUMENT["servers"] == [{"url": "https://llm.test"}]

    def test_every_reference_leads_somewhere(self) -> None:
        found = set(references(DOCUMENT))
        assert found
        for reference in found:
            place: Any = DOCUMENT
            for name in reference.removeprefix("#/").split("/"):
                place = place[name]

    def test_no_schema_is_left_over(self) -> None:
        used = {one.rpartition("/")[2] for one in references(DOCUMENT) if "/schemas/" in one}
        assert DOCUMENT["components"]["schemas"].keys() - used == set()

    def test_every_way_to_say_who_one_is_will_do(self) -> None:
        assert [name for way in DOCUMENT["security"] for name in way] == list(SECURITY)
        assert [path for path, _, operation in OPERATIONS_ if operation.get("security") == []] == [
            "/healthz",
            "/readyz",
        ]

    def test_it_is_made_anew_each_time(self) -> None:
        one = document(version="1", server="s")
        one["paths"].clear()
        one["components"]["schemas"]["chat.ChatRequest"].clear()
        again = document(version="1.2.3", server="https://llm.test")
        assert again == DOCUMENT


def test_a_request_for_a_filled_path_is_read_as_its_operation() -> None:
    for path, method, operation in OPERATIONS_:
        target = filled(path)
        route = route_for(method.upper().encode(), target)
        if route is None or route.dialect is not BEDROCK_NATIVE:
            continue
        body = b'{"modelId": "m"}'
        ask = BEDROCK_NATIVE.read(Request(method.upper().encode(), target, target, b"", [], body, "id", 0))
        assert ask.operation is not None
        assert ask.operation.value == operation["operationId"]

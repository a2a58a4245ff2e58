"""Asynchronous invocations on the machine, at whatever time the test says; judged by AWS's own model."""

import json
from typing import Any, Final

import pytest

from stargate.simulator.ledger import Ledger
from support.bedrock_model import answer_objections
from support.simulator import Reply, Wire, signed

REEL: Final = "amazon.nova-reel-v1:0"
SECOND: Final = 1_000_000_000


def body(text: str = "a gate", **changes: Any) -> dict[str, Any]:
    """What starts a job."""
    return {
        "modelId": REEL,
        "modelInput": {"taskType": "TEXT_VIDEO", "textToVideoParams": {"text": text}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://bucket/videos"}},
        **changes,
    }


def start(wire: Wire, content: dict[str, Any]) -> Reply:
    """Start a job."""
    return wire.ask(signed("/async-invoke", json.dumps(content).encode()))


def started(wire: Wire, text: str = "a gate", **changes: Any) -> str:
    """The ARN of a job that was started."""
    reply = start(wire, body(text, **changes))
    assert reply.status == 200, reply.body
    assert answer_objections("StartAsyncInvoke", reply.body) == []
    return str(reply.json()["invocationArn"])


def get(wire: Wire, arn: str) -> Reply:
    """Look a job up."""
    return wire.ask(signed(f"/async-invoke/{arn.replace(':', '%3A').replace('/', '%2F')}", b"", method="GET"))


def listed(wire: Wire, query: str = "") -> Reply:
    """List jobs."""
    return wire.ask(signed(f"/async-invoke{query}", b"", method="GET"))


def summaries(wire: Wire, query: str = "") -> list[dict[str, Any]]:
    """The jobs of a page."""
    reply = listed(wire, query)
    assert reply.status == 200, reply.body
    assert answer_objections("ListAsyncInvokes", reply.body) == []
    found: list[dict[str, Any]] = reply.json()["asyncInvokeSummaries"]
    return found


class TestOneJob:
    def test_runs_for_a_while_and_is_then_complete(self) -> None:
        wire = Wire()
        arn = started(wire, "[[simulator: job-ms=1500]]")
        seen: list[dict[str, Any]] = []
        for now_ns in (0, SECOND, 2 * SECOND):
            wire.now_ns = now_ns
            reply = get(wire, arn)
            assert answer_objections("GetAsyncInvoke", reply.body) == []
            seen.append(reply.json())
        assert [job["status"] for job in seen] == ["InProgress", "InProgress", "Completed"]
        assert ["endTime" in job for job in seen] == [False, False, True]
        assert seen[2]["submitTime"] == "2026-01-02T03:04:05.000Z"
        assert seen[2]["endTime"] == "2026-01-02T03:04:06.500Z"

    def test_names_its_model_and_a_folder_of_its_own(self) -> None:
        wire = Wire()
        arn = started(wire)
        job = get(wire, arn).json()
        assert job["invocationArn"] == arn
        assert job["modelArn"] == f"arn:aws:bedrock:us-east-1::foundation-model/{REEL}"
        folder = job["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"]
        assert folder == f"s3://bucket/videos/{arn.rpartition('/')[2]}"

    def test_may_fail(self) -> None:
        wire = Wire()
        arn = started(wire, "[[simulator: job-ms=0 job=failed]]")
        job = get(wire, arn).json()
        assert job["status"] == "Failed"
        assert job["failureMessage"]

    def test_is_noted_with_its_model(self) -> None:
        wire = Wire()
        started(wire)
        exchange = wire.ledger.requests()[-1]
        assert (exchange.operation, exchange.model_id) == ("StartAsyncInvoke", REEL)

    def test_runs_only_if_the_answer_is_no_error(self) -> None:
        wire = Wire()
        content = body("[[simulator: throw-ThrottlingException times=2]]")
        assert [start(wire, content).status for _ in range(3)] == [429, 429, 200]
        assert len(summaries(wire)) == 1

    def test_runs_though_its_answer_is_lost(self) -> None:
        ledger = Ledger()
        content = body("[[simulator: reset-before-headers]]", clientRequestToken="token")
        assert not start(Wire(ledger=ledger), content).whole
        [job] = summaries(Wire(ledger=ledger))
        assert job["clientRequestToken"] == "token"

    @pytest.mark.parametrize(
        ("content", "status", "error"),
        [
            (body(modelId="amazon.nova-lite-v1:0"), 400, "ValidationException"),
            (body(modelId="no-such"), 400, "ValidationException"),
            ({**body(), "outputDataConfig": {}}, 400, "ValidationException"),
            (
                body(outputDataConfig={"s3OutputDataConfig": {"s3Uri": "http://x"}}),
                400,
                "ValidationException",
            ),
            ({**body(), "extra": 1}, 400, "ValidationException"),
            (
                body("[[simulator: throw-ServiceQuotaExceededException]]"),
                400,
                "ServiceQuotaExceededException",
            ),
        ],
    )
    def test_may_be_refused(self, content: dict[str, Any], status: int, error: str) -> None:
        reply = start(Wire(), content)
        assert (reply.status, reply.headers["x-amzn-errortype"].partition(":")[0]) == (status, error)


class TestTokens:
    def test_the_same_request_starts_one_job(self) -> None:
        wire = Wire()
        arns = {started(wire, clientRequestToken="token") for _ in range(3)}
        assert len(arns) == 1
        assert len(summaries(wire)) == 1
        assert get(wire, arns.pop()).json()["clientRequestToken"] == "token"

    def test_another_request_under_the_same_token_is_a_conflict(self) -> None:
        wire = Wire()
        started(wire, clientRequestToken="token")
        reply = start(wire, body("a bridge", clientRequestToken="token"))
        assert reply.status == 400
        assert reply.headers["x-amzn-errortype"].startswith("ConflictException:")

    def test_without_a_token_every_request_is_its_own(self) -> None:
        wire = Wire()
        assert started(wire) != started(wire)


class TestUnknown:
    def test_a_job_that_is_none_is_no_404(self) -> None:
        # GetAsyncInvoke's model has no ResourceNotFoundException.
        reply = get(Wire(), "arn:aws:bedrock:us-east-1:123456789012:async-invoke/abcdefghijkl")
        assert reply.status == 400
        assert reply.headers["x-amzn-errortype"].startswith("ValidationException:")

    def test_and_an_arn_that_is_none_is_refused_by_its_pattern(self) -> None:
        assert "pattern" in get(Wire(), "no-arn").json()["message"]

    def test_all_can_be_forgotten(self) -> None:
        wire = Wire()
        arn = started(wire)
        wire.ledger.clear()
        assert get(wire, arn).status == 400


class TestLists:
    def several(self) -> tuple[Wire, list[str]]:
        """A second apart: one that is complete, one that has failed, three that run."""
        wire = Wire()
        arns: list[str] = []
        for index, wish in enumerate(("job-ms=0", "job-ms=0 job=failed", *["job-ms=99999"] * 3)):
            wire.now_ns = index * SECOND
            arns.append(started(wire, f"[[simulator: {wish}]]"))
        return wire, arns

    def test_newest_first(self) -> None:
        wire, arns = self.several()
        assert [job["invocationArn"] for job in summaries(wire)] == arns[::-1]
        assert [job["invocationArn"] for job in summaries(wire, "?sortOrder=Ascending")] == arns

    @pytest.mark.parametrize(("status", "count"), [("Completed", 1), ("Failed", 1), ("InProgress", 3)])
    def test_by_status(self, status: str, count: int) -> None:
        wire, _ = self.several()
        found = summaries(wire, f"?statusEquals={status}")
        assert [job["status"] for job in found] == [status] * count

    def test_by_time(self) -> None:
        wire, arns = self.several()
        query = "?submitTimeAfter=2026-01-02T03%3A04%3A05Z&submitTimeBefore=2026-01-02T03%3A04%3A08Z"
        assert [job["invocationArn"] for job in summaries(wire, query)] == arns[2:0:-1]

    def test_page_by_page(self) -> None:
        wire, arns = self.several()
        found: list[str] = []
        query = "?maxResults=2"
        while query:
            page = listed(wire, query).json()
            assert len(page["asyncInvokeSummaries"]) <= 2
            found += [job["invocationArn"] for job in page["asyncInvokeSummaries"]]
            query = f"?maxResults=2&nextToken={page['nextToken']}" if "nextToken" in page else ""
        assert found == arns[::-1]

    @pytest.mark.parametrize(
        "query",
        [
            *("maxResults=0", "maxResults=1001", "maxResults=x", "statusEquals=Done", "nextToken=x"),
            *("sortBy=Name", "submitTimeAfter=yesterday"),
        ],
    )
    def test_a_wrong_query_is_refused(self, query: str) -> None:
        assert listed(Wire(), f"?{query}").status == 400

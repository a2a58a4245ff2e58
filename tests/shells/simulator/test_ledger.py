"""The simulator's memory: bounded, and without anybody's secrets."""

import json

import pytest

from stargate.simulator.ledger import Ledger, Outcome
from support.simulator import Wire, converse_request, signed


def headers_of(*headers: tuple[bytes, bytes]) -> dict[str, str]:
    """The headers of a request as they are remembered."""
    return dict(Ledger().begin(b"POST", b"/", headers, b"").headers)


class TestSecrets:
    def test_of_a_signature_remain_who_and_what(self) -> None:
        wire = Wire()
        wire.ask(converse_request("hi"))
        authorization = dict(wire.ledger.requests()[0].headers)["authorization"]
        assert authorization == (
            "AWS4-HMAC-SHA256 Credential=AKIDSIMULATOR/20260102/us-east-1/bedrock/aws4_request, "
            "SignedHeaders=content-type;host;x-amz-date, Signature=[redacted]"
        )

    @pytest.mark.parametrize(
        ("name", "value", "shown"),
        [
            (b"Authorization", b"Bearer ABSKsecret", "Bearer [redacted]"),
            (b"Authorization", b"secret", "[redacted]"),
            (b"X-Amz-Security-Token", b"secret", "[redacted]"),
            (b"x-api-key", b"secret", "[redacted]"),
            (b"Cookie", b"a=secret", "[redacted]"),
            (b"Accept", b"*/*", "*/*"),
        ],
    )
    def test_what_else_is_kept_out(self, name: bytes, value: bytes, shown: str) -> None:
        assert headers_of((name, value)) == {name.decode().lower(): shown}

    def test_no_secret_is_anywhere_in_it(self) -> None:
        wire = Wire()
        request = signed("/model/x.y/converse", b"{}", session_token="token-secret")
        signature = request.partition(b"Signature=")[2].partition(b"\r\n")[0].decode()
        wire.ask(request)
        everything = repr(wire.ledger.requests())
        assert "token-secret" not in everything
        assert signature not in everything


class TestBounds:
    def test_the_oldest_requests_are_forgotten(self) -> None:
        ledger = Ledger(requests_kept=3)
        for _ in range(10):
            ledger.begin(b"POST", b"/", [], b"")
        assert [exchange.id for exchange in ledger.requests()] == [8, 9, 10]

    def test_of_large_bodies_only_the_length(self) -> None:
        ledger = Ledger(kept_body_bytes_max=10)
        exchange = ledger.begin(b"POST", b"/", [], json.dumps("x" * 10).encode())
        assert (exchange.body, exchange.body_bytes) == (None, 12)

    def test_what_is_no_json_is_kept_as_text(self) -> None:
        assert Ledger().begin(b"POST", b"/", [], b"\xffhi").body == "\ufffdhi"


def test_counts() -> None:
    ledger = Ledger()
    ledger.connected()
    complete, cancelled = (ledger.begin(b"POST", b"/", [], b"") for _ in range(2))
    complete.operation, cancelled.operation = "Converse", "ConverseStream"
    cancelled.model_id, cancelled.events_sent, cancelled.events_planned = "x.y", 3, 9
    ledger.end(complete, Outcome.COMPLETE)
    assert ledger.statistics()["running"] == 1
    ledger.end(cancelled, Outcome.CANCELLED, "mid-stream")
    ledger.disconnected(inside_request=False)
    assert ledger.statistics() == {
        "connections": 1,
        "open_connections": 0,
        "running": 0,
        "unfinished_requests": 0,
        "operations": {"Converse": 1, "ConverseStream": 1},
        "outcomes": {"complete": 1, "cancelled": 1},
        "errors": {},
        "cancelled": [
            {
                "id": 2,
                "operation": "ConverseStream",
                "model_id": "x.y",
                "phase": "mid-stream",
                "events_sent": 3,
                "events_planned": 9,
            }
        ],
    }

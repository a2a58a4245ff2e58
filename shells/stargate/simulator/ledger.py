"""The simulator's memory: which requests came, how far each got, and who left early.

All connections of a simulator share one ledger. Tests read it over HTTP (`/_simulator/…`) to prove what no
answer can show: that a bad request never reached Bedrock, that a client's leaving ended the call upstream,
what exactly was sent.

Secrets are kept out when a request is noted, not when it is shown: of an Authorization header remain
scheme, scope and the names of the signed headers.
"""

import collections
import enum
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from stargate.simulator.jobs import Jobs

_SECRET_HEADERS: Final = ("x-amz-security-token", "x-api-key", "api-key", "cookie", "proxy-authorization")
_REDACTED: Final = "[redacted]"
_WISHES_MAX: Final = 10_000
_RESPONSES_MAX: Final = 1_000
_SIGNATURE: Final = re.compile(r"(Signature=)[^,\s]*")


class Outcome(enum.Enum):
    """How an exchange ended."""

    RUNNING = "running"
    COMPLETE = "complete"
    """All that was planned has been written."""
    CANCELLED = "cancelled"
    """The peer left before that."""
    BROKEN = "broken"
    """The simulator broke it off, as its scenario says."""


class Exchange(msgspec.Struct):
    """One request, and how far its answer got."""

    id: int
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: Any
    body_bytes: int
    operation: str = ""
    model_id: str = ""
    verified: bool = False
    access_key_id: str = ""
    signing_name: str = ""
    """The service in the signature's scope: `bedrock` or `bedrock-mantle`; empty with an API key."""
    guardrail_id: str = ""
    guardrail_version: str = ""
    """The guardrail that was asked for, by whatever way."""
    error: str = ""
    """The name of the error it was refused with; empty: it was not."""
    scenario: str = ""
    status: int = 0
    """0: no status line has been written."""
    outcome: Outcome = Outcome.RUNNING
    phase: str = ""
    """Where a peer left: before-headers, before-first-event, mid-stream, mid-body."""
    events_planned: int = 0
    events_sent: int = 0


class Ledger:
    """What has happened, within bounds."""

    def __init__(self, requests_kept: int = 200, kept_body_bytes_max: int = 262_144) -> None:
        self._exchanges: collections.deque[Exchange] = collections.deque(maxlen=requests_kept)
        self._kept_body_bytes_max = kept_body_bytes_max
        self._last_id = 0
        self._by_operation: collections.Counter[str] = collections.Counter()
        self._by_outcome: collections.Counter[str] = collections.Counter()
        self._by_error: collections.Counter[str] = collections.Counter()
        self._wishes: collections.Counter[str] = collections.Counter()
        self._responses: collections.deque[str] = collections.deque(maxlen=_RESPONSES_MAX)
        self.jobs = Jobs()
        """The asynchronous invocations that were started."""
        self.listing_fault = ""
        """The scenario that befalls the listing of models; empty: what the settings say."""
        self._running = 0
        self._connections_open = 0
        self._connections = 0
        self._unfinished_requests = 0

    def connected(self) -> None:
        """A connection was made."""
        self._connections += 1
        self._connections_open += 1

    def disconnected(self, *, inside_request: bool) -> None:
        """A connection is gone; `inside_request`: a request had begun and not ended on it."""
        self._connections_open -= 1
        self._unfinished_requests += inside_request

    def begin(
        self, method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes
    ) -> Exchange:
        """Note a request that has arrived whole."""
        self._last_id += 1
        self._running += 1
        exchange = Exchange(
            self._last_id,
            method.decode("ascii", "replace"),
            target.decode("latin-1"),
            [_harmless(name, value) for name, value in headers],
            self._kept(body),
            len(body),
        )
        self._exchanges.append(exchange)
        return exchange

    def _kept(self, body: bytes) -> Any:
        if len(body) > self._kept_body_bytes_max:
            return None
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError):
            return body.decode("utf-8", "replace")

    def wished(self, scenario: str) -> int:
        """Note that a scenario is wished for, in these words; how often it was before."""
        if len(self._wishes) > _WISHES_MAX:
            self._wishes.clear()
        self._wishes[scenario] += 1
        return self._wishes[scenario] - 1

    def remember_response(self, response_id: str) -> None:
        """Note that a stored response was given out under this id."""
        self._responses.append(response_id)

    def knows_response(self, response_id: str) -> bool:
        """Whether a response was given out under this id, not long ago."""
        return response_id in self._responses

    def end(self, exchange: Exchange, outcome: Outcome, phase: str = "") -> None:
        """The exchange is over."""
        exchange.outcome = outcome
        exchange.phase = phase
        self._running -= 1
        self._by_operation[exchange.operation or "none"] += 1
        self._by_outcome[outcome.value] += 1
        if exchange.error:
            self._by_error[exchange.error] += 1

    def clear(self) -> None:
        """Forget the requests, the counts of what is over, the jobs and the stored responses."""
        self._exchanges.clear()
        self._responses.clear()
        self.jobs.clear()
        for counter in (self._by_operation, self._by_outcome, self._by_error, self._wishes):
            counter.clear()
        self._unfinished_requests = 0

    def requests(self) -> list[Exchange]:
        """The last requests, oldest first."""
        return list(self._exchanges)

    def statistics(self) -> dict[str, object]:
        """Counts since the start, or since the last `clear`."""
        return {
            "connections": self._connections,
            "open_connections": self._connections_open,
            "running": self._running,
            "unfinished_requests": self._unfinished_requests,
            "operations": dict(self._by_operation),
            "outcomes": dict(self._by_outcome),
            "errors": dict(self._by_error),
            "cancelled": [
                {
                    "id": exchange.id,
                    "operation": exchange.operation,
                    "model_id": exchange.model_id,
                    "phase": exchange.phase,
                    "events_sent": exchange.events_sent,
                    "events_planned": exchange.events_planned,
                }
                for exchange in self._exchanges
                if exchange.outcome is Outcome.CANCELLED
            ],
        }


def _harmless(name: bytes, value: bytes) -> tuple[str, str]:
    """A header without its secret."""
    shown = name.decode("ascii", "replace").lower()
    if shown in _SECRET_HEADERS:
        return shown, _REDACTED
    text = value.decode("utf-8", "replace")
    if shown == "authorization":
        if text.startswith("AWS4-HMAC-SHA256 "):
            return shown, _SIGNATURE.sub(rf"\1{_REDACTED}", text)
        return shown, f"{text.partition(' ')[0]} {_REDACTED}" if " " in text else _REDACTED
    return shown, text

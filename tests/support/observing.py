"""Log records for tests of what is counted."""

from typing import Any, Final

from stargate_core.record import Attempt, LogRecord, Outcome

REQUEST_ID: Final = "0123456789abcdef0123456789abcdef"


def record(**changes: Any) -> LogRecord:
    """The record of a stream that went well, with these members changed."""
    members: dict[str, Any] = {
        "time": "2026-01-02T03:04:05.678Z",
        "request_id": REQUEST_ID,
        "generation": 1,
        "outcome": Outcome.COMPLETE,
        "status": 200,
        "client": "127.0.0.1:4444",
        "method": "POST",
        "route": "openai-chat",
        "dialect": "openai-chat",
        "consumer": "team-a",
        "model": "claude",
        "target": "us.anthropic.claude-sonnet-4-20250514-v1:0",
        "region": "us-east-1",
        "operation": "ConverseStream",
        "stream": True,
        "attempts": 1,
        "upstream_status": 200,
        "input_tokens": 100,
        "output_tokens": 21,
        "cost_usd": 0.000615,
        "request_bytes": 500,
        "response_bytes": 9000,
        "calls": (Attempt("us-east-1/claude", "OK", 0.5, 2290.0, 0.25, 200),),
        "output_events": 21,
        "lease_ms": 0.25,
        "first_byte_ms": 300.5,
        "first_token_ms": 300.0,
        "inter_token_ms": 100.0,
        "upstream_ms": 2299.75,
        "overhead_ms": 0.75,
        "total_ms": 2300.5,
    }
    return LogRecord(**{**members, **changes})


def a_status(**changes: Any) -> dict[str, Any]:
    """What a worker in good health tells of itself, with these members changed."""
    return {
        "loaded_at": "2026-01-02T03:04:05.000Z",
        "reload_error": None,
        "generation": 3,
        "draining": False,
        "statistics": {"clients": 5, "exchanges": 2, "idle": 1, "lent": 2, "opening": 0, "waiting": 4},
        "targets": [{"name": "us-east-1", "state": "closed", "until": None}],
        "store": {"kind": "redis", "state": "up", "calls": 1, "backlog": 0},
        "limits": [{"name": "tokens_per_minute", "scope": "team-a", "used": 5, "limit": 10}],
        "cache": {"entries": 8, "held_bytes": 900},
        "journals": {"written": 0, "reasons": {}},
        "sinks": [{"path": "/dev/stdout", "buffered": 11, "trouble": "", "written": 0, "dropped": 0}],
        "credentials_held": {"": True},
        "spans": {"exported": 9, "failed": 0, "dropped": 0, "queued": 3},
        **changes,
    }

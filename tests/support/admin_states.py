"""States of a gateway as its status page gets them: busy, quiet, and those that are rare.

They are what the admin API tells (`/api/status`, `/api/requests`), made up but the same each time. That they
have the members which a real gateway tells is what tests/shells/admin/page/test_real.py sees to.
"""

import datetime
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

NOW: Final = datetime.datetime(2026, 3, 14, 9, 26, 53, tzinfo=datetime.UTC)
STEPS: Final = 120
BOUNDS_MS: Final = (5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000, 30000)
TARGETS: Final = (
    "us-east-1/us.anthropic.claude-sonnet-4-20250514-v1:0",
    "us-west-2/us.anthropic.claude-sonnet-4-20250514-v1:0",
    "us-east-1/amazon.nova-lite-v1:0",
)
INJECTION: Final = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
"""What somebody may call a model."""


def told_at(seconds_ago: float = 0) -> str:
    """A moment before now, RFC 3339 in UTC."""
    moment = NOW - datetime.timedelta(seconds=seconds_ago)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _wave(chance: random.Random, middle: float, swing: float) -> list[int]:
    level = middle
    told = []
    for _ in range(STEPS):
        level += (middle - level) * 0.12 + chance.gauss(0, swing)
        told.append(max(0, round(level)))
    return told


def _latency(chance: random.Random, peak: int, number: int) -> dict[str, Any]:
    counts = [0] * (len(BOUNDS_MS) + 1)
    for _ in range(number):
        counts[min(len(BOUNDS_MS), max(0, round(chance.gauss(peak, 1.5))))] += 1
    bounds: list[float | str] = [*BOUNDS_MS, "inf"]
    at = [BOUNDS_MS[peak - 1], BOUNDS_MS[peak + 1], BOUNDS_MS[peak + 3]]
    return {
        **{f"p{part}": value * 0.9 for part, value in zip((50, 90, 99), at, strict=True)},
        "buckets": [list(pair) for pair in zip(bounds, counts, strict=True)],
    }


def _usage(name: str, requests: int, errors: int, tokens: int) -> dict[str, Any]:
    return {
        "name": name,
        "requests": requests,
        "errors": errors,
        "input_tokens": tokens * 4,
        "output_tokens": tokens,
        "cached_tokens": tokens,
        "cost_usd": round(tokens * 27e-6, 6),
    }


def _limit(name: str, scope: str, used: int, limit: int, window: float) -> dict[str, Any]:
    return {
        "name": name,
        "scope": scope,
        "used": used,
        "limit": limit,
        "window_seconds": window,
        "fraction": round(used / limit, 4),
        "seen_at": told_at(used % 7),
    }


def _target(name: str, state: str, until: str | None = None) -> dict[str, Any]:
    return {"name": name, "state": state, "until": until, "places": [1, 2, 4]}


def _worker(place: int) -> dict[str, Any]:
    return {
        "place": place,
        "pid": 4200 + place,
        "started_at": told_at(86_000),
        "seen_at": told_at(0.4),
        "alive": True,
        "generation": 12,
        "draining": False,
        "clients": 14 + 3 * place,
        "in_flight": 4 + place,
        "connections": {"open": 9 + place, "idle": 4},
    }


def busy() -> dict[str, Any]:
    """All is well, and much goes through."""
    chance = random.Random(7)
    requests = _wave(chance, 34, 3)
    return {
        "now": told_at(),
        "version": "0.1.0",
        "started_at": told_at(86_000),
        "generation": 12,
        "loaded_at": told_at(2_700),
        "reload_error": None,
        "reload_failed_at": None,
        "workers": [_worker(place) for place in range(1, 5)],
        "in_flight": 22,
        "series": {
            "step_seconds": 1,
            "requests": requests,
            "errors": [1 if chance.random() < 0.12 else 0 for _ in requests],
            "input_tokens": _wave(chance, 8200, 700),
            "output_tokens": _wave(chance, 3100, 240),
            "cost_usd": [round(value * 0.0011, 5) for value in requests],
        },
        "window_seconds": 300.0,
        "latency": {"total_ms": _latency(chance, 10, 9800), "first_byte_ms": _latency(chance, 7, 9800)},
        "consumers": [
            _usage("checkout-assistant", 4120, 6, 1_204_000),
            _usage("support-search", 3310, 0, 402_000),
            _usage("research-notebooks", 1204, 21, 2_310_400),
            _usage("ci-review-bot", 611, 2, 180_210),
        ],
        "models": [
            _usage("claude", 5404, 23, 3_100_700),
            _usage("claude-fast", 3120, 4, 820_100),
            _usage("nova", 721, 2, 176_000),
        ],
        "limits": [
            _limit("requests a minute", "checkout-assistant", 214, 600, 60),
            _limit("tokens a minute", "checkout-assistant", 81_000, 400_000, 60),
            _limit("requests a minute", "support-search", 98, 600, 60),
            _limit("calls at a time", "research-notebooks", 6, 20, 0),
            _limit("dollars a day", "research-notebooks", 41, 200, 86_400),
        ],
        "targets": [
            {"name": name, "state": "closed", "until": None, "places": [0, 1, 2]} for name in TARGETS
        ],
        "store": {"kind": "redis", "state": "up"},
        "cache": {"hit": 1830, "miss": 6410, "coalesced": 212, "bypass": 790},
        "journals": {"directory": "/var/lib/stargate/journals", "written": 3, "skipped": 0},
        "logs": {"dropped": 0},
        "credentials": {"": "iam-role", "research": "assume-role"},
        "plugins": ["api-key-auth", "rate-limiter", "response-cache", "bedrock-proxy", "request-logger"],
        "open": False,
    }


def quiet() -> dict[str, Any]:
    """Just started: nobody has asked anything."""
    nothing = [0] * STEPS
    empty = {"p50": None, "p90": None, "p99": None, "buckets": [[bound, 0] for bound in (*BOUNDS_MS, "inf")]}
    series = dict.fromkeys(("requests", "errors", "input_tokens", "output_tokens", "cost_usd"), nothing)
    return {
        **busy(),
        "in_flight": 0,
        "series": {"step_seconds": 1, **series},
        "window_seconds": 2.0,
        "latency": {"total_ms": empty, "first_byte_ms": empty},
        "consumers": [],
        "models": [],
        "limits": [],
        "targets": [],
        "cache": {"hit": 0, "miss": 0, "coalesced": 0, "bypass": 0},
        "journals": {"directory": None, "written": 0, "skipped": 0},
        "open": True,
    }


def near() -> dict[str, Any]:
    """Some limits are nearly used up, one is."""
    return {
        **busy(),
        "limits": [
            _limit("tokens a minute", "checkout-assistant", 400_000, 400_000, 60),
            _limit("requests a minute", "checkout-assistant", 561, 600, 60),
            _limit("dollars a month", "research-notebooks", 1_702, 2_000, 2_592_000),
            _limit("requests a minute", "support-search", 388, 600, 60),
            _limit("calls at a time", "research-notebooks", 11, 20, 0),
            _limit("tokens a day", "ci-review-bot", 640_200, 5_000_000, 86_400),
            _limit("requests an hour", "everybody", 9_310, 100_000, 3_600),
        ],
    }


def broken() -> dict[str, Any]:
    """A target is left alone, a worker is gone, the store is down, and the last reload was refused."""
    told = busy()
    told["workers"][2] |= {"alive": False, "seen_at": told_at(41), "clients": 0, "in_flight": 0}
    told["targets"] = [
        _target(TARGETS[0], "open", told_at(-18)),
        _target(TARGETS[1], "closed"),
        _target(TARGETS[2], "half_open"),
    ]
    told["series"]["errors"] = [0] * 84 + [3, 9, 14, 17, 15, 12] * 6
    told["store"] = {"kind": "redis", "state": "down"}
    told["logs"] = {"dropped": 12}
    told["reload_failed_at"] = told_at(95)
    told["reload_error"] = [
        "stargate.yaml:41: plugins[2].config.windows[0].limit: expected a whole number from 1, found -5",
        "stargate.yaml:58: consumers[3].keyauth_credentials: fewer than 16 characters",
    ]
    return told


def hostile() -> dict[str, Any]:
    """Every name that somebody else may choose is an attempt to be more than a name."""
    told = broken()
    for rows in ("consumers", "models"):
        told[rows] = [_usage(INJECTION, 10, 1, 5000)]
    told["limits"] = [_limit(INJECTION, INJECTION, 99, 100, 60)]
    told["targets"] = [_target(INJECTION, "open", told_at(-9))]
    told["reload_error"] = [INJECTION]
    told["store"] = {"kind": INJECTION, "state": INJECTION}
    told["credentials"] = {INJECTION: INJECTION}
    told["plugins"] = [INJECTION]
    return told


STATES: Final[Mapping[str, Callable[[], dict[str, Any]]]] = {
    "busy": busy,
    "quiet": quiet,
    "near": near,
    "broken": broken,
    "hostile": hostile,
}


def records(count: int = 60, *, model: str | None = None) -> list[dict[str, Any]]:
    """Log records, newest first: of all outcomes, most of them good."""
    chance = random.Random(11)
    names = ("checkout-assistant", "support-search", "research-notebooks", "ci-review-bot")
    models = ("claude", "claude", "claude-fast", "nova")
    told = []
    for number in range(count):
        first = chance.lognormvariate(6, 0.6)
        record = {
            "time": told_at(0.7 + number * 1.9),
            "request_id": f"req_{chance.getrandbits(96):024x}",
            "generation": 12,
            "outcome": "complete",
            "status": 200,
            "client": "10.4.0.17",
            "method": "POST",
            "route": "openai-chat",
            "dialect": "openai-chat",
            "consumer": chance.choice(names),
            "key_id": "…3f9c",
            "model": model or chance.choice(models),
            "target": "us.anthropic.claude-sonnet-4-20250514-v1:0",
            "region": "us-east-1",
            "operation": "ConverseStream",
            "stream": chance.random() < 0.7,
            "attempts": 1,
            "input_tokens": chance.randrange(300, 9000),
            "output_tokens": chance.randrange(20, 1400),
            "cost_usd": chance.random() / 20,
            "request_bytes": 4200,
            "response_bytes": 9100,
            "lease_ms": 0.4,
            "first_byte_ms": first,
            "total_ms": first * chance.uniform(2, 9),
        }
        told.append(_spent(record | _turn(number), number))
    return told


def _spent(record: dict[str, Any], number: int) -> dict[str, Any]:
    """With the figures that follow from others. Records of the list's second half, as an older gateway wrote
    them, have none of these.
    """
    total, tokens = record["total_ms"], record["output_tokens"]
    if number >= 30:
        return record
    if not record["attempts"]:
        return record | {"overhead_ms": total}
    told = {"upstream_ms": total - 3.4, "overhead_ms": 3.4, "trace_id": f"{number + 1:032x}"}
    if record["outcome"] != "failed" and record["stream"]:
        told |= {"output_events": tokens, "inter_token_ms": (total - record["first_byte_ms"]) / tokens}
    return record | told


def _turn(number: int) -> dict[str, Any]:
    """What is different about a request in this place of the list."""
    match number % 13:
        case 4:
            attempts = ["us-east-1: 503 in 212 ms", "us-west-2: 503 in 190 ms"]
            return {
                "outcome": "failed",
                "status": 503,
                "code": "MODEL_UNAVAILABLE",
                "cause": "MODEL_NOT_READY",
                "upstream_status": 503,
                "upstream_exception": "ModelNotReadyException",
                "attempts": 2,
                "tried": attempts,
                "first_byte_ms": 409.0,
                "total_ms": 409.4,
                "output_tokens": 0,
                "cost_usd": 0,
            }
        case 7:
            return {"cache": "hit", "attempts": 0, "first_byte_ms": 1.2, "total_ms": 1.9, "cost_usd": 0}
        case 9:
            return {
                "outcome": "client_left",
                "usage_estimated": True,
                "cost_estimated": True,
                "redactions": 2,
            }
        case 11:
            told = {"outcome": "failed", "status": 429, "code": "RATE_LIMITED", "cause": "RATE_LIMITED"}
            return told | {"limited_by": "tokens_per_minute_by_key", "attempts": 0, "total_ms": 1.2}
        case _:
            return {}


def story(record: Mapping[str, Any]) -> list[dict[str, str]]:
    """What became of it, in sentences."""
    failed = record["outcome"] == "failed"
    end = (
        f"Failed: answered {record['status']}. {record.get('code')}: it was Bedrock, or the way to it."
        if failed
        else f"Answered {record['status']}, to its end. The model stopped for end_turn."
    )
    return [
        {"title": "How it ended", "text": end},
        {"title": "Who asked", "text": f"{record['consumer']}, by key …3f9c, from 10.4.0.17."},
        {
            "title": "What was asked",
            "text": f"POST on route openai-chat. Model {record['model']}, as a stream.",
        },
        {
            "title": "Where it went",
            "text": "ConverseStream in us-east-1, at us.anthropic.claude-sonnet-4-20250514-v1:0.",
        },
    ]

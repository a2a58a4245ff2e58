"""Settlement: the headers every answer bears, and the one record every exchange leaves.

Whatever happens to an admitted request, it is settled once: the record is made from what the exchange knows
at that moment, and the log phase runs. A log hook that fails costs the operator a note, never the caller an
answer.
"""

import datetime
import functools
from typing import TYPE_CHECKING, Final

from stargate_core.clock import MILLISECOND, SECOND
from stargate_core.dialects.face import Dialect, Headers, Request, Usage
from stargate_core.direction import Direction
from stargate_core.faults import Cause, Fault
from stargate_core.limits.estimate import input_tokens
from stargate_core.messages import Note, Publish, SessionCommand, Source
from stargate_core.misuse import PluginFailed
from stargate_core.phases import Phase
from stargate_core.prices import cost_nano_usd
from stargate_core.record import NO_TIME, Attempt, Failed, LogRecord, Outcome

if TYPE_CHECKING:
    from stargate_core.gateway.exchange import Exchange

_REQUEST_ID: Final = b"x-request-id"
_MODEL_CHARS_MAX: Final = 256
"""Of the name that the caller used, in the record: the caller may write anything there, and any amount."""
_SESSION_CHARS_MAX: Final = 128
_SESSION_PREFIX: Final = b"x-claude-code-"
_SESSION_HEADERS: Final = (
    b"x-claude-code-session-id",
    b"x-claude-code-agent-id",
    b"x-claude-code-parent-agent-id",
    b"x-claude-code-request-class",
)
_SESSION_DIALECTS: Final = frozenset({"anthropic-messages", "anthropic-count-tokens", "bedrock-native"})
"""What Claude Code speaks."""
_NO_SESSION: Final = ("", "", "", "")
_CACHE: Final = {Source.KEPT: "hit", Source.MADE: "miss", Source.JOINED: "coalesced"}
_NOT_PAID: Final = frozenset({"hit", "coalesced"})
"""Answers that were not made for this request."""
_TOKENS_PER_EVENT: Final = 4
"""Of output; in recorded streams it is between one and ten."""
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def answer_headers(dialect: Dialect, request: Request, headers: Headers) -> Headers:
    """The headers of an answer: the dialect's, and the request id under every name its SDKs look for."""
    request_id = request.request_id.encode()
    named = dialect.REQUEST_ID_HEADER
    answer = [*headers, (_REQUEST_ID, request_id)]
    if named != _REQUEST_ID and not any(name == named for name, _ in headers):
        answer.append((named, request_id))
    return answer


def fault_headers(fault: Fault) -> Headers:
    """What an error tells the caller's SDK: x-should-retry always, Retry-After where there is one."""
    headers = [(b"x-should-retry", b"true" if fault.row.should_retry else b"false")]
    seconds = fault.retry_after
    if seconds is not None:
        headers.append((b"retry-after", b"%d" % seconds))
        headers.append((b"retry-after-ms", b"%d" % (seconds * 1000)))
    headers += fault.headers
    return headers


def settle(exchange: "Exchange", now: int, out: list[SessionCommand]) -> None:
    """Make the record and run the log phase."""
    if exchange.status >= 500 or (exchange.outcome is Outcome.FAILED and exchange.status < 400):
        _note_failure(exchange)
    hooks, tracer = exchange.chain.log, exchange.tracer
    published = exchange.published and (exchange.host.plan.observed or tracer is not None)
    if not (hooks or published):
        return
    record = _record(exchange, now)
    if published:
        out.append(Publish(record, () if tracer is None else tracer.finish(exchange, now, record)))
    if not hooks:
        return
    ctx = exchange.ctx
    ctx.know_answer(exchange.status, [])
    ctx.know_record(record)
    for hook in hooks:
        try:
            exchange.run_hook(hook, Phase.LOG)
        except PluginFailed as failed:
            out.append(Note("error", failed.fault.detail))


def _note_failure(exchange: "Exchange") -> None:
    """Leave a note of it where whoever records the session looks."""
    host, fault = exchange.host, exchange.fault
    if host.failed is None:
        cause = "" if fault is None else fault.cause.name
        host.failed = Failed(exchange.request.request_id, exchange.status, cause)


def _record(exchange: "Exchange", now: int) -> LogRecord:
    """What is known of the exchange. One constructor and no assignments: this is done for every request."""
    request, ctx, host = exchange.request, exchange.ctx, exchange.host
    upstream, translator, fault = exchange.upstream, exchange.translator, exchange.fault
    ask, direction, consumer, call = ctx.known_ask, exchange.direction, ctx.consumer, exchange.call
    cache = "" if ctx.answer_source is None else _CACHE[ctx.answer_source]
    usage, estimated = _usage(exchange)
    cost_usd, cost_estimated = cost_of(exchange, usage)
    begun_at, sent_at, first_byte_at = exchange.begun_at, exchange.sent_at, exchange.first_byte_at
    total_ns, upstream_ns, overhead_ns = _time_spent(exchange, now, kept=cache == "hit")
    first_token_at, events, inter_token_ns = _stream_figures(exchange)
    trace = exchange.trace
    session = _NO_SESSION if exchange.dialect.NAME not in _SESSION_DIALECTS else session_of(request.headers)
    return LogRecord(
        time=rfc3339(host.wall_epoch_ns + begun_at),
        request_id=request.request_id,
        generation=host.plan.generation,
        outcome=exchange.outcome,
        status=exchange.status,
        code="" if fault is None else fault.row.code,
        cause="" if fault is None else fault.cause.name,
        detail="" if fault is None else fault.detail,
        client=request.client,
        method=request.method.decode("latin-1"),
        route=exchange.route,
        dialect=exchange.dialect.NAME,
        consumer="" if consumer is None else consumer.username,
        key_id=ctx.key_id,
        session_id=session[0],
        agent_id=session[1],
        parent_agent_id=session[2],
        request_class=session[3],
        model="" if ask is None else (ask.model or "")[:_MODEL_CHARS_MAX],
        target="" if direction is None else direction.target.model,
        region="" if direction is None else direction.region,
        operation="" if call is None else call.operation.value,
        stream=ask is not None and ask.stream,
        attempts=exchange.attempts,
        tried=tuple(exchange.tried),
        calls=tuple(exchange.calls),
        upstream_status=0 if upstream is None else upstream.status,
        upstream_request_id="" if upstream is None else upstream.request_id,
        upstream_exception="" if fault is None else fault.aws_name or "",
        stop_reason="" if translator is None else translator.stop_reason or "",
        input_tokens=0 if usage is None else usage.input_tokens,
        output_tokens=0 if usage is None else usage.output_tokens,
        cache_read_tokens=0 if usage is None else usage.cache_read_tokens,
        cache_write_tokens=0 if usage is None else usage.cache_write_tokens,
        usage_estimated=estimated,
        cost_usd=cost_usd,
        cost_estimated=cost_estimated,
        redactions=ctx.redacted,
        cache=cache,
        request_bytes=len(request.body),
        response_bytes=exchange.response_bytes,
        output_events=events,
        limited_by="" if fault is None else fault.limit,
        trace_id="" if trace is None else trace.trace_id,
        span_id="" if trace is None else trace.span_id,
        lease_ms=(sent_at - exchange.opened_at) // 1000 / 1000 if sent_at else 0.0,
        first_byte_ms=(first_byte_at - begun_at) // 1000 / 1000 if first_byte_at else 0.0,
        first_token_ms=(first_token_at - begun_at) // 1000 / 1000 if first_token_at else NO_TIME,
        inter_token_ms=inter_token_ns // 1000 / 1000 or NO_TIME,
        upstream_ms=upstream_ns // 1000 / 1000 or NO_TIME,
        overhead_ms=overhead_ns // 1000 / 1000 or NO_TIME,
        total_ms=total_ns // 1000 / 1000,
    )


def _time_spent(exchange: "Exchange", now: int, *, kept: bool) -> tuple[int, int, int]:
    """In nanoseconds: all of it, of that waiting for Bedrock, and the gateway's own (record.py has the
    meaning). kept: the answer was there already, so whatever was waited for was not Bedrock.
    """
    exchange.end_stall(now)
    total_ns, stalled_ns = now - exchange.begun_at, exchange.stalled_ns
    # A last attempt that never got a connection has waited for Bedrock all the same.
    called_at = exchange.called_at or exchange.opened_at
    upstream_ns = now - called_at - stalled_ns if called_at and not kept else 0
    return total_ns, upstream_ns, total_ns - upstream_ns - stalled_ns


def _stream_figures(exchange: "Exchange") -> tuple[int, int, int]:
    """When a stream's first meaningful event came, how many there were from it on, and the nanoseconds from
    one to the next. Zeros where there was none.
    """
    first_at, upstream = exchange.first_token_at, exchange.upstream
    if not first_at or upstream is None:
        return 0, 0, 0
    events = upstream.passed
    return first_at, events, (exchange.last_token_at - first_at) // (events - 1) if events > 1 else 0


def attempt_of(
    exchange: "Exchange", now: int, direction: Direction, result: str, fault: Fault | None
) -> Attempt:
    """The attempt that is over at this moment, as data."""
    upstream, opened_at, sent_at = exchange.upstream, exchange.opened_at, exchange.sent_at
    return Attempt(
        direction.name or direction.region,
        result,
        (opened_at - exchange.begun_at) // 1000 / 1000,
        (now - opened_at) // 1000 / 1000,
        (sent_at - opened_at) // 1000 / 1000 or NO_TIME if sent_at else NO_TIME,
        0 if upstream is None else upstream.status,
        "" if upstream is None else upstream.request_id,
        "" if fault is None else fault.aws_name or "",
    )


def session_of(headers: Headers) -> tuple[str, str, str, str]:
    """The session, the agent, its parent and the class of a request, as far as Claude Code has told them."""
    found: dict[bytes, bytes] | None = None
    for name, value in headers:
        if name.startswith(_SESSION_PREFIX):
            found = found or {}
            found.setdefault(name, value)
    if found is None:
        return _NO_SESSION
    session, agent, parent, kind = (_printable(found.get(name, b"")) for name in _SESSION_HEADERS)
    return session, agent, parent, kind


def _printable(value: bytes) -> str:
    text = value[:_SESSION_CHARS_MAX].decode("latin-1")
    if text.isascii() and text.isprintable():
        return text
    return "".join(character for character in text if " " <= character <= "~")


def _has_used(exchange: "Exchange") -> bool:
    """Whether Bedrock has worked for nothing that it would tell: a stream broke off, or nobody waited
    longer.
    """
    upstream, fault = exchange.upstream, exchange.fault
    if upstream is None:
        return False
    if upstream.events:
        return True
    if fault is None:
        given_up = exchange.outcome is Outcome.CLIENT_LEFT
    else:
        given_up = fault.cause is Cause.TOTAL_TIMEOUT
    return given_up and exchange.sent_at > 0 and upstream.status in (0, 200)


def _usage(exchange: "Exchange") -> tuple[Usage | None, bool]:
    """The tokens that were used, if any, and whether that is an estimate."""
    usage = None if exchange.translator is None else exchange.translator.usage
    if usage is None and _has_used(exchange):
        return _estimate(exchange), True
    return usage, False


def cost_so_far(exchange: "Exchange") -> tuple[float, bool]:
    """What an exchange has cost that is about to be answered whole: as its record will have it."""
    return cost_of(exchange, _usage(exchange)[0])


def cost_of(exchange: "Exchange", usage: Usage | None) -> tuple[float, bool]:
    """What these tokens cost, and whether that is only an upper bound, no price of the model being known."""
    source = exchange.ctx.answer_source
    if usage is None or (source is not None and _CACHE[source] in _NOT_PAID):
        return 0.0, False
    assert exchange.direction is not None
    prices = exchange.host.plan.prices
    price = prices.of(exchange.direction.target.model)
    return cost_nano_usd(price, usage) / 1e9, usage.total_tokens > 0 and not prices.is_known(price)


def _estimate(exchange: "Exchange") -> Usage:
    """What has been used without Bedrock's word for it: it counts at the end only, and charges all the
    same.
    """
    assert exchange.upstream is not None
    output_tokens = exchange.upstream.events * _TOKENS_PER_EVENT
    ask = exchange.ctx.known_ask
    if ask is not None and ask.output_tokens_max is not None:
        output_tokens = min(output_tokens, ask.output_tokens_max)
    return Usage(input_tokens(exchange.request.body), output_tokens)


def rfc3339(wall_ns: int) -> str:
    """Wall time as log readers like it: UTC, milliseconds."""
    seconds, rest = divmod(wall_ns, SECOND)
    return f"{_to_the_second(seconds)}.{rest // MILLISECOND:03d}Z"


@functools.lru_cache(maxsize=8)
def _to_the_second(seconds: int) -> str:
    return (_EPOCH + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")

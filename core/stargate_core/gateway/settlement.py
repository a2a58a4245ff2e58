"""Settlement: the headers every answer bears, and the one record every exchange leaves.

Whatever happens to an admitted request, it is settled once: the record is made from what the exchange knows
at that moment, and the log phase runs. A log hook that fails costs the operator a note, never the caller an
answer.
"""

import datetime
import functools
from typing import TYPE_CHECKING, Final

from stargate_core.clock import MILLISECOND, SECOND
from stargate_core.dialects.face import Dialect, Headers, Request
from stargate_core.faults import Fault
from stargate_core.messages import Note, SessionCommand
from stargate_core.phases import Phase, PluginFailed
from stargate_core.record import LogRecord

if TYPE_CHECKING:
    from stargate_core.gateway.exchange import Exchange

_REQUEST_ID: Final = b"x-request-id"
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
    hooks = exchange.chain.log
    if not hooks:
        return
    ctx = exchange.ctx
    ctx.know_answer(exchange.status, [])
    ctx.know_record(_record(exchange, now))
    for hook in hooks:
        try:
            exchange.run_hook(hook, Phase.LOG)
        except PluginFailed as failed:
            out.append(Note("error", failed.fault.detail))


def _record(exchange: "Exchange", now: int) -> LogRecord:
    request, ctx, upstream, translator = (
        exchange.request,
        exchange.ctx,
        exchange.upstream,
        exchange.translator,
    )
    begun_at = exchange.begun_at
    record = LogRecord(
        time=rfc3339(exchange.host.wall_epoch_ns + begun_at),
        request_id=request.request_id,
        generation=exchange.host.plan.generation,
        outcome=exchange.outcome,
        status=exchange.status,
        client=request.client,
        method=request.method.decode("latin-1"),
        route=exchange.route,
        dialect=exchange.dialect.NAME,
        key_id=ctx.key_id,
        attempts=exchange.attempts,
        request_bytes=len(request.body),
        response_bytes=exchange.response_bytes,
        total_ms=_ms(now - begun_at),
    )
    if ctx.consumer is not None:
        record.consumer = ctx.consumer.username
    ask = ctx.known_ask
    if ask is not None:
        record.stream = ask.stream
        record.model = ask.model or ""
    if ctx.direction is not None:
        record.target = ctx.direction.target.model
        record.region = ctx.direction.region
    if exchange.call is not None:
        record.operation = exchange.call.operation.value
    if exchange.sent_at:
        record.lease_ms = _ms(exchange.sent_at - exchange.opened_at)
    if exchange.first_byte_at:
        record.first_byte_ms = _ms(exchange.first_byte_at - begun_at)
    if upstream is not None:
        record.upstream_status = upstream.status
        record.upstream_request_id = upstream.request_id
    if translator is not None:
        record.stop_reason = translator.stop_reason or ""
        usage = translator.usage
        if usage is not None:
            record.input_tokens = usage.input_tokens
            record.output_tokens = usage.output_tokens
            record.cache_read_tokens = usage.cache_read_tokens
            record.cache_write_tokens = usage.cache_write_tokens
    fault = exchange.fault
    if fault is not None:
        record.code = fault.row.code
        record.cause = fault.cause.name
        record.detail = fault.detail
        record.upstream_exception = fault.aws_name or ""
    return record


def rfc3339(wall_ns: int) -> str:
    """Wall time as log readers like it: UTC, milliseconds."""
    seconds, rest = divmod(wall_ns, SECOND)
    return f"{_to_the_second(seconds)}.{rest // MILLISECOND:03d}Z"


@functools.lru_cache(maxsize=8)
def _to_the_second(seconds: int) -> str:
    return (_EPOCH + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def _ms(duration_ns: int) -> float:
    return round(duration_ns / MILLISECOND, 3)

"""What became of a request, told from its record in sentences for a person.

Nothing here is known that the record does not say; what the words of a fault mean stands in the table of
causes (docs/faults.md). Sentences hold names that callers have chosen: whoever shows them shows text.
"""

from collections.abc import Iterator

from stargate_core.causes import TABLE, Blame, Cause
from stargate_core.record import LogRecord, Outcome

_BLAME = {
    Blame.CLIENT: "It is the caller's to mend.",
    Blame.GATEWAY: "It is the gateway's, or its operator's, to mend.",
    Blame.UPSTREAM: "It was Bedrock, or the way to it.",
}
_CACHE = {
    "hit": "The answer was kept already, and Bedrock was not asked.",
    "miss": "Nothing was kept for it, so Bedrock was asked; the answer may be kept now.",
    "coalesced": "Somebody was asking Bedrock the same at that moment, and the answer was shared.",
    "bypass": "The cache was left out for this request.",
}


def story_of(record: LogRecord) -> list[dict[str, str]]:
    """Paragraphs, each with a title."""
    told = [
        ("How it ended", " ".join(_end(record))),
        ("Who asked", " ".join(_caller(record))),
        ("What was asked", " ".join(_asked(record))),
        ("Where it went", " ".join(_way(record))),
        ("How long it took", " ".join(_times(record))),
        ("What it used", " ".join(_usage(record))),
        ("Cache", _CACHE.get(record.cache, "")),
    ]
    return [{"title": title, "text": text} for title, text in told if text]


def _end(record: LogRecord) -> Iterator[str]:
    match record.outcome:
        case Outcome.CLIENT_LEFT:
            yield "The client left before its answer was whole; the call was cancelled."
        case Outcome.COMPLETE if record.status < 400:
            yield f"Answered {record.status}, to its end."
        case Outcome.COMPLETE:
            yield f"Answered {record.status}."
        case Outcome.FAILED if record.status < 400:
            yield f"Answered {record.status}, and broken off within the answer."
        case _:
            yield f"Failed: answered {record.status}."
    if record.stop_reason:
        yield f"The model stopped for {record.stop_reason}."
    if not record.cause:
        return
    row = TABLE[Cause[record.cause]] if record.cause in Cause.__members__ else None
    yield f"{record.cause} ({record.code})" + (f": {row.message.rstrip('.')}." if row is not None else ".")
    if record.detail:
        yield f"{record.detail.rstrip('.')}."
    if row is not None:
        yield _BLAME[row.blame]
        yield (
            "The caller was told that trying again may help."
            if row.should_retry
            else ("The caller was told that trying again will not help.")
        )


def _caller(record: LogRecord) -> Iterator[str]:
    who = f"{record.consumer}, by key {record.key_id}" if record.consumer else "Nobody known by name"
    yield f"{who}, from {record.client or 'an unknown address'}, at {record.time}."
    if record.session_id:
        agent = f", agent {record.agent_id}" if record.agent_id else ""
        yield f"Claude Code's session {record.session_id}{agent}."


def _asked(record: LogRecord) -> Iterator[str]:
    spoken = f", in the words of {record.dialect}" if record.dialect else ""
    yield f"{record.method or 'Something'} on route {record.route or 'none'}{spoken}."
    if record.model:
        yield f"Model {record.model}{', as a stream' if record.stream else ''}."
    yield f"{record.request_bytes} bytes in, {record.response_bytes} bytes out."
    yield f"Served by generation {record.generation} of the configuration."


def _way(record: LogRecord) -> Iterator[str]:
    if not record.target:
        yield "No call to Bedrock was made."
        return
    operation = f"{record.operation} of " if record.operation else ""
    yield f"{operation}{record.target} in {record.region or 'no region'}."
    if record.attempts > 1 or record.tried:
        yield f"{record.attempts} attempts: {'; '.join(record.tried) or 'no more is known of them'}."
    if record.upstream_status:
        exception = f" {record.upstream_exception}" if record.upstream_exception else ""
        yield f"Bedrock answered {record.upstream_status}{exception}."
    if record.upstream_request_id:
        yield f"Its request id there is {record.upstream_request_id}."


def _times(record: LogRecord) -> Iterator[str]:
    yield f"{record.total_ms:g} ms in all."
    if record.first_byte_ms:
        yield f"The first byte of the answer went out after {record.first_byte_ms:g} ms."
    if record.lease_ms:
        yield f"It waited {record.lease_ms:g} ms for a connection to Bedrock."
    seconds = (record.total_ms - record.first_byte_ms) / 1000
    if record.stream and record.output_tokens > 1 and seconds > 0:
        yield f"{record.output_tokens / seconds:.1f} tokens a second."


def _usage(record: LogRecord) -> Iterator[str]:
    if not (record.input_tokens or record.output_tokens):
        return
    count = "estimated, as the stream broke off before Bedrock's count" if record.usage_estimated else ""
    yield f"{record.input_tokens} tokens of input, {record.output_tokens} of output{count and f' ({count})'}."
    if record.cache_read_tokens or record.cache_write_tokens:
        yield (
            f"Of Bedrock's prompt cache: {record.cache_read_tokens} read, "
            f"{record.cache_write_tokens} written."
        )
    yield f"{record.cost_usd:.6f} dollars." if record.cost_usd else "Its price is not known, or nothing."

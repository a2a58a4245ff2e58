"""The log record: what is kept of a request, and nothing else.

The schema is closed. There is no field for a prompt, a completion, a header of the caller's choice or a key,
so no plugin and no setting can make one appear. Every admitted request ends in exactly one settlement, and so
in exactly one record.

Claude Code names its session and its agents in headers that are made for a gateway's log, and say nothing of
what is talked about. Those four are kept, cut to a length and to what can be printed.

Source: https://code.claude.com/docs/en/llm-gateway-protocol.
"""

import enum
from typing import Final

import msgspec

NO_TIME: Final = 0.0
"""Written for a figure that is nothing: what is this very object is left out of a record's JSON."""


class Outcome(enum.Enum):
    """How an exchange was settled."""

    COMPLETE = "complete"
    FAILED = "failed"
    CLIENT_LEFT = "client_left"


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One attempt at Bedrock that is over. Times are in milliseconds."""

    target: str
    """As the configuration names it; its region where it has no name."""
    result: str
    """OK, or the fault's cause."""
    begun_ms: float
    """When its connection was asked for, since the request had arrived whole."""
    total_ms: float
    lease_ms: float = NO_TIME
    """How long it waited for that connection; 0 too where it has had none."""
    status: int = 0
    """Of Bedrock's answer; 0: none came."""
    upstream_request_id: str = ""
    upstream_exception: str = ""


class LogRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One exchange, in metadata. Times are in milliseconds, sizes in bytes."""

    time: str
    """When the request had arrived whole, RFC 3339 in UTC."""
    request_id: str
    """Under which the caller has heard of it too, in `x-request-id`."""
    generation: int
    """Which generation of the configuration served it."""
    outcome: Outcome
    """complete, failed or client_left."""
    status: int
    """The HTTP status the client was given; 0: none before it left."""
    code: str = ""
    """The fault's code; empty when there was none."""
    cause: str = ""
    """Which of the causes of faults it was."""
    detail: str = ""
    """What the gateway knows of a fault and does not tell the caller."""
    client: str = ""
    """The caller's address."""
    method: str = ""
    """Of HTTP."""
    route: str = ""
    """The configuration's route, or the built-in one."""
    dialect: str = ""
    """The API in which it was asked."""
    consumer: str = ""
    """Who has asked; empty: nobody whom the configuration knows."""
    key_id: str = ""
    """Which of the consumer's keys: its name, or the last four digits of its hash."""
    session_id: str = ""
    """Whose turn it is, as Claude Code has it: its session."""
    agent_id: str = ""
    """The agent in that session."""
    parent_agent_id: str = ""
    """Who has called for that agent."""
    request_class: str = ""
    """What Claude Code says a request is for: main, subagent, workflow, compaction, auxiliary."""
    model: str = ""
    """The name the caller used."""
    target: str = ""
    """The model id or ARN at Bedrock."""
    region: str = ""
    """Where Bedrock was asked."""
    operation: str = ""
    """Bedrock's, such as ConverseStream."""
    stream: bool = False
    """Whether the caller wanted a stream."""
    attempts: int = 0
    """Calls that were written to Bedrock."""
    tried: tuple[str, ...] = ()
    """Each attempt at Bedrock: which target, how it went, how long it took. Empty if the first went well."""
    calls: tuple[Attempt, ...] = ()
    """The same, to be counted: of the attempts that were this exchange's own. One that is made for all who
    wait for a shared answer, or is one of a batch, is in `tried` alone.
    """
    upstream_status: int = 0
    """Of Bedrock's last answer; 0: none came."""
    upstream_request_id: str = ""
    """Bedrock's own id of it, for its support."""
    upstream_exception: str = ""
    """The name of the exception that Bedrock answered with."""
    stop_reason: str = ""
    """Why the model stopped, in the words of Bedrock."""
    input_tokens: int = 0
    """Without those of the prompt cache."""
    output_tokens: int = 0
    """What the model has written."""
    cache_read_tokens: int = 0
    """Input that Bedrock's prompt cache had."""
    cache_write_tokens: int = 0
    """Input that went into it."""
    usage_estimated: bool = False
    """The tokens are not Bedrock's count: the stream broke off before it."""
    cost_usd: float = 0.0
    """By the price list, rounded up to a nano-dollar."""
    cost_estimated: bool = False
    """No price of this model is known: the cost is what the dearest known one would have asked."""
    redactions: int = 0
    """Places in what was asked or answered where plugins have put something else for what was said."""
    cache: str = ""
    """What the response cache had to do with it: hit, miss, coalesced, bypass; empty: nothing."""
    request_bytes: int = 0
    """The request's body."""
    response_bytes: int = 0
    """All that was written to the client, heads included."""
    output_events: int = 0
    """Events of Bedrock's stream that gave the caller something, from the first that is worth a status line
    on.
    """
    limited_by: str = ""
    """Which of the rate limiter's limits has refused it: unit, window and whose, for example
    `tokens_per_minute_by_key`.
    """
    trace_id: str = ""
    """The trace and the span of this exchange (W3C Trace Context), in hexadecimal digits; empty: tracing is
    off.
    """
    span_id: str = ""
    """The span of this exchange."""
    lease_ms: float = 0.0
    """How long the call waited for its upstream connection."""
    first_byte_ms: float = 0.0
    """Until the first byte of the answer was given to the client."""
    first_token_ms: float = NO_TIME
    """Until the first event of a stream that is worth a status line; a keep-alive may have gone before it."""
    inter_token_ms: float = NO_TIME
    """Between two of `output_events`, on average."""
    upstream_ms: float = NO_TIME
    """Waiting for Bedrock: from the first call's writing (where its connection was new: from asking for it)
    to the end of the last one's answer. Attempts that failed and the pauses behind them are part of it, time
    in which the caller took nothing is not. 0 where nothing was asked of Bedrock, or a kept answer was given.
    """
    overhead_ms: float = NO_TIME
    """The gateway's own: `total_ms` without `upstream_ms`, and without the time in which the caller took
    nothing of an answer that was there.
    """
    total_ms: float = 0.0
    """Until all of the answer was given."""


class Failed(msgspec.Struct, frozen=True):
    """An exchange that ended in a 5xx, or broke off within its answer."""

    request_id: str
    status: int
    cause: str
    """As the fault table has it; empty where a plugin has answered so."""

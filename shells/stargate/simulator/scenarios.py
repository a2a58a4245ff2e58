"""The faults and oddities that can be asked for, each an edit of the plan of a good answer. One table, with
its manual.

Where a stream is broken is said by `after`: `0` before its first event, `start` after the first, a number
after so many deltas, `stop` after the message's end and before its metadata. In an answer that is no
stream, every such place is the middle of its body; what makes no sense there (a bad CRC) leaves the answer
whole. A frame is one of AWS's event stream or one server-sent event, whichever the API speaks.
"""

import itertools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from stargate.simulator import faults
from stargate.simulator.directives import COMMON_OPTIONS, Directive
from stargate.simulator.errors import ERRORS, invalid
from stargate.simulator.faults import Stage
from stargate.simulator.plan import Plan
from stargate.simulator.service_model import STREAMING, stream_exceptions

Edit = Callable[[Plan, Stage], Plan]


class Scenario(msgspec.Struct, frozen=True):
    """One row of the table."""

    name: str
    summary: str
    edit: Edit | None = None
    """None: the answer's content differs, its way over the wire does not."""
    options: tuple[str, ...] = ()


_AFTER: Final = ("after",)

_ROWS: Final = (
    # ------------------------------------------------------------------------- before the answer
    Scenario("iam-denied", "403 as IAM words it: capital `Message`, with the role's ARN", faults.iam_denied),
    Scenario("api-key-denied", "403 as a refused Bedrock API key gets it", faults.api_key_denied),
    Scenario("html-502", "502 with a balancer's HTML page", faults.html_502),
    Scenario("empty-500", "500 without a body", faults.empty_500),
    Scenario(
        "status",
        "this status, its body naming no error: `status=529`; body=json|html|empty",
        faults.bare_status,
        ("code", "body", "retry-after"),
    ),
    Scenario(
        "retry-after",
        "429 ThrottlingException with a Retry-After header (seconds=7)",
        faults.throttled,
        ("seconds",),
    ),
    Scenario("200-with-error-body", "200 with UnknownOperationException in the body", faults.error_in_200),
    Scenario("stall-before-headers", "nothing, ever", faults.stall_before_headers),
    Scenario("reset-before-headers", "RST instead of an answer", faults.reset_before_headers),
    Scenario("close-before-headers", "FIN instead of an answer", faults.close_before_headers),
    Scenario(
        "malformed-http",
        "not HTTP: kind=status-line|header|chunk-size|two-lengths|not-http|obs-fold",
        faults.malformed_http,
        ("kind",),
    ),
    Scenario("huge-headers", "a head of bytes=1000000", faults.huge_headers, ("bytes",)),
    # ------------------------------------------------------------------------- timing
    Scenario("slow", "ms=200 between two events", faults.slow, ("ms",)),
    Scenario("drip", "every byte of the body by itself (us=0 between two)", faults.drip, ("us",)),
    Scenario("stall-before-first-token", "the headers, then nothing", faults.stall_before_first_token),
    Scenario("stall-mid-stream", "after=2 deltas nothing more", faults.stall_mid_stream, _AFTER),
    # ------------------------------------------------------------------------- broken streams
    Scenario(
        "stream-error",
        "an error inside the stream that no model names: code=, message=",
        faults.stream_error,
        ("after", "code", "message"),
    ),
    Scenario("cut-mid-frame", "FIN inside a frame, after=2 deltas", faults.cut_mid_frame, _AFTER),
    Scenario(
        "cut-between-frames", "FIN between two frames, after=2 deltas", faults.cut_between_frames, _AFTER
    ),
    Scenario(
        "end-before-messageStop",
        "the body ends in good order before the message does",
        faults.end_before_stop,
        _AFTER,
    ),
    Scenario(
        "end-before-done",
        "the body ends in good order without its last event: [DONE], message_stop, metadata …",
        faults.end_before_done,
    ),
    Scenario("end-mid-frame", "the body ends in good order inside a frame", faults.end_mid_frame, _AFTER),
    Scenario("empty-stream", "200, headers, and a body without a byte", faults.empty_stream),
    Scenario("no-metadata", "the stream ends after the message, without its metadata", faults.no_metadata),
    Scenario("reset-mid-stream", "RST after=2 deltas", faults.reset_mid_stream, _AFTER),
    Scenario("bad-crc", "a frame with a wrong message CRC, after=2 deltas", faults.bad_crc, _AFTER),
    Scenario(
        "bad-prelude-crc", "a frame with a wrong prelude CRC, after=2 deltas", faults.bad_prelude_crc, _AFTER
    ),
    Scenario("garbage", "random bytes under the right headers", faults.garbage, _AFTER),
    Scenario(
        "oversize-frame",
        "a frame that says it has length=2000000000 bytes, its CRC good",
        faults.oversize_frame,
        ("after", "length"),
    ),
    Scenario(
        "oversize-line",
        "in server-sent events: a line of length=33554432 bytes that does not end",
        faults.oversize_line,
        ("after", "length"),
    ),
    Scenario("bad-json", "good framing around text that is no JSON, after=2 deltas", faults.bad_json, _AFTER),
    Scenario(
        "document-for-stream", "one JSON document where a stream was asked for", faults.document_for_stream
    ),
    Scenario(
        "wrong-content-type", "the right body labelled type=text/html", faults.wrong_content_type, ("type",)
    ),
    # ------------------------------------------------------------------------- odd, and within the rules
    Scenario("unknown-events", "events that no model names, in between", faults.unknown_events),
    Scenario(
        "odd-lines",
        "server-sent events with comments, other line ends, unknown fields, data on several lines",
        faults.odd_lines,
    ),
    Scenario(
        "until-close", "the body ends with the connection, without length or chunks", faults.until_close
    ),
    Scenario("early-hints", "a 103 before the answer", faults.early_hints),
    Scenario(
        "close-after-answer", "FIN right after a good answer, without saying so", faults.close_after_answer
    ),
    Scenario(
        "close-on-reuse", "FIN as soon as the next request comes on the connection", faults.close_on_reuse
    ),
    Scenario(
        "extra-bytes-in-body", "bytes after the last frame, or after the JSON", faults.extra_bytes_in_body
    ),
    Scenario(
        "extra-bytes-after-end",
        "bytes on the connection after the answer's end",
        faults.extra_bytes_after_end,
    ),
    # ------------------------------------------------------------------------- content
    Scenario("reasoning", "a reasoning block first"),
    Scenario("interleaved-reasoning", "reasoning, text, reasoning, text"),
    Scenario("redacted-reasoning", "a redacted reasoning block first"),
    Scenario(
        "citations",
        "the text's second half cites: kind=documentChar|documentPage|documentChunk|web|searchResultLocation",
        options=("kind",),
    ),
    Scenario("empty-content", "no content block at all"),
)


def _throwing(name: str) -> Scenario:
    def edit(plan: Plan, stage: Stage) -> Plan:
        return faults.thrown(name, stage)

    summary = f"{ERRORS[name].status} {name} instead of an answer"
    return Scenario(f"throw-{name}", summary, edit, ("message", "retry-after"))


def _breaking(name: str) -> Scenario:
    def edit(plan: Plan, stage: Stage) -> Plan:
        return faults.stream_exception(name, plan, stage)

    summary = (
        f"the error {name} inside the stream, after=2 deltas; style=exception|pascal|event, of Responses "
        f"style=error|failed|both"
    )
    return Scenario(f"stream-{name}", summary, edit, ("after", "message", "style"))


SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType(
    {
        scenario.name: scenario
        for scenario in (
            *map(_throwing, ERRORS),
            *map(_breaking, sorted(set(itertools.chain.from_iterable(map(stream_exceptions, STREAMING))))),
            *_ROWS,
        )
    }
)
"""Every scenario, by name."""


def scenario_of(directive: Directive) -> Scenario | None:
    """The row a directive names; None if it names none. Raises Refusal on unknown names and options."""
    scenario = SCENARIOS.get(directive.name)
    if scenario is None and directive.name:
        raise invalid(
            f"simulator: there is no scenario {directive.name}; `stargate simulate --list-scenarios` shows "
            f"all"
        )
    allowed = (*COMMON_OPTIONS, *(scenario.options if scenario is not None else ()))
    for option in directive.options:
        if option not in allowed:
            raise invalid(
                f"simulator: {directive.name or 'an answer'} has no option {option}; "
                f"it has {', '.join(allowed)}"
            )
    return scenario

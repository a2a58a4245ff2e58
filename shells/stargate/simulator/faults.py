"""The edits behind the scenarios: each takes the plan of a good answer and gives the plan of a bad one.

`scenarios` is their manual.
"""

import random
import zlib
from collections.abc import Callable
from typing import Final

import msgspec

from stargate.simulator.directives import Directive
from stargate.simulator.errors import (
    API_KEY_DENIED,
    ERRORS,
    IAM_DENIED,
    invalid,
)
from stargate.simulator.events import Headers, Kind
from stargate.simulator.plan import (
    Body,
    CloseOnReuse,
    End,
    Flush,
    HangUp,
    Head,
    Plan,
    Raw,
    Reset,
    Stall,
    Step,
    Wait,
    document_plan,
    paced,
)
from stargate.simulator.voices import AWS, Voice, error_plan
from stargate_core.wire.eventstream import encode_event

_HTML_502: Final = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n"
    b"<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    b"</body>\r\n</html>\r\n"
)
_HTML: Final[Headers] = [(b"Server", b"awselb/2.0"), (b"Content-Type", b"text/html")]
_JSON: Final[Headers] = [(b"Content-Type", b"application/json")]
_HEAD_BYTES_MAX: Final = 10_000_000
_LINE_BYTES: Final = 32 * 1024 * 1024
_FILLER_BYTES: Final = 65_536
_MILLISECOND: Final = 1_000_000
_MICROSECOND: Final = 1_000


class Stage(msgspec.Struct, frozen=True):
    """What an edit knows beside the plan."""

    directive: Directive
    streaming: bool
    rng: random.Random
    voice: Voice = AWS
    """How the API that was called reports errors."""
    document: Callable[[], Plan] | None = None
    """In place of a stream: the same answer as one document, where the operation has such a thing."""

    @property
    def framed(self) -> bool:
        """Whether the answer is a stream of AWS's binary frames."""
        return self.streaming and self.voice is AWS


# ---------------------------------------------------------------------- before the answer


def thrown(name: str, stage: Stage) -> Plan:
    """A named error instead of the answer."""
    directive = stage.directive
    error = msgspec.structs.replace(ERRORS[name], message=directive.text("message", ERRORS[name].message))
    return stage.voice.refusal(error, _retry_after(directive.header("retry-after", "")))


def _retry_after(seconds: bytes) -> Headers:
    return [(b"Retry-After", seconds)] if seconds else []


def iam_denied(plan: Plan, stage: Stage) -> Plan:
    """IAM's refusal."""
    return error_plan(IAM_DENIED)


def api_key_denied(plan: Plan, stage: Stage) -> Plan:
    """The refusal of an API key."""
    return error_plan(API_KEY_DENIED)


def html_502(plan: Plan, stage: Stage) -> Plan:
    """A balancer's page."""
    return document_plan(502, _HTML, _HTML_502)


def empty_500(plan: Plan, stage: Stage) -> Plan:
    """A status and nothing else."""
    return document_plan(500, [], b"")


def bare_status(plan: Plan, stage: Stage) -> Plan:
    """Any status, its body naming no error."""
    status = stage.directive.number("code", 500)
    if not 200 <= status <= 999:
        raise invalid(f"simulator: {status} is no status of an answer")
    further = _retry_after(stage.directive.header("retry-after", ""))
    if status in (204, 304):
        return [Head(status, further), End()]
    match stage.directive.text("body", "json"):
        case "empty":
            return document_plan(status, further, b"")
        case "html":
            return document_plan(status, [*_HTML, *further], _HTML_502)
        case _:
            return document_plan(status, [*_JSON, *further], b'{"message":"simulated"}')


def throttled(plan: Plan, stage: Stage) -> Plan:
    """Throttling that says how long to wait."""
    further = _retry_after(stage.directive.header("seconds", "7"))
    return stage.voice.refusal(ERRORS["ThrottlingException"], further)


def error_in_200(plan: Plan, stage: Stage) -> Plan:
    """An error under a good status."""
    return document_plan(200, _JSON, stage.voice.masked())


def stall_before_headers(plan: Plan, stage: Stage) -> Plan:
    """No answer."""
    return [Stall()]


def reset_before_headers(plan: Plan, stage: Stage) -> Plan:
    """RST."""
    return [Reset()]


def close_before_headers(plan: Plan, stage: Stage) -> Plan:
    """FIN."""
    return [HangUp()]


_MALFORMED: Final[dict[str, bytes]] = {
    "status-line": b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\n{}",
    "header": b"HTTP/1.1 200 OK\r\nContent Length 2\r\n\r\n{}",
    "chunk-size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "not-http": b"SSH-2.0-OpenSSH_9.6\r\n",
    "obs-fold": b"HTTP/1.1 200 OK\r\nContent-Type: a/b;\r\n c=d\r\nContent-Length: 2\r\n\r\n{}",
}


def malformed_http(plan: Plan, stage: Stage) -> Plan:
    """Bytes that are no HTTP response."""
    kind = stage.directive.text("kind", "status-line")
    if kind not in _MALFORMED:
        raise invalid(f"simulator: malformed-http has the kinds {', '.join(_MALFORMED)}")
    return [Raw(_MALFORMED[kind]), HangUp(abrupt=False)]


def huge_headers(plan: Plan, stage: Stage) -> Plan:
    """A head beyond every limit."""
    filler = b"x" * 1000
    count = -(-stage.directive.number("bytes", 1_000_000, _HEAD_BYTES_MAX) // (len(filler) + 20))
    more = [(b"X-Filler-%06d" % number, filler) for number in range(count)]
    return [Head(step.status, [*step.headers, *more]) if isinstance(step, Head) else step for step in plan]


# ---------------------------------------------------------------------- timing


def slow(plan: Plan, stage: Stage) -> Plan:
    """A pause before every event."""
    pause = stage.directive.number("ms", 200) * _MILLISECOND
    return paced(plan, pause) if stage.streaming else [Wait(pause), *plan]


def drip(plan: Plan, stage: Stage) -> Plan:
    """Byte by byte."""
    pause = stage.directive.number("us", 0) * _MICROSECOND
    between: Step = Wait(pause) if pause else Flush()
    steps: Plan = []
    for step in plan:
        if not isinstance(step, Body):
            steps.append(step)
            continue
        for at in range(len(step.data)):
            last = at + 1 == len(step.data)
            steps += (Body(step.data[at : at + 1], step.kind, step.events if last else 0), between)
    return steps


def stall_before_first_token(plan: Plan, stage: Stage) -> Plan:
    """The head, and nothing after it."""
    head = next(index for index, step in enumerate(plan) if isinstance(step, Head))
    return [*plan[: head + 1], Stall()]


def stall_mid_stream(plan: Plan, stage: Stage) -> Plan:
    """Silence in the middle."""
    return [*_before(plan, stage), Stall()]


# ---------------------------------------------------------------------- broken streams


def _before(plan: Plan, stage: Stage) -> Plan:
    """The plan up to the place that `after` names."""
    return _split(plan, stage)[0]


def _split(plan: Plan, stage: Stage, default: str = "2") -> tuple[Plan, Plan]:
    """The plan before and after the place that `after` names, or else `default`."""
    bodies = _bodies(plan)
    if not bodies:
        return plan[:-1], plan[-1:]
    if not stage.streaming:
        index, body = bodies[0]
        half = len(body.data) // 2
        head, tail = Body(body.data[:half], body.kind, 0), Body(body.data[half:], body.kind, 1)
        return [*plan[:index], head], [tail, *plan[index + 1 :]]
    at = _place(bodies, stage.directive.text("after", default))
    return plan[:at], plan[at:]


def _place(bodies: list[tuple[int, Body]], after: str) -> int:
    if after == "start":
        return bodies[0][0] + 1
    if after == "stop":
        ends = [index for index, step in bodies if step.kind in (Kind.METADATA, Kind.END)]
        return ends[0] if ends else bodies[-1][0] + 1
    if not after.isdecimal():
        raise invalid(f"simulator: after must be start, stop or a number, not {after}")
    count = int(after)
    if count == 0:
        return bodies[0][0]
    deltas = [index for index, step in bodies if step.kind is Kind.DELTA]
    return deltas[min(count, len(deltas)) - 1] + 1 if deltas else bodies[0][0] + 1


def stream_exception(name: str, plan: Plan, stage: Stage) -> Plan:
    """The error inside the stream, as the API reports it; in a document's place, the error itself."""
    http_name = name[0].upper() + name[1:]
    if not stage.streaming:
        return thrown(http_name, stage)
    error = ERRORS[http_name]
    told = msgspec.structs.replace(error, message=stage.directive.text("message", error.message))
    before = _before(plan, stage)
    style = stage.directive.text("style", "exception")
    frame = stage.voice.exception(name, told, style, len(_bodies(before)))
    return [*before, Body(frame, Kind.STOP), End()]


def stream_error(plan: Plan, stage: Stage) -> Plan:
    """An error inside the stream that no model names."""
    if not stage.streaming:
        return thrown("InternalServerException", stage)
    code = stage.directive.text("code", "InternalFailure")
    message = stage.directive.text("message", "An internal error occurred.")
    before = _before(plan, stage)
    frame = stage.voice.failure(code, message, len(_bodies(before)))
    return [*before, Body(frame, Kind.STOP), End()]


def cut_mid_frame(plan: Plan, stage: Stage) -> Plan:
    """FIN inside a frame."""
    return [*_before(plan, stage), *_half_frame(plan, stage), HangUp()]


def end_mid_frame(plan: Plan, stage: Stage) -> Plan:
    """The body's good end inside a frame."""
    if not stage.streaming:
        return cut_mid_frame(plan, stage)
    return [*_before(plan, stage), *_half_frame(plan, stage), End()]


def _half_frame(plan: Plan, stage: Stage) -> Plan:
    rest = [step for step in _split(plan, stage)[1] if isinstance(step, Body)]
    return [Body(rest[0].data[: len(rest[0].data) // 2], rest[0].kind, 0)] if rest and stage.streaming else []


def cut_between_frames(plan: Plan, stage: Stage) -> Plan:
    """FIN between two frames."""
    return [*_before(plan, stage), HangUp()]


def end_before_stop(plan: Plan, stage: Stage) -> Plan:
    """The body's good end before the message's."""
    if not stage.streaming:
        return cut_between_frames(plan, stage)
    if "after" in stage.directive.options:
        return [*_before(plan, stage), End()]
    ending = (Kind.STOP, Kind.METADATA, Kind.END)
    return [step for step in plan if not (isinstance(step, Body) and step.kind in ending)]


def end_before_done(plan: Plan, stage: Stage) -> Plan:
    """A stream without its very last event, whichever that is."""
    if not stage.streaming:
        return cut_between_frames(plan, stage)
    last = max((index for index, _ in _bodies(plan)), default=None)
    return [step for index, step in enumerate(plan) if index != last]


def empty_stream(plan: Plan, stage: Stage) -> Plan:
    """Headers, and no body."""
    if not stage.streaming:
        return document_plan(200, _JSON, b"")
    return [step for step in plan if not isinstance(step, Body)]


def no_metadata(plan: Plan, stage: Stage) -> Plan:
    """A stream without its last event."""
    return [step for step in plan if not (isinstance(step, Body) and step.kind is Kind.METADATA)]


def reset_mid_stream(plan: Plan, stage: Stage) -> Plan:
    """RST in the middle."""
    return [*_before(plan, stage), Flush(), Reset()]


def _with_next_frame(plan: Plan, stage: Stage, change: Callable[[bytes], bytes]) -> Plan:
    """The plan with the frame after the place changed."""
    if not stage.framed:
        return plan
    before, rest = _split(plan, stage)
    for index, step in enumerate(rest):
        if isinstance(step, Body):
            return [
                *before,
                *rest[:index],
                msgspec.structs.replace(step, data=change(step.data)),
                *rest[index + 1 :],
            ]
    return plan


def bad_crc(plan: Plan, stage: Stage) -> Plan:
    """A frame whose last checksum is wrong."""
    return _with_next_frame(
        plan, stage, lambda frame: frame[:-4] + bytes(octet ^ 0xFF for octet in frame[-4:])
    )


def bad_prelude_crc(plan: Plan, stage: Stage) -> Plan:
    """A frame whose first checksum is wrong."""
    return _with_next_frame(
        plan, stage, lambda frame: frame[:8] + bytes(octet ^ 0xFF for octet in frame[8:12]) + frame[12:]
    )


def garbage(plan: Plan, stage: Stage) -> Plan:
    """Noise under the right headers."""
    noise = stage.rng.randbytes(512)
    if not stage.streaming:
        return document_plan(200, _JSON, noise)
    return [*_split(plan, stage, "0")[0], Body(noise, Kind.DELTA), End()]


def _bodies(plan: Plan) -> list[tuple[int, Body]]:
    return [(index, step) for index, step in enumerate(plan) if isinstance(step, Body)]


def oversize_frame(plan: Plan, stage: Stage) -> Plan:
    """A length beyond every limit, under a good prelude CRC; what should follow never does."""
    if not stage.framed:
        return _with_long_line(plan, stage)
    lengths = stage.directive.number("length", 2_000_000_000, 2**32 - 1).to_bytes(4, "big") + (90).to_bytes(
        4, "big"
    )
    prelude = lengths + zlib.crc32(lengths).to_bytes(4, "big")
    return [*_before(plan, stage), Body(prelude + bytes(4096), Kind.DELTA, 0), Stall()]


def oversize_line(plan: Plan, stage: Stage) -> Plan:
    """A line of server-sent events beyond every limit; its end never comes."""
    return plan if stage.framed else _with_long_line(plan, stage)


def _with_long_line(plan: Plan, stage: Stage) -> Plan:
    if not stage.streaming:
        return plan
    count = min(stage.directive.number("length", _LINE_BYTES), _LINE_BYTES) // _FILLER_BYTES
    filler = Body(b"x" * _FILLER_BYTES, Kind.DOCUMENT, 0)
    return [*_before(plan, stage), Body(b'data: {"x":"', Kind.DELTA, 0), *[filler] * count, Stall()]


def bad_json(plan: Plan, stage: Stage) -> Plan:
    """Good framing around text that is no JSON."""
    text = b'{"unfinished": ["'
    if not stage.streaming:
        return document_plan(200, _JSON, text)
    before, rest = _split(plan, stage)
    named = next((step.data for step in rest if isinstance(step, Body)), b"")
    if stage.framed:
        frame = encode_event("contentBlockDelta" if b"contentBlock" in named else "chunk", text)
    else:
        frame = b"".join(line + b"\n" for line in named.split(b"\n") if line.startswith(b"event:"))
        frame += b"data: " + text + b"\n\n"
    return [*before, Body(frame, Kind.DELTA), *rest]


def document_for_stream(plan: Plan, stage: Stage) -> Plan:
    """The whole answer as JSON, where a stream was asked for."""
    return plan if stage.document is None else stage.document()


def odd_lines(plan: Plan, stage: Stage) -> Plan:
    """Server-sent events as the standard allows them and nobody writes them."""
    if stage.framed or not stage.streaming:
        return plan
    steps: Plan = []
    for index, step in enumerate(plan):
        steps.append(
            Body(_oddly(step.data, index), step.kind, step.events) if isinstance(step, Body) else step
        )
    return steps


def _oddly(event: bytes, index: int) -> bytes:
    """One event with other line ends, fields nobody asked for, comments, and its data on several lines."""
    end = (b"\n", b"\r\n", b"\r")[index % 3]
    lines: list[bytes] = [b": comment", b"id: %d" % index, b"retry: 3000", b"x-unknown: y", b"data-of: none"]
    for line in event.rstrip(b"\n").split(b"\n"):
        name, _, value = line.partition(b": ")
        if name == b"data" and value.startswith(b"{"):
            lines += (b"data:" + value[:1], b"data: " + value[1:])
        else:
            lines.append(name + b":" + value)
    return (b"\xef\xbb\xbf" if index == 1 else b"") + end.join((*lines, b"", b""))


def wrong_content_type(plan: Plan, stage: Stage) -> Plan:
    """The right body, mislabelled."""
    label = stage.directive.header("type", "text/html; charset=utf-8")
    return [
        Head(step.status, [(n, label if n.lower() == b"content-type" else v) for n, v in step.headers])
        if isinstance(step, Head)
        else step
        for step in plan
    ]


# ---------------------------------------------------------------------- odd


def unknown_events(plan: Plan, stage: Stage) -> Plan:
    """Events that a later version of the service might send."""
    if not stage.streaming:
        return plan
    first, other = (Body(frame, Kind.BLOCK) for frame in stage.voice.strangers())
    places = [index for index, _ in _bodies(plan)] or [1]
    start, middle = places[0], places[len(places) // 2]
    return [*plan[:start], first, *plan[start:middle], other, *plan[middle:]]


def until_close(plan: Plan, stage: Stage) -> Plan:
    """A body that ends with the connection."""
    steps: Plan = []
    for step in plan:
        match step:
            case Head(status, headers):
                kept = [(name, value) for name, value in headers if name.lower() != b"content-length"]
                lines = b"".join(name + b": " + value + b"\r\n" for name, value in kept)
                steps.append(Raw(b"HTTP/1.1 %d OK\r\n" % status + lines + b"Connection: close\r\n\r\n"))
            case Body(data):
                steps.append(Raw(data))
            case End():
                steps.append(HangUp(abrupt=False))
            case _:
                steps.append(step)
    return steps


def early_hints(plan: Plan, stage: Stage) -> Plan:
    """An informational response first."""
    return [Raw(b"HTTP/1.1 103 Early Hints\r\nLink: </>; rel=preload\r\n\r\n"), *plan]


def close_after_answer(plan: Plan, stage: Stage) -> Plan:
    """A good answer, then FIN."""
    return [*plan, HangUp(abrupt=False)]


def close_on_reuse(plan: Plan, stage: Stage) -> Plan:
    """A good answer, then FIN under the next request."""
    return [*plan, CloseOnReuse()]


def extra_bytes_in_body(plan: Plan, stage: Stage) -> Plan:
    """Bytes after the last thing that should be there."""
    extra = b"\x00\x00\x01\x00extra"
    if stage.streaming:
        return [*plan[:-1], Body(extra, Kind.METADATA, 0), *plan[-1:]]
    head = next(step for step in plan if isinstance(step, Head))
    body = b"".join(step.data for step in plan if isinstance(step, Body))
    kept = [(name, value) for name, value in head.headers if name.lower() != b"content-length"]
    return document_plan(head.status, kept, body + extra)


def extra_bytes_after_end(plan: Plan, stage: Stage) -> Plan:
    """Bytes after the answer's end."""
    return [*plan, Raw(b"extra bytes that nobody asked for\r\n")]

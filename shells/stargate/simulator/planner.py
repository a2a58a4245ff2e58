"""From a request to a plan: who asks, what for, may they, what is the answer, and what goes wrong with it.

The order is AWS's: a path that is no operation; then who is asking; then whether the model exists; then
whether the body may stand; and only for a request that would have been answered, the scenario it wished
for. So a test that hopes for a throttle and sends a wrong body hears about the body.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from stargate.simulator import converse, embeddings, guardrails, invoke
from stargate.simulator.conversation import check_conversation
from stargate.simulator.dialogue import Answer
from stargate.simulator.directives import Directive, find, parse
from stargate.simulator.errors import AwsError, Refusal, malformed, refuse
from stargate.simulator.events import Headers, Kind, StreamEvent, chunk_frame, converse_frame
from stargate.simulator.faults import Stage, error_plan
from stargate.simulator.ledger import Exchange
from stargate.simulator.models import check_model
from stargate.simulator.plan import Body, Plan, cut, document_plan, paced, stream_plan
from stargate.simulator.recordings import Recording
from stargate.simulator.scenarios import scenario_of
from stargate.simulator.service_model import Call, check, decode_object, route
from stargate.simulator.settings import Settings
from stargate.simulator.signature import verify
from stargate.simulator.speech import answer

_JSON: Final[Headers] = [(b"Content-Type", b"application/json")]
_EVENT_STREAM: Final[Headers] = [(b"Content-Type", b"application/vnd.amazon.eventstream")]
_CHUNKS: Final[Headers] = [*_EVENT_STREAM, (b"X-Amzn-Bedrock-Content-Type", b"application/json")]
_ECHOED: Final = (
    ("performanceConfigLatency", b"X-Amzn-Bedrock-PerformanceConfig-Latency"),
    ("serviceTier", b"X-Amzn-Bedrock-Service-Tier"),
)
_MISTYPED: Final = (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError)
"""What reading a body raises when members that no model describes have other types than they should."""


class Request(msgspec.Struct, frozen=True):
    """A request, whole."""

    method: bytes
    target: bytes
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


class _Reply(msgspec.Struct, frozen=True):
    """An answer, and the directive that came with its question."""

    plan: Plan
    directive: Directive
    streaming: bool = False


def plan_answer(
    settings: Settings,
    request: Request,
    exchange: Exchange,
    wall_ns: int,
    rng: random.Random,
    wished: Callable[[str], int],
) -> Plan:
    """The plan for a request; who asked for what is noted in `exchange`.

    wished: the ledger's; how often a scenario was wished for before, in these words.
    """
    try:
        plan = _planned(settings, request, exchange, wall_ns, rng, wished)
    except Refusal as refusal:
        exchange.error = refusal.error.name
        plan = error_plan(refusal.error)
    except RecursionError:
        exchange.error = "SerializationException"
        plan = error_plan(refuse("SerializationException", "The request body is nested too deeply.").error)
    exchange.events_planned = sum(step.events for step in plan if isinstance(step, Body))
    return plan


def _planned(
    settings: Settings,
    request: Request,
    exchange: Exchange,
    wall_ns: int,
    rng: random.Random,
    wished: Callable[[str], int],
) -> Plan:
    call = route(request.method, request.target)
    if call is None:
        raise Refusal(_unknown_operation(request.target))
    exchange.operation, exchange.model_id = call.operation, call.model_id
    identity = verify(settings, request.method, request.target, request.headers, request.body, wall_ns)
    exchange.verified, exchange.access_key_id = True, identity.access_key_id
    reply = _reply(settings, call, request, rng)
    directive = reply.directive
    exchange.scenario = " ".join(
        (directive.name, *(f"{key}={value}" for key, value in directive.options.items()))
    ).strip()
    scenario = scenario_of(directive)
    plan = reply.plan
    if "times" in directive.options and wished(exchange.scenario) >= directive.number("times", 0):
        scenario = None
    if scenario is not None and scenario.edit is not None:
        plan = scenario.edit(plan, Stage(directive, reply.streaming, rng))
    interval_ns = directive.interval_ns(settings.events_per_second)
    if interval_ns and directive.name != "slow":
        plan = paced(plan, interval_ns)
    return plan if directive.name == "drip" else cut(plan, rng)


def _unknown_operation(target: bytes) -> AwsError:
    """404; but an ARN whose slash was not encoded gets a 200, as the real service gives it."""
    error = refuse("UnknownOperationException").error
    arn = target.startswith((b"/model/arn:", b"/model/arn%3A"))
    return msgspec.structs.replace(error, status=200) if arn else error


def _reply(settings: Settings, call: Call, request: Request, rng: random.Random) -> _Reply:
    if settings.recordings is not None:
        recording = settings.recordings.find(call, request.body)
        if recording is not None:
            return _recorded(settings, recording)
    if call.model_id:
        check_model(call.model_id, call.operation)
    members = check(
        call, {n.decode("ascii").lower(): v.decode("latin-1") for n, v in request.headers}, request.body
    )
    try:
        return _answered(settings, call, members, request, rng)
    except _MISTYPED as error:
        raise malformed(f"#: {error}") from None


def _answered(
    settings: Settings, call: Call, members: Mapping[str, Any], request: Request, rng: random.Random
) -> _Reply:
    match call.operation:
        case "Converse" | "ConverseStream":
            return _conversed(settings, call, members, request, rng)
        case "CountTokens":
            return _counted(settings, call, members)
        case "ApplyGuardrail":
            return _guarded(settings, members)
        case _ if embeddings.is_embedding(call.model_id):
            return _embedded(settings, call, members)
        case _:
            return _invoked(settings, call, members, request, rng)


def _recorded(settings: Settings, recording: Recording) -> _Reply:
    directive = parse(settings.scenario)
    wait_ns = directive.first_token_ns(settings.first_token_ns)
    if recording.streaming:
        return _Reply(stream_plan(recording.headers, recording.frames(), wait_ns), directive, streaming=True)
    return _Reply(document_plan(recording.status, recording.headers, recording.body, wait_ns), directive)


def _conversed(
    settings: Settings, call: Call, members: Mapping[str, Any], request: Request, rng: random.Random
) -> _Reply:
    check_conversation(call.model_id, members, streaming=call.streaming)
    prompt = converse.read_prompt(members)
    directive = find(call.model_id, prompt.text, parse(settings.scenario))
    said = answer(prompt, request.body, settings.seed, directive.wishes())
    wait_ns = directive.first_token_ns(settings.first_token_ns)
    if call.streaming:
        frames = [(event.kind, converse_frame(event, rng)) for event in converse.stream(said, members, rng)]
        return _Reply(stream_plan(_EVENT_STREAM, frames, wait_ns), directive, streaming=True)
    return _Reply(_document(converse.document(said, members), _JSON, wait_ns), directive)


def _counted(settings: Settings, call: Call, members: Mapping[str, Any]) -> _Reply:
    given: Mapping[str, Any] = members["input"]
    if "converse" in given:
        prompt = converse.read_prompt(given["converse"])
    else:
        body = decode_object(given["invokeModel"]["body"])
        prompt = invoke.family_of(call.model_id, body).read(body)
    directive = find(call.model_id, prompt.text, parse(settings.scenario))
    tokens = directive.number("input-tokens", prompt.input_tokens)
    return _Reply(_document({"inputTokens": tokens}, _JSON, 0), directive)


def _guarded(settings: Settings, members: Mapping[str, Any]) -> _Reply:
    texts = [block["text"]["text"] for block in members["content"] if "text" in block]
    directive = find("", "\n".join(texts), parse(settings.scenario))
    intervene = directive.wishes().stop_reason == "guardrail_intervened"
    return _Reply(_document(guardrails.apply_document(members, intervene=intervene), _JSON, 0), directive)


def _embedded(settings: Settings, call: Call, members: Mapping[str, Any]) -> _Reply:
    if call.streaming:
        raise malformed("#: the model is unsupported for streaming")
    body = decode_object(members["body"])
    directive = find(call.model_id, embeddings.texts_of(body), parse(settings.scenario))
    embedded = embeddings.embed(call.model_id, body, settings.seed)
    headers = [*_JSON, (b"X-Amzn-Bedrock-Input-Token-Count", b"%d" % embedded.input_tokens)]
    headers.append((b"X-Amzn-Bedrock-Invocation-Latency", b"%d" % (100 + embedded.input_tokens)))
    wait_ns = directive.first_token_ns(settings.first_token_ns)
    return _Reply(_document(embedded.document, headers, wait_ns), directive)


def _invoked(
    settings: Settings, call: Call, members: Mapping[str, Any], request: Request, rng: random.Random
) -> _Reply:
    body = decode_object(members["body"])
    family = invoke.family_of(call.model_id, body)
    prompt = family.read(body)
    directive = find(call.model_id, prompt.text, parse(settings.scenario))
    said = answer(prompt, request.body, settings.seed, directive.wishes())
    wait_ns = directive.first_token_ns(settings.first_token_ns)
    echoed = [(header, members[name].encode()) for name, header in _ECHOED if name in members]
    guarded = guardrails.invoke_members(members, said, len(prompt.text))
    if call.streaming:
        events = _guarded_events(family.stream(said, body, call.model_id, rng), guarded)
        frames = [(event.kind, chunk_frame(event, rng)) for event in events]
        return _Reply(stream_plan([*_CHUNKS, *echoed], frames, wait_ns), directive, streaming=True)
    headers = [*_JSON, *_token_headers(said), *echoed]
    document = {**family.document(said, body, call.model_id), **guarded}
    return _Reply(_document(document, headers, wait_ns), directive)


def _guarded_events(events: Iterator[StreamEvent], guarded: Mapping[str, object]) -> Iterator[StreamEvent]:
    """The events with what a guardrail adds: the action to each, the trace to the last."""
    for event in events:
        added = {
            name: value
            for name, value in guarded.items()
            if event.kind is Kind.METADATA or not name.endswith("trace")
        }
        yield msgspec.structs.replace(event, payload={**event.payload, **added}) if added else event


def _token_headers(said: Answer) -> Headers:
    """What InvokeModel says beside the model's own usage."""
    return [
        (b"X-Amzn-Bedrock-Input-Token-Count", b"%d" % said.input_tokens),
        (b"X-Amzn-Bedrock-Output-Token-Count", b"%d" % said.output_tokens),
        (b"X-Amzn-Bedrock-Invocation-Latency", b"%d" % said.latency_ms),
        (b"X-Amzn-Bedrock-Cache-Read-Input-Token-Count", b"%d" % said.cache_read_tokens),
        (b"X-Amzn-Bedrock-Cache-Write-Input-Token-Count", b"%d" % said.cache_write_tokens),
    ]


def _document(document: Mapping[str, object], headers: Headers, wait_ns: int) -> Plan:
    return document_plan(200, headers, msgspec.json.encode(document), wait_ns)

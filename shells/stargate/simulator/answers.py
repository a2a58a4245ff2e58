"""What each of AWS's own operations answers, as a plan: the good answer, before any scenario has its way.

Each answer function gets the request's members, checked, and finds the directive where that operation's words
are.
"""

import functools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from stargate.simulator import control_plane, converse, embeddings, guardrails, invoke, jobs
from stargate.simulator.conversation import check_conversation
from stargate.simulator.dialogue import Answer
from stargate.simulator.directives import Directive, find, parse
from stargate.simulator.errors import malformed
from stargate.simulator.events import Headers, Kind, StreamEvent, chunk_frame, converse_frame
from stargate.simulator.ledger import Exchange, Ledger
from stargate.simulator.models import check_model
from stargate.simulator.plan import Plan, document_plan, stream_plan
from stargate.simulator.service_model import CONTROL_PLANE, Call, decode_object
from stargate.simulator.settings import Settings
from stargate.simulator.speech import answer

Members = Mapping[str, Any]

JSON: Final[Headers] = [(b"Content-Type", b"application/json")]
_EVENT_STREAM: Final[Headers] = [(b"Content-Type", b"application/vnd.amazon.eventstream")]
_CHUNKS: Final[Headers] = [*_EVENT_STREAM, (b"X-Amzn-Bedrock-Content-Type", b"application/json")]
MISTYPED: Final = (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError)
"""What reading a body raises when members that no model describes have other types than they should."""
_ECHOED: Final = (
    ("performanceConfigLatency", b"X-Amzn-Bedrock-PerformanceConfig-Latency"),
    ("serviceTier", b"X-Amzn-Bedrock-Service-Tier"),
)


class Request(msgspec.Struct, frozen=True):
    """A request, whole."""

    method: bytes
    target: bytes
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes

    def by_name(self) -> dict[str, str]:
        """The headers by lower-case name; of several with one name the last."""
        return {name.decode("ascii").lower(): value.decode("latin-1") for name, value in self.headers}


class Question(msgspec.Struct, frozen=True):
    """A request whose sender is known and whose operation is found, and all that an answer may depend on."""

    settings: Settings
    call: Call
    request: Request
    exchange: Exchange
    wall_ns: int
    rng: random.Random
    ledger: Ledger

    def directive(self, text: str) -> Directive:
        """What the request wishes for, given the words in it. Raises Refusal."""
        return find(self.exchange.model_id, text, parse(self.settings.scenario))

    def wait_ns(self, directive: Directive) -> int:
        """How long the answer's beginning takes. Raises Refusal."""
        return directive.first_token_ns(self.settings.first_token_ns)


class Reply(msgspec.Struct, frozen=True):
    """An answer, and the directive that came with its question."""

    plan: Plan
    directive: Directive
    streaming: bool = False
    document: Callable[[], Plan] | None = None
    """In place of a stream: the same answer as one document."""
    consequence: Callable[[], None] | None = None
    """What happens beside the answer, unless a scenario turns that into an error."""


def answered(question: Question, members: Members) -> Reply:
    """The answer to one of AWS's own operations. Raises Refusal."""
    call = question.call
    match call.operation:
        case "Converse" | "ConverseStream":
            return _conversed(question, members)
        case "CountTokens":
            return _counted(question, members)
        case "ApplyGuardrail" | "InvokeGuardrailChecks":
            return _guarded(question, members)
        case "StartAsyncInvoke" | "GetAsyncInvoke" | "ListAsyncInvokes":
            return _job(question, members)
        case operation if operation in CONTROL_PLANE:
            return _listed(question, members)
        case _ if embeddings.is_embedding(call.model_id):
            return _embedded(question, members)
        case _:
            return _invoked(question, members)


def _conversed(question: Question, members: Members) -> Reply:
    call, rng = question.call, question.rng
    check_conversation(call.model_id, members, streaming=call.streaming)
    prompt = converse.read_prompt(members)
    directive = question.directive(prompt.text)
    said = answer(prompt, question.request.body, question.settings.seed, directive.wishes())
    wait_ns = question.wait_ns(directive)

    def document() -> Plan:
        return json_plan(converse.document(said, members), JSON, wait_ns)

    if call.streaming:
        frames = [(event.kind, converse_frame(event, rng)) for event in converse.stream(said, members, rng)]
        plan = stream_plan(_EVENT_STREAM, frames, wait_ns)
        return Reply(plan, directive, streaming=True, document=document)
    return Reply(document(), directive)


def _counted(question: Question, members: Members) -> Reply:
    given: Members = members["input"]
    if "converse" in given:
        prompt = converse.read_prompt(given["converse"])
    else:
        body = decode_object(given["invokeModel"]["body"])
        prompt = invoke.family_of(question.call.model_id, body).read(body)
    directive = question.directive(prompt.text)
    tokens = directive.number("input-tokens", prompt.input_tokens)
    return Reply(json_plan({"inputTokens": tokens}, JSON, 0), directive)


def _guarded(question: Question, members: Members) -> Reply:
    checking = question.call.operation == "InvokeGuardrailChecks"
    texts = list(jobs.texts_of(members["messages" if checking else "content"]))
    directive = question.directive("\n".join(texts))
    intervene = directive.wishes().stop_reason == "guardrail_intervened"
    write = guardrails.checks_document if checking else guardrails.apply_document
    return Reply(json_plan(write(members, intervene=intervene), JSON, 0), directive)


def _job(question: Question, members: Members) -> Reply:
    ledger, wall_ns = question.ledger, question.wall_ns
    match question.call.operation:
        case "StartAsyncInvoke":
            model_id: str = members["modelId"]
            question.exchange.model_id = model_id
            check_model(model_id, question.call.operation)
            directive = question.directive("\n".join(jobs.texts_of(members["modelInput"])))
            job = ledger.jobs.prepare(members, directive, question.settings.region, wall_ns)
            plan = json_plan({"invocationArn": job.arn}, JSON, question.wait_ns(directive))
            return Reply(plan, directive, consequence=functools.partial(ledger.jobs.keep, job))
        case "GetAsyncInvoke":
            directive = parse(question.settings.scenario)
            found = ledger.jobs.get(members, wall_ns)
        case _:
            directive = parse(question.settings.scenario)
            found = ledger.jobs.listed(members, wall_ns)
    return Reply(json_plan(found, JSON, 0), directive)


def _listed(question: Question, members: Members) -> Reply:
    directive = parse(question.ledger.listing_fault or question.settings.listing_fault)
    found = control_plane.answer(question.call.operation, members, question.settings.region)
    return Reply(json_plan(found, JSON, question.wait_ns(directive)), directive)


def _embedded(question: Question, members: Members) -> Reply:
    call = question.call
    if call.streaming:
        raise malformed("#: the model is unsupported for streaming")
    body = decode_object(members["body"])
    directive = question.directive(embeddings.texts_of(body))
    embedded = embeddings.embed(call.model_id, body, question.settings.seed)
    headers = [*JSON, (b"X-Amzn-Bedrock-Input-Token-Count", b"%d" % embedded.input_tokens)]
    headers.append((b"X-Amzn-Bedrock-Invocation-Latency", b"%d" % (100 + embedded.input_tokens)))
    return Reply(json_plan(embedded.document, headers, question.wait_ns(directive)), directive)


def _invoked(question: Question, members: Members) -> Reply:
    call, rng = question.call, question.rng
    body = decode_object(members["body"])
    family = invoke.family_of(call.model_id, body)
    prompt = family.read(body)
    directive = question.directive(prompt.text)
    said = answer(prompt, question.request.body, question.settings.seed, directive.wishes())
    wait_ns = question.wait_ns(directive)
    echoed = [(header, members[name].encode()) for name, header in _ECHOED if name in members]
    guarded = guardrails.invoke_members(members, said, len(prompt.text))

    def document() -> Plan:
        headers = [*JSON, *token_headers(said), *echoed]
        return json_plan({**family.document(said, body, call.model_id), **guarded}, headers, wait_ns)

    if call.streaming:
        events = guarded_events(family.stream(said, body, call.model_id, rng), guarded)
        frames = [(event.kind, chunk_frame(event, rng)) for event in events]
        plan = stream_plan([*_CHUNKS, *echoed], frames, wait_ns)
        return Reply(plan, directive, streaming=True, document=document)
    return Reply(document(), directive)


def guarded_events(events: Iterator[StreamEvent], guarded: Mapping[str, object]) -> Iterator[StreamEvent]:
    """The events with what a guardrail adds: the action to each, the trace to the last."""
    for event in events:
        added = {
            name: value
            for name, value in guarded.items()
            if event.kind is Kind.METADATA or not name.endswith("trace")
        }
        yield msgspec.structs.replace(event, payload={**event.payload, **added}) if added else event


def token_headers(said: Answer) -> Headers:
    """What InvokeModel says beside the model's own usage."""
    return [
        (b"X-Amzn-Bedrock-Input-Token-Count", b"%d" % said.input_tokens),
        (b"X-Amzn-Bedrock-Output-Token-Count", b"%d" % said.output_tokens),
        (b"X-Amzn-Bedrock-Invocation-Latency", b"%d" % said.latency_ms),
        (b"X-Amzn-Bedrock-Cache-Read-Input-Token-Count", b"%d" % said.cache_read_tokens),
        (b"X-Amzn-Bedrock-Cache-Write-Input-Token-Count", b"%d" % said.cache_write_tokens),
    ]


def json_plan(document: Mapping[str, object], headers: Headers, wait_ns: int) -> Plan:
    """An answer that is one JSON document."""
    return document_plan(200, headers, msgspec.json.encode(document), wait_ns)

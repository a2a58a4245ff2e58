"""From a request to a plan: who asks, what for, may they, what is the answer, and what goes wrong with it.

The order is AWS's: a path that is no operation; then who is asking; then whether the model exists; then
whether the body may stand; and only for a request that would have been answered, the scenario it wished
for. So a test that hopes for a throttle and sends a wrong body hears about the body.
"""

import random

import msgspec

from stargate.simulator import vendors
from stargate.simulator.answers import MISTYPED, Question, Reply, Request, answered
from stargate.simulator.directives import parse
from stargate.simulator.errors import AwsError, Refusal, malformed, refuse
from stargate.simulator.faults import Stage
from stargate.simulator.ledger import Exchange, Ledger
from stargate.simulator.models import check_model
from stargate.simulator.plan import Body, Head, Plan, cut, document_plan, paced, stream_plan
from stargate.simulator.recordings import Recording
from stargate.simulator.scenarios import scenario_of
from stargate.simulator.service_model import check, route
from stargate.simulator.settings import Settings
from stargate.simulator.signature import verify
from stargate.simulator.voices import AWS, Voice


def plan_answer(
    settings: Settings,
    request: Request,
    exchange: Exchange,
    wall_ns: int,
    rng: random.Random,
    ledger: Ledger,
) -> Plan:
    """The plan for a request; who asked for what is noted in `exchange`."""
    vendor = vendors.route(request.method, request.target)
    voice = AWS if vendor is None else vendor.voice
    try:
        plan = _planned(settings, request, exchange, wall_ns, rng, ledger)
    except Refusal as refusal:
        exchange.error = refusal.error.name
        plan = voice.refusal(refusal.error, [])
    except RecursionError:
        error = refuse("SerializationException", "The request body is nested too deeply.").error
        exchange.error = error.name
        plan = voice.refusal(error, [])
    exchange.events_planned = sum(step.events for step in plan if isinstance(step, Body))
    return plan


def _planned(
    settings: Settings,
    request: Request,
    exchange: Exchange,
    wall_ns: int,
    rng: random.Random,
    ledger: Ledger,
) -> Plan:
    vendor = vendors.route(request.method, request.target)
    call = route(request.method, request.target) if vendor is None else vendor.call
    if call is None:
        raise Refusal(_unknown_operation(request.target))
    exchange.operation, exchange.model_id = call.operation, call.model_id
    identity = verify(settings, request.method, request.target, request.headers, request.body, wall_ns)
    exchange.verified, exchange.access_key_id = True, identity.access_key_id
    exchange.signing_name = identity.signing_name
    question = Question(settings, call, request, exchange, wall_ns, rng, ledger)
    voice: Voice = AWS
    if vendor is None:
        reply = _reply(question)
    else:
        reply, voice = vendors.replied(vendor, question)
    directive = reply.directive
    exchange.scenario = " ".join(
        (directive.name, *(f"{key}={value}" for key, value in directive.options.items()))
    ).strip()
    scenario = scenario_of(directive)
    plan = reply.plan
    if "times" in directive.options and ledger.wished(exchange.scenario) >= directive.number("times", 0):
        scenario = None
    if scenario is not None and scenario.edit is not None:
        plan = scenario.edit(plan, Stage(directive, reply.streaming, rng, voice, reply.document))
    if reply.consequence is not None and not any(isinstance(s, Head) and s.status >= 400 for s in plan):
        reply.consequence()
    interval_ns = directive.interval_ns(settings.events_per_second)
    if interval_ns and directive.name != "slow":
        plan = paced(plan, interval_ns)
    return plan if directive.name == "drip" else cut(plan, rng)


def _unknown_operation(target: bytes) -> AwsError:
    """404; but an ARN whose slash was not encoded gets a 200, as the real service gives it."""
    error = refuse("UnknownOperationException").error
    arn = target.startswith((b"/model/arn:", b"/model/arn%3A"))
    return msgspec.structs.replace(error, status=200) if arn else error


def _reply(question: Question) -> Reply:
    settings, call, request = question.settings, question.call, question.request
    if settings.recordings is not None:
        recording = settings.recordings.find(call, request.body)
        if recording is not None:
            return _recorded(settings, recording)
    if call.model_id:
        check_model(call.model_id, call.operation)
    members = check(call, request.by_name(), request.body)
    guardrail = members.get("guardrailConfig", members)
    question.exchange.guardrail_id = guardrail.get("guardrailIdentifier", "")
    question.exchange.guardrail_version = guardrail.get("guardrailVersion", "")
    try:
        return answered(question, members)
    except MISTYPED as error:
        raise malformed(f"#: {error}") from None


def _recorded(settings: Settings, recording: Recording) -> Reply:
    directive = parse(settings.scenario)
    wait_ns = directive.first_token_ns(settings.first_token_ns)
    if recording.streaming:
        return Reply(stream_plan(recording.headers, recording.frames(), wait_ns), directive, streaming=True)
    return Reply(document_plan(recording.status, recording.headers, recording.body, wait_ns), directive)

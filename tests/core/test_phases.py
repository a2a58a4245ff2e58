"""What a plugin may do in each phase: the whole table, cell by cell, and what is said where it may not."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest

from stargate_core.aws.endpoints import Endpoint
from stargate_core.aws.operations import Operation
from stargate_core.config.schema import Consumer
from stargate_core.dialects.face import Ask, Call, ModelCard, Part, PartKind, Reply, Request, Target
from stargate_core.dialects.registry import OPENAI_CHAT
from stargate_core.direction import Direction, Persistence, Sharing
from stargate_core.entropy import Entropy
from stargate_core.faults import Cause, Fault, Refused
from stargate_core.messages import Emit, Note
from stargate_core.misuse import PhaseMisuse, PluginFailed
from stargate_core.phases import CAPABILITIES, Context, Phase, plugin_failed
from stargate_core.questions import FetchUrl, ListModels, VerifyToken, WriteEntry
from stargate_core.record import LogRecord, Outcome
from stargate_core.script import ScriptMisuse, Sleep

REQUEST: Final = Request(b"POST", b"/v1/chat?a=b", b"/v1/chat", b"a=b", [], b"{}", "0" * 32, 0)
ASK: Final = Ask("claude", False)
DIRECTION: Final = Direction(Endpoint("https", "h", 443, "bedrock", "r"), Target("m"), "r")
RECORD: Final = LogRecord("now", "0" * 32, 1, Outcome.COMPLETE, 200)
TOKEN: Final = VerifyToken("https://issuer/keys", "RS256", "", b"signed", b"signature")
CALL: Final = Call(Operation.APPLY_GUARDRAIL, b"POST", b"/x", [], b"", stream=False)
PART: Final = Part(PartKind.EVENT, "", {})


def context(phase: int) -> Context:
    """A context in which everything is known."""
    ctx = Context(REQUEST, 5, 1000, [])
    ctx.know_dialect(OPENAI_CHAT)
    ctx._ask = ASK  # pyright: ignore[reportPrivateUsage]
    ctx.know_answer(200, [(b"a", b"b")])
    ctx.know_part(PART)
    ctx.know_record(RECORD)
    ctx.entropy = Entropy(1)
    ctx.phase = phase
    ctx.plugin = "probe"
    return ctx


R, A, H, B, L = Phase.REWRITE, Phase.ACCESS, Phase.HEADER_FILTER, Phase.BODY_FILTER, Phase.LOG

MEMBERS: Final[dict[str, tuple[Callable[[Context], Any], frozenset[Phase]]]] = {
    # What a hook may use, how, and in which phases.
    "request": (lambda ctx: ctx.request, frozenset({R, A, H, B, L})),
    "change_request": (lambda ctx: ctx.change_request(target=b"/x"), frozenset({R})),
    "revise_request": (lambda ctx: ctx.revise_request(body=b"{}"), frozenset({A})),
    "dialect": (lambda ctx: ctx.dialect, frozenset({A, H, B, L})),
    "ask": (lambda ctx: ctx.ask, frozenset({A, H, B, L})),
    "reject": (lambda ctx: ctx.reject(Fault(Cause.KEY_MISSING)), frozenset({R, A, B})),
    "reply": (lambda ctx: ctx.reply(Reply(200, [], b"")), frozenset({R, A})),
    "sleep": (lambda ctx: ctx.sleep(1), frozenset({R, A})),
    "take": (lambda ctx: ctx.take([], lease_us=1), frozenset({A})),
    "read_entry": (lambda ctx: ctx.read_entry("key"), frozenset({A})),
    "verify_token": (lambda ctx: ctx.verify_token(TOKEN), frozenset({A})),
    "live_keys": (lambda ctx: ctx.live_keys, frozenset({A})),
    "chance": (lambda ctx: ctx.chance(), frozenset({A})),
    "share": (lambda ctx: ctx.share(Sharing("", 1, 1)), frozenset({A})),
    "tell": (lambda ctx: ctx.tell(WriteEntry("key", b"", 1)), frozenset({A, L})),
    "kept": (lambda ctx: ctx.kept, frozenset({R, A, H, B, L})),
    "source": (lambda ctx: ctx.source, frozenset({H})),
    "limit_family": (lambda ctx: ctx.limit_family, frozenset({A, H})),
    "fetch": (lambda ctx: ctx.fetch(FetchUrl("https://a/", 1, 1, ("a",))), frozenset({A})),
    "list_models": (
        lambda ctx: ctx.list_models(ListModels(DIRECTION.endpoint, "", None, None, 1)),
        frozenset({A}),
    ),
    "call": (lambda ctx: ctx.call(CALL, timeout_ns=1), frozenset({A})),
    "say": (lambda ctx: ctx.say("No."), frozenset({A})),
    "speaks": (lambda ctx: ctx.speaks, frozenset({A})),
    "identify": (lambda ctx: ctx.identify(Consumer(username="a"), "k"), frozenset({A})),
    "direct": (lambda ctx: ctx.direct(DIRECTION), frozenset({A})),
    "offer_models": (lambda ctx: ctx.offer_models([ModelCard("a", "b")]), frozenset({A})),
    "status": (lambda ctx: ctx.status, frozenset({H, B, L})),
    "headers": (lambda ctx: ctx.headers, frozenset({H})),
    "part": (lambda ctx: ctx.part, frozenset({B})),
    "put_before": (lambda ctx: ctx.put_before(PART), frozenset({B})),
    "count_redacted": (lambda ctx: ctx.count_redacted(1), frozenset({A, B})),
    "record": (lambda ctx: ctx.record, frozenset({L})),
    "emit": (lambda ctx: ctx.emit("sink", b"line"), frozenset({L})),
}
ALWAYS: Final = ("now", "wall_ns", "note", "consumer", "key_id", "route")
PHASES: Final = (0, *Phase)


class TestTable:
    def test_every_member_is_in_it(self) -> None:
        assert MEMBERS.keys() == CAPABILITIES.keys()

    @pytest.mark.parametrize("phase", PHASES)
    @pytest.mark.parametrize("member", MEMBERS)
    def test_a_member_may_be_used_there_and_nowhere_else(self, member: str, phase: int) -> None:
        use, phases = MEMBERS[member]
        ctx = context(phase)
        if phase in phases:
            if member == "reject":
                with pytest.raises(Refused):
                    use(ctx)
            else:
                use(ctx)
            return
        with pytest.raises(PhaseMisuse) as misuse:
            use(ctx)
        text = str(misuse.value)
        assert text.startswith(f"{member} may be used in ")
        assert all(each.name.lower() in text for each in phases)
        assert text.endswith(f"not in {Phase(phase).name.lower() if phase else 'no phase'}")
        assert ctx.out == []

    @pytest.mark.parametrize("phase", PHASES)
    def test_some_are_there_always(self, phase: int) -> None:
        ctx = context(phase)
        assert (ctx.now, ctx.wall_ns, ctx.consumer) == (5, 1005, None)
        ctx.note("info", "text")
        assert ctx.out == [Note("info", "probe: text")]


class TestMembers:
    def test_a_changed_target_changes_path_and_query(self) -> None:
        ctx = context(R)
        ctx.change_request(target=b"/new/path?c=d?e")
        assert (ctx.request.target, ctx.request.path, ctx.request.query) == (
            b"/new/path?c=d?e",
            b"/new/path",
            b"c=d?e",
        )
        ctx.change_request(headers=[(b"x", b"y")])
        assert ctx.request.header(b"x") == b"y"
        assert ctx.request.path == b"/new/path"
        assert ctx.request.body == b"{}"
        assert REQUEST.path == b"/v1/chat"

    def test_a_revised_request_is_read_anew(self) -> None:
        body = b'{"model": "%s", "messages": [{"role": "user", "content": "hi"}]}'
        ctx = Context(msgspec.structs.replace(REQUEST, body=body % b"claude"), 0, 0, [])
        ctx.know_dialect(OPENAI_CHAT)
        ctx.phase = A
        assert ctx.ask.model == "claude"
        ctx.revise_request(body=body % b"nova", headers=[(b"x", b"y")], query=b"c=d", path=b"/v1/x")
        assert ctx.ask.model == "nova"
        assert (ctx.request.header(b"x"), ctx.request.query) == (b"y", b"c=d")
        assert (ctx.request.path, ctx.request.target) == (b"/v1/x", REQUEST.target)
        ctx.revise_request(body=b"{")
        with pytest.raises(Refused):
            _ = ctx.ask
        ctx.phase = L
        assert ctx.ask.model == "nova"

    def test_a_part_may_be_put_before_another_in_a_stream_only(self) -> None:
        ctx = context(B)
        ctx.put_before(PART)
        assert ctx.put == [PART]
        ctx.know_part(Part(PartKind.ANSWER, "", {}))
        with pytest.raises(PhaseMisuse, match="for streams"):
            ctx.put_before(PART)

    def test_redactions_are_counted(self) -> None:
        ctx = context(A)
        ctx.count_redacted(2)
        ctx.phase = B
        ctx.count_redacted(1)
        assert ctx.redacted == 3

    def test_the_dialect_is_known_by_name(self) -> None:
        ctx = Context(REQUEST, 0, 0, [])
        ctx.phase = A
        assert ctx.dialect == ""
        ctx.know_dialect(OPENAI_CHAT)
        assert ctx.dialect == "openai-chat"

    def test_the_first_ask_in_access_reads_the_request(self) -> None:
        body = b'{"model": "claude", "messages": [{"role": "user", "content": "hi"}]}'
        ctx = Context(msgspec.structs.replace(REQUEST, body=body), 0, 0, [])
        ctx.know_dialect(OPENAI_CHAT)
        ctx.phase = A
        assert ctx.known_ask is None
        assert ctx.ask.model == "claude"
        assert ctx.ask is ctx.known_ask

    def test_one_that_cannot_be_read_is_refused(self) -> None:
        ctx = Context(msgspec.structs.replace(REQUEST, body=b"{"), 0, 0, [])
        ctx.know_dialect(OPENAI_CHAT)
        ctx.phase = A
        with pytest.raises(Refused):
            _ = ctx.ask

    @pytest.mark.parametrize("phase", [H, B, L])
    def test_later_there_may_be_none(self, phase: Phase) -> None:
        """A header filter also sees the answer to a request that was refused before it was read."""
        ctx = Context(REQUEST, 0, 0, [])
        ctx.phase = phase
        with pytest.raises(PhaseMisuse, match="refused before it was read"):
            _ = ctx.ask

    def test_headers_and_part_are_changed_in_place(self) -> None:
        headers = [(b"a", b"b")]
        ctx = context(H)
        ctx.know_answer(404, headers)
        ctx.headers.append((b"c", b"d"))
        assert headers == [(b"a", b"b"), (b"c", b"d")]
        assert ctx.status == 404
        assert context(B).part is PART

    def test_what_is_told_of_a_call_is_kept(self) -> None:
        ctx = context(A)
        consumer = Consumer(username="a")
        ctx.identify(consumer, "k")
        ctx.direct(DIRECTION)
        ctx.offer_models([ModelCard("a", "b")])
        reply = Reply(200, [], b"")
        ctx.reply(reply)
        assert (ctx.consumer, ctx.key_id, ctx.directions) == (consumer, "k", (DIRECTION,))
        assert (list(ctx.models), ctx.ready_reply) == ([ModelCard("a", "b")], reply)

    def test_a_sleep_is_entered_in_the_ledger(self) -> None:
        ctx = context(A)
        one, two = ctx.sleep(3), ctx.sleep(4)
        assert isinstance(one, Sleep)
        assert ctx.ledger is not None
        assert ctx.ledger.made == [one, two]

    def test_a_line_is_emitted(self) -> None:
        ctx = context(L)
        ctx.emit("/dev/stdout", b"{}\n")
        assert ctx.out == [Emit("/dev/stdout", b"{}\n")]


class TestFailures:
    def test_an_exception_is_named_by_its_type_alone(self) -> None:
        fault = plugin_failed("probe", Phase.ACCESS, ValueError("sk-secret"))
        assert fault.cause is Cause.PLUGIN_FAILED
        assert fault.detail == "probe raised ValueError in access"
        assert "sk-secret" not in repr(fault)
        assert fault.text == "A plugin of the gateway failed"

    @pytest.mark.parametrize("error", [PhaseMisuse("emit may be used in log"), ScriptMisuse("yielded int")])
    def test_what_the_core_itself_objected_to_is_told(self, error: Exception) -> None:
        detail = plugin_failed("probe", Phase.LOG, error).detail
        assert detail == f"probe raised {type(error).__name__} in log: {error}"


class TestWhatIsKept:
    def test_each_plugin_keeps_its_own_from_phase_to_phase(self) -> None:
        ctx = context(Phase.ACCESS)
        assert ctx.kept is None
        assert ctx.kept_by("probe") is None
        ctx.kept = {"a": 1}
        ctx.plugin = "other"
        assert ctx.kept is None
        ctx.kept = "mine"
        ctx.phase = Phase.LOG
        assert (ctx.kept, ctx.kept_by("probe"), ctx.kept_by("nobody")) == ("mine", {"a": 1}, None)

    def test_nothing_can_be_kept_outside_of_a_hook(self) -> None:
        ctx = context(0)
        with pytest.raises(PhaseMisuse, match="kept"):
            ctx.kept = 1


class TestTheRequest:
    def test_it_is_the_one_its_route_sees(self) -> None:
        ctx = context(Phase.ACCESS)
        changed = msgspec.structs.replace(REQUEST, path=b"/other")
        ctx.know_request(changed)
        assert ctx.known_request is changed
        assert ctx.request.path == b"/other"

    @staticmethod
    def coded(coding: bytes, body: bytes = b"{}") -> Context:
        """A context whose request has a body in this coding."""
        headers = [(b"content-encoding", coding)]
        ctx = Context(msgspec.structs.replace(REQUEST, headers=headers, body=body), 0, 0, [])
        ctx.know_dialect(OPENAI_CHAT)
        return ctx

    @pytest.mark.parametrize("coding", [b"gzip", b"BR", b"identity, gzip"])
    def test_a_body_that_is_compressed_is_not_read(self, coding: bytes) -> None:
        with pytest.raises(Refused) as caught:
            self.coded(coding).read_ask()
        assert f"Content-Encoding {coding.decode()!r}" in caught.value.fault.text

    @pytest.mark.parametrize("coding", [b"", b"Identity"])
    def test_one_that_comes_as_it_is_is_read(self, coding: bytes) -> None:
        assert not self.coded(coding).read_ask().stream

    def test_where_there_is_none_its_coding_says_nothing(self) -> None:
        with pytest.raises(Refused) as caught:
            self.coded(b"gzip", b"").read_ask()
        assert "Content-Encoding" not in caught.value.fault.text

    def test_it_is_read_once(self) -> None:
        ctx = context(Phase.ACCESS)
        assert ctx.read_ask() is ASK


class TestDirections:
    def test_the_last_plugin_to_direct_a_call_decides(self) -> None:
        ctx = context(Phase.ACCESS)
        ctx.direct(DIRECTION)
        assert ctx.persistence == Persistence()
        patient = Persistence(count=3)
        ctx.direct(DIRECTION, persistence=patient)
        assert ctx.persistence is patient


class TestWhatIsNotThereYet:
    """A phase has a member, and the exchange has not come to what it shows."""

    @pytest.mark.parametrize(
        ("phase", "member"), [(Phase.BODY_FILTER, "part"), (Phase.LOG, "record")], ids=["part", "record"]
    )
    def test_it_is_refused_like_any_other(self, phase: Phase, member: str) -> None:
        ctx = Context(REQUEST, 0, 0, [])
        ctx.phase = phase
        with pytest.raises(PhaseMisuse, match=member):
            getattr(ctx, member)


def test_a_plugin_that_failed_bears_its_fault() -> None:
    fault = plugin_failed("probe", Phase.ACCESS, ValueError("secret"))
    failed = PluginFailed(fault)
    assert failed.fault is fault
    assert "secret" not in str(failed)

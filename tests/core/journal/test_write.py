"""Writing: no secret gets into a journal, every length is kept, and whether it tells the same is known."""

from typing import Any, Final

import msgspec
import pytest

from stargate_core.aws.credentials import Credentials
from stargate_core.aws.sigv4 import Signer
from stargate_core.clock import SECOND
from stargate_core.config.schema import Consumer, Sigv4Credential
from stargate_core.journal.digests import shape, shape_digest
from stargate_core.journal.format import (
    BreakerBeginning,
    Entry,
    FlightBeginning,
    Header,
    SessionBeginning,
    read,
)
from stargate_core.journal.lives import Life, Ring
from stargate_core.journal.redact import redact
from stargate_core.journal.redact.verdicts import Verdicts
from stargate_core.journal.replay import replay
from stargate_core.journal.write import encoded, journal_of, lived, request_of
from stargate_core.messages import (
    AnswerSent,
    ClientSent,
    CredentialsChanged,
    Ticked,
    UpstreamSent,
    WriteClient,
)
from stargate_core.plugins.registry import BUILT_IN
from stargate_core.secret import Secret
from support.bedrock import aws_error, converse_answer
from support.journals import GUARD, KEY, SCENARIOS, RecordedBench, a_guarded_plan, cache_follower, journal
from support.machines import LOG, MODEL, WALL_EPOCH_NS, a_config, a_plan, chat, proxy, request

PLANTED: Final = (KEY, "aws-secret")


def silenced(header: Header, entries: list[Entry], _verdicts: Verdicts) -> tuple[Header, list[Entry]]:
    """A redaction that spares nothing: every letter of what was said becomes an x."""

    def without(entry: Entry) -> Entry:
        event = entry.event
        if isinstance(event, ClientSent | UpstreamSent | AnswerSent):
            event = msgspec.structs.replace(event, data=event.data.replace(b"Hello", b"xxxxx"))
        return msgspec.structs.replace(entry, event=event)

    return header, list(map(without, entries))


def garbled(header: Header, entries: list[Entry], _verdicts: Verdicts) -> tuple[Header, list[Entry]]:
    """A redaction that destroys what it touches."""

    def without(entry: Entry) -> Entry:
        event = entry.event
        if isinstance(event, UpstreamSent):
            event = msgspec.structs.replace(event, data=b"x" * len(event.data))
        return msgspec.structs.replace(entry, event=event)

    return header, list(map(without, entries))


class TestSecrets:
    @pytest.mark.parametrize("scenario", SCENARIOS)
    def test_none_is_in_it(self, scenario: str) -> None:
        for life in SCENARIOS[scenario]():
            data = encoded(journal(life))
            assert [secret for secret in PLANTED if secret.encode() in data] == []

    def test_the_caller_is_who_it_was(self) -> None:
        """The key that it has shown opens the same door of the configuration in the journal."""
        (life,) = SCENARIOS["plain-ok"]()
        whole = journal(life)
        assert whole.trailer.diverged_at is None
        assert replay(whole, BUILT_IN).divergence is None

    def test_credentials_that_come_meanwhile_are_none_either(self) -> None:
        bench = RecordedBench(a_guarded_plan())
        bench.ask(chat(headers={"x-api-key": KEY}))
        bench.tell(CredentialsChanged("", Credentials("AKIDNEW", Secret("PLANTED"), Secret("TOKEN PLANTED"))))
        bench.open()
        bench.answer(converse_answer())
        data = encoded(journal(bench.life))
        assert b"PLANTED" not in data
        assert replay(read(data), BUILT_IN).divergence is None

    def test_bytes_are_written_as_they_are_but_for_secrets(self) -> None:
        """The life itself is not touched."""
        (life,) = SCENARIOS["plain-ok"]()
        journal(life)
        (sent,) = [event.data for _, event, _ in life.entries if isinstance(event, ClientSent)]
        assert KEY.encode() in sent


class TestShape:
    @pytest.mark.parametrize("scenario", SCENARIOS)
    def test_it_is_lifes(self, scenario: str) -> None:
        for life in SCENARIOS[scenario]():
            shapes = [shape(commands) for _, _, commands in life.entries]
            for way in (None, silenced):
                whole = journal(life, way)
                assert whole.trailer.shape == shape_digest(shapes)
                assert [entry.shape for entry in whole.entries] == shapes
                assert whole.trailer.diverged_at is None

    def test_a_redacted_journal_has_a_fingerprint_of_its_own(self) -> None:
        (life,) = SCENARIOS["plain-ok"]()
        clear, redacted = journal(life), journal(life, silenced)
        assert (clear.header.redacted, redacted.header.redacted) == (False, True)
        assert clear.trailer.shape == redacted.trailer.shape
        assert clear.trailer.fingerprint != redacted.trailer.fingerprint
        assert b"Hello" not in encoded(redacted)
        assert replay(redacted, BUILT_IN).divergence is None

    def test_one_that_takes_another_course_is_written_and_says_where(self) -> None:
        (life,) = SCENARIOS["plain-ok"]()
        whole = journal(life, garbled)
        (answer,) = [at for at, entry in enumerate(whole.entries) if isinstance(entry.event, UpstreamSent)]
        assert whole.trailer.diverged_at == answer
        assert whole.trailer.entries == len(life.entries)
        assert replay(whole, BUILT_IN).divergence is None, "it is as it is"

    def test_where_it_only_fails_now_the_rest_is_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from stargate_core.gateway.session import Session

        (life,) = SCENARIOS["stream-ok"]()
        handle = Session.handle

        def buggy(session: Session, now: int, event: Any) -> Any:
            if isinstance(event, UpstreamSent):
                raise ZeroDivisionError
            return handle(session, now, event)

        monkeypatch.setattr(Session, "handle", buggy)
        whole = journal(life)
        assert whole.trailer.diverged_at == 2
        assert len(whole.entries) == whole.trailer.entries == len(life.entries)
        assert read(encoded(whole)) == whole

    def test_anew_what_happens_now_counts(self) -> None:
        (life,) = SCENARIOS["plain-ok"]()
        whole = journal(life, garbled)
        anew = lived(whole.header, whole.entries, BUILT_IN, anew=True)
        assert anew.trailer.diverged_at is None
        assert anew.trailer.fingerprint == whole.trailer.fingerprint
        assert anew.trailer.shape != whole.trailer.shape


class TestSigners:
    """A caller that signs: its signature is life's, and the secret that it was made with is no more."""

    def life(self) -> Life:
        team = Consumer(
            username="team-a",
            sigv4_credentials=[Sigv4Credential(access_key_id="AKIDTEAM", secret_access_key=Secret(KEY))],
        )
        bench = RecordedBench(a_plan(a_config(plugins=[GUARD, proxy(), LOG], consumers=[team])))
        bench.ask(signed())
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.status == 200
        return bench.life

    def test_redacted_it_is_let_in_again(self) -> None:
        assert journal(self.life(), redact).trailer.diverged_at is None

    def test_unredacted_it_is_too_and_what_it_said_is_there(self) -> None:
        made = journal(self.life())
        assert made.trailer.diverged_at is None
        assert b'"text":"hi"' in encoded(made)


def signed() -> bytes:
    """A request to Bedrock's own API, signed with the key pair of team-a."""
    body = b'{"messages":[{"role":"user","content":[{"text":"hi"}]}]}'
    target = f"/model/{MODEL.replace(':', '%3A')}/converse"
    headers = [(b"host", b"stargate"), (b"content-type", b"application/json")]
    signer = Signer(Credentials("AKIDTEAM", Secret(KEY)), "us-east-1", "bedrock")
    headers += signer.authorize(b"POST", target.encode(), headers, body, WALL_EPOCH_NS)
    return request(target, body, headers={name.decode(): value.decode() for name, value in headers})


class TestHeader:
    def test_it_says_what_it_is_about(self) -> None:
        (life,) = SCENARIOS["bad-crc"]()
        whole = journal_of(
            life, package="1.2.3", plugins=BUILT_IN, redact=None, expires_at="2030-01-01T00:00:00Z"
        )
        header = whole.header
        assert (header.kind, header.package, header.cause) == ("session", "1.2.3", "STREAM_CORRUPT")
        assert header.expires_at == "2030-01-01T00:00:00Z"
        assert life.failed is not None
        assert header.request_id == life.failed.request_id
        assert header.began_ns == whole.entries[0].now == 2 * SECOND

    def test_the_request_is_the_one_that_failed_of_several(self) -> None:
        bench = RecordedBench()
        bench.client.methods += [b"POST", b"POST"]
        bench.send(chat() + chat())
        for answer in (converse_answer(), aws_error("InternalServerException", 500)):
            bench.open()
            bench.answer(answer)
        first, second = (record["request_id"] for record in bench.records)
        assert request_of(bench.life) == second != first

    def test_or_the_first(self) -> None:
        bench = RecordedBench()
        for _ in range(2):
            bench.ask(chat())
            bench.open()
            bench.answer(converse_answer())
        assert [request_of(life) for life in bench.lives] == [
            record["request_id"] for record in bench.records
        ]
        beginnings = [life.beginning for life in bench.lives]
        assert all(isinstance(beginning, SessionBeginning) for beginning in beginnings)


class TestRequestOf:
    """Which request a journal is about: the one that failed, or the first."""

    def test_a_session_that_went_well_names_its_first(self) -> None:
        (life,) = SCENARIOS["plain-ok"]()
        assert life.failed is None
        answers = b"".join(
            each.data for *_, out in life.entries for each in out if isinstance(each, WriteClient)
        )
        assert f"\r\nx-request-id: {request_of(life)}\r\n".encode() in answers
        assert journal(life).header.request_id == request_of(life)

    def test_a_flight_names_the_one_that_it_was_launched_for(self) -> None:
        _, life = cache_follower()
        assert isinstance(life.beginning, FlightBeginning)
        well = Life(life.beginning, 0, Ring(1 << 30, 1 << 30))
        assert request_of(well) == life.beginning.order.request_id

    def test_other_machines_are_about_none(self) -> None:
        assert request_of(Life(BreakerBeginning(), 0, Ring(1 << 30, 1 << 30))) == ""


def test_what_a_machine_raised_is_in_its_last_entry() -> None:
    ring = Ring(1 << 30, 1 << 30)
    life = Life(BreakerBeginning(), 0, ring)
    life.add(1, Ticked(), ())
    life.add(2, Ticked(), ())
    life.raised = "AssertionError"
    whole = journal(life)
    assert [entry.raised for entry in whole.entries] == ["", "AssertionError"]
    assert (whole.header.cause, whole.trailer.diverged_at) == ("AssertionError", 1)

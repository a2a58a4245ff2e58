"""Who is calling: keys in every header, signatures of AWS SDKs, and everything that proves nothing.

botocore signs, as the oracle: what its signer makes of a request must be accepted, and nothing else.
"""

import datetime
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.clock import SECOND
from stargate_core.config.live_key import LiveKey, write_live_key
from stargate_core.config.plugin_configs import ApiKeyAuth
from stargate_core.config.schema import (
    Config,
    Consumer,
    ConsumerGroup,
    Gateway,
    KeyCredential,
    PluginEntry,
    Sigv4Credential,
    TimeLimits,
)
from stargate_core.messages import KeysChanged, Trouble
from stargate_core.secret import Secret
from support.compiled import members
from support.hooks import plugin_of
from support.machines import LOG, WALL_EPOCH_NS, Bench, a_plan, chat, converse, proxy, request

NOW: Final = datetime.datetime.fromtimestamp(WALL_EPOCH_NS / SECOND, datetime.UTC)
LONG_AGO: Final = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
HOUR: Final = datetime.timedelta(hours=1)


def key(text: str, **members: Any) -> KeyCredential:
    """A gateway key."""
    return KeyCredential(key=Secret(text), **members)


CONSUMERS: Final = [
    Consumer(
        username="ann",
        keyauth_credentials=[
            key("key-ann", id="laptop"),
            key("key-ann-old", expires_at=NOW),
            key("key-ann-new", expires_at=NOW + HOUR),
            key("key-ann-off", disabled=True),
            KeyCredential(key_sha256=hashlib.sha256(b"key-ann-hashed").hexdigest().upper()),
        ],
        sigv4_credentials=[
            Sigv4Credential(access_key_id="AKIDANN", secret_access_key=Secret("secret-ann")),
            Sigv4Credential(
                access_key_id="AKIDANNOFF", secret_access_key=Secret("secret-ann"), disabled=True
            ),
            Sigv4Credential(
                access_key_id="AKIDANNOLD", secret_access_key=Secret("secret-ann"), expires_at=LONG_AGO
            ),
        ],
    ),
    Consumer(
        username="bob",
        keyauth_credentials=[key("key-bob")],
        sigv4_credentials=[Sigv4Credential(access_key_id="AKIDBOB", secret_access_key=Secret("secret-bob"))],
    ),
    Consumer(username="nobody"),
]


def bench(
    *,
    wall_epoch_ns: int = WALL_EPOCH_NS,
    client_idle: float = 75,
    consumers: list[Consumer] = CONSUMERS,
    groups: Sequence[ConsumerGroup] = (),
    **config: Any,
) -> Bench:
    """A gateway with this plugin."""
    auth = PluginEntry(name="api-key-auth", config=ApiKeyAuth(**config))
    gateway = Gateway(time_limits=TimeLimits(client_idle=client_idle))
    plugins = [proxy(), LOG, auth]
    plan = a_plan(Config(consumers=consumers, consumer_groups=list(groups), plugins=plugins, gateway=gateway))
    return Bench(plan, wall_epoch_ns=wall_epoch_ns)


def shown(machine: Bench, *headers: str, body: bytes | None = None) -> Bench:
    """The gateway is asked with these header lines beside the usual ones."""
    head, _, rest = chat().partition(b"\r\n\r\n")
    lines = "".join(f"\r\n{line}" for line in headers).encode()
    machine.ask(head + lines + b"\r\n\r\n" + rest)
    return machine


def let_in(machine: Bench) -> str:
    """The consumer whose call is on its way."""
    (asked,) = machine.asked.values()
    machine.leave()
    assert asked.ticket == 1
    return str(machine.record["consumer"])


def refused(machine: Bench) -> tuple[int, str]:
    """How the caller was refused."""
    assert machine.opened == []
    assert "consumer" not in machine.record
    return machine.only.status, machine.only.json["error"]["code"]


UNAUTHORIZED: Final = (401, "invalid_api_key")
FORBIDDEN: Final = (403, "invalid_api_key")


class TestKeys:
    @pytest.mark.parametrize(
        "header",
        [
            "authorization: Bearer key-ann",
            "Authorization: bearer key-ann",
            "AUTHORIZATION: BEARER   key-ann",
            "x-api-key: key-ann",
            "X-Api-Key:key-ann",
            "api-key: key-ann",
        ],
    )
    def test_in_each_header_that_programs_use(self, header: str) -> None:
        machine = shown(bench(), header)
        assert let_in(machine) == "ann"
        assert machine.record["key_id"] == "laptop"

    @pytest.mark.parametrize("name", ["key-ann-new", "key-ann-hashed", "key-bob"])
    def test_a_key_is_known_by_its_digest(self, name: str) -> None:
        machine = shown(bench(), f"x-api-key: {name}")
        assert let_in(machine) == name[4:7]
        assert machine.record["key_id"] == "…" + hashlib.sha256(name.encode()).hexdigest()[-4:]

    @pytest.mark.parametrize(
        "headers",
        [
            (),
            ("authorization: Bearer",),
            ("authorization: Bearer ",),
            ("x-api-key:",),
            ("x-api-key: ", "authorization: Bearer "),
            ("authorization: key-ann",),
            ("authorization: Basic a2V5LWFubg==",),
            ("cookie: x-api-key=key-ann",),
            ("x-key: key-ann",),
        ],
    )
    def test_no_key_is_401_with_a_challenge(self, headers: tuple[str, ...]) -> None:
        machine = shown(bench(realm="the house"), *headers)
        assert refused(machine) == UNAUTHORIZED
        assert machine.only.header("www-authenticate") == 'Bearer realm="the house"'
        assert machine.only.header("x-should-retry") == "false"
        assert machine.record["code"] == "UNAUTHORIZED"

    @pytest.mark.parametrize(
        ("name", "detail"),
        [
            ("key-eve", "unknown"),
            ("key-ann ", ""),
            ("KEY-ANN", "unknown"),
            ("key-an", "unknown"),
            ("key-ann-old", "disabled or expired"),
            ("key-ann-off", "disabled or expired"),
            (hashlib.sha256(b"key-ann").hexdigest(), "unknown"),
        ],
    )
    def test_a_key_that_opens_nothing_is_403_and_why_is_for_the_log(self, name: str, detail: str) -> None:
        machine = shown(bench(), f"x-api-key: {name}")
        if name.strip() == "key-ann":
            assert let_in(machine) == "ann"
            return
        assert refused(machine) == FORBIDDEN
        assert machine.only.json["error"]["message"] == "Invalid API key"
        assert detail in machine.record["detail"]
        assert name not in machine.record["detail"]

    @pytest.mark.parametrize("early_ns", [0, 1])
    def test_a_key_ends_with_its_time(self, early_ns: int) -> None:
        machine = bench(client_idle=7200)
        machine.advance(3600 * SECOND - early_ns)
        shown(machine, "x-api-key: key-ann-new")
        if early_ns:
            assert let_in(machine) == "ann"
        else:
            assert refused(machine) == FORBIDDEN

    def test_one_key_in_two_headers_is_one_key(self) -> None:
        machine = shown(bench(), "authorization: Bearer key-ann", "x-api-key: key-ann", "api-key: key-ann")
        assert let_in(machine) == "ann"

    @pytest.mark.parametrize(
        "headers",
        [
            ("authorization: Bearer key-ann", "x-api-key: key-bob"),
            ("x-api-key: key-ann", "x-api-key: key-bob"),
            ("api-key: key-ann", "x-api-key: key-ann-new"),
            ("authorization: Bearer key-ann", "authorization: Bearer key-eve"),
            ("x-api-key: key-ann", "api-key: key-anm"),
        ],
    )
    def test_two_keys_prove_nothing(self, headers: tuple[str, ...]) -> None:
        machine = shown(bench(), *headers)
        assert refused(machine) == UNAUTHORIZED
        assert machine.record["cause"] == "KEYS_DISAGREE"
        assert machine.only.header("www-authenticate") is not None

    def test_only_the_configured_headers_count(self) -> None:
        machine = shown(bench(key_names=["X-Team-Key"]), "x-api-key: key-ann")
        assert refused(machine) == UNAUTHORIZED
        machine = shown(
            bench(key_names=["X-Team-Key"]), "x-team-key: key-ann", "authorization: Bearer key-eve"
        )
        assert let_in(machine) == "ann"

    def test_an_aws_caller_is_refused_in_its_own_words(self) -> None:
        machine = bench()
        machine.ask(converse())
        assert machine.only.status == 401
        assert machine.only.header("x-amzn-errortype") == "MissingAuthenticationTokenException"

    def test_a_key_goes_no_further(self) -> None:
        machine = shown(bench(), "x-api-key: key-ann", "authorization: Bearer key-ann", "cookie: a=key-ann")
        machine.open()
        assert "key-ann" not in str(machine.call.headers)
        assert "cookie" not in machine.call.headers

    @given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30))
    def test_nothing_but_a_key_is_a_key(self, text: str) -> None:
        machine = shown(bench(), f"x-api-key: {text}")
        assert refused(machine) == FORBIDDEN


class TestRotation:
    """A consumer has as many keys as it likes, so a new one is handed out before the old one ends."""

    OLD: Final = key("key-old", id="old", expires_at=NOW + HOUR)
    NEW: Final = key("key-new", id="new")

    @pytest.mark.parametrize(
        ("keys", "seconds", "good"),
        [
            # Day by day: the old key alone; both; the old one's end; the new one alone.
            ([OLD], 0, {"old"}),
            ([OLD, NEW], 0, {"old", "new"}),
            ([OLD, NEW], 3599, {"old", "new"}),
            ([OLD, NEW], 3600, {"new"}),
            ([msgspec.structs.replace(OLD, disabled=True), NEW], 0, {"new"}),
            ([NEW], 0, {"new"}),
        ],
    )
    def test_both_keys_count_until_the_old_one_ends(
        self, keys: list[KeyCredential], seconds: int, good: set[str]
    ) -> None:
        consumer = Consumer(username="ann", keyauth_credentials=keys)
        for name in ("old", "new"):
            machine = bench(consumers=[consumer], client_idle=7200)
            machine.advance(seconds * SECOND)
            shown(machine, f"x-api-key: key-{name}")
            if name in good:
                assert let_in(machine) == "ann"
                assert machine.record["key_id"] == name
            else:
                assert refused(machine) == FORBIDDEN


class TestModels:
    HAIKU: Final = "anthropic.claude-3-haiku-20240307-v1:0"

    @pytest.mark.parametrize(
        ("of_consumer", "of_key", "good"),
        [
            (None, None, True),
            (None, ["anthropic.*"], True),
            (None, ["amazon.*"], False),
            (None, [], False),
            (["anthropic.*"], None, True),
            (["anthropic.*"], ["anthropic.claude-3-*"], True),
            (["anthropic.*"], ["*"], True),
            (["amazon.*"], ["*"], False),
            (["anthropic.*"], ["amazon.*"], False),
        ],
    )
    def test_a_key_may_open_less_than_its_consumer_may_use(
        self, of_consumer: list[str] | None, of_key: list[str] | None, good: bool
    ) -> None:
        consumer = Consumer(
            username="ann", models=of_consumer, keyauth_credentials=[key("key-ann", models=of_key)]
        )
        machine = shown(bench(consumers=[consumer]), "x-api-key: key-ann")
        assert (len(machine.asked) == 1) is good
        if not good:
            assert machine.record["cause"] == "MODEL_FORBIDDEN"

    def test_what_its_groups_allow_counts_where_it_says_nothing(self) -> None:
        groups = [
            ConsumerGroup(name="a", models=["amazon.*"]),
            ConsumerGroup(name="b", models=["anthropic.*"]),
        ]
        for names, good in (["a"], False), (["a", "b"], True), ([], True):
            consumer = Consumer(username="ann", groups=names, keyauth_credentials=[key("key-ann")])
            machine = shown(bench(consumers=[consumer], groups=groups), "x-api-key: key-ann")
            assert (len(machine.asked) == 1) is good


def digest(text: str) -> str:
    """A key's SHA-256, as the store names it."""
    return hashlib.sha256(text.encode()).hexdigest()


def told(entries: Mapping[str, str | LiveKey], machine: Bench | None = None) -> Bench:
    """A gateway whose store has entries for these keys."""
    machine = machine or bench()
    written = {
        digest(text): entry.encode() if isinstance(entry, str) else write_live_key(entry)
        for text, entry in entries.items()
    }
    machine.tell(KeysChanged(written))
    return machine


class TestLiveKeys:
    def test_a_key_that_lives_in_the_store_is_a_key(self) -> None:
        machine = shown(told({"key-live": LiveKey(consumer="bob", id="ci")}), "x-api-key: key-live")
        assert let_in(machine) == "bob"
        assert machine.record["key_id"] == "ci"
        machine = shown(told({"key-live": LiveKey(consumer="bob")}), "authorization: Bearer key-live")
        assert let_in(machine) == "bob"
        assert machine.record["key_id"] == f"…{digest('key-live')[-4:]}"

    def test_from_the_moment_it_is_there_to_the_moment_it_is_gone(self) -> None:
        machine = bench()
        for entries, good in ({}, False), ({"key-live": LiveKey(consumer="bob")}, True), ({}, False):
            told(entries, machine)
            shown(machine, "x-api-key: key-live")
            assert (len(machine.asked) == 1) is good
            if good:
                machine.refuse(Trouble.REFUSED)
        codes = [answer.json["error"]["code"] for answer in machine.client.answers]
        assert codes == ["invalid_api_key", "upstream_connect_failed", "invalid_api_key"]

    @pytest.mark.parametrize(
        "entry",
        [
            LiveKey(consumer="bob", disabled=True),
            LiveKey(consumer="bob", revoked=True),
            LiveKey(consumer="bob", expires_at=NOW),
            LiveKey(consumer="carol"),
            LiveKey(consumer="carol", revoked=True),
            LiveKey(),
            LiveKey(revoked=True),
            "{",
            '{"consumer": 7}',
        ],
        ids=repr,
    )
    def test_one_that_opens_nothing_is_403(self, entry: LiveKey | str) -> None:
        machine = shown(told({"key-live": entry}), "x-api-key: key-live")
        assert refused(machine) == FORBIDDEN
        assert machine.only.json["error"]["message"] == "Invalid API key"
        assert "key-live" not in machine.record["detail"]

    @pytest.mark.parametrize(
        ("entry", "why"),
        [(LiveKey(consumer="carol"), "there is no consumer 'carol'"), ("{", "it can't be read")],
    )
    def test_an_operator_is_told_of_one_that_should_have_opened_something(
        self, entry: LiveKey | str, why: str
    ) -> None:
        machine = shown(told({"key-live": entry}), "x-api-key: key-live")
        (note,) = machine.notes
        assert note.level == "warning"
        assert why in note.text
        assert why in machine.record["detail"]

    def test_of_one_that_has_ended_nobody_need_be_told(self) -> None:
        for entry in LiveKey(consumer="carol", revoked=True), LiveKey(consumer="bob", disabled=True):
            machine = shown(told({"key-live": entry}), "x-api-key: key-live")
            assert refused(machine) == FORBIDDEN
            assert machine.notes == []

    @pytest.mark.parametrize("early_ns", [0, 1])
    def test_it_ends_with_its_time(self, early_ns: int) -> None:
        machine = bench(client_idle=7200)
        told({"key-live": LiveKey(consumer="bob", expires_at=NOW + HOUR)}, machine)
        machine.advance(3600 * SECOND - early_ns)
        shown(machine, "x-api-key: key-live")
        assert (len(machine.asked) == 1) is bool(early_ns)

    def test_it_may_open_less_than_its_consumer_may_use(self) -> None:
        for models, good in (["anthropic.*"], True), (["amazon.*"], False):
            machine = told({"key-live": LiveKey(consumer="bob", models=models)})
            shown(machine, "x-api-key: key-live")
            assert (len(machine.asked) == 1) is good

    @pytest.mark.parametrize(
        ("entry", "good"),
        [
            (LiveKey(revoked=True), False),
            (LiveKey(disabled=True), False),
            (LiveKey(consumer="ann", revoked=True), False),
            (LiveKey(expires_at=NOW), False),
            ("no JSON", False),
            (LiveKey(expires_at=NOW + HOUR), True),
            (LiveKey(), True),
            # The file says whose it is, and what it is called.
            (LiveKey(consumer="bob", id="other", models=[]), True),
        ],
        ids=repr,
    )
    def test_of_a_key_of_the_files_the_store_says_only_that_it_has_ended(
        self, entry: LiveKey | str, good: bool
    ) -> None:
        machine = shown(told({"key-ann": entry}), "x-api-key: key-ann")
        if good:
            assert let_in(machine) == "ann"
            assert machine.record["key_id"] == "laptop"
        else:
            assert refused(machine) == FORBIDDEN

    def test_what_the_file_has_ended_the_store_does_not_revive(self) -> None:
        for name in ("key-ann-off", "key-ann-old"):
            machine = shown(told({name: LiveKey(consumer="ann")}), f"x-api-key: {name}")
            assert refused(machine) == FORBIDDEN

    def test_it_stands_beside_a_signature_like_any_key(self) -> None:
        for consumer, status in ("ann", None), ("bob", 401):
            signed = Signed().changed(b"content-type:", b"x-api-key: key-live\r\ncontent-type:")
            machine = bench(wall_epoch_ns=signed.wall_ns)
            told({"key-live": LiveKey(consumer=consumer)}, machine)
            machine.ask(signed.sent)
            assert [answer.status for answer in machine.client.answers] == (
                [] if status is None else [status]
            )

    def test_what_is_kept_of_entries_is_bounded(self) -> None:
        machine = bench()
        plugin: Any = machine.plan.outer.access[0].function.__self__  # type: ignore[attr-defined]
        plugin._entries.update((b"%d" % number, None) for number in range(4096))
        told({"key-live": LiveKey(consumer="bob")}, machine)
        shown(machine, "x-api-key: key-live")
        assert len(machine.asked) == 1
        assert len(plugin._entries) == 1


class TestAnonymous:
    def test_whoever_shows_nothing_may_be_taken_for_somebody(self) -> None:
        machine = shown(bench(anonymous="nobody"))
        assert let_in(machine) == "nobody"
        assert machine.record["key_id"] == "anonymous"

    def test_whoever_shows_something_wrong_may_not(self) -> None:
        for header in ("x-api-key: key-eve", "x-api-key: key-ann-off", "authorization: AWS4-HMAC-SHA256 x"):
            assert refused(shown(bench(anonymous="nobody"), header)) == FORBIDDEN

    def test_a_key_still_counts(self) -> None:
        assert let_in(shown(bench(anonymous="nobody"), "x-api-key: key-bob")) == "bob"


class Signed:
    """A request as botocore signs and sends it, at the time that its own clock shows."""

    def __init__(
        self,
        target: str = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse",
        *,
        body: bytes = b'{"messages":[]}',
        access_key_id: str = "AKIDANN",
        secret: str = "secret-ann",
        region: str = "us-east-1",
        service: str = "bedrock",
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        given = {"Content-Type": "application/json", **(headers or {})}
        prepared: Any = AWSRequest("POST", f"http://gateway.test:8080{target}", data=body, headers=given)
        SigV4Auth(Credentials(access_key_id, secret, token), service, region).add_auth(prepared)
        fields = {name.lower(): value for name, value in prepared.headers.items()}
        self.sent = request(target, body, headers={"host": "gateway.test:8080", **fields})
        date = datetime.datetime.strptime(fields["x-amz-date"], "%Y%m%dT%H%M%S%z")
        self.wall_ns = int(date.timestamp()) * SECOND

    def arrives(
        self, machine_of: Callable[..., Bench] = lambda **at: bench(**at), late_seconds: int = 0
    ) -> Bench:
        """A gateway that gets it, so many seconds later."""
        machine = machine_of(wall_epoch_ns=self.wall_ns + late_seconds * SECOND)
        machine.ask(self.sent)
        return machine

    def changed(self, old: bytes, new: bytes) -> "Signed":
        """The same, but for some bytes."""
        assert old in self.sent
        self.sent = self.sent.replace(old, new, 1)
        return self


class TestSignatures:
    @pytest.mark.parametrize(
        "members",
        [
            {},
            {"access_key_id": "AKIDBOB", "secret": "secret-bob"},
            {"region": "eu-central-1"},
            {"service": "bedrock-mantle"},
            {"token": "session-token"},
            {"target": "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.x-v1%3A0/invoke"},
            {"target": "/model/a:b/invoke", "body": b""},
            {"target": "/model/m/converse?b=2&a=1"},
            {"headers": {"X-Amzn-Bedrock-Trace": "ENABLED", "X-Spaces": "a   b"}},
        ],
        ids=str,
    )
    def test_what_botocore_signs_is_let_in(self, members: dict[str, Any]) -> None:
        machine = Signed(**members).arrives()
        assert let_in(machine) == ("bob" if "access_key_id" in members else "ann")
        assert machine.record["key_id"] == members.get("access_key_id", "AKIDANN")

    @pytest.mark.parametrize(
        ("late_seconds", "good"), [(300, True), (301, False), (-300, True), (-301, False)]
    )
    def test_clocks_may_differ_by_five_minutes(self, late_seconds: int, good: bool) -> None:
        machine = Signed().arrives(late_seconds=late_seconds)
        assert (len(machine.asked) == 1) == good
        if not good:
            assert machine.record["cause"] == "SIGNATURE_INVALID"

    @pytest.mark.parametrize(
        ("members", "cause"),
        [
            ({"secret": "secret-eve"}, "SIGNATURE_INVALID"),
            ({"access_key_id": "AKIDEVE"}, "KEY_INVALID"),
            ({"access_key_id": "AKIDANNOFF"}, "KEY_INVALID"),
            ({"access_key_id": "AKIDANNOLD"}, "KEY_INVALID"),
            ({"access_key_id": "AKIDBOB"}, "SIGNATURE_INVALID"),
            ({"service": "s3"}, "SIGNATURE_INVALID"),
        ],
        ids=str,
    )
    def test_what_no_pair_has_signed_is_not(self, members: dict[str, Any], cause: str) -> None:
        machine = Signed(**members).arrives()
        assert (machine.only.status, machine.record["cause"]) == (403, cause)
        assert machine.only.header("x-amzn-errortype") in {
            "InvalidSignatureException",
            "UnrecognizedClientException",
        }
        assert machine.opened == []

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b"POST /model/anthropic", b"POST /model/anthropik"),
            (b"converse HTTP", b"converse-stream HTTP"),
            (b"converse HTTP", b"converse?a=b HTTP"),
            (b'{"messages":[]}', b'{"messages":{}}'),
            (b"host: gateway.test", b"host: somewhere.tst"),
            (b"content-type: application/json", b"content-type: application/jsom"),
            (b"SignedHeaders=content-type;host;", b"SignedHeaders=host;"),
            (b"Credential=AKIDANN/", b"Credential=AKIDBOB/"),
            (b"/us-east-1/", b"/us-west-2/"),
            (b"Signature=", b"Signature=0"),
            (b"Signature=", b"signature="),
            (b"AWS4-HMAC-SHA256", b"AWS4-HMAC-SHA512"),
            (b"AWS4-HMAC-SHA256", b"AWS4-ECDSA-P256-SHA256"),
            (b"AWS4-HMAC-SHA256", b"aws4-hmac-sha256"),
            (b"x-amz-date: 2", b"x-amz-date: 3"),
            (b"x-amz-date", b"x-amz-dote"),
            (b"content-type:", b"x-amz-content-sha256: UNSIGNED-PAYLOAD\r\ncontent-type:"),
            (b"content-type:", b"x-amz-extra: 1\r\ncontent-type:"),
            (b"content-type:", b"x-amz-date: 20270115T080000Z\r\ncontent-type:"),
            (b"content-type:", b"authorization: Bearer key-ann\r\ncontent-type:"),
        ],
    )
    def test_what_was_changed_on_its_way_is_not(self, old: bytes, new: bytes) -> None:
        machine = Signed().changed(old, new).arrives()
        assert machine.only.status == 403
        assert machine.opened == []

    @given(data=st.data())
    def test_no_byte_of_the_body_may_change(self, data: st.DataObject) -> None:
        signed = Signed()
        body_at = signed.sent.index(b"\r\n\r\n") + 4
        at = data.draw(st.integers(body_at, len(signed.sent) - 1))
        new = data.draw(st.integers(0, 255).filter(lambda octet: octet != signed.sent[at]))
        signed.sent = signed.sent[:at] + bytes([new]) + signed.sent[at + 1 :]
        assert signed.arrives().only.status == 403

    @pytest.mark.parametrize(("name", "status"), [("key-ann", None), ("key-bob", 401), ("key-eve", 403)])
    def test_a_key_beside_it_must_be_the_same_consumers(self, name: str, status: int | None) -> None:
        line = f"x-api-key: {name}\r\ncontent-type:".encode()
        machine = Signed().changed(b"content-type:", line).arrives()
        if status is None:
            assert let_in(machine) == "ann"
        else:
            assert machine.only.status == status

    def test_it_counts_whatever_headers_keys_come_in(self) -> None:
        machine = Signed().arrives(lambda **at: bench(key_names=["x-team-key"], **at))
        assert let_in(machine) == "ann"

    def test_it_goes_no_further(self) -> None:
        """The call is signed anew, by the gateway; of the caller's authority nothing is left."""
        machine = Signed(token="session-token").arrives()
        machine.open()
        sent = str(machine.call.headers)
        assert "AKIDANN" not in sent
        assert "session-token" not in sent
        assert "Credential=AKIDSTARGATE/" in machine.call.headers["authorization"]


class TestSecrecy:
    def test_no_key_is_kept_or_shown(self) -> None:
        machine = bench()
        plugin = machine.plan.outer.access[0].function.__self__  # type: ignore[attr-defined]
        kept = repr(members(plugin))
        assert "_keys" in kept
        for text in ("key-ann", "key-bob", "secret-ann", "secret-bob"):
            assert text not in kept
        assert plugin._keys[hashlib.sha256(b"key-ann").digest()].key_id == "laptop"


class TestBesideAnother:
    """A plugin that ran before has told who is calling: a key may only say the same."""

    @staticmethod
    def known_as(username: str, *headers: str) -> Bench:
        [consumer] = (one for one in CONSUMERS if one.username == username)
        first = plugin_of({"access": lambda ctx: ctx.identify(consumer, "token")}, priority=5_000)
        auth = PluginEntry(name="api-key-auth", config=ApiKeyAuth())
        plan = a_plan(
            Config(consumers=CONSUMERS, plugins=[proxy(), LOG, auth, PluginEntry(name="probe")]), first
        )
        return shown(Bench(plan), *headers)

    @pytest.mark.parametrize("headers", [(), ("x-api-key: key-ann",)])
    def test_it_stays_as_it_was_told(self, headers: tuple[str, ...]) -> None:
        machine = self.known_as("ann", *headers)
        assert let_in(machine) == "ann"
        assert machine.record["key_id"] == "token"

    def test_somebody_elses_key_proves_nothing(self) -> None:
        machine = self.known_as("ann", "x-api-key: key-bob")
        assert machine.opened == []
        assert machine.record["cause"] == "KEYS_DISAGREE"

    def test_one_that_opens_nothing_is_refused_all_the_same(self) -> None:
        machine = self.known_as("ann", "x-api-key: key-of-nobody")
        assert (machine.opened, machine.record["cause"]) == ([], "KEY_INVALID")


class TestManyLiveKeys:
    def test_the_store_says_nothing_of_a_key_of_the_files(self) -> None:
        assert let_in(shown(told({"key-live": LiveKey(consumer="bob")}), "x-api-key: key-ann")) == "ann"

    def test_one_that_is_used_again_is_the_same(self) -> None:
        machine = told({"key-live": LiveKey(consumer="bob", id="ci")})
        for _ in range(2):
            shown(machine, "x-api-key: key-live")
            machine.refuse(Trouble.REFUSED)
        assert [(one["consumer"], one["key_id"]) for one in machine.records] == [("bob", "ci")] * 2

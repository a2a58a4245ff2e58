"""The scout against a control plane on this machine: what it asks for, what it makes of the answers, and how
often it asks at all. The clock is the test's.
"""

import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
import trio

from stargate.scout import AGAIN_SECONDS, PAGES_MAX, SECONDS, STALE_SECONDS, CannotTell, Scout
from stargate_core.aws.bearer import BearerToken
from stargate_core.aws.credentials import Credentials, VerifyResult
from stargate_core.aws.endpoints import Endpoint
from stargate_core.aws.sigv4 import Verifier, parse_authorization
from stargate_core.questions import ListModels, Models
from stargate_core.secret import Secret
from support.tls import Authority

pytestmark = pytest.mark.trio

HELD: Final = Credentials("AKID", Secret("secret"), Secret("session"))
WALL_NS: Final = 1_800_000_000_000_000_000


def model(name: str, **members: Any) -> dict[str, Any]:
    """A foundation model, as AWS lists it."""
    return {
        "modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{name}",
        "modelId": name,
        "inputModalities": ["TEXT"],
        "outputModalities": ["TEXT"],
        "inferenceTypesSupported": ["ON_DEMAND"],
        "modelLifecycle": {"status": "ACTIVE"},
        **members,
    }


def profile(name: str, *models: str, **members: Any) -> dict[str, Any]:
    """An inference profile, as AWS lists it."""
    arns = [{"modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{one}"} for one in models]
    return {
        "inferenceProfileName": name,
        "inferenceProfileArn": f"arn:aws:bedrock:us-east-1:1:inference-profile/{name}",
        "inferenceProfileId": name,
        "models": arns,
        "status": "ACTIVE",
        "type": "SYSTEM_DEFINED",
        **members,
    }


MODELS: Final = [
    model("a.text"),
    model("a.profiled", inferenceTypesSupported=["INFERENCE_PROFILE"]),
    model("a.embedding", outputModalities=["EMBEDDING"]),
    model("a.image", outputModalities=["IMAGE"]),
    model("a.old", modelLifecycle={"status": "LEGACY"}),
    model("a.both", outputModalities=["TEXT", "IMAGE"]),
]
PROFILES: Final = [
    profile("us.a.profiled", "a.profiled"),
    profile("us.a.image", "a.image"),
    profile("us.a.old", "a.old"),
    profile("us.elsewhere", "b.not-listed-here"),
    profile("us.off", "a.text", status="INACTIVE"),
]
IDS: Final = ("a.text", "a.embedding", "a.both", "us.a.profiled", "us.elsewhere")


class Request(msgspec.Struct):
    """What the control plane was asked."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]

    @property
    def path(self) -> str:
        return self.target.partition(b"?")[0].decode()

    @property
    def query(self) -> Mapping[str, list[str]]:
        return parse_qs(urlsplit(self.target.decode()).query)


class ControlPlane:
    """Answers."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.models: Any = {"modelSummaries": MODELS}
        self.profiles: Callable[[str], Any] = lambda _token: {"inferenceProfileSummaries": PROFILES}
        self.refusal: tuple[int, str, bytes] | None = None
        self.silent = False
        self.gate = trio.Event()
        self.gate.set()

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One connection."""
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            piece = await stream.receive_some(65536)
            if not piece:
                return
            asked += bytes(piece)
        first, *lines = asked.removesuffix(b"\r\n\r\n").split(b"\r\n")
        method, target, _ = first.split(b" ")
        fields = [line.split(b": ", 1) for line in lines]
        request = Request(method, target, [(name, value) for name, value in fields])
        self.asked.append(request)
        if self.silent:
            await trio.sleep_forever()
        await self.gate.wait()
        status, name, body = self.refusal or (200, "", self.answer(request))
        head = (
            f"HTTP/1.1 {status} X\r\nx-amzn-errortype: {name}:http://x\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        await stream.send_all(head.encode() + body)
        await stream.aclose()

    def answer(self, request: Request) -> bytes:
        """The body of a good answer."""
        if request.path.endswith("/foundation-models"):
            answer = self.models
        else:
            answer = self.profiles(request.query.get("nextToken", [""])[0])
        return answer if isinstance(answer, bytes) else msgspec.json.encode(answer)

    @property
    def searches(self) -> int:
        """How often it was asked for the models."""
        return len([one for one in self.asked if one.path.endswith("/foundation-models")])


class Search:
    """A scout and its surroundings."""

    def __init__(self, port: int, control: ControlPlane, scheme: Any = "http") -> None:
        self.control = control
        self.now = 1000.0
        self.notes: list[tuple[str, str]] = []
        self.authority = Authority()
        self.endpoint = Endpoint(scheme, "127.0.0.1", port, "bedrock", "us-east-1", "/x")
        self.scout = Scout(
            lambda _: self.authority.client_context(),
            lambda level, text: self.notes.append((level, text)),
            clock=lambda: self.now,
            wall_ns=lambda: WALL_NS,
        )

    def question(self, **members: Any) -> ListModels:
        fields: dict[str, Any] = {
            "account": "",
            "credentials": None,
            "api_key": None,
            "kept_ns": 60_000_000_000,
        }
        return ListModels(endpoint=self.endpoint, **{**fields, **members})

    async def ask(self, held: Credentials | BearerToken | None = HELD, **members: Any) -> tuple[str, ...]:
        found = await self.scout.models(self.question(**members), held)
        assert isinstance(found, Models)
        return found.ids

    async def why_not(self, held: Credentials | BearerToken | None = HELD, **members: Any) -> str:
        with pytest.raises(CannotTell) as caught:
            await self.ask(held, **members)
        return str(caught.value)


async def a_search(nursery: trio.Nursery) -> Search:
    """A scout, and a control plane that answers well."""
    control = ControlPlane()
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(partial(trio.serve_listeners, control.serve, [listener]))
    return Search(listener.socket.getsockname()[1], control)


class TestWhatIsAsked:
    async def test_two_signed_readings_make_one_list(self, nursery: trio.Nursery) -> None:
        at = await a_search(nursery)
        assert await at.ask() == IDS
        assert sorted(one.path for one in at.control.asked) == [
            "/x/foundation-models",
            "/x/inference-profiles",
        ]
        for one in at.control.asked:
            presented = parse_authorization(one.headers)
            assert presented is not None
            assert (presented.access_key_id, presented.service) == ("AKID", b"bedrock")
            verifier = Verifier(Secret("secret"))
            verdict = verifier.verify(presented, one.method, one.target, one.headers, b"", WALL_NS)
            assert verdict is VerifyResult.OK
            assert (b"x-amz-security-token", b"session") in one.headers
            if one.path.endswith("profiles"):
                assert one.query == {"maxResults": ["1000"], "type": ["SYSTEM_DEFINED"]}

    async def test_fixed_credentials_and_keys_win(self, nursery: trio.Nursery) -> None:
        at = await a_search(nursery)
        await at.ask(None, credentials=Credentials("AKIDFIXED", Secret("s")))
        assert all(b"AKIDFIXED/" in dict(one.headers)[b"authorization"] for one in at.control.asked)
        at.control.asked.clear()
        await at.ask(api_key=Secret("abc"))
        assert {dict(one.headers)[b"authorization"] for one in at.control.asked} == {b"Bearer abc"}
        at.control.asked.clear()
        await at.ask(BearerToken(Secret("held")), account="other")
        assert {dict(one.headers)[b"authorization"] for one in at.control.asked} == {b"Bearer held"}

    async def test_without_any_nobody_is_asked(self, nursery: trio.Nursery) -> None:
        at = await a_search(nursery)
        assert await at.why_not(None) == "there are no AWS credentials"
        assert at.control.asked == []

    async def test_a_key_that_fits_into_no_header(self, nursery: trio.Nursery) -> None:
        at = await a_search(nursery)
        assert "do not fit" in await at.why_not(api_key=Secret("a\nb"))

    async def test_pages_are_turned(self, nursery: trio.Nursery) -> None:
        at = await a_search(nursery)

        def page(token: str) -> Any:
            number = int(token.partition("+/=")[2] or 0)
            answer: dict[str, Any] = {"inferenceProfileSummaries": [profile(f"us.{number}")]}
            return answer if number == 3 else {**answer, "nextToken": f"t +/={number + 1}"}

        at.control.profiles = page
        assert (await at.ask())[3:] == ("us.0", "us.1", "us.2", "us.3")

    async def test_but_not_for_ever(self, nursery: trio.Nursery) -> None:
        at = await a_search(nursery)
        at.control.profiles = lambda _: {"inferenceProfileSummaries": PROFILES, "nextToken": "again"}
        assert await at.ask() == IDS
        assert len(at.control.asked) == PAGES_MAX + 1

    async def test_over_tls(self, nursery: trio.Nursery) -> None:
        control = ControlPlane()
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        at = Search(listener.socket.getsockname()[1], control, "https")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        at.authority.configure(context, "127.0.0.1")
        secure = trio.SSLListener(listener, context, https_compatible=True)
        nursery.start_soon(partial(trio.serve_listeners, control.serve, [secure]))
        assert await at.ask() == IDS


class TestHowOften:
    async def test_an_answer_is_kept_as_long_as_the_question_says(self, nursery: trio.Nursery) -> None:
        at = await a_search(nursery)
        await at.ask()
        at.now += 59
        await at.ask()
        assert at.control.searches == 1
        at.control.models = {"modelSummaries": []}
        at.now += 1
        assert await at.ask() == ("us.a.profiled", "us.a.image", "us.a.old", "us.elsewhere")
        assert at.control.searches == 2
        await at.ask(kept_ns=0)
        assert at.control.searches == 3

    async def test_each_place_and_authority_has_its_own(self, nursery: trio.Nursery) -> None:
        at = await a_search(nursery)
        cases: list[dict[str, Any]] = [
            {},
            {"account": "other"},
            {"credentials": Credentials("AKID1", Secret("s"))},
            {"credentials": Credentials("AKID2", Secret("s"))},
            {"api_key": Secret("a")},
            {"api_key": Secret("b")},
        ]
        for members in cases:
            before = at.control.searches
            await at.ask(**members)
            await at.ask(**members)
            assert at.control.searches == before + 1

    async def test_one_search_serves_all_who_wait(self, nursery: trio.Nursery) -> None:
        at = await a_search(nursery)
        at.control.gate = trio.Event()
        found: list[tuple[str, ...]] = []

        async def ask() -> None:
            found.append(await at.ask())

        async with trio.open_nursery() as callers:
            for _ in range(5):
                callers.start_soon(ask)
            await trio.sleep(0.05)
            at.control.gate.set()
        assert found == [IDS] * 5
        assert at.control.searches == 1

    async def test_where_aws_fails_the_last_answer_serves_for_a_day(self, nursery: trio.Nursery) -> None:
        at = await a_search(nursery)
        await at.ask()
        at.control.refusal = (403, "AccessDeniedException", b'{"message":"role secret"}')
        at.now += 60
        assert await at.ask() == IDS
        assert at.control.searches == 2
        # AWS is left alone for a moment, and then asked again.
        at.now += AGAIN_SECONDS - 0.1
        assert await at.ask() == IDS
        assert at.control.searches == 2
        at.now += 0.1
        assert await at.ask() == IDS
        assert at.control.searches == 3
        at.now += STALE_SECONDS
        assert "AccessDeniedException" in await at.why_not()
        # It was said once that it fails, and is said once that it does no more.
        at.control.refusal = None
        at.now += AGAIN_SECONDS
        assert await at.ask() == IDS
        (first, second) = at.notes
        assert first[0] == "warning"
        assert "403 AccessDeniedException" in first[1]
        assert "secret" not in first[1]
        assert second == ("info", "the models at 127.0.0.1 can be listed again")

    async def test_those_who_come_after_a_failure_do_not_wait(self, nursery: trio.Nursery) -> None:
        at = await a_search(nursery)
        at.control.refusal = (500, "InternalServerException", b"")
        assert "500 InternalServerException" in await at.why_not()
        assert "500 InternalServerException" in await at.why_not()
        assert (at.control.searches, len(at.notes)) == (1, 1)

    async def test_silence_is_waited_for_no_longer_than_a_caller_waits(self, nursery: trio.Nursery) -> None:
        at = await a_search(nursery)
        at.control.silent = True
        reasons: list[str] = []

        async def ask() -> None:
            reasons.append(await at.why_not())

        begun = trio.current_time()
        async with trio.open_nursery() as callers:
            callers.start_soon(ask)
            callers.start_soon(ask)
        assert trio.current_time() - begun < SECONDS + 0.4
        assert reasons == [f"no answer within {SECONDS:g} s"] * 2


class TestWhatIsMadeOfIt:
    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"<html>",
            b"[]",
            b'{"modelSummaries":[{}]}',
            b'{"modelSummaries":{}}',
            b'{"modelSummaries":[{"modelId":7}]}',
            b'{"a":' + b"[" * 100_000,
        ],
        ids=repr,
    )
    async def test_what_is_no_list_is_a_failure(self, nursery: trio.Nursery, answer: bytes) -> None:
        at = await a_search(nursery)
        at.control.models = answer
        assert await at.why_not() == "the answer is not what the service model says"

    async def test_what_is_new_is_passed_over(self, nursery: trio.Nursery) -> None:
        at = await a_search(nursery)
        at.control.models = {"modelSummaries": [model("a", outputModalities=["TEXT", "SMELL"], x=1)], "y": 2}
        at.control.profiles = lambda _: {}
        assert await at.ask() == ("a",)

    async def test_a_name_stands_once(self, nursery: trio.Nursery) -> None:
        at = await a_search(nursery)
        at.control.profiles = lambda _: {"inferenceProfileSummaries": [PROFILES[0], PROFILES[0]]}
        assert (await at.ask()).count("us.a.profiled") == 1

    async def test_nobody_there(self, nursery: trio.Nursery) -> None:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        at = Search(listener.socket.getsockname()[1], ControlPlane())
        await listener.aclose()
        assert await at.why_not() == "its server cannot be reached"

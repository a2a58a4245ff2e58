"""The scout: which models AWS says there are.

Two readings of Bedrock's control plane make one list: ListFoundationModels, for the models that can be called
by their own id (on demand), and ListInferenceProfiles, for AWS's own profiles, by which the newer ones are
called. Only what produces text or embeddings counts, and only what AWS calls active. A profile is of its
models' kind; of a model that this region does not list nothing is known, and its profile is named.

**Kept.** An answer is kept as long as the question says. Where AWS does not answer, the last good one serves,
for a day at most, and AWS is left alone for a moment: a list of models is asked for by people at their
terminals, all of whom would wait. Two seconds and a half are the most that a caller waits, because Claude
Code gives a gateway's list three. One search serves all who wait.

**Telling.** The operator hears once that a list cannot be had and why, and once when it can be again. AWS's
own text is not repeated, for it may show the whole request: the exception's name says what to look for.

Sources: botocore/data/bedrock/2023-04-20 (service-2.json); code.claude.com/docs/en/llm-gateway-protocol.
"""

import hashlib
import ssl
import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias, cast
from urllib.parse import quote

import anyio
import msgspec

from stargate.web import CannotGet, connect, get
from stargate_core.aws.bearer import Bearer, BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.aws.endpoints import Endpoint
from stargate_core.aws.sigv4 import Signer
from stargate_core.questions import ListModels, Models
from stargate_core.wire.http1 import request

SECONDS: Final = 2.5
"""For all of a search."""
AGAIN_SECONDS: Final = 10.0
"""Between a search that failed and the next."""
STALE_SECONDS: Final = 86_400.0
"""How old an answer may get while AWS does not give another."""
PAGES_MAX: Final = 10
_PAGE_MODELS: Final = 1000
_ANSWER_BYTES_MAX: Final = 4_194_304
_KEPT_MAX: Final = 64
_KINDS: Final = frozenset({"TEXT", "EMBEDDING"})

Held: TypeAlias = Credentials | BearerToken | None


class CannotTell(Exception):
    """AWS does not say which models there are; the text says why, for the log."""


class Scout:
    """Asks AWS, and remembers.

    tls: the context for an endpoint; note: tells the operator; clock, wall_ns: the time.
    """

    def __init__(
        self,
        tls: Callable[[Endpoint], ssl.SSLContext],
        note: Callable[[str, str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._tls = tls
        self._note = note
        self._clock = clock
        self._wall_ns = wall_ns
        self._kept: dict[tuple[Any, ...], _Kept] = {}

    async def models(self, question: ListModels, held: Held) -> Models:
        """The models there are. held: the account's credentials. Raises CannotTell."""
        key = _key(question)
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= _KEPT_MAX:
                self._kept.clear()  # So many places only ever come from configurations that have changed.
            kept = self._kept[key] = _Kept()
        async with kept.lock:
            if self._is_due(kept, question.kept_ns / 1e9):
                await self._search(kept, question, held)
        if kept.models is None or self._clock() - kept.found_at > STALE_SECONDS:
            raise CannotTell(kept.problem)
        return kept.models

    def _is_due(self, kept: "_Kept", kept_seconds: float) -> bool:
        now = self._clock()
        if kept.problem and now - kept.asked_at < AGAIN_SECONDS:
            return False
        return kept.models is None or now - kept.found_at >= kept_seconds

    async def _search(self, kept: "_Kept", question: ListModels, held: Held) -> None:
        problem = ""
        with anyio.move_on_after(SECONDS) as scope:
            try:
                kept.models = await self._ask(question, held)
                kept.found_at = self._clock()
            except (CannotTell, CannotGet) as error:
                problem = str(error)
        if scope.cancelled_caught:
            problem = f"no answer within {SECONDS:g} s"
        # Those who wait behind this search see that it was made, and do not begin another.
        kept.asked_at = self._clock()
        if bool(problem) != bool(kept.problem):
            self._tell(question.endpoint, problem)
        kept.problem = problem

    def _tell(self, endpoint: Endpoint, problem: str) -> None:
        if problem:
            self._note("warning", f"the models at {endpoint.host} cannot be listed: {problem}")
        else:
            self._note("info", f"the models at {endpoint.host} can be listed again")

    async def _ask(self, question: ListModels, held: Held) -> Models:
        signer = _signer(question, held)
        found = _Found()

        async def models() -> None:
            body = await self._read(question.endpoint, signer, "/foundation-models")
            found.models = _decoded(body, _FoundationModels).models

        async def profiles() -> None:
            asked = f"/inference-profiles?maxResults={_PAGE_MODELS}&type=SYSTEM_DEFINED"
            token: str | None = ""
            for _ in range(PAGES_MAX):
                target = f"{asked}&nextToken={quote(token, safe='')}" if token else asked
                page = _decoded(await self._read(question.endpoint, signer, target), _Profiles)
                found.profiles += page.profiles
                token = page.next_token
                if not token:
                    return

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(models)
                group.start_soon(profiles)
        except* (CannotTell, CannotGet) as errors:
            raise CannotTell(_first(errors)) from None
        return Models(tuple(dict.fromkeys(found.ids())))

    async def _read(self, endpoint: Endpoint, signer: Signer | Bearer, target: str) -> bytes:
        """One GET's answer. Raises CannotTell and CannotGet."""
        full = (endpoint.prefix + target).encode()
        headers = [(b"host", endpoint.authority), (b"accept", b"application/json")]
        try:
            headers += signer.authorize(b"GET", full, headers, b"", self._wall_ns())
            asked = request(b"GET", full, [*headers, (b"connection", b"close")], b"")
        except ValueError:
            raise CannotTell("the configured credentials do not fit into a header") from None
        context = self._tls(endpoint) if endpoint.scheme == "https" else None
        stream = await connect(endpoint.host, endpoint.port, context, endpoint.host)
        got = await get(stream, asked, _ANSWER_BYTES_MAX)
        if got.status != 200:
            named = (got.header(b"x-amzn-errortype") or b"").decode("latin-1").partition(":")[0]
            what = target.partition("?")[0]
            raise CannotTell(f"GET {what} was answered with {got.status} {named[:100]}".rstrip())
        return got.body


class _Kept:
    """What is known of one place."""

    __slots__ = ("asked_at", "found_at", "lock", "models", "problem")

    def __init__(self) -> None:
        self.models: Models | None = None
        self.found_at = 0.0
        self.asked_at = 0.0
        self.problem = ""
        """Why the last search failed; '' if it didn't."""
        self.lock = anyio.Lock()


# ------------------------------------------------------------------------------------------- what AWS answers


class _Lifecycle(msgspec.Struct, frozen=True):
    status: str = "ACTIVE"


class _FoundationModel(msgspec.Struct, frozen=True, rename="camel"):
    model_id: str
    output_modalities: list[str] = []
    inference_types_supported: list[str] = []
    model_lifecycle: _Lifecycle = _Lifecycle()

    @property
    def fits(self) -> bool:
        """Whether it produces what callers ask for."""
        return self.model_lifecycle.status == "ACTIVE" and not _KINDS.isdisjoint(self.output_modalities)


class _FoundationModels(msgspec.Struct, frozen=True):
    models: list[_FoundationModel] = msgspec.field(
        default_factory=list[_FoundationModel], name="modelSummaries"
    )


class _ProfileModel(msgspec.Struct, frozen=True, rename="camel"):
    model_arn: str = ""


class _Profile(msgspec.Struct, frozen=True, rename="camel"):
    inference_profile_id: str
    status: str = "ACTIVE"
    models: list[_ProfileModel] = []


class _Profiles(msgspec.Struct, frozen=True):
    profiles: list[_Profile] = msgspec.field(default_factory=list[_Profile], name="inferenceProfileSummaries")
    next_token: str | None = msgspec.field(default=None, name="nextToken")


class _Found:
    """All that a search has brought."""

    def __init__(self) -> None:
        self.models: list[_FoundationModel] = []
        self.profiles: list[_Profile] = []

    def ids(self) -> list[str]:
        """What can be called, models before profiles."""
        fits = {model.model_id: model.fits for model in self.models}
        ids = [
            model.model_id
            for model in self.models
            if model.fits and "ON_DEMAND" in model.inference_types_supported
        ]
        for profile in self.profiles:
            of = [fits.get(model.model_arn.rpartition("/")[2], True) for model in profile.models]
            if profile.status == "ACTIVE" and (any(of) or not of):
                ids.append(profile.inference_profile_id)
        return ids


def _decoded(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise CannotTell("the answer is not what the service model says") from None


def _signer(question: ListModels, held: Held) -> Signer | Bearer:
    """Whoever gives the search its authority. Raises CannotTell."""
    endpoint = question.endpoint
    if question.api_key is not None:
        return Bearer(question.api_key)
    credentials = question.credentials or held
    if credentials is None:
        raise CannotTell("there are no AWS credentials")
    if isinstance(credentials, BearerToken):
        return Bearer(credentials.token)
    return Signer(credentials, endpoint.signing_region, endpoint.signing_name)


def _key(question: ListModels) -> tuple[Any, ...]:
    """What tells one place and authority from another."""
    fixed, api_key = question.credentials, question.api_key
    token = b"" if api_key is None else hashlib.sha256(api_key.reveal().encode()).digest()
    return (question.endpoint, question.account, "" if fixed is None else fixed.access_key_id, token)


def _first(errors: BaseException) -> str:
    """The text of one error of a group; the others are of the same moment."""
    if isinstance(errors, BaseExceptionGroup):
        return _first(cast("BaseExceptionGroup[BaseException]", errors).exceptions[0])
    return str(errors)

"""bedrock-proxy's config: where calls go, with whose authority, and how persistently.

A name that callers use stands for a model (`models`). A model is called at one place or at several: its own
`targets`, or, where it has neither targets nor a region or an account of its own, the plugin's. A target
left half-written takes the rest from its model, and then from the plugin, so `{region: us-west-2}` is a whole
one. They are tried in their order, or, with `balance: weighted`, in a random order in which the heavier ones
tend to come first.

Authority has two forms. The plugin's own (`profile`, `role`, `credentials`, `api_key`, or none of them: the
usual AWS places) is what every target uses that names no account. `accounts` describes others by name. Roles
are assumed with the profile's credentials or the usual ones; a role beside fixed credentials is refused,
since whoever keeps keys in a file can write those of the right account.

`retry` and `breaker` are the two halves of persistence: how often one call is tried, and when nobody tries
any more. The retry budget holds back a fleet of callers that would all try again at once: a fifth of the
first attempts is Finagle's and linkerd's default.

Sources: Envoy's outlier detection and linkerd's retry budgets for the numbers, the STS API reference for what
a role's parameters may be.
"""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, field

from stargate_core.config.gateway_block import Seconds
from stargate_core.config.problems import HIDDEN, Misfit, Path, nearest, path_text, refuse
from stargate_core.config.request_options import (
    AnthropicBetas,
    Caching,
    Discovery,
    ImageUrls,
    misfit_discovery,
)
from stargate_core.config.schema import Model, Text, misfit_url
from stargate_core.config.surfaces import SurfaceName, SurfaceRow, misfit_rows
from stargate_core.secret import Secret

DEFAULT_REGION: Final = "us-east-1"
DEFAULT_MODEL: Final = "anthropic.claude-3-sonnet-20240229-v1:0"

TARGETS_MAX: Final = 16
"""At one model. A call that fails everywhere asks each of them at most once or twice."""

Region: TypeAlias = Annotated[
    str, Meta(pattern=r"^[a-z]{2,8}(-[a-z]+)+-[0-9]{1,2}\Z", description="an AWS region such as us-east-1")
]
Milliseconds: TypeAlias = Annotated[
    int, Meta(ge=1, le=86_400_000, description="whole milliseconds from 1 to 86400000")
]
Label: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z", description="a name of 1 to 64 letters, digits and _ . -"),
]
"""A name that stands in logs and between slashes."""
Balance: TypeAlias = Literal["ordered", "weighted"]


# ------------------------------------------------------------------------------------------------- authority


class AwsCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """Fixed AWS credentials, instead of the usual AWS places."""

    access_key_id: Annotated[
        str,
        Meta(pattern=r"^[A-Za-z0-9_]{4,128}\Z", description="4 to 128 letters, digits or _", extra=HIDDEN),
    ]
    secret_access_key: Secret
    session_token: Secret | None = None


class AwsRole(msgspec.Struct, frozen=True):
    """A role to assume (STS AssumeRole); it may also be written as its ARN alone."""

    TEXT_FIELD: ClassVar[str] = "arn"

    arn: Annotated[
        str,
        Meta(
            max_length=2048,
            pattern=r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+\Z",
            description="a role's ARN such as arn:aws:iam::123456789012:role/bedrock",
        ),
    ]
    session_name: Annotated[
        str,
        Meta(pattern=r"^[A-Za-z0-9_+=,.@-]{2,64}\Z", description="2 to 64 letters, digits and _ + = , . @ -"),
    ] = "stargate"
    """What CloudTrail shows."""
    external_id: (
        Annotated[
            str,
            Meta(
                pattern=r"^[A-Za-z0-9_+=,.@:/-]{2,1224}\Z",
                description="2 to 1224 letters, digits and _ + = , . @ : / -",
            ),
        ]
        | None
    ) = None
    session_tags: dict[
        Annotated[str, Meta(min_length=1, max_length=128)], Annotated[str, Meta(max_length=256)]
    ] = field(default_factory=dict[str, str])
    duration_seconds: Annotated[int, Meta(ge=900, le=43_200)] = 3600

    def __post_init__(self) -> None:
        if len(self.session_tags) > 50:
            raise Misfit("session_tags", "expected at most 50 tags, as STS does")


class AwsAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Whose authority it is; of none of these, the usual AWS places'."""

    profile: Text | None = None
    """A profile of the AWS configuration files."""
    role: AwsRole | None = None
    """Assumed with the credentials of the profile, or of the usual places."""
    credentials: AwsCredentials | None = None
    api_key: Secret | None = None
    """A Bedrock API key, sent as a bearer token instead of a signature."""

    def __post_init__(self) -> None:
        refuse(misfit_authority(self))

    @property
    def is_looked_for(self) -> bool:
        """Whether its credentials must be found, since the configuration doesn't hold them."""
        return self.credentials is None and self.api_key is None


def misfit_authority(told: "AwsAccount | BedrockProxy") -> Iterator[Misfit]:
    """What contradicts itself in saying whose authority it is."""
    ways = [name for name in ("credentials", "profile", "api_key") if getattr(told, name) is not None]
    if len(ways) > 1:
        yield Misfit(
            ways[1], f"expected at most one of credentials, profile and api_key, not {' and '.join(ways)}"
        )
    elif told.role is not None and ways and ways[0] != "profile":
        yield Misfit(
            "role", f"expected no role beside {ways[0]}: it is assumed with a profile, or the usual way"
        )


# -------------------------------------------------------------------------------------------------- targets


class ProxyTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One place of several where a model is called."""

    name: Label | None = None
    """What logs and the breaker call it, instead of region and account."""
    target: Model | None = None
    """A model id of its own, such as another inference profile; None: the model's."""
    region: Region | None = None
    account: str | None = None
    """A name from `accounts`; None: the model's, or the plugin's own authority."""
    endpoint_url: str | None = None
    """http(s)://host:port to call instead of AWS."""
    weight: Annotated[int, Meta(ge=1, le=1000)] | None = None
    """With `balance: weighted`: how often it comes first, compared with the others; None: 1."""


class ModelTarget(msgspec.Struct, frozen=True):
    """What a name of the gateway's stands for; it may also be written as the model id alone."""

    TEXT_FIELD: ClassVar[str] = "target"

    target: Model
    """A Bedrock model id, an inference profile's id, or an ARN."""
    surface: SurfaceName | None = None
    """Which of Bedrock's APIs serves it, whatever the caller speaks; None: as `surfaces` says."""
    region: Region | None = None
    """None: the plugin's region."""
    account: str | None = None
    """A name from `accounts`; None: the plugin's own authority."""
    targets: Annotated[list[ProxyTarget], Meta(max_length=TARGETS_MAX)] = field(
        default_factory=list[ProxyTarget]
    )
    """Where it is called; none: at its region and account, or at the plugin's targets if it has neither."""
    balance: Balance | None = None
    """None: the plugin's."""


# ---------------------------------------------------------------------------------------------- persistence


class RetryBudget(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How much may be tried again at one target by all callers together."""

    ratio: Annotated[float, Meta(ge=0, le=10)] = 0.2
    """Repetitions as a share of first attempts, over ten seconds …"""
    min_per_second: Annotated[int, Meta(ge=0, le=10_000)] = 3
    """… and this many beside."""


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """How often a call that failed before its first byte is tried again."""

    count: Annotated[int, Meta(ge=0, le=10)] = 3
    delay: Annotated[int, Meta(ge=0, le=60_000, description="whole milliseconds from 0 to 60000")] = 1000
    """Milliseconds: the base of the backoff."""
    budget: RetryBudget = field(default_factory=RetryBudget)


class CircuitBreaker(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """When a target that fails is left alone, so that calls go elsewhere at once, or fail at once."""

    enabled: bool = True
    failures: Annotated[int, Meta(ge=0, le=100_000)] = 10
    """So many failures in a row; 0: however many."""
    ratio: Annotated[float, Meta(gt=0, le=1, description="a share, more than 0 and at most 1")] = 0.5
    """Or this share of the calls of the last `window`, where they were `calls_min` at least."""
    calls_min: Annotated[int, Meta(ge=1, le=1_000_000)] = 20
    window: Seconds = 30.0
    open: Seconds = 10.0
    """How long it is left alone at first; doubled each time it fails its trial, up to `open_max`."""
    open_max: Seconds = 120.0
    probes: Annotated[int, Meta(ge=1, le=1000)] = 1
    """Calls on trial at a time; as many must go well."""
    ejected_max: Annotated[float, Meta(gt=0, le=1, description="a share, more than 0 and at most 1")] = 1.0
    """The greatest share of a model's targets that may be left alone at once; one always may."""

    def __post_init__(self) -> None:
        if self.open_max < self.open:
            raise Misfit("open_max", "expected at least as long as open", beside=("open",))


# -------------------------------------------------------------------------------------------------- the whole


class BedrockProxy(msgspec.Struct, frozen=True, kw_only=True):
    """Where calls go: region, models, authority, how long and how often to try."""

    region: Region = DEFAULT_REGION
    model: Model = DEFAULT_MODEL
    """What a call that names no model gets: a name from `models`, or an id."""
    models: dict[Annotated[str, Meta(max_length=256, pattern=r"^[^\s]+\Z")], ModelTarget] = field(
        default_factory=dict[str, ModelTarget]
    )
    """The names callers may use, and what they stand for."""
    allow_unlisted: bool = True
    """Whether a model that `models` doesn't name goes to Bedrock as it is."""
    timeout: Milliseconds | None = None
    """The whole exchange, in milliseconds; None: gateway.time_limits.total. A minute is not enough for an
    answer that is thought about.
    """
    retry: Retry = field(default_factory=Retry)
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    targets: Annotated[list[ProxyTarget], Meta(max_length=TARGETS_MAX)] = field(
        default_factory=list[ProxyTarget]
    )
    """Where models are called that don't say it themselves; none: at `region`."""
    balance: Balance = "ordered"
    """In which order targets are tried: as they stand, or at random by their weights."""
    attempts_header: bool = False
    """Whether answers bear x-stargate-attempts, which names the targets tried."""
    endpoint_url: str | None = None
    """http(s)://host:port to call instead of AWS."""
    fips: bool = False
    dual_stack: bool = False
    credentials: AwsCredentials | None = None
    profile: Text | None = None
    """A profile of the AWS configuration files."""
    role: AwsRole | None = None
    """Assumed with the credentials of the profile, or of the usual AWS places."""
    api_key: Secret | None = None
    """A Bedrock API key, sent as a bearer token instead of a signature."""
    accounts: dict[Label, AwsAccount] = field(default_factory=dict[str, AwsAccount])
    """Other authorities than the plugin's own, by the names that targets use."""
    surfaces: dict[SurfaceName, SurfaceRow] = field(default_factory=dict[SurfaceName, SurfaceRow])
    """Which of Bedrock's APIs serves which models, and how each is reached, where that is not as usual."""
    drop_params: bool = False
    """Whether a parameter that the model's API has no place for is dropped; else it is refused, by name."""
    prompt_caching: Caching = "explicit"
    """`auto`: of requests that mark nothing for caching themselves, system text and tools are marked."""
    anthropic_betas: AnthropicBetas = field(default_factory=AnthropicBetas)
    image_urls: ImageUrls = field(default_factory=ImageUrls)
    discovery: Discovery = field(default_factory=Discovery)

    def __post_init__(self) -> None:
        refuse(self._misfits())

    @property
    def own_account(self) -> AwsAccount:
        """The plugin's own authority."""
        return AwsAccount(
            profile=self.profile, role=self.role, credentials=self.credentials, api_key=self.api_key
        )

    def account(self, name: str | None) -> AwsAccount:
        """The account of this name; None: the plugin's own authority."""
        return self.own_account if name is None else self.accounts[name]

    def account_name(self, name: str | None) -> str:
        """What logs and the keeper of credentials call it: '' for the usual AWS places' in this account.

        The plugin's own is called by its profile, and by its role's account and name.
        """
        if name is not None:
            return name
        if self.role is None:
            return self.profile or ""
        owner, role = self.role.arn.split(":", 5)[4:]
        return ":".join(filter(None, (self.profile, owner, role.removeprefix("role/"))))

    def placed(self, url: str) -> "BedrockProxy":
        """The same, with all calls to this URL: wherever a target said they go."""
        here = {
            name: msgspec.structs.replace(model, targets=_placed(self, model, model.targets))
            for name, model in self.models.items()
        }
        targets = _placed(self, ModelTarget(""), self.targets)
        return msgspec.structs.replace(self, endpoint_url=url, models=here, targets=targets)

    def places(self) -> Iterator[tuple[Path, ProxyTarget, Balance]]:
        """Every target that is written, where it stands, and how those it stands with are balanced."""
        for index, target in enumerate(self.targets):
            yield ("targets", index), target, self.balance
        for name, model in self.models.items():
            for index, target in enumerate(model.targets):
                yield ("models", name, "targets", index), target, model.balance or self.balance

    def accounts_used(self) -> Iterator[str | None]:
        """Each account some call may go out with, perhaps more than once; None: the plugin's own."""
        for model in (ModelTarget(""), *self.models.values()):
            for target in targets_of(self, model):
                yield target.account

    def _misfits(self) -> Iterator[Misfit]:
        yield from misfit_authority(self)
        if self.endpoint_url is not None:
            yield from misfit_url(self.endpoint_url, "endpoint_url")
            if self.fips or self.dual_stack:
                name = "fips" if self.fips else "dual_stack"
                yield Misfit(name, "expected false: endpoint_url says already where calls go")
        used: dict[SurfaceName, Path] = {
            model.surface: ("models", name, "surface")
            for name, model in self.models.items()
            if model.surface is not None
        }
        yield from misfit_rows(self.surfaces, used, self.region, fips=self.fips)
        yield from misfit_discovery(self.discovery, allow_unlisted=self.allow_unlisted)
        if self.discovery.url is not None:
            for misfit in misfit_url(self.discovery.url, "url"):
                yield Misfit(("discovery", *misfit.path), misfit.expected)
        yield from self._misfit_models()
        for path, target, balance in self.places():
            yield from self._misfit_target(path, target, balance)
        yield from _misfit_twice(self, ModelTarget(""), self.targets, ("targets",))
        for name, model in self.models.items():
            yield from _misfit_twice(self, model, model.targets, ("models", name, "targets"))

    def _misfit_models(self) -> Iterator[Misfit]:
        for name, model in self.models.items():
            yield from self._misfit_alias(("models", name), model.target)
            yield from self._misfit_account(("models", name, "account"), model.account)
        if not self.allow_unlisted and self.models and self.model not in self.models:
            message = "expected a name from models, since allow_unlisted is false"
            yield Misfit("model", message, self.model, beside=("models", "allow_unlisted"))

    def _misfit_target(self, path: Path, target: ProxyTarget, balance: Balance) -> Iterator[Misfit]:
        if target.target is not None:
            if path[0] == "targets":
                hint = "a model that falls back on another one has targets of its own"
                yield Misfit((*path, "target"), "expected no target: every model is called here", hint=hint)
            else:
                yield from self._misfit_alias((*path, "target"), target.target)
        yield from self._misfit_account((*path, "account"), target.account)
        if target.weight is not None and balance != "weighted":
            message = "expected no weight, since balance is ordered"
            yield Misfit((*path, "weight"), message, hint="set balance: weighted", beside=("balance",))
        if target.endpoint_url is not None:
            for misfit in misfit_url(target.endpoint_url, "endpoint_url"):
                yield Misfit((*path, *misfit.path), misfit.expected)
            if self.fips or self.dual_stack:
                name = "fips" if self.fips else "dual_stack"
                message = f"expected false: the endpoint_url of {path_text(path)} says already where calls go"
                yield Misfit(name, message, beside=(str(path[0]),))

    def _misfit_alias(self, path: Path, target: str) -> Iterator[Misfit]:
        # A name that stands for itself is a model's own, listed without an alias.
        listed = self.models.get(target)
        if listed is not None and listed.target != target:
            hint = "a name doesn't lead on to another name"
            yield Misfit(path, "expected a model of Bedrock's", target, hint)

    def _misfit_account(self, path: Path, account: str | None) -> Iterator[Misfit]:
        if account is not None and account not in self.accounts:
            near = nearest(account, self.accounts)
            hint = f"did you mean {near}?" if near else "" if self.accounts else "there are no accounts"
            yield Misfit(path, "expected a name from accounts", account, hint, beside=("accounts",))


def targets_of(config: BedrockProxy, model: ModelTarget) -> list[ProxyTarget]:
    """Where a model is called: at least one target, each with what it left to its model filled in."""
    if model.targets:
        targets = model.targets
    elif model.region is None and model.account is None and config.targets:
        targets = config.targets
    else:
        targets = [ProxyTarget()]
    return [_filled(config, model, target) for target in targets]


def _filled(config: BedrockProxy, model: ModelTarget, target: ProxyTarget) -> ProxyTarget:
    """The target with what it has left to its model and the plugin."""
    return msgspec.structs.replace(
        target,
        target=target.target or model.target,
        region=target.region or model.region or config.region,
        account=target.account or model.account,
        endpoint_url=target.endpoint_url or config.endpoint_url,
    )


def _place(config: BedrockProxy, model: ModelTarget, target: ProxyTarget) -> ProxyTarget:
    """The target without what two at the same place may differ in."""
    return msgspec.structs.replace(_filled(config, model, target), name=None, weight=None)


def _placed(config: BedrockProxy, model: ModelTarget, targets: list[ProxyTarget]) -> list[ProxyTarget]:
    """Without URLs of their own, and without those that are the same without."""
    kept: dict[ProxyTarget, ProxyTarget] = {}
    for target in targets:
        moved = msgspec.structs.replace(target, endpoint_url=None)
        kept.setdefault(_place(config, model, moved), moved)
    return list(kept.values())


def _misfit_twice(
    config: BedrockProxy, model: ModelTarget, targets: list[ProxyTarget], path: Path
) -> Iterator[Misfit]:
    """The same place twice is one target that fails twice; the same name, two that share a breaker."""
    places: list[ProxyTarget] = []
    names: list[str] = []
    for index, target in enumerate(targets):
        place = _place(config, model, target)
        if place in places:
            yield Misfit((*path, index), f"the same place as {path_text((*path, places.index(place)))}")
        elif target.name is not None and target.name in names:
            yield Misfit((*path, index, "name"), "expected a name of its own", target.name)
        places.append(place)
        names.append(target.name or "")

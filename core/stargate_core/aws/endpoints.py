"""Where AWS answers: from service, region and options to host, port and the names that a signature needs.

A region lies in a partition (aws, aws-cn, aws-us-gov ...), a partition has a DNS suffix and another for
dual-stack names. botocore reads both from `partitions.json` and a rule set per service; here they are one
short table and one function, proven equal to botocore's own endpoint tests and to its partition file. An
unknown region is taken for one of the partition `aws`, as botocore does: AWS opens regions faster than
anyone releases software.

The *signing* name differs from the host's: `bedrock` for both Bedrock endpoints. `bedrock-mantle` (the
endpoints of the OpenAI and Anthropic dialects) is in no service model; its names are those of the vendors'
SDKs.

STS's legacy global endpoint is not chosen here, except for the pseudo-region `aws-global`: the SDKs' default
is the regional one by now.

Sources: botocore/data/partitions.json, endpoint-rule-set-1.json of bedrock, bedrock-runtime, sts;
openai-python src/openai/providers/bedrock.py (bedrock-mantle).
"""

import functools
import ipaddress
import re
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

Service: TypeAlias = Literal["bedrock-runtime", "bedrock", "bedrock-mantle", "sts"]
Scheme: TypeAlias = Literal["http", "https"]

_SCHEMES: Final[dict[str, Scheme]] = {"http": "http", "https": "https"}
_DEFAULT_PORTS: Final[dict[Scheme, int]] = {"http": 80, "https": 443}
_SIGNING_NAMES: Final[dict[Service, str]] = {
    "bedrock-runtime": "bedrock",
    "bedrock": "bedrock",
    "bedrock-mantle": "bedrock-mantle",
    "sts": "sts",
}


class Endpoint(msgspec.Struct, frozen=True, gc=False):
    """One place to send requests to, and how to sign them."""

    scheme: Scheme
    host: str
    """A name or an address; IPv6 without brackets."""
    port: int
    signing_name: str
    signing_region: str
    prefix: str = ""
    """What stands before every path: empty, or `/something` without a slash at its end."""

    @property
    def authority(self) -> bytes:
        """The Host header: with the port only when it is not the scheme's own."""
        return _authority(self.scheme, self.host, self.port)


@functools.lru_cache(maxsize=1024)
def _authority(scheme: Scheme, host: str, port: int) -> bytes:
    name = f"[{host}]" if ":" in host else host
    return (name if port == _DEFAULT_PORTS[scheme] else f"{name}:{port}").encode()


class EndpointUrl(msgspec.Struct, frozen=True, gc=False):
    """An endpoint named by its URL, with nothing known about signing."""

    scheme: Scheme
    host: str
    port: int
    prefix: str = ""

    def signed_for(self, signing_name: str, signing_region: str) -> Endpoint:
        """The endpoint, with the names to sign with: they cannot be read from a URL."""
        return Endpoint(self.scheme, self.host, self.port, signing_name, signing_region, self.prefix)


# --- Partitions ---------------------------------------------------------------------------------------------


class _Partition(msgspec.Struct, frozen=True):
    regions: re.Pattern[str]
    suffix: str
    dual_stack_suffix: str


def _partition(regions: str, suffix: str, dual_stack_suffix: str) -> _Partition:
    return _Partition(re.compile(regions, re.ASCII), suffix, dual_stack_suffix)


_PARTITIONS: Final = (
    _partition(r"cn-\w+-\d+|aws-cn-global", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    _partition(r"eusc-de-\w+-\d+", "amazonaws.eu", "api.amazonwebservices.eu"),
    _partition(r"us-iso-\w+-\d+|aws-iso-global", "c2s.ic.gov", "api.aws.ic.gov"),
    _partition(r"us-isob-\w+-\d+|aws-iso-b-global", "sc2s.sgov.gov", "api.aws.scloud"),
    _partition(r"eu-isoe-\w+-\d+|aws-iso-e-global", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    _partition(r"us-isof-\w+-\d+|aws-iso-f-global", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
)
_AWS: Final = _partition(r".*", "amazonaws.com", "api.aws")
"""The partition of every other region; aws-us-gov has the same suffixes."""

_GOV: Final = re.compile(r"us-gov-\w+-\d+|aws-us-gov-global", re.ASCII)
_REGION: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


def endpoint(service: Service, region: str, *, fips: bool = False, dual_stack: bool = False) -> Endpoint:
    """The endpoint of a service in a region.

    `fips` asks for the endpoint with validated cryptography, `dual_stack` for the one that has IPv6 too.
    Raises ValueError when `region` can be no region, or the service has no such endpoint.
    """
    if not _REGION.fullmatch(region):
        raise ValueError(f"{region!r} is not the name of an AWS region, such as us-east-1")
    partition = next((one for one in _PARTITIONS if one.regions.fullmatch(region)), _AWS)
    suffix = partition.dual_stack_suffix if dual_stack else partition.suffix
    name = f"{service}-fips" if fips else service
    match service:
        case "bedrock-mantle":
            if fips or partition is not _AWS:
                raise ValueError(f"bedrock-mantle has no {'FIPS ' if fips else ''}endpoint in {region}")
            suffix = partition.dual_stack_suffix
        case "sts" if region == "aws-global" and not fips and not dual_stack:
            return Endpoint("https", "sts.amazonaws.com", 443, "sts", "us-east-1")
        case "sts" if _GOV.fullmatch(region) and not dual_stack:
            name = "sts"  # the ordinary endpoints there are FIPS endpoints
        case _:
            pass
    return Endpoint("https", f"{name}.{region}.{suffix}", 443, _SIGNING_NAMES[service], region)


# --- Endpoints given by URL ---------------------------------------------------------------------------------

_HOST: Final = re.compile(
    r"(?=.{1,253}$)[a-z0-9_][a-z0-9_-]{0,62}(?:\.[a-z0-9_][a-z0-9_-]{0,62})*\.?", re.ASCII
)
_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*/?", re.ASCII)


def parse_endpoint_url(text: str) -> EndpointUrl:
    """`http(s)://host[:port][/prefix]`, as in an endpoint override.

    Raises ValueError, with a text that says what is wrong and never repeats a password.
    """
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("the URL holds blanks, control characters, or characters beyond ASCII")
    name, _, rest = text.partition("://")
    scheme: Scheme | None = _SCHEMES.get(name.lower())
    if scheme is None or name == text:
        raise ValueError("the URL must begin with http:// or https://")
    if "@" in rest.partition("/")[0]:
        raise ValueError("the URL must not hold a user name or password")
    if "?" in rest or "#" in rest:
        raise ValueError("the URL must end after the path: no query, no fragment")
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(
            "the URL's host or port cannot be read; a port is a number from 1 to 65535"
        ) from None
    if port == 0 or parts.netloc.endswith(":"):
        raise ValueError("the URL's port must be a number from 1 to 65535")
    if ":" in host:
        host = str(ipaddress.IPv6Address(host))
    elif not _HOST.fullmatch(host):
        raise ValueError("the URL names no host" if not host else f"{host!r} is not the name of a host")
    if not _PREFIX.fullmatch(parts.path):
        raise ValueError(
            f"the URL's path {parts.path!r} must be plain: no encoded characters, no double slashes"
        )
    prefix = parts.path.rstrip("/")
    if {".", ".."} & set(prefix.split("/")):
        raise ValueError("the URL's path must not hold . or ..")
    return EndpointUrl(scheme, host, port or _DEFAULT_PORTS[scheme], prefix)

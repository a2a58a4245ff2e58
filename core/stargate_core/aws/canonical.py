"""The canonical request: one fixed spelling of an HTTP request, which SigV4 hashes and signs.

The rules kept here, and why:

- The canonical path is the path *as it stands on the wire*, with dot segments and double slashes removed,
  and then percent-encoded once more. A model id is encoded once on the wire (`%3A`) and so twice here
  (`%253A`). AWS does the same to the path it receives; only S3 differs, and S3 is not spoken here.
- The canonical query is the wire's pairs, sorted by name and then value, as they were written.
- Header values lose outer blanks, and runs of blanks inside become one; several headers of one name are
  joined with commas. Headers that proxies change are never signed (botocore's list, and `authorization`
  itself).

Everything here is a pure function on bytes, tested on its own against the AWS suite's intermediate results.

Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html;
botocore/auth.py (SigV4Auth) and botocore/utils.py (remove_dot_segments).
"""

import datetime
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final, TypeAlias
from urllib.parse import quote_from_bytes

from stargate_core.secret import Secret

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

ALGORITHM: Final = b"AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD: Final = b"UNSIGNED-PAYLOAD"
NEVER_SIGNED: Final = frozenset(
    {
        b"authorization",
        b"baggage",
        b"connection",
        b"expect",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"traceparent",
        b"tracestate",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"user-agent",
        b"x-amzn-trace-id",
    }
)
"""Headers that the way to AWS may change (botocore's SIGNED_HEADERS_BLACKLIST), and the signature's own."""

_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_SECOND: Final = datetime.timedelta(seconds=1)
_SECOND_NS: Final = 1_000_000_000


def amz_date(wall_ns: int) -> bytes:
    """`x-amz-date` for a wall time in nanoseconds: `YYYYMMDDTHHMMSSZ`, the second that has begun."""
    return (_EPOCH + wall_ns // _SECOND_NS * _SECOND).strftime("%Y%m%dT%H%M%SZ").encode()


_AMZ_DATE: Final = re.compile(rb"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", re.ASCII)


def read_amz_date(date: bytes) -> int | None:
    """The wall time in nanoseconds that an `x-amz-date` names; None when it is not one."""
    match = _AMZ_DATE.fullmatch(date)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        moment = datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.UTC)
    except ValueError:
        return None
    return (moment - _EPOCH) // _SECOND * _SECOND_NS


def canonical_path(path: bytes) -> bytes:
    """The path as sent on the wire, normalised and percent-encoded once more; `/` stays."""
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment and segment != b".":
            kept.append(segment)
    last = b"/" if kept and path.endswith(b"/") else b""
    return quote_from_bytes(b"/" + b"/".join(kept) + last, safe="/~").encode()


_NOT_IN_A_URI: Final = re.compile(rb"[^!-~]")


def canonical_query(query: bytes) -> bytes:
    """The query's pairs as they were written, sorted by name, then value; `name` alone becomes `name=`."""
    if not query:
        return b""
    # Bytes that may not stand in a URI at all are encoded as any server would read them.
    query = _NOT_IN_A_URI.sub(lambda match: quote_from_bytes(match[0]).encode(), query)
    pairs = sorted(pair.partition(b"=")[::2] for pair in query.split(b"&"))
    return b"&".join([name + b"=" + value for name, value in pairs])


def signable(headers: Headers) -> tuple[bytes, ...]:
    """The names of the headers to sign, in lower case and sorted: all but those never signed."""
    return tuple(sorted({name.lower() for name, _ in headers} - NEVER_SIGNED))


def canonical_request(
    method: bytes, target: bytes, headers: Headers, signed: Sequence[bytes], payload_hash: bytes
) -> bytes:
    """The canonical request over the headers named in `signed` (lower case, sorted).

    `target` is the request target as sent, with its query; `payload_hash` the hex SHA-256 of the body. Raises
    KeyError when a header of `signed` is missing.
    """
    path, _, query = target.partition(b"?")
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        key = name.lower()
        trimmed = b" ".join(value.split())
        values[key] = values[key] + b"," + trimmed if key in values else trimmed
    return b"\n".join(
        [
            method,
            canonical_path(path),
            canonical_query(query),
            *[name + b":" + values[name] for name in signed],
            b"",
            b";".join(signed),
            payload_hash,
        ]
    )


def string_to_sign(date: bytes, scope: bytes, canonical: bytes) -> bytes:
    """What is signed: `date` is the `x-amz-date`, `scope` is `day/region/service/aws4_request`."""
    return b"\n".join((ALGORITHM, date, scope, hashlib.sha256(canonical).hexdigest().encode()))


def signing_key(secret: Secret, day: bytes, region: bytes, service: bytes) -> bytes:
    """The key of one day, region and service. `day` is `YYYYMMDD`."""
    key = b"AWS4" + secret.reveal().encode()
    for part in (day, region, service, b"aws4_request"):
        key = hmac.digest(key, part, "sha256")
    return key

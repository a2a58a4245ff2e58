"""Faults: one failure of one request.

A fault is data, not an exception: a cause, whose row in the table (causes.py) says what it means to
everybody, and what is particular to this time. AWS's errors become faults here, by their names.
"""

import re
from typing import ClassVar, Final

import msgspec

from stargate_core.causes import TABLE as TABLE
from stargate_core.causes import Blame as Blame
from stargate_core.causes import Cause as Cause
from stargate_core.causes import Row as Row
from stargate_core.secret import Private

RETRY_AFTER_SECONDS_MAX: Final = 60
"""Claude Code and anthropic-sdk-python give up on, or ignore, anything longer."""

AWS_CAUSES: Final[dict[str, Cause]] = {
    "ValidationException": Cause.UPSTREAM_VALIDATION,
    "AccessDeniedException": Cause.UPSTREAM_ACCESS_DENIED,
    "AccessDenied": Cause.UPSTREAM_ACCESS_DENIED,
    "NotAuthorized": Cause.UPSTREAM_ACCESS_DENIED,
    "OptInRequired": Cause.UPSTREAM_ACCESS_DENIED,
    "ResourceNotFoundException": Cause.UPSTREAM_NOT_FOUND,
    "ConflictException": Cause.UPSTREAM_CONFLICT,
    "ThrottlingException": Cause.UPSTREAM_THROTTLED,
    "TooManyRequestsException": Cause.UPSTREAM_THROTTLED,
    "ServiceQuotaExceededException": Cause.UPSTREAM_QUOTA,
    "ModelNotReadyException": Cause.UPSTREAM_NOT_READY,
    "ModelTimeoutException": Cause.UPSTREAM_MODEL_TIMEOUT,
    "ModelErrorException": Cause.UPSTREAM_MODEL_ERROR,
    "ModelStreamErrorException": Cause.UPSTREAM_MODEL_ERROR,
    "InternalServerException": Cause.UPSTREAM_INTERNAL,
    "InternalFailure": Cause.UPSTREAM_INTERNAL,
    "ServiceUnavailableException": Cause.UPSTREAM_UNAVAILABLE,
    "overloaded_error": Cause.UPSTREAM_UNAVAILABLE,
    "context_length_exceeded": Cause.CONTEXT_OVERFLOW,
    "SerializationException": Cause.UPSTREAM_VALIDATION,
    "UnsupportedMediaTypeException": Cause.UPSTREAM_VALIDATION,
    "RequestEntityTooLargeException": Cause.BODY_TOO_LARGE,
    "ExpiredTokenException": Cause.UPSTREAM_CREDENTIALS,
    "ExpiredToken": Cause.UPSTREAM_CREDENTIALS,
    "RequestExpired": Cause.UPSTREAM_CREDENTIALS,
    "UnrecognizedClientException": Cause.UPSTREAM_CREDENTIALS,
    "InvalidClientTokenId": Cause.UPSTREAM_CREDENTIALS,
    "AuthFailure": Cause.UPSTREAM_CREDENTIALS,
    "SignatureDoesNotMatch": Cause.UPSTREAM_CREDENTIALS,
    "InvalidSignatureException": Cause.UPSTREAM_CREDENTIALS,
    "IncompleteSignatureException": Cause.UPSTREAM_CREDENTIALS,
    "MissingAuthenticationTokenException": Cause.UPSTREAM_CREDENTIALS,
}
"""AWS's exception names (PascalCase) to causes; a name that is not here is `UPSTREAM_UNKNOWN`."""

_PRIVATE: Final = frozenset({Cause.UPSTREAM_ACCESS_DENIED, Cause.UPSTREAM_CREDENTIALS})
"""Causes whose AWS text names the gateway's own roles, accounts or signatures: never shown to a caller."""

_OF_AUTHORITY: Final = (401, 403)
"""Statuses that judge the gateway's own credentials: whatever the exception's name, their text stays here."""

_SHOWN_BACK: Final = re.compile(r"""(?<!\w)'[^']*'?|"[^"]*"?|\bAuthorization=.*""")
"""What AWS quotes of a request whose authority it does not accept. InvalidSignatureException gives the whole
canonical request, with the session token in it; IncompleteSignatureException the Authorization header, be it
a signature or an API key.
"""

_OVERFLOW_WORDS: Final = (
    "input is too long",
    "prompt is too long",
    "maximum context length",
    "too many input tokens",
)


class Fault(Private, msgspec.Struct, frozen=True):
    """One failure of one request: its cause, and what is particular to this time."""

    SHOWN: ClassVar[tuple[str, ...]] = ("aws_name",)

    cause: Cause
    message: str = ""
    """What the caller reads; empty: the row's own words."""
    detail: str = ""
    """For the log only: AWS's private wording, the shell's error text."""
    param: str | None = None
    """The request field at fault, as OpenAI's envelope names it."""
    retry_after_seconds: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """What an HTTP answer bears because of it: Allow, WWW-Authenticate. A stream has no place for them."""
    aws_name: str | None = None
    """The exception Bedrock itself named, for native callers and the log."""
    aws_status: int | None = None
    status: int | None = None
    """What an operator wants the HTTP status to be, in place of the row's and of every dialect's own."""
    limit: str = ""
    """Which rate limit was exceeded, for the log and metrics."""

    @property
    def row(self) -> Row:
        """The row of `TABLE` that says what this means to everybody."""
        return TABLE[self.cause]

    @property
    def text(self) -> str:
        """The caller's message."""
        return self.message or self.row.message

    @property
    def retry_after(self) -> int | None:
        """Whole seconds for Retry-After: always there on 429 and 503, from one to a minute.

        SDKs take no notice of a zero, and of none at all they make a guess of their own.
        """
        seconds = (
            self.retry_after_seconds if self.retry_after_seconds is not None else self.row.retry_after_seconds
        )
        if seconds is None and self.row.status in {429, 503}:
            seconds = 1
        return None if seconds is None else max(1, min(seconds, RETRY_AFTER_SECONDS_MAX))


class Refused(Exception):
    """Raised by a plugin or a dialect to end an exchange with a fault; caught in one place."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.cause.name)
        self.fault = fault


def refuse(cause: Cause, message: str = "", *, param: str | None = None, detail: str = "") -> Refused:
    """A `Refused` to raise, for the usual case."""
    return Refused(Fault(cause, message, param=param, detail=detail))


def fault_of_aws(
    name: str,
    status: int,
    message: str,
    *,
    original_status: int | None = None,
    retry_after_seconds: int | None = None,
) -> Fault:
    """The fault an AWS error means: by its name, never by its HTTP status alone (an in-stream one has none).

    name: PascalCase without namespace or URI, '' when the answer named none; status: the HTTP status, 0 in a
    stream.
    """
    cause = AWS_CAUSES.get(name)
    if cause is None:
        cause = _cause_of_status(status) if not name else Cause.UPSTREAM_UNKNOWN
    if cause is Cause.UPSTREAM_VALIDATION and any(words in message.lower() for words in _OVERFLOW_WORDS):
        # The upstream wording stays inside: clients' recovery matches it.
        cause = Cause.CONTEXT_OVERFLOW
    elif cause is Cause.UPSTREAM_MODEL_ERROR and original_status is not None and 400 <= original_status < 500:
        cause = _cause_of_status(original_status)
    private = cause in _PRIVATE or status in _OF_AUTHORITY
    return Fault(
        cause,
        message="" if private else message,
        detail=_without_quotations(message) if private else "",
        retry_after_seconds=retry_after_seconds,
        aws_name=name or None,
        aws_status=status or None,
    )


def _without_quotations(message: str) -> str:
    """AWS's private wording as it may stand in a log: what it shows back may be the gateway's own secrets."""
    return _SHOWN_BACK.sub("'…'", message.partition("\n")[0])


def _cause_of_status(status: int) -> Cause:
    """What an answer means that names no exception: a proxy's page, an empty body."""
    match status:
        case 400 | 422:
            return Cause.UPSTREAM_VALIDATION
        case 401:
            return Cause.UPSTREAM_CREDENTIALS
        case 403:
            return Cause.UPSTREAM_ACCESS_DENIED
        case 404:
            return Cause.UPSTREAM_NOT_FOUND
        case 429:
            return Cause.UPSTREAM_THROTTLED
        case 500:
            return Cause.UPSTREAM_INTERNAL
        case 503 | 529:
            return Cause.UPSTREAM_UNAVAILABLE
        case 408 | 504:
            return Cause.UPSTREAM_MODEL_TIMEOUT
        case _:
            return Cause.UPSTREAM_UNKNOWN

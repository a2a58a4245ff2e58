"""What went wrong while credentials were looked for, in words that hold no secret.

The text of an exception is not ours: urllib3 quotes the header value that it refuses, STS repeats the whole
request that it found wrongly signed, token and all, an endpoint's answer is whatever the endpoint likes, and
a credential_process says anything on standard error. So nothing is told unless it is known to be harmless:

- the texts of those botocore exceptions that are made of names, paths and addresses, with what an address
  may hide (a password, a query) taken out;
- of an AWS error its code, and its message for codes whose message names principals, roles and reasons,
  which is what an operator needs; anything in it that is as long and as dense as a secret is taken out but
  for ARNs;
- of an endpoint's refusal its status;
- of a file that can't be read, its path.

Of everything else the type is told, and where it was raised.

botocore also logs, with tracebacks that hold those texts. That goes nowhere: it has a NullHandler, and the
gateway sets up no logging.
"""

import re
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

_TEXT_CHARACTERS_MAX: Final = 400

_HARMLESS: Final = (
    "ConfigNotFound",
    "ConfigParseError",
    "ConnectTimeoutError",
    "ConnectionClosedError",
    "EndpointConnectionError",
    "InvalidConfigError",
    "InvalidIMDSEndpointModeError",
    "InvalidRegionError",
    "InvalidSTSRegionalEndpointsConfigError",
    "LoginInsufficientPermissions",
    "LoginRefreshRequired",
    "MissingDependencyException",
    "NoCredentialsError",
    "NoRegionError",
    "ParamValidationError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "ProxyConnectionError",
    "ReadTimeoutError",
    "SSLError",
    "SSOTokenLoadError",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
    "UnknownCredentialError",
)
"""The exceptions of botocore/exceptions.py whose texts are made of names, paths, addresses and lengths."""

_TELLING_CODES: Final = (
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "ForbiddenException",
    "IDPCommunicationError",
    "IDPRejectedClaim",
    "InvalidClientTokenId",
    "InvalidIdentityToken",
    "RegionDisabledException",
    "ResourceNotFoundException",
    "ThrottlingException",
    "TooManyRequestsException",
    "UnauthorizedException",
    "ValidationError",
)
"""Codes of STS and SSO whose messages say who may not do what."""

_CODE: Final = re.compile(r"[A-Za-z0-9.]{1,64}")
_USER: Final = re.compile(r"//[^/@\s\"']*@")
_QUERY: Final = re.compile(r"\?[^\s\"']*")
_DENSE: Final = re.compile(r"(arn:[^\s\"']+)|[A-Za-z0-9+/=_.%-]{32,}")
"""A secret access key has 40 characters, tokens have hundreds."""
_STATUS: Final = re.compile(r"Received non 200 response (\d{3})")
_MISSING_KEY: Final = re.compile(r"Missing required key in response: '\w{1,40}'")


class Unusable(Exception):
    """Something of ours to say, which holds no secret."""


def problem_of(error: Exception) -> str:
    """The failure in words: `Type: text` as a rule."""
    name = type(error).__name__
    text = _text(error, name)
    if isinstance(error, Unusable):
        return text or name
    if text is None:
        return f"{name} {_place(error)}"
    return f"{name}: {text}"


def _text(error: Exception, name: str) -> str | None:
    """What may be told of the error's own text; None: nothing."""
    from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError

    match error:
        case Unusable():
            return _short(str(error))
        case ClientError():
            return _aws_text(error.response)
        case CredentialRetrievalError():
            details = cast("Mapping[str, object]", error.kwargs)
            return _retrieval_text(str(details["provider"]), str(details["error_msg"]))
        case BotoCoreError() if name in _HARMLESS:
            return _short(_QUERY.sub("?…", _USER.sub("//…@", str(error))))
        case OSError(strerror=str(strerror), filename=str(filename)):
            return _short(f"{strerror}: {filename}")
        case RuntimeError() if str(error).endswith("credentials are still expired."):
            return "the credentials found have expired already"
        case _:
            return None


def _aws_text(response: Any) -> str | None:
    details: dict[str, Any] = response.get("Error", {})
    code = str(details.get("Code") or "")
    if not _CODE.fullmatch(code):
        return None
    if code not in _TELLING_CODES:
        return code
    message = _DENSE.sub(lambda found: found[1] or "…", str(details.get("Message", "")))
    return _short(f"{code}: {message}" if message else code)


def _retrieval_text(provider: str, said: str) -> str:
    if status := _STATUS.search(said):
        return f"{provider}: the endpoint answered with status {status[1]}"
    if missing := _MISSING_KEY.fullmatch(said):
        return f"{provider}: {missing[0]}"
    if said.startswith("Unsupported version "):
        return f"{provider}: its Version is not 1"
    return f"{provider} gave none; what it said may hold secrets and is not repeated"


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "at an unknown place"
    return f"at {'/'.join(Path(frames[-1].filename).parts[-2:])}:{frames[-1].lineno}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TEXT_CHARACTERS_MAX else f"{line[:_TEXT_CHARACTERS_MAX]}…"

"""Finding credentials: botocore's chain, asked from a worker thread.

botocore knows every place AWS keeps credentials in, and its chain is the one users' other tools follow, so
the same environment gives the same identity: the environment, profiles and the roles they name, a web
identity (IRSA), SSO, credential_process, the endpoint of a container (ECS, EKS Pod Identity), the instance's
metadata (IMDSv2). Before all of them stands a Bedrock API key in AWS_BEARER_TOKEN_BEDROCK, as with botocore
itself; an empty one is none.

Every search makes a Session of its own. That costs some milliseconds, a few times an hour, and buys two
things: files and variables are read anew, the rotated token of a web identity as well as an edited profile;
and no thread shares anything with another. What is found is frozen once, so that key, secret and token
belong together.

What botocore leaves without a limit gets one here: the calls to STS and SSO (its own would wait for five
minutes), a credential_process (`process`), and a profile that asks for a one-time password is refused, for
botocore would ask on the terminal and wait for somebody to type.

One private attribute is read, `_expiry_time`: botocore has no other word for when credentials end, and AWS's
own command line reads it for the same reason (aws-cli, customizations/configure/exportcreds.py).

The region. A role is assumed at the STS of the account's region. Inside the chain botocore chooses, by
AWS_DEFAULT_REGION or the profile; where neither says any, AWS_REGION does, which the other SDKs read and EKS
sets, and then the account's. AWS_ENDPOINT_URL_STS and its like are botocore's, and hold everywhere.

Sources: botocore/credentials.py (create_credential_resolver);
https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
"""

import datetime
import os
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stargate.credentials.problems import Unusable, problem_of
from stargate_core.aws.bearer import BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.direction import Account, Role
from stargate_core.secret import Secret

if TYPE_CHECKING:
    from botocore.session import Session

BEARER_VARIABLE: Final = "AWS_BEARER_TOKEN_BEDROCK"

# Two attempts at STS stay within the ten seconds that a request may wait for newer credentials.
_CONNECT_SECONDS: Final = 2
_READ_SECONDS: Final = 3
_ATTEMPTS_MAX: Final = 2

_HEADER_VALUE: Final = re.compile(r"[!-~]+")
"""What may stand in a header, as key ids and tokens must; a blank or a line break is a slip in some file."""


class Found(msgspec.Struct, frozen=True):
    """What the chain gave for one account."""

    credentials: Credentials | BearerToken | None
    method: str
    """Where it found them, in botocore's words: env, shared-credentials-file, assume-role, iam-role …"""
    problem: str = ""


def find(account: Account) -> Found:
    """Look for the credentials of `account`, blocking. Raises nothing: what is wrong is told in `problem`."""
    try:
        if not account.name and account.profile is None and account.role is None:
            # A line break at the end is what `echo` leaves; no key has one.
            key = os.environ.get(BEARER_VARIABLE, "").strip()
            if key:
                return Found(BearerToken(Secret(_sendable(key, "API key"))), BEARER_VARIABLE)
        session = _session(account)
        return (
            _from_chain(session) if account.role is None else _assumed(session, account.role, account.region)
        )
    except Exception as error:  # noqa: BLE001
        # Each of the places has failures of its own: a role that may not be assumed, a cache that is no JSON,
        # a process that is not there. None of them is a reason to end.
        return Found(None, "nowhere", problem_of(error))


def _session(account: Account) -> "Session":
    # A third of what the gateway imports, and needed only where credentials are looked for.
    from botocore.config import Config
    from botocore.credentials import ProcessProvider
    from botocore.session import Session

    from stargate.credentials.process import Process

    session = Session(profile=account.profile)
    session.set_default_client_config(
        Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"total_max_attempts": _ATTEMPTS_MAX, "mode": "standard"},
        )
    )
    region = os.environ.get("AWS_REGION") or account.region
    if region and session.get_config_variable("region") is None:
        session.set_config_variable("region", region)
    profile = session.get_config_variable("profile") or "default"
    # Where the environment may answer, and does, the profile's role is not asked for.
    if (account.profile is not None or not os.environ.get("AWS_ACCESS_KEY_ID")) and _wants_password(
        session, profile
    ):
        raise Unusable(
            f"profile {profile} wants a one-time password (mfa_serial), and nobody is here to type it"
        )
    resolver: Any = session.get_component("credential_provider")
    resolver.insert_after(
        ProcessProvider.METHOD,
        ProcessProvider(profile_name=profile, load_config=lambda: session.full_config, popen=Process),
    )
    resolver.remove(ProcessProvider.METHOD)  # The first of that name: botocore's.
    return session


def _wants_password(session: "Session", profile: str) -> bool:
    """Whether a role on the way from this profile to its source asks for a one-time password."""
    profiles: dict[str, dict[str, Any]] = session.full_config.get("profiles", {})
    seen: list[str] = []
    while profile in profiles and profile not in seen:
        seen.append(profile)
        settings = profiles[profile]
        if "role_arn" in settings and "mfa_serial" in settings:
            return True
        profile = str(settings.get("source_profile", ""))
    return False


def _from_chain(session: "Session") -> Found:
    resolved = session.get_credentials()
    if resolved is None:
        return Found(None, "nowhere", "none of the usual AWS places has credentials")
    frozen = resolved.get_frozen_credentials()
    expiry: datetime.datetime | None = getattr(resolved, "_expiry_time", None)
    method = resolved.method or "unknown"
    return Found(_credentials(frozen.access_key, frozen.secret_key, frozen.token, expiry), method)


def _assumed(session: "Session", role: Role, region: str) -> Found:
    """STS AssumeRole, signed with what the chain gives."""
    request: dict[str, Any] = {
        "RoleArn": role.arn,
        "RoleSessionName": role.session_name,
        "DurationSeconds": role.duration_seconds,
    }
    if role.external_id is not None:
        request["ExternalId"] = role.external_id
    if role.tags:
        request["Tags"] = [{"Key": key, "Value": value} for key, value in role.tags]
    if session.get_credentials() is None:
        raise Unusable(f"none of the usual AWS places has credentials with which to assume {role.arn}")
    client: Any = session.create_client("sts", region_name=region or None)
    try:
        answer: dict[str, Any] = client.assume_role(**request)["Credentials"]
    finally:
        client.close()
    found = _credentials(
        answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"], answer["Expiration"]
    )
    return Found(found, "assume-role")


def _credentials(
    key_id: str | None, secret: str | None, token: str | None, expiry: datetime.datetime | None
) -> Credentials:
    if not key_id or not secret:
        raise Unusable("the credentials found are incomplete")
    return Credentials(
        _sendable(key_id, "access key id"),
        Secret(secret),
        Secret(_sendable(token, "session token")) if token else None,
        None if expiry is None else int(expiry.timestamp() * 1e9),
    )


def _sendable(text: str, what: str) -> str:
    if not _HEADER_VALUE.fullmatch(text):
        raise Unusable(f"the {what} found holds a blank, a line break or another sign that none has")
    return text

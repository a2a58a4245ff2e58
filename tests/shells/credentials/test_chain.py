"""Credentials are found where AWS's own tools find them: every place is asked, over real sockets where it has
some.

What botocore makes of each place is botocore's; tested here is that our way of asking reaches all of them,
reads files anew each time, keeps key, secret, token and end together, and that no trouble of theirs is ours.
"""

import datetime
import json
import os
import subprocess
import sys
import threading
import time
from hashlib import sha1
from pathlib import Path
from typing import Any, Final

import botocore.session
import pytest
from botocore.credentials import RefreshableCredentials

from stargate.credentials import Found, find
from stargate_core.aws.bearer import BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.direction import Account, Role
from support.aws_places import (
    HOUR,
    Container,
    Metadata,
    Place,
    Portal,
    Reply,
    Sts,
    environment_of,
    isolate,
    later,
    region_of,
)

USUAL: Final = Account("")
ROLE: Final = Role("arn:aws:iam::123456789012:role/bedrock")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home where AWS's tools find nothing."""
    isolate(monkeypatch, tmp_path)
    return tmp_path


def put(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def keys_of(found: Found) -> tuple[str, str, str | None]:
    """A found key pair, and its session token."""
    assert isinstance(found.credentials, Credentials), found.problem
    token = found.credentials.session_token
    return (
        found.credentials.access_key_id,
        found.credentials.secret_access_key.reveal(),
        None if token is None else token.reveal(),
    )


def lasting_seconds(found: Found) -> float:
    """How long they last from now."""
    assert found.credentials is not None
    assert found.credentials.expires_at_ns is not None
    return found.credentials.expires_at_ns / 1e9 - time.time()


class TestEnvironment:
    def test_it_comes_first(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (home / "credentials").write_text("[default]\naws_access_key_id=A\naws_secret_access_key=B\n")
        put(
            monkeypatch,
            {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"},
        )
        found = find(USUAL)
        assert (found.method, keys_of(found)) == ("env", ("AKIDENV", "secret", "token"))
        assert found.credentials is not None
        assert found.credentials.expires_at_ns is None

    def test_it_may_say_when_they_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        put(
            monkeypatch,
            {
                "AWS_ACCESS_KEY_ID": "AKIDENV",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_CREDENTIAL_EXPIRATION": later(2 * HOUR),
            },
        )
        assert lasting_seconds(find(USUAL)) == pytest.approx(2 * HOUR, abs=30)

    def test_a_named_profile_goes_before_it(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (home / "credentials").write_text("[team]\naws_access_key_id=AKIDTEAM\naws_secret_access_key=s\n")
        put(monkeypatch, {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "secret"})
        assert keys_of(find(Account("team", profile="team")))[0] == "AKIDTEAM"

    @pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"])
    def test_what_no_header_may_hold_is_said(self, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A line break at the end is what `echo` puts into a secret's file."""
        put(
            monkeypatch,
            {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "s", variable: "AKID-planted\n"},
        )
        found = find(USUAL)
        assert found.credentials is None
        assert "a line break" in found.problem
        assert "planted" not in found.problem


class TestApiKey:
    KEY: Final = "bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29t"

    def test_it_stands_before_the_chain(self, monkeypatch: pytest.MonkeyPatch) -> None:
        put(
            monkeypatch,
            {
                "AWS_BEARER_TOKEN_BEDROCK": self.KEY,
                "AWS_ACCESS_KEY_ID": "AKIDENV",
                "AWS_SECRET_ACCESS_KEY": "secret",
            },
        )
        found = find(USUAL)
        assert isinstance(found.credentials, BearerToken)
        assert found.credentials.token.reveal() == self.KEY
        assert found.method == "AWS_BEARER_TOKEN_BEDROCK"
        # botocore's client would do the same.
        session: Any = botocore.session.Session()
        assert session.get_auth_token(signing_name="bedrock").token == self.KEY

    @pytest.mark.parametrize("key", ["", "  "])
    def test_an_empty_one_is_none(self, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
        put(
            monkeypatch,
            {
                "AWS_BEARER_TOKEN_BEDROCK": key,
                "AWS_ACCESS_KEY_ID": "AKIDENV",
                "AWS_SECRET_ACCESS_KEY": "secret",
            },
        )
        assert keys_of(find(USUAL))[0] == "AKIDENV"

    def test_a_line_break_at_its_end_is_not_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", self.KEY + "\n")
        found = find(USUAL).credentials
        assert isinstance(found, BearerToken)
        assert found.token.reveal() == self.KEY

    def test_one_that_cannot_be_sent_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "planted\r\nx-other: header")
        found = find(USUAL)
        assert found.credentials is None
        assert "the API key found holds" in found.problem
        assert "planted" not in found.problem

    @pytest.mark.parametrize("account", [Account("team", profile="team"), Account("other")])
    def test_it_is_the_usual_accounts_only(
        self, account: Account, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (home / "credentials").write_text(
            "".join(f"[{n}]\naws_access_key_id=AKID\naws_secret_access_key=s\n" for n in ("team", "default"))
        )
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", self.KEY)
        assert keys_of(find(account))[0] == "AKID"


class TestProfiles:
    def test_a_profile_is_asked_for_by_name(self, home: Path) -> None:
        (home / "credentials").write_text(
            "[default]\naws_access_key_id=A\naws_secret_access_key=B\n"
            "[team]\naws_access_key_id=AKIDTEAM\naws_secret_access_key=secret\n"
        )
        found = find(Account("team", profile="team"))
        assert (found.method, keys_of(found)) == ("shared-credentials-file", ("AKIDTEAM", "secret", None))
        assert find(USUAL).credentials != found.credentials

    def test_files_are_read_anew(self, home: Path) -> None:
        for key in ("AKIDOLD", "AKIDNEW"):
            (home / "credentials").write_text(
                f"[default]\naws_access_key_id={key}\naws_secret_access_key=s\n"
            )
            assert keys_of(find(USUAL))[0] == key

    def test_secrets_are_not_shown(self, home: Path) -> None:
        (home / "credentials").write_text("[default]\naws_access_key_id=A\naws_secret_access_key=hush\n")
        found = find(USUAL)
        assert found.credentials is not None
        assert "hush" not in repr(found)

    def test_one_that_wants_a_password_is_refused(self, home: Path) -> None:
        """Otherwise botocore would wait for somebody to type it, in a thread, for ever."""
        (home / "config").write_text(
            "[profile a]\nrole_arn=arn:aws:iam::1:role/a\nsource_profile=b\n"
            "[profile b]\nrole_arn=arn:aws:iam::1:role/b\nsource_profile=c\nmfa_serial=m\n"
            "[profile c]\naws_access_key_id=A\naws_secret_access_key=B\n"
        )
        found = find(Account("a", profile="a"))
        assert found.credentials is None
        assert "one-time password" in found.problem

    def test_it_does_not_matter_when_the_environment_answers(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (home / "config").write_text(
            "[default]\nrole_arn=arn:aws:iam::1:role/a\nsource_profile=default\nmfa_serial=m\n"
        )
        put(monkeypatch, {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "secret"})
        assert keys_of(find(USUAL))[0] == "AKIDENV"

    @pytest.mark.parametrize(
        ("config", "told"),
        [
            ("[default]\ncredential_process = /nowhere/at-all\n", "credential_process cannot be started"),
            ("[default]\ncredential_process = false\n", "credential_process ended with status 1"),
            ("[default]\ncredential_process = echo nonsense\n", "JSONDecodeError at json/decoder.py"),
            ("[default\n", "ConfigParseError"),
            ("[profile other]\nregion = x\n", "none of the usual AWS places"),
            ("[default]\naws_access_key_id = A\n", "PartialCredentialsError"),
            ("[default]\nrole_arn=r\nsource_profile=b\n[profile b]\nrole_arn=r\nsource_profile=default\n",
             "InfiniteLoopConfigError"),
        ],
    )  # fmt: skip
    def test_no_trouble_of_theirs_is_ours(self, home: Path, config: str, told: str) -> None:
        (home / "config").write_text(config)
        found = find(USUAL)
        assert found.credentials is None
        assert told in found.problem

    def test_a_profile_that_is_not_there(self) -> None:
        found = find(Account("nobody", profile="nobody"))
        assert found.credentials is None
        assert "nobody" in found.problem


class TestProcess:
    def test_what_it_prints_is_taken(self, home: Path) -> None:
        printed = {
            "Version": 1,
            "AccessKeyId": "AKIDPROCESS",
            "SecretAccessKey": "s",
            "SessionToken": "t",
            "Expiration": later(5 * HOUR),
        }
        (home / "printed").write_text(json.dumps(printed))
        (home / "config").write_text(f"[default]\ncredential_process = cat {home}/printed\n")
        found = find(USUAL)
        assert (found.method, keys_of(found)) == ("custom-process", ("AKIDPROCESS", "s", "t"))
        assert lasting_seconds(found) == pytest.approx(5 * HOUR, abs=30)

    def test_their_end_is_botocores(self, home: Path) -> None:
        """The one private attribute that is read, against the public question it answers."""
        (home / "printed").write_text(
            json.dumps(
                {"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "s", "Expiration": later(5 * HOUR)}
            )
        )
        (home / "config").write_text(f"[default]\ncredential_process = cat {home}/printed\n")
        left = lasting_seconds(find(USUAL))
        resolved = botocore.session.Session().get_credentials()
        assert isinstance(resolved, RefreshableCredentials)
        assert resolved.refresh_needed(refresh_in=int(left) + 30)
        assert not resolved.refresh_needed(refresh_in=int(left) - 30)

    def test_one_of_a_source_profile_is_reached_too(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (home / "printed").write_text('{"Version": 1, "AccessKeyId": "AKID", "SecretAccessKey": "s"}')
        (home / "config").write_text(
            "[default]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = base\nregion = eu-west-1\n"
            f"[profile base]\ncredential_process = cat {home}/printed\n"
        )
        with Sts({"AKID": "s"}) as sts:
            put(monkeypatch, sts.environment)
            assert keys_of(find(USUAL))[0] == "ASIA1"


class TestRoles:
    """`Account.role`, assumed with what the profile or the chain gives."""

    @pytest.fixture
    def sts(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> Sts:
        (home / "credentials").write_text(
            "[default]\naws_access_key_id=AKIDBASE\naws_secret_access_key=base\n"
            "[team]\naws_access_key_id=AKIDTEAM\naws_secret_access_key=team\n"
        )
        sts = Sts({"AKIDBASE": "base", "AKIDTEAM": "team"})
        put(monkeypatch, sts.environment)
        return sts

    def test_all_of_it_reaches_sts(self, sts: Sts) -> None:
        role = Role(
            ROLE.arn,
            session_name="gateway",
            external_id="ext-1",
            tags=(("team", "search"), ("stage", "live")),
            duration_seconds=1_800,
        )
        with sts:
            found = find(Account("r", role=role, region="eu-central-1"))
        (asked,) = sts.asked
        assert asked.form == {
            "Action": "AssumeRole", "Version": "2011-06-15",
            "RoleArn": ROLE.arn, "RoleSessionName": "gateway",
            "ExternalId": "ext-1", "DurationSeconds": "1800",
            "Tags.member.1.Key": "team", "Tags.member.1.Value": "search",
            "Tags.member.2.Key": "stage", "Tags.member.2.Value": "live",
        }  # fmt: skip
        assert (found.method, keys_of(found)) == ("assume-role", ("ASIA1", "secret1", "token1"))
        assert lasting_seconds(found) == pytest.approx(4 * HOUR, abs=30)

    def test_it_is_signed_for_the_accounts_region(self, sts: Sts, monkeypatch: pytest.MonkeyPatch) -> None:
        put(monkeypatch, {"AWS_DEFAULT_REGION": "us-west-2", "AWS_REGION": "us-west-1"})
        with sts:
            find(Account("r", role=ROLE, region="eu-central-1"))
            find(Account("r", role=ROLE))
            monkeypatch.delenv("AWS_DEFAULT_REGION")
            find(Account("r", role=ROLE))
        assert [region_of(asked) for asked in sts.asked] == ["eu-central-1", "us-west-2", "us-west-1"]

    def test_the_profiles_credentials_sign(self, sts: Sts) -> None:
        with sts:
            find(Account("r", profile="team", role=ROLE, region="eu-central-1"))
        assert "Credential=AKIDTEAM/" in sts.asked[0].headers["authorization"]

    def test_a_role_may_be_assumed_by_a_role(self, sts: Sts, home: Path) -> None:
        (home / "config").write_text(
            "[profile hop]\nrole_arn=arn:aws:iam::1:role/hop\nsource_profile=team\nexternal_id=e-1\n"
            "region=eu-west-1\n"
        )
        with sts:
            found = find(Account("r", profile="hop", role=ROLE, region="eu-central-1"))
        assert keys_of(found)[0] == "ASIA2"
        first, second = sts.asked
        assert (first.form["RoleArn"], first.form["ExternalId"]) == ("arn:aws:iam::1:role/hop", "e-1")
        # The second is signed with what the first gave.
        assert "Credential=ASIA1/" in second.headers["authorization"]
        assert second.headers["x-amz-security-token"] == "token1"

    @pytest.mark.parametrize(
        ("status", "code", "told"),
        [
            (403, "AccessDenied", "AccessDenied: User: arn:aws:iam::1:user/me is not authorized"),
            (403, "ExpiredTokenException", "ExpiredTokenException: User: arn:aws:iam::1:user/me"),
            (403, "SignatureDoesNotMatch", "ClientError: SignatureDoesNotMatch"),
        ],
    )
    def test_a_refusal_is_told(self, sts: Sts, status: int, code: str, told: str) -> None:
        sts.failure = (
            status,
            code,
            "User: arn:aws:iam::1:user/me is not authorized to perform: sts:AssumeRole",
        )
        with sts:
            found = find(Account("r", role=ROLE, region="eu-central-1"))
        assert found.credentials is None
        assert told in found.problem

    def test_nothing_to_sign_with_is_told(self, sts: Sts, home: Path) -> None:
        (home / "credentials").unlink()
        with sts:
            found = find(Account("r", role=ROLE, region="eu-central-1"))
        assert "with which to assume arn:aws:iam::123456789012:role/bedrock" in found.problem
        assert sts.asked == []

    def test_what_sts_would_not_take_is_told(self, sts: Sts) -> None:
        with sts:
            found = find(Account("r", role=Role(ROLE.arn, external_id="e"), region="eu-central-1"))
        assert "Invalid length for parameter ExternalId" in found.problem
        assert sts.asked == []

    def test_no_region_is_told(self, sts: Sts) -> None:
        with sts:
            assert "You must specify a region" in find(Account("r", role=ROLE)).problem

    def test_nonsense_is_not_believed(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (home / "credentials").write_text("[default]\naws_access_key_id=A\naws_secret_access_key=B\n")
        with Place(lambda _: Reply(200, "not XML at all", "text/xml")) as place:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", place.url)
            found = find(Account("r", role=ROLE, region="eu-central-1"))
        assert found.credentials is None
        assert found.problem

    def test_one_that_does_not_answer_is_not_waited_for(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (home / "credentials").write_text("[default]\naws_access_key_id=A\naws_secret_access_key=B\n")
        with Sts({"A": "B"}) as sts:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
            monkeypatch.setattr("stargate.credentials.chain._READ_SECONDS", 0.2)
            sts.gate.clear()
            found = find(Account("r", role=ROLE, region="eu-central-1"))
            assert len(sts.asked) <= 2
        assert "ReadTimeoutError" in found.problem


class TestWebIdentity:
    """IRSA: a token in a file, which the kubelet exchanges for another now and then."""

    def test_the_token_is_read_anew(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        token = home / "token"
        put(
            monkeypatch,
            {
                "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
                "AWS_ROLE_ARN": ROLE.arn,
                "AWS_ROLE_SESSION_NAME": "pod",
                "AWS_REGION": "eu-west-1",
            },
        )
        with Sts() as sts:
            put(monkeypatch, sts.environment)
            for number, text in enumerate(("eyJ.first", "eyJ.second"), 1):
                token.write_text(text)
                found = find(USUAL)
                assert found.method == "assume-role-with-web-identity"
                assert keys_of(found) == (f"ASIA{number}", f"secret{number}", f"token{number}")
        assert [asked.form["WebIdentityToken"] for asked in sts.asked] == ["eyJ.first", "eyJ.second"]
        assert {asked.form["RoleArn"] for asked in sts.asked} == {ROLE.arn}
        assert {asked.form["RoleSessionName"] for asked in sts.asked} == {"pod"}
        # It is the token that proves who asks.
        assert not any("authorization" in asked.headers for asked in sts.asked)

    def test_the_endpoint_is_the_regions(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without an override: the host that botocore would ask follows AWS_REGION, as EKS sets it."""
        (home / "token").write_text("eyJ.first")
        put(
            monkeypatch,
            {
                "AWS_WEB_IDENTITY_TOKEN_FILE": str(home / "token"),
                "AWS_ROLE_ARN": ROLE.arn,
                "AWS_REGION": "cn-north-1",
                # Nobody listens there: the name is told in the error, nothing leaves this machine.
                "HTTPS_PROXY": "http://127.0.0.1:9",
                "NO_PROXY": "",
            },
        )
        monkeypatch.setattr("stargate.credentials.chain._ATTEMPTS_MAX", 1)
        with Place(lambda _: Reply(502, "")) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            assert find(USUAL).credentials is None
            tunnel = [asked.target for asked in proxy.asked]
        assert tunnel == ["sts.cn-north-1.amazonaws.com.cn:443"]

    def test_another_role_can_be_assumed_from_there(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (home / "token").write_text("eyJ.first")
        put(
            monkeypatch,
            {"AWS_WEB_IDENTITY_TOKEN_FILE": str(home / "token"), "AWS_ROLE_ARN": "arn:aws:iam::1:role/pod"},
        )
        with Sts() as sts:
            put(monkeypatch, sts.environment)
            found = find(Account("r", role=ROLE, region="eu-west-1"))
        assert (found.method, keys_of(found)[0]) == ("assume-role", "ASIA2")
        assert "Credential=ASIA1/" in sts.asked[1].headers["authorization"]

    @pytest.mark.parametrize(
        ("variables", "told"),
        [
            ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/token", "AWS_ROLE_ARN": ROLE.arn},
             "No such file or directory: /nowhere/token"),
            ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/token"}, "no role ARN"),
        ],
    )  # fmt: skip
    def test_what_is_missing_is_told(
        self, variables: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(monkeypatch, {**variables, "AWS_REGION": "eu-west-1"})
        found = find(USUAL)
        assert found.credentials is None
        assert told in found.problem


class TestMetadata:
    def test_an_instances_role_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Metadata() as metadata:
            put(monkeypatch, metadata.environment)
            found = find(USUAL)
            assert (found.method, keys_of(found)) == ("iam-role", ("ASIAIMDS", "imds-secret", "imds-session"))
            assert [(asked.method, asked.target) for asked in metadata.asked] == [
                ("PUT", "/latest/api/token"),
                ("GET", Metadata.ROLE_PATH),
                ("GET", Metadata.ROLE_PATH + "bedrock-role"),
            ]
            # An old token would be answered 401; every search asks for its own.
            metadata.forget()
            metadata.key_id = "ASIANEXT"
            assert keys_of(find(USUAL))[0] == "ASIANEXT"

    def test_a_refusal_is_nothing_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Metadata() as metadata:
            put(monkeypatch, metadata.environment)
            metadata.refusal = {
                "Code": "AssumeRoleUnauthorizedAccess",
                "Message": "EC2 cannot assume the role",
            }
            assert find(USUAL).credentials is None

    def test_it_is_not_asked_where_it_is_switched_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Metadata() as metadata:
            put(monkeypatch, {**metadata.environment, "AWS_EC2_METADATA_DISABLED": "true"})
            assert find(USUAL).credentials is None
            assert metadata.asked == []


class TestContainer:
    def test_the_token_is_read_anew(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        token = home / "pod-token"
        token.write_text("FIRST")
        with Container(token) as container:
            put(monkeypatch, container.environment)
            found = find(USUAL)
            assert (found.method, keys_of(found)) == (
                "container-role",
                ("ASIAFIRST", "pod-secret", "pod-session"),
            )
            token.write_text("SECOND")
            container.valid = "SECOND"
            assert keys_of(find(USUAL))[0] == "ASIASECOND"
        # Verbatim: there is no word before it.
        assert [asked.headers["authorization"] for asked in container.asked] == ["FIRST", "SECOND"]

    def test_a_token_that_is_named_must_be_there(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        token = home / "pod-token"
        token.write_text("FIRST")
        with Container(token) as container:
            put(monkeypatch, container.environment)
            token.unlink()
            found = find(USUAL)
            assert found.credentials is None
            assert str(token) in found.problem
            assert container.asked == []

    def test_no_other_host_is_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/credentials")
        found = find(USUAL)
        assert found.credentials is None
        assert "ValueError at botocore/utils.py" in found.problem


class TestSso:
    """A login by `aws sso login`, whose token lies in the home's cache.

    In a process of its own: botocore looks for the home directory once, when it is imported.
    """

    LOOK: Final = (
        "from stargate.credentials import find\n"
        "from stargate_core.direction import Account\n"
        "found = find(Account('sso', profile='sso'))\n"
        "held = found.credentials\n"
        "print(found.method, held and held.access_key_id, held and held.secret_access_key.reveal(),"
        " found.problem, sep='|')\n"
    )

    @staticmethod
    def log_in(home: Path, key: str, seconds: float) -> None:
        """Leave the token of a login as AWS's command line does, under the hash of its name."""
        cache = home / ".aws" / "sso" / "cache"
        cache.mkdir(parents=True)
        file = cache / f"{sha1(key.encode()).hexdigest()}.json"
        file.write_text(
            json.dumps(
                {
                    "startUrl": "https://example.awsapps.com/start",
                    "region": "eu-west-1",
                    "accessToken": "sso-login-token",
                    "expiresAt": later(seconds),
                }
            )
        )

    def look(self, home: Path, variables: dict[str, str]) -> list[str]:
        path = {"PATH": os.environ["PATH"]}
        done = subprocess.run(
            [sys.executable, "-c", self.LOOK],
            env={**path, **environment_of(home), **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout.strip().split("|")

    ACCOUNT: Final = "sso_account_id = 123456789012\nsso_role_name = Bedrock\n"

    def test_the_old_form(self, home: Path) -> None:
        (home / "config").write_text(
            f"[profile sso]\nsso_start_url = https://example.awsapps.com/start\n{self.ACCOUNT}"
            "sso_region = eu-west-1\n"
        )
        self.log_in(home, "https://example.awsapps.com/start", 2 * HOUR)
        with Portal(token="sso-login-token") as portal:
            assert self.look(home, portal.environment) == ["sso", "ASIABedrock", "sso-secret", ""]

    def test_the_form_with_a_session(self, home: Path) -> None:
        (home / "config").write_text(
            f"[profile sso]\nsso_session = corp\n{self.ACCOUNT}"
            "[sso-session corp]\nsso_start_url = https://example.awsapps.com/start\nsso_region = eu-west-1\n"
        )
        self.log_in(home, "corp", 2 * HOUR)
        with Portal(token="sso-login-token") as portal:
            assert self.look(home, portal.environment) == ["sso", "ASIABedrock", "sso-secret", ""]

    def test_a_login_that_has_ended_is_told(self, home: Path) -> None:
        (home / "config").write_text(
            f"[profile sso]\nsso_start_url = https://example.awsapps.com/start\n{self.ACCOUNT}"
            "sso_region = eu-west-1\n"
        )
        self.log_in(home, "https://example.awsapps.com/start", -HOUR)
        with Portal(token="another") as portal:
            method, key, _, problem = self.look(home, portal.environment)
        assert (method, key) == ("nowhere", "None")
        assert "aws sso login" in problem


class TestFinding:
    def test_nowhere_is_said(self) -> None:
        found = find(USUAL)
        assert (found.credentials, found.method) == (None, "nowhere")
        assert "none of the usual AWS places" in found.problem

    def test_many_threads_may_look_at_once(self, home: Path) -> None:
        names = [f"n{number}" for number in range(8)]
        (home / "credentials").write_text(
            "".join(f"[{n}]\naws_access_key_id=AKID{n}\naws_secret_access_key=s\n" for n in names)
        )
        found: dict[str, Found] = {}

        def look(name: str) -> None:
            found[name] = find(Account(name, profile=name))

        threads = [threading.Thread(target=look, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {name: keys_of(one)[0] for name, one in found.items()} == {n: f"AKID{n}" for n in names}

    def test_the_stand_ins_time_is_todays(self) -> None:
        """The other tests compare with it."""
        when = datetime.datetime.strptime(later(0), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.UTC)
        assert when.timestamp() == pytest.approx(time.time(), abs=5)

"""What went wrong is told without a secret: marked ones are planted wherever botocore could pick them up."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import botocore.exceptions
import pytest

from stargate.credentials import find
from stargate.credentials.problems import Unusable, problem_of
from stargate_core.direction import Account, Role
from support.aws_places import Container, Metadata, Place, Reply, Sts, environment_of, isolate, sts_error

PLANTED: Final = "pLaNtEd0123456789/abcdefghijklmnop+qrstuv"
"""As long and dense as a secret access key."""
ROLE: Final = Role("arn:aws:iam::123456789012:role/bedrock", external_id="outside")
WITH_ROLE: Final = Account("r", role=ROLE, region="eu-west-1")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home where AWS's tools find nothing."""
    isolate(monkeypatch, tmp_path)
    return tmp_path


@pytest.fixture
def plant(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and a token that nobody may ever see."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PLANTED)
    monkeypatch.setenv("AWS_SESSION_TOKEN", PLANTED)


def shown(account: Account) -> str:
    """What comes out when credentials are looked for in vain."""
    found = find(account)
    assert found.credentials is None
    assert found.problem
    return repr(found)


class TestPlanted:
    """Each of the places, saying a secret."""

    @pytest.mark.usefixtures("plant")
    @pytest.mark.parametrize(
        "code", ["AccessDenied", "SignatureDoesNotMatch", "ValidationError", PLANTED, ""]
    )
    def test_sts_repeats_the_request(self, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def answer(asked: Any) -> Reply:
            token = asked.headers["x-amz-security-token"]
            assert token == PLANTED
            return sts_error(
                403, code, f"The canonical string should have been 'POST\n/\nx-amz-security-token:{token}\n'"
            )

        with Place(answer) as place:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", place.url)
            assert PLANTED not in shown(WITH_ROLE)
            assert place.asked

    @pytest.mark.usefixtures("plant")
    def test_sts_answers_with_half_of_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        body = f"<AssumeRoleResponse><AssumeRoleResult><Credentials><SecretAccessKey>{PLANTED}</SecretAccess"
        for text in (body, body + "Key></Credentials></AssumeRoleResult></AssumeRoleResponse>"):
            with Place(lambda _, text=text: Reply(200, text, "text/xml")) as place:  # type: ignore[misc]
                monkeypatch.setenv("AWS_ENDPOINT_URL_STS", place.url)
                assert PLANTED not in shown(WITH_ROLE)

    def test_a_web_identitys_token_comes_back(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (home / "token").write_text(f"eyJhbGciOi.{PLANTED}.sig")
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(home / "token"))
        monkeypatch.setenv("AWS_ROLE_ARN", ROLE.arn)
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        with Sts() as sts:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
            sts.failure = (400, "InvalidIdentityToken", f"Token eyJhbGciOi.{PLANTED}.sig is not known")
            out = shown(Account(""))
        assert "InvalidIdentityToken: Token … is not known" in out
        assert PLANTED not in out

    def test_a_containers_endpoint_repeats_its_headers(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (home / "token").write_text("right")
        # Its three attempts have a second each between them.
        monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
        with Container(home / "token") as container:
            for name, value in container.environment.items():
                monkeypatch.setenv(name, value)
            (home / "token").write_text(PLANTED)
            out = shown(Account(""))
            assert "the endpoint answered with status 403" in out
            assert PLANTED not in out
            container.refusal = Reply(200, json.dumps({"SecretAccessKey": PLANTED}))
            assert PLANTED not in shown(Account(""))
            container.refusal = Reply(200, f'{{"SecretAccessKey": "{PLANTED}')
            assert PLANTED not in shown(Account(""))

    def test_a_containers_token_is_no_header(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (home / "token").write_text("right")
        monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
        with Container(home / "token") as container:
            for name, value in container.environment.items():
                monkeypatch.setenv(name, value)
            for text in (f"{PLANTED}\n", f"{PLANTED}\x00", f"{PLANTED}é€"):
                (home / "token").write_text(text)
                assert PLANTED not in shown(Account(""))

    def test_the_metadata_service_says_half(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Metadata() as metadata:
            for name, value in metadata.environment.items():
                monkeypatch.setenv(name, value)
            metadata.refusal = {"Code": "Success", "AccessKeyId": "A", "SecretAccessKey": PLANTED}
            assert PLANTED not in shown(Account(""))

    @pytest.mark.parametrize(
        "printed",
        [
            f'{{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "{PLANTED}"',
            f'{{"Version": "{PLANTED}", "AccessKeyId": "A", "SecretAccessKey": "s"}}',
            f'{{"Version": 1, "SecretAccessKey": "{PLANTED}"}}',
            f'{{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "s", "Expiration": "{PLANTED}"}}',
            f'["{PLANTED}"]',
            f'{{"Version": 1, "AccessKeyId": {{"{PLANTED}": 1}}, "SecretAccessKey": "s"}}',
            f'{{"Version": 1, "AccessKeyId": "A {PLANTED}", "SecretAccessKey": "s"}}',
        ],
    )
    @pytest.mark.parametrize("through_role", [False, True], ids=["its own", "a source profile's"])
    def test_a_process_prints_nonsense(
        self,
        home: Path,
        monkeypatch: pytest.MonkeyPatch,
        printed: str,
        through_role: bool,
    ) -> None:
        (home / "printed").write_text(printed)
        command = f"credential_process = cat {home}/printed\n"
        (home / "config").write_text(
            f"[default]\nregion=eu-west-1\nrole_arn={ROLE.arn}\nsource_profile=b\n[profile b]\n{command}"
            if through_role
            else f"[default]\n{command}"
        )
        with Sts() as sts:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
            assert PLANTED not in shown(Account(""))

    @pytest.mark.parametrize("through_role", [False, True], ids=["its own", "a source profile's"])
    def test_a_process_says_it_when_it_fails(self, home: Path, through_role: bool) -> None:
        (home / "helper.py").write_text(f"import sys; print({PLANTED!r}, file=sys.stderr); sys.exit(1)")
        command = f"credential_process = {sys.executable} {home}/helper.py\n"
        (home / "config").write_text(
            f"[default]\nregion=eu-west-1\nrole_arn={ROLE.arn}\nsource_profile=b\n[profile b]\n{command}"
            if through_role
            else f"[default]\n{command}"
        )
        out = shown(Account(""))
        assert PLANTED not in out
        assert ("is not repeated" if through_role else "ended with status 1") in out

    def test_addresses_hide_passwords(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
        with Place(lambda _: Reply(200, "")) as place:
            port = place.url.rpartition(":")[2]
        # Nobody listens there any longer.
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://user:hush@127.0.0.1:{port}/x?key=hush")
        out = shown(WITH_ROLE)
        assert f"127.0.0.1:{port}" in out
        assert "hush" not in out

    def test_nothing_is_printed_beside(self, home: Path) -> None:
        """In a process as the gateway's, where nobody has set up logging."""
        (home / "helper.py").write_text(f"import sys; print({PLANTED!r}, file=sys.stderr); sys.exit(1)")
        (home / "config").write_text(
            f"[default]\nregion=eu-west-1\nrole_arn={ROLE.arn}\nsource_profile=b\n"
            f"[profile b]\ncredential_process = {sys.executable} {home}/helper.py\n"
        )
        code = (
            "from stargate.credentials import find\nfrom stargate_core.direction import Account\n"
            "print(find(Account('')))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"PATH": os.environ["PATH"], **environment_of(home)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "CredentialRetrievalError" in done.stdout
        assert PLANTED not in done.stdout + done.stderr
        assert done.stderr == ""


def client_error(code: Any, message: str) -> Exception:
    return botocore.exceptions.ClientError({"Error": {"Code": code, "Message": message}}, "AssumeRole")


ERRORS: Final[dict[str, tuple[Callable[[], Exception], str]]] = {
    "ours": (lambda: Unusable("so it is"), "so it is"),
    "a principal": (
        lambda: client_error("AccessDenied", "User: arn:aws:sts::1:assumed-role/a-long-name/session may not"),
        "ClientError: AccessDenied: User: arn:aws:sts::1:assumed-role/a-long-name/session may not",
    ),
    "a code alone": (lambda: client_error("InternalFailure", "words"), "ClientError: InternalFailure"),
    "no code": (lambda: client_error(None, "words"), "ClientError at an unknown place"),
    "a code that is none": (lambda: client_error("a b", "words"), "ClientError at an unknown place"),
    "a file": (lambda: PermissionError(13, "Not permitted", "/a"), "PermissionError: Not permitted: /a"),
    "a number alone": (lambda: OSError(5), "OSError at an unknown place"),
    "a missing key": (
        lambda: botocore.exceptions.CredentialRetrievalError(
            provider="custom-process", error_msg="Missing required key in response: 'AccessKeyId'"
        ),
        "CredentialRetrievalError: custom-process: Missing required key in response: 'AccessKeyId'",
    ),
    "an unknown exception": (lambda: ValueError(PLANTED), "ValueError at an unknown place"),
    "a quoted header": (
        lambda: botocore.exceptions.HTTPClientError(error=ValueError(f"Invalid header value {PLANTED!r}")),
        "HTTPClientError at an unknown place",
    ),
    "expired": (
        lambda: RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."),
        "RuntimeError: the credentials found have expired already",
    ),
    "several lines": (lambda: Unusable("one\n two\r\nthree"), "one two three"),
}  # fmt: skip


class TestWords:
    @pytest.mark.parametrize(("make", "told"), ERRORS.values(), ids=list(ERRORS))
    def test_each_kind(self, make: Callable[[], Exception], told: str) -> None:
        assert problem_of(make()) == told

    def test_it_is_short(self) -> None:
        assert len(problem_of(Unusable("word " * 1_000))) < 500

    def test_the_place_is_told(self) -> None:
        try:
            json.loads("{")
        except ValueError as error:
            assert problem_of(error).startswith("JSONDecodeError at json/decoder.py:")

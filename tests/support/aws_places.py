"""Stand-ins for the places AWS keeps credentials in: STS, the metadata service, a container's endpoint, SSO.

Each is a small HTTP server on loopback, in threads of its own, that keeps what it was asked and answers in
the forms that AWS documents: STS in XML of the 2011-06-15 API, the metadata service in IMDSv2's three steps,
the container's endpoint with the token verbatim in `Authorization`, SSO's portal in JSON with times in
milliseconds. They refuse what AWS refuses: an AssumeRole without a signature, a metadata request without a
fresh token, a container request with another token than the file's.

Sources: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html;
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html;
https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html;
https://docs.aws.amazon.com/singlesignon/latest/PortalAPIReference/API_GetRoleCredentials.html
"""

import datetime
import http.server
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from stargate_core.aws.credentials import VerifyResult
from stargate_core.aws.sigv4 import Verifier, parse_authorization
from stargate_core.secret import Secret

BODY_BYTES_MAX: Final = 64 * 1024
ASKED_MAX: Final = 1_000
SOCKET_SECONDS: Final = 10.0
HOUR: Final = 3_600.0


def environment_of(home: Path) -> dict[str, str]:
    """An environment in which AWS's tools find nothing, and ask nobody."""
    return {
        "HOME": str(home),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(home / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
        "NO_PROXY": "*",
    }


def isolate(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Let nothing of this machine's own AWS configuration, or of its proxies, be seen."""
    for name in tuple(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in environment_of(home).items():
        monkeypatch.setenv(name, value)


class Asked(msgspec.Struct, frozen=True):
    """A request to a stand-in."""

    method: str
    target: str
    headers: dict[str, str]
    """With names in lower case."""
    body: str

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form, as STS's requests are."""
        return dict(parse_qsl(self.body))


class Reply(msgspec.Struct, frozen=True):
    """An answer of a stand-in."""

    status: int
    body: str
    content_type: str = "application/json"


def later(seconds: float) -> str:
    """A time from now, as AWS writes them."""
    when = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(seconds=seconds)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


class Place:
    """A stand-in: `with Place(answer) as place`; `url` says where, `asked` what it was asked."""

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        self.asked: list[Asked] = []
        self.gate = threading.Event()
        """Answers wait for this: clear it, and a request hangs."""
        self.gate.set()
        place = self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = SOCKET_SECONDS

            def _answer(self) -> None:
                length = min(int(self.headers.get("Content-Length", "0")), BODY_BYTES_MAX)
                body = self.rfile.read(length).decode()
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, body)
                if len(place.asked) < ASKED_MAX:
                    place.asked.append(asked)
                place.gate.wait(SOCKET_SECONDS)
                reply = answer(asked)
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.content_type)
                self.send_header("Content-Length", str(len(reply.body.encode())))
                self.end_headers()
                self.wfile.write(reply.body.encode())

            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def do_PUT(self) -> None:
                self._answer()

            def do_CONNECT(self) -> None:
                self._answer()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Sts(Place):
    """The token service. Each answer's key id is another: ASIA1, ASIA2, …

    It knows the secrets of `signers`, by their key ids, and those it gave itself. `failure` is (status, code,
    message) while it refuses; `seconds` is how long what it gives lasts.
    """

    def __init__(self, signers: dict[str, str] | None = None, *, seconds: float = 4 * HOUR) -> None:
        super().__init__(self._reply)
        self._signers = dict(signers or {})
        self.seconds = seconds
        self.failure: tuple[int, str, str] | None = None
        self._given = 0

    @property
    def environment(self) -> dict[str, str]:
        """How botocore finds it."""
        return {"AWS_ENDPOINT_URL_STS": self.url}

    def _reply(self, asked: Asked) -> Reply:
        action = asked.form.get("Action", "")
        if self.failure is not None:
            return sts_error(*self.failure)
        if action == "AssumeRole" and (complaint := self._complaint(asked)):
            return sts_error(403, complaint, "The request is not signed as it should be")
        if action == "AssumeRoleWithWebIdentity" and "authorization" in asked.headers:
            return sts_error(400, "ValidationError", "This action is not signed")
        self._given += 1
        number = self._given
        self._signers[f"ASIA{number}"] = f"secret{number}"
        return Reply(
            200,
            f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>'
            f"<AssumedRoleUser><AssumedRoleId>AROA:s</AssumedRoleId>"
            f"<Arn>arn:aws:sts::123456789012:assumed-role/bedrock/s</Arn></AssumedRoleUser>"
            f"<Credentials><AccessKeyId>ASIA{number}</AccessKeyId>"
            f"<SecretAccessKey>secret{number}</SecretAccessKey><SessionToken>token{number}</SessionToken>"
            f"<Expiration>{later(self.seconds)}</Expiration></Credentials>"
            f"</{action}Result><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>",
            "text/xml",
        )

    def _complaint(self, asked: Asked) -> str:
        """What is wrong with a request's signature, as STS names it; '' if nothing is."""
        presented = parse_authorization(_raw(asked))
        if presented is None:
            return "MissingAuthenticationToken"
        secret = self._signers.get(presented.access_key_id)
        if secret is None:
            return "InvalidClientTokenId"
        result = Verifier(Secret(secret), services=(b"sts",)).verify(
            presented,
            asked.method.encode(),
            asked.target.encode(),
            _raw(asked),
            asked.body.encode(),
            time.time_ns(),
        )
        return "" if result is VerifyResult.OK else "SignatureDoesNotMatch"


def region_of(asked: Asked) -> str:
    """For which region a request was signed."""
    presented = parse_authorization(_raw(asked))
    assert presented is not None, "it is signed"
    return presented.region.decode()


def _raw(asked: Asked) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in asked.headers.items()]


def sts_error(status: int, code: str, message: str) -> Reply:
    """An error as STS words them."""
    return Reply(
        status,
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
        f"<Code>{code}</Code><Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>",
        "text/xml",
    )


class Metadata(Place):
    """The metadata service of an instance (IMDSv2). `forget` makes its tokens stale."""

    ROLE_PATH: Final = "/latest/meta-data/iam/security-credentials/"

    def __init__(self, *, role: str = "bedrock-role", seconds: float = 6 * HOUR) -> None:
        super().__init__(self._reply)
        self.key_id = "ASIAIMDS"
        self.seconds = seconds
        self.refusal: dict[str, str] | None = None
        self._role = role
        self._tokens: set[str] = set()

    @property
    def environment(self) -> dict[str, str]:
        """How botocore finds it: the endpoint is this one, so that asking it is allowed."""
        return {
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_V1_DISABLED": "true",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.url,
        }

    def forget(self) -> None:
        """As after a restart: no token is good any longer."""
        self._tokens.clear()

    def _reply(self, asked: Asked) -> Reply:
        if asked.method == "PUT" and asked.target == "/latest/api/token":
            if not asked.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "").isdigit():
                return Reply(400, "")
            token = f"imds-token-{len(self.asked)}"
            self._tokens.add(token)
            return Reply(200, token, "text/plain")
        if asked.headers.get("x-aws-ec2-metadata-token") not in self._tokens:
            return Reply(401, "")
        if asked.target == self.ROLE_PATH:
            return Reply(200, self._role, "text/plain")
        if asked.target != self.ROLE_PATH + self._role:
            return Reply(404, "")
        if self.refusal is not None:
            return Reply(200, json.dumps(self.refusal))
        return Reply(
            200,
            json.dumps(
                {
                    "Code": "Success",
                    "LastUpdated": later(0),
                    "Type": "AWS-HMAC",
                    "AccessKeyId": self.key_id,
                    "SecretAccessKey": "imds-secret",
                    "Token": "imds-session",
                    "Expiration": later(self.seconds),
                }
            ),
        )


class Container(Place):
    """The credentials' endpoint of an ECS task or an EKS pod, which knows the token in `token_file`."""

    def __init__(self, token_file: Path, *, seconds: float = 6 * HOUR) -> None:
        super().__init__(self._reply)
        self.seconds = seconds
        self.valid = token_file.read_text()
        self.refusal: Reply | None = None
        self._token_file = token_file

    @property
    def environment(self) -> dict[str, str]:
        """How botocore finds it, as EKS Pod Identity sets it."""
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.url}/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(self._token_file),
        }

    def _reply(self, asked: Asked) -> Reply:
        if self.refusal is not None:
            return self.refusal
        if asked.target != "/v1/credentials" or asked.headers.get("authorization") != self.valid:
            return Reply(403, json.dumps({"code": "AccessDenied", "message": f"not {asked.headers}"}))
        return Reply(
            200,
            json.dumps(
                {
                    "AccessKeyId": f"ASIA{self.valid}",
                    "SecretAccessKey": "pod-secret",
                    "Token": "pod-session",
                    "Expiration": later(self.seconds),
                    "AccountId": "123456789012",
                }
            ),
        )


class Portal(Place):
    """SSO's portal, which gives the credentials of a role to the holder of a login's token."""

    def __init__(self, *, token: str) -> None:
        super().__init__(self._reply)
        self._token = token

    @property
    def environment(self) -> dict[str, str]:
        """How botocore finds it."""
        return {"AWS_ENDPOINT_URL_SSO": self.url}

    def _reply(self, asked: Asked) -> Reply:
        target = urlsplit(asked.target)
        if asked.headers.get("x-amz-sso_bearer_token") != self._token:
            return Reply(401, json.dumps({"__type": "UnauthorizedException", "message": "Session not valid"}))
        if target.path != "/federation/credentials":
            return Reply(404, json.dumps({"__type": "ResourceNotFoundException", "message": "No such thing"}))
        query = dict(parse_qsl(target.query))
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=4)
        return Reply(
            200,
            json.dumps(
                {
                    "roleCredentials": {
                        "accessKeyId": f"ASIA{query['role_name']}",
                        "secretAccessKey": "sso-secret",
                        "sessionToken": "sso-session",
                        "expiration": int(end.timestamp() * 1e3),
                    }
                }
            ),
        )

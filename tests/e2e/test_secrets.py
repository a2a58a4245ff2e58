"""No secret, prompt or completion in anything that the running gateway writes.

Marks are planted wherever a secret or somebody's words can stand: in keys of every header, key pairs, tokens,
AWS credentials from every place, the store's password, private keys, prompts, tool arguments, images. Then
callers come, with good requests and every kind of bad one, while Bedrock, Redis and a third party's plugin
fail. In the end all that the process has written is searched for the marks, as they are and as they are in
base64, hexadecimal digits, URLs and JSON: its log, both its outputs with everything told (`--log-level
debug`), the files of its temporary folder, what other callers were answered, and the contents of Redis.

One place may hold what was said: cached answers, which is what a cache is for. They stand under names of
their own (`entry:`), and nowhere else.
"""

import base64
import contextlib
import hashlib
import json
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import jwt
import pytest

from support.gateway import RunningGateway, configuration, eventually, running_gateway
from support.raw import Raw, chat, connected, request
from support.redis import RunningRedis, needs_redis, running_redis
from support.simulator import RunningSimulator, bedrock_client, running_simulator
from support.third_party import install
from support.tls import Authority

SECRETS: Final = {
    name: f"PLANTED-{name}-{'0123456789abcdef' * 3}"
    for name in (
        "KEY-A", "KEY-B", "KEY-EXPIRED", "KEY-LIVE", "KEY-WRONG", "PAIR", "PAIR-WRONG", "ADMIN", "JWT",
        "JWT-WRONG", "STORE", "STORE-WRONG", "AWS", "AWS-SESSION", "AWS-WRONG", "BEDROCK-KEY", "COOKIE",
        "RAISED",
    )
}  # fmt: skip
WORDS: Final = {
    name: f"PLANTED/{name}+words="
    for name in ("PROMPT", "SYSTEM", "TOOL", "ARGUMENT", "RESULT", "METADATA", "BROKEN", "QUOTED", "QUERY")
}
IMAGE: Final = base64.b64encode(b"\x89PNG\r\n\x1a\nPLANTED-IMAGE" + bytes(64)).decode()
ISSUER: Final = "https://issuer.test"
AWS_ID: Final = "AKIDPLANTED"
SIGNER_ID: Final = "AKIDTEAMA"
SETTLE_SECONDS: Final = 0.3
"""A sink gathers lines for less."""

BROKEN_PLUGIN: Final = '''
import msgspec

from stargate_core.config.schema import Scope


class Config(msgspec.Struct, frozen=True):
    pass


class Clumsy:
    """Fails in the phase that a header names, and says all it knows."""

    NAME = "clumsy"
    PRIORITY = 500
    CONFIG = Config
    SCOPES = frozenset({Scope.GLOBAL})

    def __init__(self, config):
        pass

    def _fail(self, ctx, phase):
        if ctx.request.header(b"x-fail") == phase:
            raise ValueError(f"RAISED {ctx.request.headers} {ctx.request.body} {ctx.request!r}")

    def access(self, ctx):
        self._fail(ctx, b"access")

    def header_filter(self, ctx):
        self._fail(ctx, b"header_filter")

    def body_filter(self, ctx):
        self._fail(ctx, b"body_filter")

    def log(self, ctx):
        self._fail(ctx, b"log")
'''.replace("RAISED", SECRETS["RAISED"])


# ---------------------------------------------------------------------------------------------- the search


def forms(mark: str) -> Iterator[tuple[str, bytes]]:
    """A mark in all the forms in which it may stand somewhere, each with its name."""
    raw = mark.encode()
    yield "as it is", raw
    for before in range(3):
        # Only the digits that depend on the mark alone, wherever in a text it begins.
        whole = base64.b64encode(b"\0" * before + raw).rstrip(b"=")[:-1]
        inner = whole[(before * 8 + 5) // 6 :]
        yield "base64", inner
        yield "base64url", inner.replace(b"+", b"-").replace(b"/", b"_")
    yield "hexadecimal", raw.hex().encode()
    yield "HEXADECIMAL", raw.hex().upper().encode()
    yield "a URL", quote(mark, safe="").encode()
    yield "a URL's path", quote(mark).encode()
    yield "a URL in full", "".join(f"%{byte:02X}" for byte in raw).encode()
    yield "JSON", json.dumps(mark)[1:-1].encode()
    yield "JSON with /", mark.replace("/", "\\/").encode()
    yield "JSON in full", "".join(f"\\u{ord(char):04x}" for char in mark).encode()


def leaks(text: bytes, marks: Mapping[str, str]) -> list[str]:
    """Which marks stand in the text, and how."""
    return [
        f"{name} as {form}" for name, mark in marks.items() for form, wanted in forms(mark) if wanted in text
    ]


ALL: Final = {**SECRETS, **WORDS, "IMAGE": IMAGE}


@pytest.mark.parametrize("hide", [
    str.encode,
    lambda mark: base64.b64encode(mark.encode()),
    lambda mark: base64.b64encode(b"x" + mark.encode()),
    lambda mark: base64.urlsafe_b64encode(b"xy" + mark.encode() + b"zz"),
    lambda mark: mark.encode().hex().encode(),
    lambda mark: quote(mark).encode(),
    lambda mark: json.dumps(mark).encode(),
])  # fmt: skip
@pytest.mark.parametrize("name", ALL)
def test_the_search_finds_what_is_there(hide: Any, name: str) -> None:
    found = leaks(b"some text, " + hide(ALL[name]) + b" and more", ALL)
    assert any(leak.startswith(f"{name} as ") for leak in found)
    assert leaks(b"some text, and more", ALL) == []


# ------------------------------------------------------------------------------------ one gateway, everything


class Witness:
    """All that a gateway has written, by where it was found."""

    def __init__(self) -> None:
        self.written: dict[str, bytes] = {}
        self.statuses: set[int] = set()
        self.cached = b""
        """The cached answers in Redis."""
        self.sent: list[dict[str, Any]] = []
        """What the simulator has received."""
        self.private_key = ""
        """A line of the listener's."""

    def note(self, where: str, text: bytes | str) -> None:
        """Keep what was found there."""
        self.written[where] = text if isinstance(text, bytes) else text.encode()


def token(secret: str, **claims: Any) -> str:
    """A JWT of the issuer, or of somebody who would like to be."""
    now = int(time.time())
    told = {"iss": ISSUER, "aud": "stargate", "sub": "team-a", "iat": now, "exp": now + 600, **claims}
    return jwt.encode(told, secret, algorithm="HS256")


TOKENS: Final = {
    "TOKEN": token(SECRETS["JWT"]),
    "TOKEN-WRONG": token(SECRETS["JWT-WRONG"]),
    "TOKEN-OLD": token(SECRETS["JWT"], exp=1_000_000_000),
}

CONSUMERS: Final = [
    {
        "username": "team-a",
        "keyauth_credentials": [
            {"key": SECRETS["KEY-A"], "id": "laptop"},
            {"key": SECRETS["KEY-EXPIRED"], "expires_at": "2020-01-01T00:00:00Z"},
        ],
        "sigv4_credentials": [{"access_key_id": SIGNER_ID, "secret_access_key": SECRETS["PAIR"]}],
    },
    {"username": "team-b", "keyauth_credentials": [{"key": SECRETS["KEY-B"]}]},
]


PLUGINS: Final = [
    {
        "name": "jwt-auth",
        "config": {"issuers": [{"issuer": ISSUER, "audience": "stargate", "secret": SECRETS["JWT"]}]},
    },
    {"name": "response-cache", "config": {"cache_ttl": 60}},
    {"name": "rate-limiter", "config": {"limits": [{"unit": "requests", "limit": 10_000, "window": 60}]}},
    {"name": "clumsy"},
]
ENVIRONMENT: Final = {
    "AWS_ACCESS_KEY_ID": AWS_ID,
    "AWS_SECRET_ACCESS_KEY": SECRETS["AWS"],
    "AWS_SESSION_TOKEN": SECRETS["AWS-SESSION"],
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


def said(text: str = "", **more: Any) -> bytes:
    """A chat request full of marks."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    call["function"]["arguments"] = json.dumps({"x": WORDS["ARGUMENT"]})  # type: ignore[index]
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}}
    messages = [
        {"role": "system", "content": WORDS["SYSTEM"]},
        {"role": "user", "content": [{"type": "text", "text": WORDS["PROMPT"]}, picture]},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": WORDS["RESULT"]},
        {"role": "user", "content": f"{WORDS['PROMPT']} {text}"},
    ]
    parameters = {"type": "object", "properties": {"x": {"type": "string", "description": WORDS["TOOL"]}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    return chat("", messages=messages, tools=[tool], metadata={"team": WORDS["METADATA"]}, **more)


def with_key(name: str, value: str, body: bytes, **headers: str) -> bytes:
    """A request that bears its key in this header."""
    data = request(body=body, headers={name: value, "Cookie": SECRETS["COOKIE"], **headers})
    # The client of these tests sends one of its own.
    return re.sub(rb"Authorization: Bearer sk-team-a[^\r]*\r\n", b"", data)


class Callers:
    """Who comes to the gateway."""

    def __init__(self, gateway: RunningGateway, trusted: Path, witness: Witness) -> None:
        self._gateway = gateway
        self._trusted = trusted
        self._tls = ssl.create_default_context(cafile=trusted)
        self._witness = witness

    @contextlib.contextmanager
    def connected(self) -> Generator[Raw]:
        """A connection, with TLS."""
        with connected(self._gateway.url, tls=self._tls) as raw:
            yield raw

    def ask(self, data: bytes) -> bytes:
        """The whole answer to one request, head and body."""
        with self.connected() as raw:
            raw.send(data)
            answer = raw.answer()
        self._witness.statuses.add(answer.status)
        return repr(answer.headers).encode() + answer.body

    def good(self) -> None:
        """Each way to show a key, each kind of answer."""
        key = SECRETS["KEY-A"]
        for name, value in (
            ("Authorization", f"Bearer {key}"),
            ("x-api-key", key),
            ("api-key", key),
            ("Authorization", f"Bearer {TOKENS['TOKEN']}"),
            ("Authorization", f"Bearer {SECRETS['KEY-LIVE']}"),
        ):
            for stream in (False, True):
                answer = self.ask(with_key(name, value, said(name, stream=stream)))
                assert WORDS["PROMPT"].encode() in answer.replace(b"\\/", b"/"), answer
        # The same again comes from the cache.
        hit = self.ask(with_key("x-api-key", key, said("api-key")))
        assert b"Hit" in hit
        signed = bedrock_client(
            self._gateway.url,
            access_key_id=SIGNER_ID,
            secret_access_key=SECRETS["PAIR"],
            verify=str(self._trusted),
        )
        told = signed.converse(
            modelId="claude",
            messages=[{"role": "user", "content": [{"text": WORDS["PROMPT"]}]}],
            system=[{"text": WORDS["SYSTEM"]}],
        )
        assert WORDS["PROMPT"] in told["output"]["message"]["content"][0]["text"]
        signed.close()

    def refused(self) -> None:
        """What a caller can do wrong; none of the answers says more than it was told."""
        body, key = said("refused"), SECRETS["KEY-A"]
        wrongs = {
            "a wrong key": with_key("x-api-key", SECRETS["KEY-WRONG"], body),
            "an old key": with_key("x-api-key", SECRETS["KEY-EXPIRED"], body),
            "a wrong token": with_key("Authorization", f"Bearer {TOKENS['TOKEN-WRONG']}", body),
            "an old token": with_key("Authorization", f"Bearer {TOKENS['TOKEN-OLD']}", body),
            "two keys": with_key("x-api-key", key, body, **{"api-key": SECRETS["KEY-WRONG"]}),
            "a wrong pair": with_key(
                "Authorization",
                f"AWS4-HMAC-SHA256 Credential={SIGNER_ID}/20270101/us-east-1/bedrock/aws4_request, "
                f"SignedHeaders=host, Signature={SECRETS['PAIR-WRONG']}",
                body,
            ),
            "no JSON": with_key("x-api-key", key, b"{" + WORDS["BROKEN"].encode()),
            "no messages": with_key("x-api-key", key, chat("", messages=WORDS["BROKEN"])),
            "no role": with_key("x-api-key", key, chat("", messages=[{"role": WORDS["BROKEN"]}])),
            "no such path": with_key("x-api-key", key, body).replace(
                b"/v1/chat", f"/nothing?q={quote(WORDS['QUERY'], safe='')}".encode()
            ),
            "no HTTP": WORDS["BROKEN"].encode() + b"\0\r\n\r\n",
            "no length": b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nx-api-key: "
            + f"{key}\r\nContent-Length: {WORDS['BROKEN']}\r\n\r\n".encode(),
        }
        for name, data in wrongs.items():
            self._witness.note(f"the answer to {name}", self.ask(data))

    def unlucky(self) -> None:
        """Whatever can fail behind the gateway, or within it."""
        key = SECRETS["KEY-A"]
        for scenario in (
            "throw-ValidationException", "throw-AccessDeniedException", "throw-ThrottlingException",
            "throw-ExpiredTokenException", "stream-throttlingException", "stream-error", "bad-crc",
            "cut-mid-frame", "garbage", "reset-mid-stream", "malformed-http", "end-before-messageStop",
        ):  # fmt: skip
            for stream in (False, True):
                data = with_key(
                    "x-api-key", key, said(scenario, model=f"simulator.{scenario}", stream=stream)
                )
                self.ask(data)
        for phase in ("access", "header_filter", "body_filter", "log"):
            for stream in (False, True):
                data = with_key("x-api-key", key, said(phase, stream=stream), **{"x-fail": phase})
                answer = self.ask(data)
                if phase in ("access", "header_filter"):
                    self._witness.note(f"the answer to a bug in {phase}", answer)

    def others(self) -> None:
        """Somebody who said nothing: what is in these answers came from elsewhere."""
        for number in range(3):
            answer = self.ask(with_key("x-api-key", SECRETS["KEY-B"], chat(f"Number {number}")))
            self._witness.note(f"an answer to another caller ({number})", answer)
        for path in ("/healthz", "/v1/models", "/nothing"):
            self._witness.note(f"GET {path}", self.ask(request("GET", path, key=SECRETS["KEY-B"])))

    def left(self) -> None:
        """Who leaves in the middle, or is cut off by the process's end."""
        with self.connected() as raw:
            model = "simulator.stall-mid-stream"
            raw.send(with_key("x-api-key", SECRETS["KEY-A"], said("left", model=model, stream=True)))
            raw.read_until(b"data: ")


def contents(redis: RunningRedis) -> tuple[bytes, bytes]:
    """All that is in Redis, names and values: beside the cached answers, and these."""
    beside: list[bytes] = []
    cached: list[bytes] = []
    with redis.client(password=SECRETS["STORE"]) as client:
        for name in client.scan_iter(count=1000):
            place = cached if b"entry:" in name else beside
            place.append(name + b" " + (client.dump(name) or b""))
            kind = client.type(name)
            if kind == b"string":
                place.append(client.get(name) or b"")
            elif kind == b"hash":
                place.append(repr(client.hgetall(name)).encode())
    return b"\n".join(beside), b"\n".join(cached)


def commanded(*arguments: str, stdin: str = "", **environment: str) -> bytes:
    """All that a command of ours prints."""
    command = [sys.executable, "-m", "stargate", *arguments]
    done = subprocess.run(
        command,
        input=stdin.encode(),
        capture_output=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def witness(tmp_path_factory: pytest.TempPathFactory) -> Witness:
    """Everything happens once, and all that was written is kept."""
    folder = tmp_path_factory.mktemp("secrets")
    temporary = folder / "tmp"
    temporary.mkdir()
    path = install(folder, module=BROKEN_PLUGIN, name="clumsies", clumsy="clumsies:Clumsy")
    seen, authority = Witness(), Authority()
    trusted = folder / "ca.pem"
    trusted.write_text(authority.text)
    certificate = authority.issue("localhost", "127.0.0.1")
    seen.private_key = certificate["key"].splitlines()[2]
    aws = ("--access-key-id", AWS_ID, "--secret-access-key", SECRETS["AWS"])
    session = ("--session-token", SECRETS["AWS-SESSION"])
    with (
        running_redis("--requirepass", SECRETS["STORE"]) as redis,
        running_simulator(*aws, *session) as bedrock,
        (folder / "stdout").open("wb") as output,
    ):
        settings = {
            "listen": [{"address": "127.0.0.1:0", "tls": certificate}],
            "store": redis.url.replace("//", f"//:{SECRETS['STORE']}@"),
            "admin_token": SECRETS["ADMIN"],
            "drain_seconds": 0.5,
        }
        changes: dict[str, Any] = {
            "gateway": settings,
            "proxy": {"credentials": None, "allow_unlisted": True, "retry": {"count": 1}},
            "plugins": PLUGINS,
            "consumers": CONSUMERS,
        }
        file, log = folder / "stargate.yaml", folder / "requests.jsonl"
        file.write_text(json.dumps(configuration(bedrock.url, log, **changes)))
        environment = {**ENVIRONMENT, "TMPDIR": str(temporary), "PYTHONPATH": str(path)}
        seen.note("stargate check", commanded("check", "-c", str(file), **environment))
        add = ("keys", "add", "-c", str(file), "--consumer", "team-a", "--id", "live")
        seen.note("stargate keys add", commanded(*add, stdin=SECRETS["KEY-LIVE"], **environment))
        with running_gateway(
            bedrock.url,
            log=log,
            tells="",
            options=("--log-level", "debug"),
            output=output,
            environment=environment,
            **changes,
        ) as gateway:
            seen.note("Redis before its end", contents(redis)[0])
            everything(Callers(gateway, trusted, seen), redis)
            seen.note("stargate keys list", commanded("keys", "list", "-c", str(file), **environment))
            beside, cached = contents(redis)
            seen.note("Redis", beside)
            assert cached
            seen.cached = cached
            with Callers(gateway, trusted, seen).connected() as raw:
                data = said("drained", model="simulator.stall-mid-stream", stream=True)
                raw.send(with_key("x-api-key", SECRETS["KEY-A"], data))
                raw.read_until(b"data: ")
                gateway.process.terminate()
                raw.rest()
                gateway.wait_until_ended()
        seen.note("standard error", "\n".join(gateway.told))
        seen.note("the log", log.read_bytes())
        seen.sent = bedrock.requests()
        seen.note("the simulator's ledger", json.dumps([{**each, "body": None} for each in seen.sent]))
    seen.note("standard output", (folder / "stdout").read_bytes())
    files = [file for file in temporary.rglob("*") if file.is_file()]
    seen.note("its temporary files", b"".join(str(file).encode() + file.read_bytes() for file in files))
    return seen


def everything(callers: Callers, redis: RunningRedis) -> None:
    """All that can happen, in some order."""
    callers.good()
    callers.refused()
    callers.unlucky()
    callers.left()
    callers.others()
    redis.stop()
    for _ in range(2):
        callers.ask(with_key("x-api-key", SECRETS["KEY-A"], said("without a store")))
    callers.others()
    redis.start()
    key = SECRETS["KEY-A"]
    eventually(lambda: b"'x-cache-status': 'Hit" in callers.ask(with_key("x-api-key", key, said("again"))))


PLACES: Final = (
    "the log", "standard error", "standard output", "its temporary files", "Redis", "the simulator's ledger",
    "stargate check", "stargate keys add", "stargate keys list", "Redis before its end",
)  # fmt: skip


@needs_redis
class TestEverythingWritten:
    @pytest.mark.parametrize("place", PLACES)
    def test_it_holds_nothing_planted(self, witness: Witness, place: str) -> None:
        marks = {**ALL, **TOKENS, "PRIVATE KEY": witness.private_key}
        assert leaks(witness.written[place], marks) == []

    def test_nobody_is_answered_with_what_is_not_theirs(self, witness: Witness) -> None:
        marks = {**ALL, **TOKENS, "PRIVATE KEY": witness.private_key}
        answers = {place: text for place, text in witness.written.items() if place not in PLACES}
        assert len(answers) > 15
        for place, text in answers.items():
            # What was wrong may be quoted to whoever sent it; a secret never, not even to its owner.
            own = () if "another caller" in place else ("BROKEN", "QUERY")
            assert leaks(text, {n: mark for n, mark in marks.items() if n not in own}) == [], place

    def test_cached_answers_hold_words_and_no_secret(self, witness: Witness) -> None:
        """It is what a cache is for; and the words are nowhere else in Redis, as the test above shows."""
        assert WORDS["PROMPT"].encode() in witness.cached
        assert leaks(witness.cached, {**SECRETS, **TOKENS}) == []

    def test_keys_are_in_redis_as_hashes_only(self, witness: Witness) -> None:
        digest = hashlib.sha256(SECRETS["KEY-LIVE"].encode()).hexdigest()
        assert digest.encode() in witness.written["Redis before its end"]

    def test_all_of_it_has_happened(self, witness: Witness) -> None:
        """Else nothing would be found for another reason."""
        assert {200, 400, 401, 403, 404, 429, 500, 502, 503} <= witness.statuses
        bodies = json.dumps([each["body"] for each in witness.sent], ensure_ascii=False)
        for name in ("PROMPT", "SYSTEM", "TOOL", "ARGUMENT", "RESULT"):
            assert WORDS[name] in bodies, name
        records = [json.loads(line) for line in witness.written["the log"].splitlines()]
        assert {"complete", "failed", "client_left"} == {record["outcome"] for record in records}
        assert {"PLUGIN_FAILED", "UPSTREAM_ACCESS_DENIED"} <= {record.get("cause") for record in records}
        assert {"hit", "miss"} <= {record.get("cache") for record in records}
        assert b"draining" in witness.written["standard error"]
        assert b"store" in witness.written["standard error"]

    def test_the_process_had_something_to_tell_everywhere(self, witness: Witness) -> None:
        """But on standard output, and in temporary files, where it leaves nothing."""
        silent = {place for place in PLACES if not witness.written[place]}
        assert silent <= {"standard output", "its temporary files"}


# ------------------------------------------------------------------------------------ other ways to go wrong


PRINTS: Final = """\
import json, sys
print({text!r}, file=sys.{stream})
sys.exit({status})
"""


def process(folder: Path, text: str, *, stream: str = "stdout", status: int = 0) -> dict[str, str]:
    """An environment in which credentials come from a process that prints this."""
    script, settings = folder / "credentials.py", folder / "aws.ini"
    script.write_text(PRINTS.format(text=text, stream=stream, status=status))
    settings.write_text(f"[default]\ncredential_process = {sys.executable} {script}\n")
    return {
        "AWS_CONFIG_FILE": str(settings),
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def printed(secret: str, **more: Any) -> str:
    """What a credential process prints."""
    pair = {"AccessKeyId": AWS_ID, "SecretAccessKey": secret, "SessionToken": SECRETS["AWS-SESSION"]}
    return json.dumps({"Version": 1, **pair, **more})


def looked_for(folder: Path, name: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The environment and bedrock-proxy's configuration of one way to have credentials."""
    wrong = {**ENVIRONMENT, "AWS_SECRET_ACCESS_KEY": SECRETS["AWS-WRONG"]}
    fixed = {"access_key_id": AWS_ID, "session_token": SECRETS["AWS-SESSION"]}
    nowhere: dict[str, str] = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null"}
    ways: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
        "environment": (ENVIRONMENT, {}),
        "a wrong environment": (wrong, {}),
        "fixed": ({}, {"credentials": {**fixed, "secret_access_key": SECRETS["AWS"]}}),
        "fixed and wrong": ({}, {"credentials": {**fixed, "secret_access_key": SECRETS["AWS-WRONG"]}}),
        "an API key": ({}, {"api_key": SECRETS["BEDROCK-KEY"]}),
        "a wrong API key": ({}, {"api_key": SECRETS["AWS-WRONG"]}),
        "an API key of the environment": ({"AWS_BEARER_TOKEN_BEDROCK": SECRETS["BEDROCK-KEY"]}, {}),
        "an API key with a blank": ({"AWS_BEARER_TOKEN_BEDROCK": f"a {SECRETS['AWS-WRONG']}"}, {}),
        "nowhere": (nowhere, {}),
    }
    outputs: dict[str, dict[str, Any]] = {
        "a process": {"text": printed(SECRETS["AWS"])},
        "a process with an old pair": {"text": printed(SECRETS["AWS"], Expiration="2020-01-01T00:00:00Z")},
        "a process with a wrong pair": {"text": printed(SECRETS["AWS-WRONG"])},
        "a process that fails": {"text": printed(SECRETS["AWS-WRONG"]), "stream": "stderr", "status": 3},
        "a process without JSON": {"text": f"key: {SECRETS['AWS-WRONG']}"},
        "a process with half a pair": {"text": json.dumps({"Version": 1, "Key": SECRETS["AWS-WRONG"]})},
        "a process with no version": {"text": printed(SECRETS["AWS-WRONG"], Version=SECRETS["RAISED"])},
    }
    return ways[name] if name in ways else (process(folder, **outputs[name]), {})


GOOD: Final = ("environment", "fixed", "an API key", "an API key of the environment", "a process")
BAD: Final = (
    "a wrong environment", "fixed and wrong", "a wrong API key", "an API key with a blank", "nowhere",
    "a process with an old pair", "a process with a wrong pair", "a process that fails",
    "a process without JSON", "a process with half a pair", "a process with no version",
)  # fmt: skip


def read(log: Path) -> bytes:
    """The log, if anything was written to it."""
    return log.read_bytes() if log.exists() else b""


@pytest.fixture(scope="module")
def strict() -> Generator[RunningSimulator]:
    """A Bedrock that knows one pair, with its session token, and one API key."""
    aws = ("--access-key-id", AWS_ID, "--secret-access-key", SECRETS["AWS"])
    session = ("--session-token", SECRETS["AWS-SESSION"], "--api-key", SECRETS["BEDROCK-KEY"])
    with running_simulator(*aws, *session) as running:
        yield running


@pytest.mark.parametrize("way", [*GOOD, *BAD])
def test_credentials_are_told_nowhere(strict: RunningSimulator, tmp_path: Path, way: str) -> None:
    environment, proxy = looked_for(tmp_path, way)
    # Whatever the machine of this test has is none of it.
    cleared = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), "")
    output, log = tmp_path / "stdout", tmp_path / "requests.jsonl"
    strict.clear()
    with (
        output.open("wb") as file,
        running_gateway(
            strict.url,
            log=log,
            tells="",
            options=("--log-level", "debug"),
            output=file,
            environment={**cleared, "AWS_BEARER_TOKEN_BEDROCK": "", **environment},
            proxy={"credentials": None, **proxy},
        ) as gateway,
        connected(gateway.url) as raw,
    ):
        answers = b""
        for stream in (False, True):
            raw.send(request(body=chat("Hello", stream=stream)))
            answer = raw.answer()
            assert answer.status in ((200,) if way in GOOD else (502, 503)), answer
            answers += repr(answer.headers).encode() + answer.body
        noted = json.dumps(strict.requests()).encode()
    written = answers + read(log) + output.read_bytes() + "\n".join(gateway.told).encode()
    assert leaks(written, SECRETS) == []
    # Nor does the simulator keep what it was shown.
    assert leaks(noted, SECRETS) == []


@needs_redis
@pytest.mark.parametrize("form", ["redis://:{}@127.0.0.1:{}", "redis://stargate:{}@127.0.0.1:{}/0"])
def test_a_wrong_password_of_the_store_is_told_nowhere(
    simulator: RunningSimulator, tmp_path: Path, form: str
) -> None:
    log = tmp_path / "requests.jsonl"
    with running_redis("--requirepass", SECRETS["STORE"]) as redis:
        store = form.format(SECRETS["STORE-WRONG"], redis.port)
        with (
            running_gateway(
                simulator.url,
                log=log,
                tells="",
                options=("--log-level", "debug"),
                gateway={"store": store},
                plugins=[PLUGINS[1], PLUGINS[2]],
            ) as gateway,
            connected(gateway.url) as raw,
        ):
            raw.send(request(body=chat("Hello")))
            answer = raw.answer()
            eventually(lambda: [line for line in gateway.told if "store" in line])
    told = "\n".join(gateway.told).encode()
    assert leaks(told + read(log) + answer.body + repr(answer.headers).encode(), SECRETS) == []


@pytest.mark.parametrize(
    "name", ["throw-ValidationException", "throw-AccessDeniedException", "stream-validationException"]
)
def test_what_bedrock_says_of_a_prompt_goes_to_whoever_wrote_it(tmp_path: Path, name: str) -> None:
    """Its messages may quote anything: prompts, and roles of ours. The first are their caller's, the others
    are nobody's but the operator's, and stand in the log.
    """
    quoted = "PLANTED-QUOTED-words"
    role = "arn:aws:sts::123456789012:assumed-role/PLANTED-QUOTED-words/stargate"
    denied = "AccessDenied" in name
    log = tmp_path / "requests.jsonl"
    with running_simulator("--scenario", f"{name} message={role if denied else quoted}") as bedrock:
        with (
            running_gateway(bedrock.url, log=log, tells="", options=("--log-level", "debug")) as gateway,
            connected(gateway.url) as raw,
        ):
            raw.send(request(body=chat("Hello", stream=True)))
            answer = raw.answer()
    written = read(log) + "\n".join(gateway.told).encode()
    assert (quoted.encode() in answer.body, quoted.encode() in written) == (not denied, denied)


BROKEN_SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "a store that is no URL": {"gateway": {"store": f":{SECRETS['STORE']}@h"}},
    "a store with a bad option": {"gateway": {"store": f"redis://h/0?{SECRETS['STORE']}=1"}},
    "a store with a bad port": {"gateway": {"store": f"redis://:{SECRETS['STORE']}@h:{SECRETS['ADMIN']}"}},
    "a number for a token": {"gateway": {"admin_token": [SECRETS["ADMIN"]]}},
    "a key in the wrong place": {"consumers": [{"username": "a", "keyauth_credentials": [SECRETS["KEY-A"]]}]},
    "a key twice": {
        "consumers": [
            {"username": name, "keyauth_credentials": [{"key": SECRETS["KEY-A"]}]} for name in ("a", "b")
        ]
    },
    "half a pair": {"proxy": {"credentials": {"secret_access_key": SECRETS["AWS"]}}},
    "a pair and a key": {"proxy": {"api_key": SECRETS["BEDROCK-KEY"]}},
    "an id that is a secret": {
        "proxy": {"credentials": {"access_key_id": f"{SECRETS['AWS']}!", "secret_access_key": "x"}}
    },
    "a secret of no audience": {
        "plugins": [
            {"name": "jwt-auth", "config": {"issuers": [{"issuer": ISSUER, "secret": SECRETS["JWT"]}]}}
        ]
    },
    "a listener's key that is none": {
        "gateway": {"listen": [{"address": "127.0.0.1:0", "tls": {"cert": "x", "key": SECRETS["PAIR"]}}]}
    },
}


@pytest.mark.parametrize("name", BROKEN_SETTINGS)
@pytest.mark.parametrize("command", ["check", "serve"])
def test_what_is_wrong_with_a_configuration_is_told_without_its_secrets(
    tmp_path: Path, name: str, command: str
) -> None:
    file = tmp_path / "stargate.yaml"
    changes = BROKEN_SETTINGS[name]
    file.write_text(json.dumps(configuration("http://127.0.0.1:1", tmp_path / "log", **changes), indent=1))
    told = commanded(command, "-c", str(file))
    assert told
    assert leaks(told, SECRETS) == []
    assert b"Traceback" not in told

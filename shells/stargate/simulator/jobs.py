"""Asynchronous invocations: jobs that are started, run for a while, and can be looked up and listed.

A job is written down when it starts, with the time at which it ends; what state it is in follows from the
clock. So nothing has to happen in between, and a test that stops the clock stops the jobs.

`job-ms` says how long one runs, `job=failed` that it then has failed. Nothing is written to S3: the answer
names where it would be.

Sources: botocore's service model; AWS's user guide, "Amazon Nova Reel" (each invocation's output is in a
folder of its own).
"""

import base64
import datetime
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from stargate.simulator.directives import Directive
from stargate.simulator.errors import invalid, refuse
from stargate.simulator.json_tree import as_array, as_object

ACCOUNT: Final = "123456789012"
_ARN_ID_CHARACTERS: Final = 12
_JOBS_MAX: Final = 10_000
_PAGE: Final = 100
_JOB_MS: Final = 100
_MILLISECOND: Final = 1_000_000


class Job(msgspec.Struct, frozen=True):
    """One invocation."""

    arn: str
    model_arn: str
    token: str | None
    digest: bytes
    """Of all that was asked, to tell a repetition from another request under the same token."""
    output: Mapping[str, Any]
    start_ns: int
    end_ns: int
    failure: str | None

    def status(self, wall_ns: int) -> str:
        """How it stands at that time."""
        if wall_ns < self.end_ns:
            return "InProgress"
        return "Completed" if self.failure is None else "Failed"

    def document(self, wall_ns: int) -> dict[str, object]:
        """What GetAsyncInvoke answers, and ListAsyncInvokes for each."""
        over = wall_ns >= self.end_ns
        found: dict[str, object] = {
            "invocationArn": self.arn,
            "modelArn": self.model_arn,
            "status": self.status(wall_ns),
            "submitTime": timestamp(self.start_ns),
            "lastModifiedTime": timestamp(self.end_ns if over else self.start_ns),
            "outputDataConfig": self.output,
        }
        if self.token is not None:
            found["clientRequestToken"] = self.token
        if over:
            found["endTime"] = timestamp(self.end_ns)
            if self.failure is not None:
                found["failureMessage"] = self.failure
        return found


class Jobs:
    """All invocations of a simulator."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._by_token: dict[str, Job] = {}
        self._started = 0

    def clear(self) -> None:
        """Forget them."""
        self._jobs.clear()
        self._by_token.clear()

    def prepare(self, members: Mapping[str, Any], directive: Directive, region: str, wall_ns: int) -> Job:
        """The job that a StartAsyncInvoke asks for: the one it has started before, or a new one, which runs
        once it is kept. Raises Refusal.
        """
        token: str | None = members.get("clientRequestToken")
        digest = hashlib.blake2b(msgspec.json.encode(members, order="deterministic")).digest()
        known = None if token is None else self._by_token.get(token)
        if known is None:
            return self._job(members, token, digest, directive, region, wall_ns)
        if known.digest != digest:
            raise refuse(
                "ConflictException",
                "The client request token was used with other parameters. Use another one.",
            )
        return known

    def keep(self, job: Job) -> None:
        """Let a job run."""
        self._jobs[job.arn] = job
        if job.token is not None:
            self._by_token[job.token] = job
        if len(self._jobs) > _JOBS_MAX:
            oldest = self._jobs.pop(next(iter(self._jobs)))
            self._by_token.pop(oldest.token or "", None)

    def _job(
        self,
        members: Mapping[str, Any],
        token: str | None,
        digest: bytes,
        directive: Directive,
        region: str,
        wall_ns: int,
    ) -> Job:
        self._started += 1
        unique = hashlib.blake2b(digest + self._started.to_bytes(8, "big"), digest_size=8).digest()
        job_id = base64.b32encode(unique).decode().lower()[:_ARN_ID_CHARACTERS]
        given: Mapping[str, Any] = members["outputDataConfig"]["s3OutputDataConfig"]
        folder = {**given, "s3Uri": f"{given['s3Uri'].rstrip('/')}/{job_id}"}
        model_id: str = members["modelId"]
        bare = f"arn:aws:bedrock:{region}::foundation-model/{model_id}"
        failed = directive.text("job", "completed") == "failed"
        return Job(
            arn=f"arn:aws:bedrock:{region}:{ACCOUNT}:async-invoke/{job_id}",
            model_arn=model_id if model_id.startswith("arn:") else bare,
            token=token,
            digest=digest,
            output={"s3OutputDataConfig": folder},
            start_ns=wall_ns,
            end_ns=wall_ns + directive.number("job-ms", _JOB_MS) * _MILLISECOND,
            failure=directive.text("message", "The model could not finish the job.") if failed else None,
        )

    def get(self, members: Mapping[str, Any], wall_ns: int) -> dict[str, object]:
        """GetAsyncInvoke. Raises Refusal: there is no ResourceNotFoundException in this operation's model."""
        job = self._jobs.get(members["invocationArn"])
        if job is None:
            raise invalid("Could not find the asynchronous invocation with the specified ARN.")
        return job.document(wall_ns)

    def listed(self, members: Mapping[str, Any], wall_ns: int) -> dict[str, object]:
        """ListAsyncInvokes: filtered, sorted, a page at a time. Raises Refusal."""
        wanted = [job for job in self._jobs.values() if _is_wanted(job, members, wall_ns)]
        wanted.sort(key=lambda job: job.start_ns, reverse=members.get("sortOrder") != "Ascending")
        documents = [job.document(wall_ns) for job in wanted]
        return page("asyncInvokeSummaries", documents, members, _PAGE)


def _is_wanted(job: Job, members: Mapping[str, Any], wall_ns: int) -> bool:
    after, before = members.get("submitTimeAfter"), members.get("submitTimeBefore")
    return (
        members.get("statusEquals") in (None, job.status(wall_ns))
        and (after is None or job.start_ns > _parsed(after))
        and (before is None or job.start_ns < _parsed(before))
    )


def page(
    name: str, items: list[dict[str, object]], members: Mapping[str, Any], default: int
) -> dict[str, object]:
    """The part of a list that `maxResults` and `nextToken` ask for. Raises Refusal."""
    count = members.get("maxResults", default)
    start = _offset(members["nextToken"]) if "nextToken" in members else 0
    found: dict[str, object] = {name: items[start : start + count]}
    if start + count < len(items):
        found["nextToken"] = base64.urlsafe_b64encode(b"%d" % (start + count)).decode()
    return found


def _offset(token: str) -> int:
    try:
        text = base64.urlsafe_b64decode(token.encode())
    except ValueError:
        text = b""
    if not text.isdigit() or len(text) > 9:
        raise invalid("The nextToken is not valid.")
    return int(text)


def _parsed(text: str) -> int:
    """A timestamp's nanoseconds since 1970. Raises Refusal."""
    try:
        then = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise invalid(f"{text} is no timestamp.") from None
    aware = then if then.tzinfo is not None else then.replace(tzinfo=datetime.UTC)
    return int(aware.timestamp() * 1_000_000) * 1_000


def timestamp(wall_ns: int) -> str:
    """A time as AWS writes it: ISO 8601, in UTC."""
    then = datetime.datetime.fromtimestamp(wall_ns // 1_000_000_000, datetime.UTC)
    return f"{then:%Y-%m-%dT%H:%M:%S}.{wall_ns // _MILLISECOND % 1000:03}Z"


def texts_of(value: Any) -> Iterator[str]:
    """All texts of some JSON, for the directive that may stand in one of them."""
    if isinstance(value, str):
        yield value
    for inner in as_object(value).values():
        yield from texts_of(inner)
    for inner in as_array(value):
        yield from texts_of(inner)

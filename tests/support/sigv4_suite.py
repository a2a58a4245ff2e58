"""AWS's classic SigV4 suite: its requests, read from their raw text.

The credentials are the suite's own: key AKIDEXAMPLE, region us-east-1, service `service`.
"""

import re
from pathlib import Path
from typing import Final

import msgspec

from stargate_core.secret import Secret
from support.vectors import VECTORS

SUITE: Final = sorted((VECTORS / "sigv4-botocore").rglob("*.req"))
"""The requests; `.creq`, `.sts` and `.authz` beside them are the steps of the signature."""
ACCESS_KEY_ID: Final = "AKIDEXAMPLE"
SECRET_ACCESS_KEY: Final = Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")


class Request(msgspec.Struct, frozen=True):
    """A request as it stands on the wire."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    session_token: bytes | None


def read_request(path: Path) -> Request:
    """A `.req` file: a request in plain text, some with continued header lines or raw blanks in the target.

    The session token stands in some of the files and not in others; where it was signed, the canonical
    request tells it.
    """
    head, _, body = path.read_bytes().partition(b"\n\n")
    start, *lines = head.strip().split(b"\n")
    method, _, rest = start.partition(b" ")
    headers: list[tuple[bytes, bytes]] = []
    for line in lines:
        if line.startswith((b" ", b"\t")):
            name, value = headers.pop()
            headers.append((name, value + b" " + line))
        else:
            name, _, value = line.partition(b":")
            headers.append((name, value))
    headers = [(name, value) for name, value in headers if name.lower() != b"x-amz-security-token"]
    token = re.search(rb"^x-amz-security-token:(.*)$", path.with_suffix(".creq").read_bytes(), re.MULTILINE)
    return Request(method, rest.rpartition(b" ")[0], headers, body, token[1] if token else None)

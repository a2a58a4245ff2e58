"""A request as people write it, who don't count bytes: as JSON.

    {"method": "POST", "path": "/v1/chat/completions", "headers": {"x-api-key": "…"}, "body": {…}}

Only `path` is needed: the method is POST where there is a body and GET where there is none; `host`,
`content-length` and, for a body that is no text, `content-type` are added where they are missing.
"""

import re
from typing import Any

import msgspec

from stargate_core.secret import Private


class Written(Private, msgspec.Struct, forbid_unknown_fields=True):
    """A request as JSON."""

    path: str
    method: str | None = None
    headers: dict[str, str | list[str]] = msgspec.field(default_factory=dict[str, str | list[str]])
    body: Any = msgspec.UNSET


def request_of_json(data: bytes) -> bytes:
    """The bytes of the request. Raises ValueError for what no request can hold."""
    try:
        return _bytes_of(msgspec.json.decode(data, type=Written))
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None


def _bytes_of(written: Written) -> bytes:
    body = _body(written.body)
    method = written.method or ("GET" if body is None else "POST")
    fields = [
        (name.lower(), value)
        for name, values in written.headers.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    names = {name for name, _ in fields}
    if "host" not in names:
        fields.insert(0, ("host", "stargate"))
    if body is not None:
        if "content-type" not in names and not isinstance(written.body, str):
            fields.append(("content-type", "application/json"))
        if not names & {"content-length", "transfer-encoding"}:
            fields.append(("content-length", str(len(body))))
    lines = [f"{method} {written.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    for line in lines:
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", line):
            raise ValueError("a line end, or another control character, in the method, the path or a header")
    if " " in method or " " in written.path:
        raise ValueError("a blank in the method or the path")
    return "\r\n".join([*lines, "\r\n"]).encode() + (body or b"")


def _body(body: Any) -> bytes | None:
    match body:
        case msgspec.UnsetType():
            return None
        case str():
            return body.encode()
        case _:
            return msgspec.json.encode(body)

"""The page's files: read once, when the gateway starts, and kept.

They are what lies in the folder `page` beside this file, by a list of endings: nothing else is ever served,
and no name that was asked for is ever opened, so there is no path to play tricks with. A browser asks each
time whether its copy is still good (`no-cache`, `ETag`): a gateway's page is the one that came with it.
"""

import hashlib
from importlib import resources
from typing import ClassVar, Final

import msgspec

from stargate.admin.messages import Reply, Request
from stargate_core.secret import Private
from stargate_core.wire.http1 import Headers

INDEX: Final = "index.html"
KINDS: Final = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".woff2": b"font/woff2",
    ".png": b"image/png",
}
_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_GUARDS: Final[Headers] = [
    (b"cache-control", b"no-cache"),
    (b"content-security-policy", _POLICY),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


class File(Private, msgspec.Struct, frozen=True):
    """One file."""

    SHOWN: ClassVar[tuple[str, ...]] = ("kind",)

    kind: bytes
    body: bytes
    etag: bytes


def page_files() -> dict[str, File]:
    """The files there are, by their names; none where the package came without them."""
    folder = resources.files("stargate.admin").joinpath("page")
    if not folder.is_dir():
        return {}
    found: dict[str, File] = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        kind = KINDS.get("." + path.name.rpartition(".")[2])
        if kind is not None and path.is_file():
            body = path.read_bytes()
            found[path.name] = File(kind, body, b'"%b"' % hashlib.sha256(body).hexdigest()[:32].encode())
    return found


def serve_file(file: File, request: Request) -> Reply:
    """The file, or that the browser's copy is still good."""
    known = request.header(b"if-none-match") or b""
    if file.etag in [tag.strip().removeprefix(b"W/") for tag in known.split(b",")]:
        return Reply(304, [(b"etag", file.etag), *_GUARDS])
    return Reply(200, [(b"content-type", file.kind), (b"etag", file.etag), *_GUARDS], file.body)

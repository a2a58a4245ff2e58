"""Fetching an issuer's keys: over https, or from a file, within limits of time and size.

Blocking, for a worker thread. Only https is spoken, or http to this very machine; a redirect may not leave
that. What a server sends is bounded, and so is how long it may take over it.
"""

import time
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from ssl import SSLContext, create_default_context
from typing import IO, Final
from urllib.parse import unquote, urlsplit

from stargate_core.config.addresses import TcpAddress, is_local

_TIMEOUT_SECONDS: Final = 5.0
_FETCH_SECONDS: Final = 10.0
"""For a whole fetch; the other one is for each wait in it."""
_SET_BYTES_MAX: Final = 1_048_576
_READ_BYTES: Final = 65_536
_REDIRECTS_MAX: Final = 3


class CannotFetch(Exception):
    """There is nothing to be had; the text says why."""


def fetch(url: str, context: SSLContext | None) -> bytes:
    """What there is at a URL. context: whom to trust, None for the system's CAs. Raises CannotFetch."""
    try:
        data = _file(url) if url.startswith("file:") else _download(url, context)
    except urllib.error.HTTPError as error:
        error.close()
        raise CannotFetch(f"the answer is {error.code}") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise CannotFetch(f"{reason}" or type(error).__name__) from None
    if len(data) > _SET_BYTES_MAX:
        raise CannotFetch(f"more than {_SET_BYTES_MAX} bytes")
    return data


def _file(url: str) -> bytes:
    with Path(unquote(urlsplit(url).path)).open("rb") as file:
        return file.read(_SET_BYTES_MAX + 1)


def _download(url: str, context: SSLContext | None) -> bytes:
    """What a URL answers, up to a byte more than may be. Raises CannotFetch, and what urllib does."""
    _must_be_safe(url)
    headers = {"Accept": "application/json", "User-Agent": "stargate"}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    deadline = time.monotonic() + _FETCH_SECONDS
    data = b""
    with _opener(url, context).open(request, timeout=_TIMEOUT_SECONDS) as response:
        while len(data) <= _SET_BYTES_MAX and (piece := response.read1(_READ_BYTES)):
            data += piece
            if time.monotonic() > deadline:
                raise CannotFetch(f"not there within {_FETCH_SECONDS:g} s")
    return data


def _opener(url: str, context: SSLContext | None) -> urllib.request.OpenerDirector:
    """Speaks the URL's scheme and nothing else: https by the environment's proxies, http without."""
    opener = urllib.request.OpenerDirector()
    is_secure = urlsplit(url).scheme == "https"
    for handler in (
        urllib.request.ProxyHandler(None if is_secure else {}),
        urllib.request.HTTPSHandler(context=context or create_default_context())
        if is_secure
        else urllib.request.HTTPHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows only a few, and only to where keys may come from."""

    max_redirections = _REDIRECTS_MAX

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request to make instead. Raises CannotFetch."""
        try:
            _must_be_safe(newurl)
            if req.type != urlsplit(newurl).scheme:
                raise CannotFetch("redirected to another scheme")
        except CannotFetch:
            # urllib closes an answer that it follows; this one nobody else knows of.
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _must_be_safe(url: str) -> None:
    """Raises CannotFetch for a URL that leads neither over TLS nor to this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or (parts.scheme == "http" and host and is_local(TcpAddress(host, 80))):
        return
    raise CannotFetch("keys are fetched over https only")

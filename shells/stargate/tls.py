"""TLS contexts: from what the configuration says to what `ssl` wants.

A listener's context chooses its certificate by the name the client asks for (SNI), which the core's
certificate phase decides. A certificate or key may be a file's path or the PEM text itself; `ssl` only loads
key material from files, so text goes through a private file that is gone again at once.
"""

import contextlib
import os
import ssl
import tempfile
from collections.abc import Callable, Generator
from typing import TypeAlias

from stargate_core.aws.endpoints import Endpoint
from stargate_core.config.clustered_url import ClusteredUrl
from stargate_core.config.gateway_block import UpstreamTls
from stargate_core.config.request_logger import Collector
from stargate_core.config.schema import Listener
from stargate_core.config.store_url import StoreServer
from stargate_core.gateway.plan import Plan
from stargate_core.secret import Secret

UpstreamTlsOf: TypeAlias = Callable[[Endpoint], ssl.SSLContext]
"""The context for an endpoint."""


class BadTls(Exception):
    """A certificate, key or CA that can't be used; the text says whose, and why."""


def listener_context(listener: Listener, plan: Plan) -> ssl.SSLContext | None:
    """A listener's context; None when it is plain. Raises BadTls."""
    tls = listener.tls
    if tls is None:
        return None
    with _blaming(f"TLS of the listener {listener.address}"):
        context = _server_context(tls.cert, tls.key, tls.client_ca)
    by_index: list[ssl.SSLContext] = []
    for index, certificate in enumerate(plan.config.certificates):
        with _blaming(f"certificates[{index}]"):
            # A connection that changes its context judges the client by the new one's CA.
            by_index.append(_server_context(certificate.cert, certificate.key, tls.client_ca))

    def choose(connection: ssl.SSLObject, server_name: str | None, _initial: ssl.SSLContext) -> None:
        index = plan.certificate(server_name or "")
        if index is not None:
            connection.context = by_index[index]

    context.sni_callback = choose
    return context


def upstream_contexts(settings: UpstreamTls) -> UpstreamTlsOf:
    """The context for each endpoint: one for all, made at once so that a bad CA is told at start-up.

    Raises BadTls.
    """
    context = _client_context("gateway.upstream_tls.ca", settings.ca, verify=settings.verify)
    context.set_alpn_protocols(["http/1.1"])
    return lambda _endpoint: context


def store_context(server: StoreServer | ClusteredUrl) -> ssl.SSLContext | None:
    """The context for a Redis store; None when it is plain. Raises BadTls."""
    return _client_context("gateway.store.ca", server.ca, verify=server.verify) if server.tls else None


def collector_context(settings: Collector) -> ssl.SSLContext:
    """The context for a collector of log lines. Raises BadTls."""
    return _client_context("http.ca", settings.ca, verify=settings.verify)


def _client_context(whose: str, ca: str | None, *, verify: bool) -> ssl.SSLContext:
    with _blaming(whose):
        # `create_default_context` trusts the system's CAs unless it is given others.
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, **_trusted(ca))
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _server_context(cert: str, key: Secret, client_ca: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, **_trusted(client_ca))
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1"])
    with _as_file(cert) as cert_path, _as_file(key.reveal()) as key_path:
        context.load_cert_chain(cert_path, key_path)
    return context


def _trusted(ca: str | None) -> dict[str, str]:
    """A CA as `create_default_context` takes it."""
    if ca is None:
        return {}
    if _is_pem(ca):
        return {"cadata": ca}
    _look_at(ca)
    return {"cafile": ca}


def _look_at(path: str) -> None:
    """`ssl` does not say which file it could not read. Raises OSError, which does."""
    os.close(os.open(path, os.O_RDONLY))


@contextlib.contextmanager
def _blaming(whose: str) -> Generator[None]:
    try:
        yield
    except OSError as error:  # ssl.SSLError is one
        reason = getattr(error, "reason", None) or error.strerror or error
        where = f"{error.filename}: " if error.filename else ""
        raise BadTls(f"{whose}: {where}{reason}") from error


def _is_pem(text: str) -> bool:
    return "-----BEGIN" in text


@contextlib.contextmanager
def _as_file(text: str) -> Generator[str]:
    """The path of a file that holds `text`, or the path that `text` is."""
    if not _is_pem(text):
        _look_at(text)
        yield text
        return
    descriptor, path = tempfile.mkstemp()
    try:
        os.write(descriptor, text.encode())
        yield path
    finally:
        os.close(descriptor)
        os.unlink(path)

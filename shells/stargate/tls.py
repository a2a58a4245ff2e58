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

from stargate_core.aws.endpoints import Endpoint
from stargate_core.config.gateway_block import UpstreamTls
from stargate_core.config.schema import Tls
from stargate_core.gateway.plan import Plan
from stargate_core.secret import Secret


def listener_context(tls: Tls, plan: Plan) -> ssl.SSLContext:
    """A server's context. Raises OSError or ssl.SSLError when its files are not usable."""
    context = _server_context(tls.cert, tls.key, tls.client_ca)
    # A connection that changes its context judges the client by the new one's CA.
    by_index = [
        _server_context(certificate.cert, certificate.key, tls.client_ca)
        for certificate in plan.config.certificates
    ]

    def choose(connection: ssl.SSLObject, server_name: str | None, _initial: ssl.SSLContext) -> None:
        index = plan.certificate(server_name or "")
        if index is not None:
            connection.context = by_index[index]

    context.sni_callback = choose
    return context


def upstream_contexts(settings: UpstreamTls) -> Callable[[Endpoint], ssl.SSLContext]:
    """The context for each endpoint: one for all, made at once so that a bad CA file is told at start-up."""
    # `create_default_context` trusts the system's CAs unless it is given others.
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, **_trusted(settings.ca))
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return lambda _endpoint: context


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
    return {"cadata": ca} if _is_pem(ca) else {"cafile": ca}


def _is_pem(text: str) -> bool:
    return "-----BEGIN" in text


@contextlib.contextmanager
def _as_file(text: str) -> Generator[str]:
    """The path of a file that holds `text`, or the path that `text` is."""
    if not _is_pem(text):
        yield text
        return
    descriptor, path = tempfile.mkstemp()
    try:
        os.write(descriptor, text.encode())
        yield path
    finally:
        os.close(descriptor)
        os.unlink(path)

"""A certificate authority for tests (trustme), its certificates in the form the configuration takes."""

import ssl
from pathlib import Path

import trustme


class Authority:
    """A CA that nobody else trusts."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    @property
    def pem(self) -> bytes:
        """The CA's own certificate."""
        return self._ca.cert_pem.bytes()

    @property
    def text(self) -> str:
        """The same, as the configuration takes it."""
        return self.pem.decode()

    def issue(self, *names: str) -> dict[str, str]:
        """A certificate for these names or addresses, and its key, both as PEM texts."""
        certificate = self._ca.issue_cert(*names)
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        return {"cert": chain.decode(), "key": certificate.private_key_pem.bytes().decode()}

    def write(self, folder: Path, *names: str) -> tuple[Path, Path]:
        """The same as two files: the chain, the key."""
        issued = self.issue(*names)
        paths = folder / "cert.pem", folder / "key.pem"
        for path, text in zip(paths, issued.values(), strict=True):
            path.write_text(text)
        return paths

    def configure(self, context: ssl.SSLContext, *names: str) -> None:
        """Give a server's context a certificate for these names."""
        self._ca.issue_cert(*names).configure_cert(context)

    def client_context(self) -> ssl.SSLContext:
        """What a client of its servers uses."""
        context = ssl.create_default_context(cadata=self.text)
        context.set_alpn_protocols(["http/1.1"])
        return context

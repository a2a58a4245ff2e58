"""TLS contexts: whom they trust, what they show. What peers make of them stands in e2e/test_tls.py."""

import ssl
from pathlib import Path

import pytest

from stargate.tls import BadTls, listener_context, upstream_contexts
from stargate_core.aws.endpoints import endpoint
from stargate_core.config.gateway_block import UpstreamTls
from stargate_core.config.schema import Certificate, Config, Listener, Tls
from stargate_core.gateway.plan import Plan
from stargate_core.secret import Secret
from support.tls import Authority

ENDPOINT = endpoint("bedrock-runtime", "us-east-1")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


class TestUpstream:
    def test_a_ca_stands_instead_of_the_systems(self, authority: Authority) -> None:
        context = upstream_contexts(UpstreamTls(ca=authority.text))(ENDPOINT)
        (trusted,) = context.get_ca_certs()
        assert "trustme" in str(trusted["subject"])

    def test_it_is_verified_by_default(self) -> None:
        context = upstream_contexts(UpstreamTls())(ENDPOINT)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname

    def test_verification_can_be_switched_off(self) -> None:
        context = upstream_contexts(UpstreamTls(verify=False))(ENDPOINT)
        assert context.verify_mode is ssl.CERT_NONE
        assert not context.check_hostname

    def test_a_bad_ca_is_told_at_once(self, tmp_path: Path) -> None:
        with pytest.raises(BadTls, match=r"^gateway\.upstream_tls\.ca: .*none\.pem: No such file"):
            upstream_contexts(UpstreamTls(ca=str(tmp_path / "none.pem")))
        with pytest.raises(BadTls, match=r"^gateway\.upstream_tls\.ca: "):
            upstream_contexts(UpstreamTls(ca="-----BEGIN CERTIFICATE-----\nxyz\n-----END CERTIFICATE-----\n"))


class TestListener:
    @staticmethod
    def settings(authority: Authority, *names: str) -> Tls:
        issued = authority.issue(*names)
        return Tls(cert=issued["cert"], key=Secret(issued["key"]))

    @staticmethod
    def context(tls: Tls | None, *certificates: Certificate) -> ssl.SSLContext | None:
        """What a listener with these settings gets."""
        plan = Plan(Config(certificates=list(certificates)), {})
        return listener_context(Listener("127.0.0.1:443", tls), plan)

    def test_a_plain_one_has_none(self) -> None:
        assert self.context(None) is None

    def test_files_and_texts_will_do(self, authority: Authority, tmp_path: Path) -> None:
        cert, key = authority.write(tmp_path, "one.test")
        assert self.context(Tls(cert=str(cert), key=Secret(str(key)))) is not None
        assert self.context(self.settings(authority, "one.test")) is not None

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        tls = Tls(cert=str(tmp_path / "cert.pem"), key=Secret("key.pem"))
        with pytest.raises(BadTls, match=r"^TLS of the listener 127\.0\.0\.1:443: .*cert\.pem: No such file"):
            self.context(tls)

    def test_a_key_of_another_certificate_is_refused(self, authority: Authority) -> None:
        one, other = self.settings(authority, "one.test"), self.settings(authority, "one.test")
        with pytest.raises(BadTls, match=r"^TLS of the listener .*MISMATCH"):
            self.context(Tls(cert=one.cert, key=other.key))

    def test_so_is_one_beside_it(self, authority: Authority) -> None:
        one, other = self.settings(authority, "one.test"), self.settings(authority, "one.test")
        good = Certificate(cert=one.cert, key=one.key, snis=["one.test"])
        bad = Certificate(cert=one.cert, key=other.key, snis=["two.test"])
        with pytest.raises(BadTls, match=r"^certificates\[1\]: "):
            self.context(one, good, bad)

    def test_no_key_is_left_on_the_disk(
        self, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        self.context(self.settings(authority, "one.test"))
        assert list(tmp_path.iterdir()) == []

"""TLS contexts: whom they trust, what they show. What peers make of them stands in e2e/test_tls.py."""

import ssl
from pathlib import Path

import pytest

from stargate.tls import listener_context, upstream_contexts
from stargate_core.aws.endpoints import endpoint
from stargate_core.config.gateway_block import UpstreamTls
from stargate_core.config.schema import Certificate, Config, Tls
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
        with pytest.raises(FileNotFoundError):
            upstream_contexts(UpstreamTls(ca=str(tmp_path / "none.pem")))
        with pytest.raises(ssl.SSLError):
            upstream_contexts(UpstreamTls(ca="-----BEGIN CERTIFICATE-----\nxyz\n-----END CERTIFICATE-----\n"))


class TestListener:
    @staticmethod
    def settings(authority: Authority, *names: str) -> Tls:
        issued = authority.issue(*names)
        return Tls(cert=issued["cert"], key=Secret(issued["key"]))

    def test_files_and_texts_will_do(self, authority: Authority, tmp_path: Path) -> None:
        cert, key = authority.write(tmp_path, "one.test")
        for tls in (Tls(cert=str(cert), key=Secret(str(key))), self.settings(authority, "one.test")):
            listener_context(tls, Plan(Config(), {}))

    def test_a_key_of_another_certificate_is_refused(self, authority: Authority) -> None:
        one, other = self.settings(authority, "one.test"), self.settings(authority, "one.test")
        with pytest.raises(ssl.SSLError):
            listener_context(Tls(cert=one.cert, key=other.key), Plan(Config(), {}))

    def test_so_is_one_beside_it(self, authority: Authority) -> None:
        one, other = self.settings(authority, "one.test"), self.settings(authority, "one.test")
        config = Config(certificates=[Certificate(cert=one.cert, key=other.key, snis=["one.test"])])
        with pytest.raises(ssl.SSLError):
            listener_context(one, Plan(config, {}))

    def test_no_key_is_left_on_the_disk(
        self, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        listener_context(self.settings(authority, "one.test"), Plan(Config(), {}))
        assert list(tmp_path.iterdir()) == []

"""Endpoints, against AWS's own endpoint tests, botocore's rule engine on every region it knows, and a fixture
of openai-python for bedrock-mantle.
"""

from typing import Any, Final

import botocore.auth
import botocore.loaders
import msgspec
import pytest
from botocore.endpoint_provider import EndpointProvider
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.endpoints import Endpoint, EndpointUrl, Service, endpoint, parse_endpoint_url
from support.vectors import VECTORS

BOTOCORE_AUTH: Final[Any] = botocore.auth
MODELLED: Final[tuple[Service, ...]] = ("bedrock-runtime", "bedrock", "sts")
LOADER: Final = botocore.loaders.Loader()
PARTITIONS: Final[dict[str, Any]] = LOADER.load_data("partitions")
REGIONS: Final = sorted(region for partition in PARTITIONS["partitions"] for region in partition["regions"])
PROVIDERS: Final[dict[str, Any]] = {
    service: EndpointProvider(LOADER.load_service_model(service, "endpoint-rule-set-1"), PARTITIONS)
    for service in MODELLED
}


def url(where: Endpoint) -> str:
    return f"{where.scheme}://{where.authority.decode()}{where.prefix}"


def vectors() -> list[tuple[Service, dict[str, Any]]]:
    """AWS's tests of what `endpoint` decides: not of overrides, and not of STS's legacy global endpoint."""
    cases: list[tuple[Service, dict[str, Any]]] = []
    for service in MODELLED:
        raw = (VECTORS / "endpoints-botocore" / service / "endpoint-tests-1.json").read_bytes()
        for case in msgspec.json.decode(raw)["testCases"]:
            params = case.get("params", {})
            if "Region" in params and "Endpoint" not in params and not params.get("UseGlobalEndpoint"):
                cases.append((service, case))
    return cases


class TestEndpoint:
    @pytest.mark.parametrize(
        ("service", "case"),
        vectors(),
        ids=[f"{service}: {case['documentation']}" for service, case in vectors()],
    )
    def test_aws_own_cases(self, service: Service, case: dict[str, Any]) -> None:
        params, expected = case["params"], case["expect"]["endpoint"]
        found = endpoint(service, params["Region"], fips=params["UseFIPS"], dual_stack=params["UseDualStack"])
        assert url(found) == expected["url"]
        schemes = expected.get("properties", {}).get("authSchemes")
        if schemes:
            assert found.signing_name == schemes[0]["signingName"]
            assert found.signing_region == schemes[0]["signingRegion"]

    @pytest.mark.parametrize("service", MODELLED)
    @pytest.mark.parametrize("fips", [False, True])
    @pytest.mark.parametrize("dual_stack", [False, True])
    def test_botocores_rules_in_every_region(self, service: Service, fips: bool, dual_stack: bool) -> None:
        invented = ["us-east-9", "cn-south-7", "us-gov-central-1", "us-iso-south-3", "xx-nowhere-1", "local"]
        for region in [*REGIONS, *invented]:
            options: dict[str, Any] = {"Region": region, "UseFIPS": fips, "UseDualStack": dual_stack}
            if service == "sts":
                options["UseGlobalEndpoint"] = False
            expected = PROVIDERS[service].resolve_endpoint(**options)
            assert url(endpoint(service, region, fips=fips, dual_stack=dual_stack)) == expected.url

    @pytest.mark.parametrize("service", MODELLED)
    def test_the_signing_name_is_the_models(self, service: Service) -> None:
        metadata = LOADER.load_service_model(service, "service-2")["metadata"]
        signing_name = metadata.get("signingName", metadata["endpointPrefix"])
        found = endpoint(service, "eu-west-1")
        assert (found.signing_name, found.signing_region) == (signing_name, "eu-west-1")

    def test_mantle(self) -> None:
        raw = (VECTORS / "openai-python-bedrock/bedrock/v1/sigv4.json").read_bytes()
        case = msgspec.json.decode(raw)
        found = endpoint("bedrock-mantle", case["region"])
        assert case["request"]["url"].startswith(url(found) + "/")
        assert (found.signing_name, found.signing_region) == (case["service"], case["region"])
        assert endpoint("bedrock-mantle", case["region"], dual_stack=True) == found
        with pytest.raises(ValueError, match="FIPS"):
            endpoint("bedrock-mantle", "us-east-1", fips=True)
        with pytest.raises(ValueError, match="cn-north-1"):
            endpoint("bedrock-mantle", "cn-north-1")

    @pytest.mark.parametrize(
        "region", ["", "US-EAST-1", "us_east_1", "us-east-1.evil.com", "-x", "x-", "x" * 64, "é"]
    )
    def test_what_is_no_region(self, region: str) -> None:
        with pytest.raises(ValueError, match="not the name of an AWS region"):
            endpoint("bedrock-runtime", region)


class TestEndpointUrl:
    @pytest.mark.parametrize(
        ("text", "expected", "authority"),
        [
            ("http://localhost", EndpointUrl("http", "localhost", 80), b"localhost"),
            ("http://localhost:8080", EndpointUrl("http", "localhost", 8080), b"localhost:8080"),
            ("https://Example.COM:443/", EndpointUrl("https", "example.com", 443), b"example.com"),
            ("https://example.com:80", EndpointUrl("https", "example.com", 80), b"example.com:80"),
            ("HTTP://127.0.0.1:80", EndpointUrl("http", "127.0.0.1", 80), b"127.0.0.1"),
            ("https://[::1]:9000", EndpointUrl("https", "::1", 9000), b"[::1]:9000"),
            ("https://[FE80:0::1]", EndpointUrl("https", "fe80::1", 443), b"[fe80::1]"),
            ("http://my_service:1/a/b-c/", EndpointUrl("http", "my_service", 1, "/a/b-c"), b"my_service:1"),
            (
                "https://vpce-0a1b-x.bedrock-runtime.us-east-1.vpce.amazonaws.com",
                EndpointUrl("https", "vpce-0a1b-x.bedrock-runtime.us-east-1.vpce.amazonaws.com", 443),
                b"vpce-0a1b-x.bedrock-runtime.us-east-1.vpce.amazonaws.com",
            ),
        ],
    )
    def test_what_it_says(self, text: str, expected: EndpointUrl, authority: bytes) -> None:
        found = parse_endpoint_url(text)
        assert found == expected
        signed = found.signed_for("bedrock", "us-east-1")
        assert signed.authority == authority
        assert (signed.host, signed.port, signed.prefix) == (expected.host, expected.port, expected.prefix)
        assert (signed.signing_name, signed.signing_region) == ("bedrock", "us-east-1")

    @given(
        st.sampled_from(["http", "https"]),
        st.sampled_from(["localhost", "a.b-c.example", "10.0.0.1", "[::1]", "[2001:db8::2]"]),
        st.none() | st.integers(1, 65535) | st.sampled_from([80, 443]),
    )
    def test_the_host_header_is_the_one_botocore_signs(
        self, scheme: str, host: str, port: int | None
    ) -> None:
        text = f"{scheme}://{host}" + (f":{port}" if port is not None else "")
        signed = parse_endpoint_url(text).signed_for("bedrock", "us-east-1")
        assert signed.authority.decode() == BOTOCORE_AUTH._host_from_url(text)

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("", "must begin with http"),
            ("localhost:8080", "must begin with http"),
            ("//localhost", "must begin with http"),
            ("ftp://localhost", "must begin with http"),
            ("http", "must begin with http"),
            ("http:/localhost", "must begin with http"),
            ("http://", "names no host"),
            ("http://:80", "names no host"),
            ("http://user:pass@localhost", "user name or password"),
            ("http://localhost?x=1", "no query"),
            ("http://localhost/#x", "no query, no fragment"),
            ("http://localhost:0", "from 1 to 65535"),
            ("http://localhost:65536", "from 1 to 65535"),
            ("http://localhost:http", "from 1 to 65535"),
            ("http://localhost:", "from 1 to 65535"),
            ("http://local host", "blanks"),
            ("http://localhost\n", "blanks"),
            ("http://lócalhost", "beyond ASCII"),
            ("http://-x", "not the name of a host"),
            ("http://a..b", "not the name of a host"),
            ("http://a%2fb", "not the name of a host"),
            ("http://[::1", "cannot be read"),
            ("http://[::x]", "cannot be read"),
            ("http://localhost//a", "double slashes"),
            ("http://localhost/a%20b", "encoded"),
            ("http://localhost/a/../b", "must not hold"),
            ("http://localhost/.", "must not hold"),
        ],
    )
    def test_what_it_refuses(self, text: str, complaint: str) -> None:
        with pytest.raises(ValueError, match=complaint):
            parse_endpoint_url(text)

    def test_it_repeats_no_password(self) -> None:
        with pytest.raises(ValueError) as caught:
            parse_endpoint_url("https://user:hunter2@example.com")
        assert "hunter2" not in str(caught.value)

    @given(st.text(st.sampled_from("http://[]:@?#%.aé1 \n-_"), max_size=30))
    def test_any_text_is_understood_or_refused(self, text: str) -> None:
        try:
            found = parse_endpoint_url(text)
        except ValueError:
            return
        again = f"{found.scheme}://{found.signed_for('x', 'y').authority.decode()}{found.prefix}"
        assert parse_endpoint_url(again) == found

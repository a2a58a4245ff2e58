"""Guardrails: named in headers or in the body, and brought along as the surface takes them."""

import pytest

from stargate_core.aws.surfaces import GuardrailWay
from stargate_core.dialects.face import Headers
from stargate_core.dialects.guardrails import Guardrail, guardrail_config, guardrail_headers, guardrail_of
from stargate_core.faults import Refused
from support.dialects import a_request

ID, VERSION, TRACE = (
    b"x-amzn-bedrock-guardrailidentifier",
    b"x-amzn-bedrock-guardrailversion",
    b"x-amzn-bedrock-trace",
)


def named_by(headers: Headers, member: Guardrail | None = None) -> Guardrail | None:
    return guardrail_of(a_request(b"{}", headers=headers), member)


class TestNamed:
    def test_nobody_names_one(self) -> None:
        assert named_by([]) is None

    def test_in_headers(self) -> None:
        found = named_by([(ID, b"gr-1"), (VERSION, b"DRAFT"), (TRACE, b"ENABLED_FULL")])
        assert found == Guardrail("gr-1", "DRAFT", "enabled_full")

    def test_the_bodys_counts_before_the_headers(self) -> None:
        member = Guardrail("gr-2", "1")
        assert named_by([(ID, b"gr-1"), (VERSION, b"1")], member) is member

    @pytest.mark.parametrize(
        "headers",
        [
            [(ID, b"gr-1")],
            [(VERSION, b"1")],
            [(ID, b""), (VERSION, b"1")],
            [(ID, b"gr-1"), (VERSION, b"1"), (TRACE, b"loud")],
        ],
    )
    def test_half_a_name_is_refused(self, headers: Headers) -> None:
        with pytest.raises(Refused):
            named_by(headers)


class TestTravelling:
    FULL = Guardrail("gr-1", "1", "enabled", "async")

    def test_in_the_body(self) -> None:
        whole = {"guardrailIdentifier": "gr-1", "guardrailVersion": "1", "trace": "enabled"}
        assert guardrail_config(self.FULL, stream=False) == whole
        assert guardrail_config(self.FULL, stream=True) == {**whole, "streamProcessingMode": "async"}

    def test_in_headers(self) -> None:
        assert guardrail_headers(self.FULL, GuardrailWay.HEADERS) == [
            (ID, b"gr-1"),
            (VERSION, b"1"),
            (TRACE, b"ENABLED"),
        ]

    @pytest.mark.parametrize("way", [GuardrailWay.NONE, GuardrailWay.BODY])
    def test_a_surface_that_has_no_place_for_it_refuses_the_call(self, way: GuardrailWay) -> None:
        assert guardrail_headers(None, way) == []
        with pytest.raises(Refused):
            guardrail_headers(self.FULL, way)

    @pytest.mark.parametrize("name", ["gr\r\nx: y", "gär", "\x00"])
    def test_no_name_breaks_out_of_its_header(self, name: str) -> None:
        with pytest.raises(Refused):
            guardrail_headers(Guardrail(name, "1"), GuardrailWay.HEADERS)

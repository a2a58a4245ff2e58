"""Whoever signs for a direction: by account, region and service, with what was last told."""

from typing import Final

import pytest

from stargate_core.aws.bearer import Bearer, BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.aws.endpoints import Endpoint
from stargate_core.aws.sigv4 import Signer, Signers
from stargate_core.dialects.face import Target
from stargate_core.direction import Direction
from stargate_core.gateway.authority import Authority
from stargate_core.secret import Secret

WALL_NS: Final = 1_800_000_000 * 1_000_000_000


def a_direction(*, region: str = "us-east-1", service: str = "bedrock", **members: object) -> Direction:
    """A direction of this region."""
    endpoint = Endpoint("https", "bedrock.test", 443, service, region)
    return Direction(endpoint, Target("m:0"), region, **members)  # type: ignore[arg-type]


def credentials(name: str) -> Credentials:
    """Some account's."""
    return Credentials(name, Secret("secret"))


def scope_of(authority: Authority, direction: Direction) -> str:
    """Which key signed, and for where, as AWS reads it."""
    signer = authority.signer(direction)
    assert signer is not None
    added = dict(signer.authorize(b"POST", b"/x", [(b"host", b"h")], b"", WALL_NS))
    return added[b"authorization"].partition(b"Credential=")[2].partition(b",")[0].decode()


class TestSigners:
    def test_without_credentials_nobody_signs(self) -> None:
        assert Authority(Signers()).signer(a_direction()) is None

    def test_an_account_signs_for_the_region_and_service(self) -> None:
        authority = Authority(Signers())
        authority.change("", credentials("AKID"))
        for region, service in (("us-east-1", "bedrock"), ("eu-west-1", "bedrock-mantle")):
            direction = a_direction(region=region, service=service)
            assert scope_of(authority, direction) == f"AKID/20270115/{region}/{service}/aws4_request"

    def test_each_account_with_its_own(self) -> None:
        authority = Authority(Signers())
        authority.change("", credentials("AKIDONE"))
        authority.change("other", credentials("AKIDTWO"))
        assert scope_of(authority, a_direction()).startswith("AKIDONE/")
        assert scope_of(authority, a_direction(account="other")).startswith("AKIDTWO/")
        assert authority.signer(a_direction(account="third")) is None

    def test_a_signer_is_kept_until_its_credentials_change(self) -> None:
        authority, direction, same = Authority(Signers()), a_direction(), a_direction()
        authority.change("", credentials("AKIDONE"))
        authority.change("other", credentials("AKIDTWO"))
        signer, other = authority.signer(direction), authority.signer(a_direction(account="other"))
        assert isinstance(signer, Signer)
        assert authority.signer(direction) is authority.signer(same) is signer
        authority.change("", credentials("AKIDNEW"))
        assert scope_of(authority, direction).startswith("AKIDNEW/")
        assert authority.signer(a_direction(account="other")) is other
        authority.change("", None)
        assert authority.signer(direction) is None

    def test_one_that_was_missing_is_found_later(self) -> None:
        authority, direction = Authority(Signers()), a_direction()
        assert authority.signer(direction) is None
        authority.change("", credentials("AKID"))
        assert authority.signer(direction) is not None

    def test_fixed_credentials_need_no_telling(self) -> None:
        authority, direction = Authority(Signers()), a_direction(credentials=credentials("AKIDFIXED"))
        authority.change("", credentials("AKID"))
        assert scope_of(authority, direction).startswith("AKIDFIXED/")

    @pytest.mark.parametrize("told", [False, True])
    def test_a_token_is_borne_and_not_signed_with(self, told: bool) -> None:
        authority = Authority(Signers())
        if told:
            authority.change("", BearerToken(Secret("ABSK-key")))
        direction = a_direction() if told else a_direction(api_key=Secret("ABSK-key"))
        signer = authority.signer(direction)
        assert isinstance(signer, Bearer)
        added = signer.authorize(b"POST", b"/x", [(b"host", b"h")], b"", WALL_NS)
        assert added == [(b"authorization", b"Bearer ABSK-key")]


class TestKeyIds:
    def test_credentials_have_one(self) -> None:
        authority = Authority(Signers())
        authority.change("", credentials("AKID"))
        authority.change("token", BearerToken(Secret("t")))
        authority.change("none", None)
        assert [authority.access_key_id(name) for name in ("", "token", "none", "unknown")] == [
            "AKID", "", "", ""
        ]  # fmt: skip


class TestOneDirectionAfterAnother:
    """The last one asked for is remembered; that shows in nothing but its speed."""

    def test_the_same_direction_has_the_same_signer(self) -> None:
        authority, direction, other = Authority(Signers()), a_direction(), a_direction(region="eu-west-1")
        authority.change("", credentials("AKID"))
        first = authority.signer(direction)
        assert authority.signer(direction) is first
        assert authority.signer(other) is not first
        assert authority.signer(direction) is first

    def test_until_its_account_has_other_credentials(self) -> None:
        authority, direction = Authority(Signers()), a_direction()
        assert authority.signer(direction) is None
        for name in ("AKIDONE", "AKIDTWO"):
            authority.change("", credentials(name))
            assert scope_of(authority, direction).startswith(f"{name}/")
        authority.change("", None)
        assert authority.signer(direction) is None

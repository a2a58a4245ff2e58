"""A Bedrock API key is sent as botocore sends it, and is not shown."""

from typing import Any, Final

import botocore.auth
import botocore.awsrequest
import botocore.tokens
import pytest

from stargate_core.aws.bearer import Bearer, BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.aws.sigv4 import Headers, Signer
from stargate_core.secret import Secret

KEY: Final = "bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29t"
HOST: Final[Headers] = [(b"host", b"bedrock-runtime.us-east-1.amazonaws.com")]


def authorize(wall_ns: int = 0, body: bytes = b"{}") -> Headers:
    return Bearer(Secret(KEY)).authorize(b"POST", b"/model/m/converse", HOST, body, wall_ns)


class TestBearer:
    def test_the_header_is_botocores(self) -> None:
        request: Any = botocore.awsrequest.AWSRequest("POST", "https://example.com/", data=b"{}")
        token: Any = botocore.tokens.FrozenAuthToken(KEY)
        botocore.auth.BearerAuth(token).add_auth(request)
        expected = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
        assert authorize() == expected == [(b"authorization", b"Bearer " + KEY.encode())]

    def test_neither_time_nor_body_matter(self) -> None:
        assert authorize(0, b"") == authorize(10**18, b"other")

    def test_it_stands_in_a_signers_place(self) -> None:
        """Each is called alike, and adds an authorization; a bearer adds nothing else."""
        signer = Signer(Credentials("AKID", Secret("s")), "us-east-1", "bedrock")
        for authority in (signer, Bearer(Secret(KEY))):
            added = authority.authorize(b"POST", b"/model/m/converse", HOST, b"{}", 10**18)
            assert [name for name, _ in added].count(b"authorization") == 1

    @pytest.mark.parametrize(
        "thing", [BearerToken(Secret(KEY)), Bearer(Secret(KEY))], ids=["token", "bearer"]
    )
    def test_it_is_not_shown(self, thing: object) -> None:
        assert KEY not in f"{thing} {thing!r}"


class TestBearerToken:
    def test_another_key_is_another(self) -> None:
        assert BearerToken(Secret(KEY)) == BearerToken(Secret(KEY))
        assert BearerToken(Secret(KEY)) != BearerToken(Secret("other"))

    def test_it_is_no_pair_of_keys(self) -> None:
        """A change from one to the other is seen as a change."""
        keys: object = Credentials("", Secret("s"))
        assert BearerToken(Secret("s")) != keys

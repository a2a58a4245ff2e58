"""Of upstream's answer only what is on the list goes on, as it came and in its order."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.dialects.face import Headers
from stargate_core.dialects.headers import kept

ON: Final = [b"content-type", b"x-amzn-requestid", b"x-amzn-bedrock-input-token-count", b"x-amzn-bedrock-new"]
OFF: Final = [
    b"content-length",
    b"connection",
    b"date",
    b"set-cookie",
    b"server",
    b"transfer-encoding",
    b"x-amzn-bedrock",
    b"x-amzn-errortype",
    b"x-amz-security-token",
    b"",
]
VENDORS: Final = [b"request-id", b"x-request-id"]


@given(st.lists(st.tuples(st.sampled_from([*ON, *OFF, *VENDORS]), st.binary(max_size=5))))
def test_what_is_on_the_list_goes_on(headers: Headers) -> None:
    assert kept(headers) == [one for one in headers if one[0] in ON]


@pytest.mark.parametrize("own_id", VENDORS)
@given(st.lists(st.tuples(st.sampled_from([*ON, *OFF, *VENDORS]), st.binary(max_size=5))))
def test_and_the_id_by_the_name_that_the_vendor_has_for_it(own_id: bytes, headers: Headers) -> None:
    assert kept(headers, own_id) == [one for one in headers if one[0] in {*ON, own_id}]

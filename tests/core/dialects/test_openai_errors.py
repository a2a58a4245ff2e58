"""OpenAI's error envelope, for every cause there is, as openai-python reads it: in an answer, and inside
a stream.
"""

import httpx2
import openai
import pytest
from openai.types.shared import ErrorObject

from stargate_core.dialects.openai_errors import envelope, failure, in_band
from stargate_core.faults import TABLE, Cause, Fault

REQUEST = httpx2.Request("POST", "http://gateway/v1/chat/completions")


def raised(response: httpx2.Response) -> openai.APIError:
    """What the SDK raises for an answer."""
    transport = httpx2.MockTransport(lambda _: response)
    with openai.OpenAI(
        api_key="k",
        base_url="http://gateway/v1",
        max_retries=0,
        http_client=httpx2.Client(transport=transport),
    ) as client:
        with pytest.raises(openai.APIError) as caught:
            for _ in client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hi"}], stream=True
            ):
                pass
        return caught.value


@pytest.mark.parametrize("cause", list(Cause), ids=lambda cause: cause.name)
class TestEveryCause:
    def test_in_an_answer(self, cause: Cause) -> None:
        fault = Fault(cause, "Something particular", param="messages[0].content", detail="for the log only")
        reply = failure(fault)
        error = raised(
            httpx2.Response(reply.status, headers=reply.headers, content=reply.body, request=REQUEST)
        )
        assert isinstance(error, openai.APIStatusError)
        assert error.status_code == TABLE[cause].status
        assert error.body == envelope(fault)["error"]
        assert error.param == "messages[0].content"
        assert error.code == (TABLE[cause].openai_code or TABLE[cause].code)
        assert error.type == TABLE[cause].openai_type
        assert "Something particular" in error.message
        assert b"for the log only" not in reply.body

    def test_inside_a_stream(self, cause: Cause) -> None:
        fault = Fault(cause, detail="for the log only")
        stream = b'data: {"id":"x","choices":[],"created":1,"model":"m","object":"chat.completion.chunk"}\n\n'
        error = raised(
            httpx2.Response(
                200,
                headers={"content-type": "text/event-stream"},
                content=stream + in_band(fault),
                request=REQUEST,
            )
        )
        assert error.message == TABLE[cause].message
        assert error.code == (TABLE[cause].openai_code or TABLE[cause].code)
        assert not isinstance(error, openai.APIStatusError)

    def test_all_four_members_are_there(self, cause: Cause) -> None:
        error = envelope(Fault(cause))["error"]
        assert set(error) == {"message", "type", "param", "code"}
        ErrorObject.model_validate(error, strict=True)

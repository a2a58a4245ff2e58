"""OpenAI's responses (`POST /v1/responses`)."""

from collections.abc import Sequence
from typing import ClassVar

from stargate_core.aws.surfaces import Surface
from stargate_core.dialects.face import Ask, Call, ModelCard, Reply, Request, Target, Translator
from stargate_core.dialects.openai_errors import failure
from stargate_core.faults import Cause, Fault, refuse


class OpenAIResponses:
    """The dialect. It has no state."""

    __slots__ = ()

    NAME: ClassVar[str] = "openai-responses"
    SURFACES: ClassVar[tuple[Surface, ...]] = (Surface.CONVERSE, Surface.OPENAI, Surface.MANTLE_OPENAI)
    REQUEST_ID_HEADER: ClassVar[bytes] = b"x-request-id"
    LIMIT_FAMILY: ClassVar[str] = "openai"

    def read(self, request: Request) -> Ask:
        """Understand a request. Raises Refused where it isn't one."""
        raise refuse(Cause.HTTP_UNSUPPORTED)

    def answer_locally(self, request: Request, ask: Ask, models: Sequence[ModelCard]) -> Reply:
        """Never asked: nothing here is local."""
        raise AssertionError("not answered locally")

    def compose(self, request: Request, ask: Ask, target: Target) -> Call:
        """The call to Bedrock. Raises Refused where the request can't be carried there."""
        raise refuse(Cause.HTTP_UNSUPPORTED)

    def translator(self, request: Request, ask: Ask, call: Call) -> Translator:
        """A fresh translator for the answer to `call`."""
        raise AssertionError("nothing is composed yet")

    def failure(self, fault: Fault, request_id: str) -> Reply:
        """An error in this API's envelope."""
        return failure(fault)

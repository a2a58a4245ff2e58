"""OpenAI's list of models (`GET /v1/models`, `GET /v1/models/{id}`), answered by the gateway itself.

The list is what the caller may name, in the order of the configuration; which names those are, the access
phase knows. Where a name leads stays inside: an ARN bears an account's number.

Anthropic's list has the same paths, and another form (anthropic_models.py).

`created` is 0: nobody knows when a name in a configuration file was made, and a date made up would be
read as one.

Source: openai-python src/openai/types/model.py.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import msgspec

from stargate_core.aws.operations import decode_label
from stargate_core.aws.surfaces import Surface
from stargate_core.dialects.face import Ask, Call, ModelCard, Reply, Request, Target, Translator
from stargate_core.dialects.openai_errors import failure
from stargate_core.faults import Cause, Fault, Refused, refuse

PATH: Final = b"/v1/models"
OWNER: Final = "bedrock"
_JSON: Final = (b"content-type", b"application/json")


class OpenAIModels:
    """The dialect. It has no state."""

    __slots__ = ()

    NAME: ClassVar[str] = "openai-models"
    SURFACES: ClassVar[tuple[Surface, ...]] = ()
    REQUEST_ID_HEADER: ClassVar[bytes] = b"x-request-id"
    LIMIT_FAMILY: ClassVar[str] = "openai"

    def read(self, request: Request) -> Ask:
        """Which model is asked about: `body` is its name, or None for all. Raises Refused."""
        if request.path == PATH:
            return Ask(model=None, stream=False, local=True)
        return read_name(request)

    def answer_locally(self, request: Request, ask: Ask, models: Sequence[ModelCard]) -> Reply:
        """The list, or the one model asked about. Raises Refused where the caller may not name it."""
        return listing(models) if ask.body is None else single(models, ask.body)

    def compose(self, request: Request, ask: Ask, target: Target) -> Call:
        """Never asked: the answer is local."""
        raise AssertionError("a list of models is not a call to Bedrock")

    def translator(self, request: Request, ask: Ask, call: Call) -> Translator:
        """Never asked: the answer is local."""
        raise AssertionError("a list of models is not a call to Bedrock")

    def failure(self, fault: Fault, request_id: str) -> Reply:
        """An error in OpenAI's envelope."""
        return failure(fault)


def read_name(request: Request) -> Ask:
    """The ask for one model: `body` is its name. Raises Refused."""
    # An id may be an ARN: its slashes come as %2F, or raw from SDKs that quote a path as a whole.
    name = decode_label(request.path.removeprefix(PATH + b"/"))
    if not name:
        raise refuse(Cause.MODEL_UNKNOWN, param="model")
    return Ask(model=None, stream=False, body=name, local=True)


def listing(models: Sequence[ModelCard]) -> Reply:
    """All models, each name once."""
    names = dict.fromkeys(model.id for model in models)
    return _reply({"object": "list", "data": [_card(name) for name in names]})


def single(models: Sequence[ModelCard], name: str) -> Reply:
    """One model. Raises Refused where it is not among `models`."""
    if all(model.id != name for model in models):
        raise unknown(name)
    return _reply(_card(name))


def unknown(name: str) -> Refused:
    """A name that leads nowhere, in OpenAI's words."""
    return refuse(Cause.MODEL_UNKNOWN, f"The model {name!r} does not exist", param="model")


def _card(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": OWNER}


def _reply(value: dict[str, Any]) -> Reply:
    return Reply(200, [_JSON], msgspec.json.encode(value))

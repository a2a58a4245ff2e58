"""OpenAI's embeddings (`POST /v1/embeddings`) on InvokeModel.

The request is told in `openai_embeddings_request`; what Bedrock's models are sent, and how they answer, in
`openai_embeddings_families`. Here is what lies between.

Some models take one text in a call, some take 96, and a request may bring 2048. So one request becomes as
many calls as its texts need (gateway/gathering.py makes them), and one answer, in the order of the texts.
Tokens are counted as Bedrock counts them: by the answer's own word where it has one, else by Bedrock's header
beside it, and the calls' counts are added up.

`encoding_format` says how the caller wants to read a vector: as numbers, which are the model's own, or as
base64 of little-endian 32-bit floats. openai-python asks for base64 unless it is told otherwise.

Embeddings have no output tokens and no chance: so the ask says, and limits and the cache count on it.

Source: openai-python src/openai/types/create_embedding_response.py, resources/embeddings.py.
"""

import base64
import struct
from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec
from msgspec import Raw

from stargate_core.aws.operations import Operation
from stargate_core.aws.surfaces import Surface
from stargate_core.dialects.converse import garbled
from stargate_core.dialects.face import (
    Ask,
    Call,
    Headers,
    ModelCard,
    Part,
    PartKind,
    Reply,
    Request,
    Target,
    Usage,
)
from stargate_core.dialects.headers import JSON
from stargate_core.dialects.openai_embeddings_families import (
    Family,
    asked_length,
    embedded,
    family_of,
    wishes_of,
)
from stargate_core.dialects.openai_embeddings_request import Asked, decode
from stargate_core.dialects.openai_errors import failure, in_band
from stargate_core.dialects.paths import model_of, model_path
from stargate_core.dialects.unstreamed import Unstreamed
from stargate_core.faults import Cause, Fault, refuse

_CALL_HEADERS: Final = (JSON, (b"accept", b"application/json"))
_NAME_CHARS_SHOWN: Final = 200
_encode: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(list[float]).decode


class OpenAIEmbeddings:
    """The dialect. It has no state."""

    __slots__ = ()

    NAME: ClassVar[str] = "openai-embeddings"
    SURFACES: ClassVar[tuple[Surface, ...]] = (Surface.INVOKE,)
    REQUEST_ID_HEADER: ClassVar[bytes] = b"x-request-id"
    LIMIT_FAMILY: ClassVar[str] = "openai"

    def read(self, request: Request) -> Ask:
        """Understand a request. Raises Refused where it isn't one."""
        asked = decode(request.body)
        return Ask(
            model=asked.request.model or None,
            stream=False,
            body=asked,
            operation=Operation.INVOKE_MODEL,
            output_tokens_max=0,
            temperature=0.0,
        )

    def answer_locally(self, request: Request, ask: Ask, models: Sequence[ModelCard]) -> Reply:
        """Never asked: nothing here is local."""
        raise AssertionError("embeddings are not made here")

    def compose(self, request: Request, ask: Ask, target: Target) -> Call:
        """The call to InvokeModel, or the calls. Raises Refused where the model can't be asked that."""
        asked = _asked(ask)
        if target.surface is not Surface.INVOKE:
            raise refuse(
                Cause.BODY_INVALID,
                "This model is not reached through InvokeModel, which embeddings are made with",
                param="model",
            )
        family = _family(ask, target.model)
        if family is None:
            name = (ask.model or target.model)[:_NAME_CHARS_SHOWN]
            raise refuse(
                Cause.BODY_INVALID, f"model: {name!r} is not known to make embeddings", param="model"
            )
        wishes = wishes_of(asked, family, drop=target.options.drop_params)
        path = model_path(Operation.INVOKE_MODEL, target.model)
        body, *more = [
            _encode(family.write(asked.texts[at : at + family.texts_max], wishes))
            for at in range(0, len(asked.texts), family.texts_max)
        ]
        return Call(Operation.INVOKE_MODEL, b"POST", path, list(_CALL_HEADERS), body, False, tuple(more))

    def translator(self, request: Request, ask: Ask, call: Call) -> "EmbeddingsTranslator":
        """A fresh translator for the answer to `call`, or for the answers to all of its bodies."""
        target = model_of(call)
        family = _family(ask, target)
        assert family is not None, "composed for a model that makes no embeddings"
        return EmbeddingsTranslator(_asked(ask), family, ask.model or target)

    def failure(self, fault: Fault, request_id: str) -> Reply:
        """An error in OpenAI's envelope."""
        return failure(fault)


class EmbeddingsTranslator(Unstreamed):
    """The answers to one request's calls, made one. See `Gatherer` for the members.

    model: as the caller calls it.
    """

    __slots__ = ("_asked", "_counts", "_family", "_length", "_model", "_taken")

    def __init__(self, asked: Asked, family: Family, model: str) -> None:
        super().__init__()
        self._asked = asked
        self._family = family
        self._model = model
        self._length = asked_length(asked, family)
        """Of each vector, once it is known."""
        self._taken: dict[int, list[str | Raw]] = {}
        """By the number of the call: the vectors, as they are to be written."""
        self._counts: list[int] = []

    def answer(self, headers: Headers, body: bytes) -> Part:
        """The answer to the only call. Raises BadAnswer where it isn't one."""
        self.take(0, headers, body)
        return self.gather(plain=True)

    def take(self, at: int, headers: Headers, body: bytes) -> None:
        """The answer to the call of this number. Raises BadAnswer where it isn't one."""
        family = self._family
        count = min(family.texts_max, len(self._asked.texts) - at * family.texts_max)
        found = embedded(family, headers, body, count, self._length)
        self._length = len(found.vectors[0])
        write = _base64 if self._asked.is_base64 else _written
        self._taken[at] = [write(vector) for vector in found.vectors]
        if found.tokens is not None:
            self._counts.append(found.tokens)

    def gather(self, *, plain: bool) -> Part:
        """All of them as one answer, in the order of their calls."""
        told: list[str | Raw] = [text for at in sorted(self._taken) for text in self._taken[at]]
        embeddings = [_DECODE(one) if plain and isinstance(one, Raw) else one for one in told]
        data = [
            {"object": "embedding", "index": at, "embedding": embedding}
            for at, embedding in enumerate(embeddings)
        ]
        tokens = sum(self._counts)
        self.usage = Usage(input_tokens=tokens) if self._counts else None
        self.complete = self.meaningful = True
        payload = {
            "object": "list",
            "data": data,
            "model": self._model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return Part(PartKind.ANSWER, "", payload)

    def render_answer(self, part: Part, upstream_headers: Headers) -> Reply:
        """The HTTP answer that carries the part."""
        return Reply(200, [JSON], _encode(part.payload))

    def broken(self, fault: Fault) -> bytes:
        """The error, as OpenAI's streams have it."""
        return in_band(fault)


def _written(vector: list[float]) -> Raw:
    return Raw(_encode(vector))


def _base64(vector: list[float]) -> str:
    """The vector's bytes, as OpenAI writes them. Raises BadAnswer where a number is beyond 32 bits."""
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except OverflowError:
        raise garbled("an embedding has a number that no 32-bit float can be") from None


def _asked(ask: Ask) -> Asked:
    assert isinstance(ask.body, Asked)
    return ask.body


def _family(ask: Ask, model: str) -> Family | None:
    """The model's family; where an ARN does not tell, that of the name it goes by."""
    if ask.model is not None and model.startswith("arn:"):
        return family_of(model, ask.model)
    return family_of(model)

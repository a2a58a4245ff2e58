"""Requests for embeddings, and what models answer to the calls that they become.

The vector of a text is made of the text, so that a test can tell whose vector has come back, whatever order
the calls were answered in; its numbers are exact in 32 bits, so that they are the same in either encoding.
"""

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from stargate_core.aws.surfaces import Surface
from stargate_core.dialects.face import Call, Headers, Request, Target
from stargate_core.dialects.registry import OPENAI_EMBEDDINGS
from support.dialects import a_request
from support.machines import request

TITAN: Final = "amazon.titan-embed-text-v2:0"
TITAN_G1: Final = "amazon.titan-embed-text-v1"
TITAN_IMAGE: Final = "amazon.titan-embed-image-v1"
COHERE: Final = "cohere.embed-english-v3"
COHERE_V4: Final = "us.cohere.embed-v4:0"
NOVA: Final = "amazon.nova-2-multimodal-embeddings-v1:0"
LENGTH: Final = 8
TOKENS_HEADER: Final = b"x-amzn-bedrock-input-token-count"


def embeddings_body(texts: Any, model: str = TITAN, **members: Any) -> bytes:
    """The body of a request."""
    return msgspec.json.encode({"model": model, "input": texts, **members})


def embeddings(texts: Any, model: str = TITAN, *, headers: Any = None, **members: Any) -> bytes:
    """A whole HTTP request."""
    return request("/v1/embeddings", embeddings_body(texts, model, **members), headers=headers)


def embeddings_request(texts: Any, model: str = TITAN, **members: Any) -> Request:
    """A request as the session hands it on."""
    return a_request(embeddings_body(texts, model, **members), b"/v1/embeddings")


def composed(request_: Request, target: Target | str) -> Call:
    """The call that a request becomes. Raises Refused."""
    where = Target(target, Surface.INVOKE) if isinstance(target, str) else target
    return OPENAI_EMBEDDINGS.compose(request_, OPENAI_EMBEDDINGS.read(request_), where)


def bodies(call: Call) -> list[dict[str, Any]]:
    """All bodies of a call, decoded."""
    return [msgspec.json.decode(body) for body in (call.body, *call.more_bodies)]


def vector(text: str, length: int = LENGTH) -> list[float]:
    """The vector of a text."""
    start = zlib.crc32(text.encode())
    return [((start >> at % 16) % 1024 - 512) / 1024 for at in range(length)]


def texts_in(body: Mapping[str, Any]) -> list[str]:
    """The texts of one call, whatever its family."""
    if "inputText" in body:
        return [body["inputText"]]
    if "texts" in body:
        return list(body["texts"])
    return [body["singleEmbeddingParams"]["text"]["value"]]


def answer_to(body: bytes, length: int = LENGTH) -> tuple[Headers, bytes]:
    """What the model answers to one call: as many tokens as the texts have letters."""
    asked: dict[str, Any] = msgspec.json.decode(body)
    texts = texts_in(asked)
    vectors = [vector(text, length) for text in texts]
    tokens = sum(map(len, texts))
    headers = [(b"content-type", b"application/json"), (TOKENS_HEADER, b"%d" % tokens)]
    if "inputText" in asked:
        answer: Any = {"embedding": vectors[0], "inputTextTokenCount": tokens}
    elif "texts" in asked:
        by_type = "embedding_types" in asked
        answer = {"id": "1", "texts": texts, "embeddings": {"float": vectors} if by_type else vectors}
    else:
        answer = {"embeddings": [{"embeddingType": "TEXT", "embedding": vectors[0]}]}
    return headers, msgspec.json.encode(answer)


def numbers(embedding: str | Sequence[float]) -> list[float]:
    """The numbers of an embedding, in either encoding."""
    if not isinstance(embedding, str):
        return list(embedding)
    data = base64.b64decode(embedding, validate=True)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def told(answer: Any) -> list[list[float]]:
    """The vectors of an answer, in the order of their indexes, which must be the order they stand in."""
    assert [each["index"] for each in answer["data"]] == list(range(len(answer["data"])))
    assert {each["object"] for each in answer["data"]} == {"embedding"}
    return [numbers(each["embedding"]) for each in answer["data"]]

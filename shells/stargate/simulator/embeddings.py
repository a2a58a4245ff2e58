"""Embedding models in InvokeModel: Titan, Cohere, Nova. A vector is decided by its text: equal texts, equal
vectors.

Vectors have unit length. They carry no meaning beyond that, but clients that compare or store them work.

Sources: recorded calls (tests/vectors/recorded-bedrock: dd-trace-py's amazon_embedding, cohere_embedding);
AWS's user guide.
"""

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from stargate.simulator.completions import needed, only, text_member
from stargate.simulator.dialogue import count_tokens
from stargate.simulator.errors import invalid, malformed
from stargate.simulator.json_tree import as_object, as_texts

Body = Mapping[str, Any]
_INPUT_TYPES: Final = ("search_document", "search_query", "classification", "clustering", "image")
_TITAN_DIMENSIONS: Final = (1024, 512, 256)
_COHERE_TEXTS_MAX: Final = 96


class Embedded(msgspec.Struct, frozen=True):
    """An embedding call's answer."""

    document: Mapping[str, object]
    input_tokens: int


def is_embedding(model_id: str) -> bool:
    """Whether a model embeds rather than speaks."""
    return "embed" in model_id


def texts_of(body: Body) -> str:
    """All text of a body, for the directive that may stand in it."""
    return "\n".join((*as_texts(body.get("inputText")), *as_texts(body.get("texts"))))


def embed(model_id: str, body: Body, seed: int) -> Embedded:
    """The answer to an embedding call. Raises Refusal."""
    if "cohere." in model_id or "texts" in body:
        return _cohere(model_id, body, seed)
    if "amazon.nova" in model_id:
        return _nova(body, seed)
    if "titan-embed-image" in model_id:
        return _titan_image(body, seed)
    return _titan(model_id, body, seed)


def _titan(model_id: str, body: Body, seed: int) -> Embedded:
    text = text_member(body, "inputText")
    tokens = count_tokens(text)
    if "text-v2" not in model_id:
        only(body, frozenset({"inputText"}))
        return Embedded({"embedding": vector(text, 1536, seed), "inputTextTokenCount": tokens}, tokens)
    only(body, frozenset({"inputText", "dimensions", "normalize", "embeddingTypes"}))
    dimensions = body.get("dimensions", _TITAN_DIMENSIONS[0])
    if dimensions not in _TITAN_DIMENSIONS:
        raise malformed(f"#/dimensions: {dimensions} is not a valid enum value")
    floats = vector(text, dimensions, seed)
    kinds = as_texts(body.get("embeddingTypes")) or ("float",)
    by_type = {kind: floats if kind == "float" else _bits(floats) for kind in kinds}
    found: dict[str, object] = {"embeddingsByType": by_type, "inputTextTokenCount": tokens}
    if "float" in by_type:
        found["embedding"] = floats
    return Embedded(found, tokens)


def _titan_image(body: Body, seed: int) -> Embedded:
    only(body, frozenset({"inputText", "inputImage", "embeddingConfig"}))
    if not body.get("inputText") and not body.get("inputImage"):
        raise invalid("Required parameters inputText or inputImage are missing.")
    dimensions = as_object(body.get("embeddingConfig")).get("outputEmbeddingLength", 1024)
    text = f"{body.get('inputText', '')}{body.get('inputImage', '')}"
    tokens = count_tokens(body.get("inputText"))
    found = {"embedding": vector(text, dimensions, seed), "inputTextTokenCount": tokens, "message": None}
    return Embedded(found, tokens)


def _cohere(model_id: str, body: Body, seed: int) -> Embedded:
    needed(body, "input_type")
    texts = as_texts(body.get("texts"))
    if body["input_type"] not in _INPUT_TYPES:
        raise malformed(f"#/input_type: {body['input_type']} is not a valid enum value")
    if not 1 <= len(texts) <= _COHERE_TEXTS_MAX:
        raise malformed(f"#/texts: expected 1 to {_COHERE_TEXTS_MAX} items, found: {len(texts)}")
    dimensions = body.get("output_dimension", 1536) if "embed-v4" in model_id else 1024
    floats = [vector(text, dimensions, seed) for text in texts]
    kinds = as_texts(body.get("embedding_types"))
    found: dict[str, object] = {"id": vector_id(texts, seed), "texts": list(texts)}
    if kinds:
        found["response_type"] = "embeddings_by_type"
        found["embeddings"] = {
            kind: floats if kind == "float" else [_bits(floats_) for floats_ in floats] for kind in kinds
        }
    else:
        found |= {"response_type": "embeddings_floats", "embeddings": floats}
    return Embedded(found, count_tokens(list(texts)))


def _nova(body: Body, seed: int) -> Embedded:
    needed(body, "taskType", "singleEmbeddingParams")
    parameters = body["singleEmbeddingParams"]
    needed(parameters, "embeddingPurpose", "text")
    text = parameters["text"].get("value", "")
    embedding = vector(text, parameters.get("embeddingDimension", 3072), seed)
    return Embedded({"embeddings": [{"embeddingType": "TEXT", "embedding": embedding}]}, count_tokens(text))


def vector(text: str, dimensions: int, seed: int) -> list[float]:
    """A unit vector decided by its text."""
    rng = random.Random(_digest(text, seed))  # noqa: S311  (nothing secret is drawn from it)
    raw = [rng.random() - 0.5 for _ in range(dimensions)]
    norm = math.sqrt(sum(x * x for x in raw))
    return [round(x / norm, 9) for x in raw]


def vector_id(texts: Sequence[str], seed: int) -> str:
    """An id for a batch."""
    return f"{_digest(msgspec.json.encode(texts).decode(), seed):016x}"


def _digest(text: str, seed: int) -> int:
    key = seed.to_bytes(8, "big", signed=True)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, key=key).digest())


def _bits(floats: Sequence[float]) -> list[int]:
    return [int(x > 0) for x in floats]

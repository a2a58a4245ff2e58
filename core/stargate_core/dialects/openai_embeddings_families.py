"""Families of embedding models on Bedrock: how each is asked, and how it answers.

                          a call takes   numbers in a vector          answers with
    Titan v2              one text       1024, 512, 256               embedding, inputTextTokenCount
    Titan G1              one text       1536                         embedding, inputTextTokenCount
    Titan Multimodal      one text       1024, 384, 256               embedding, inputTextTokenCount
    Cohere Embed 3        96 texts       1024                         embeddings, by type or not
    Cohere Embed 4        96 texts       1536, 1024, 512, 256         embeddings, by type or not
    Nova Multimodal       one text       3072, 1024, 384, 256         embeddings[].embedding

A family is known by what stands in the id of its models, and so in the ids and ARNs of their inference
profiles. The ARN of an application's profile or of provisioned throughput says nothing of the model behind
it; there the name counts by which the configuration lets callers use it.

What a family has no place for is refused, or dropped where the operator says so; a value that it does not
allow is always refused. A text that is too long is an error unless the caller says which end to cut: OpenAI's
API does not cut either.

`base64` is how OpenAI writes a vector's bytes, little-endian 32-bit floats, whatever the model. It has
nothing to do with Titan's and Cohere's `binary`, whose numbers are single bits: models are asked for floats.

An answer is believed only if it is what was asked for: as many vectors as texts, none of them empty, all of
one length, and of the length that was asked for. Numbers without end (`1e999`) are no numbers to the decoder.

Sources: AWS's user guide ("Amazon Titan Text Embeddings", "Amazon Titan Multimodal Embeddings G1", "Cohere
Embed v3", "Cohere Embed v4"; "Complete embeddings request and response schema" of Amazon Nova); recorded
traffic (dd-trace-py's cohere_embedding).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec

from stargate_core.dialects.converse import Count, garbled, read, token_count
from stargate_core.dialects.face import Headers
from stargate_core.dialects.openai_embeddings_request import Asked
from stargate_core.faults import Cause, refuse
from stargate_core.secret import Private

NUMBERS_MAX: Final = 2048 * 1536
"""Of all vectors of one answer. As JSON they are up to 64 MB, and they must be held all at once."""
COHERE_TEXTS_MAX: Final = 96
_TOKENS_HEADER: Final = b"x-amzn-bedrock-input-token-count"
_EXTENSIONS: Final = ("input_type", "truncate", "max_tokens", "normalize", "embedding_purpose")
_PURPOSES: Final = (
    "GENERIC_INDEX",
    "GENERIC_RETRIEVAL",
    "TEXT_RETRIEVAL",
    "IMAGE_RETRIEVAL",
    "VIDEO_RETRIEVAL",
    "DOCUMENT_RETRIEVAL",
    "AUDIO_RETRIEVAL",
    "CLASSIFICATION",
    "CLUSTERING",
)

Wishes = Mapping[str, Any]
"""What the caller has said, and the family has a place for, by the names of the request's members."""


class Embedded(Private, msgspec.Struct, frozen=True):
    """What one call has given."""

    vectors: list[list[float]]
    """In the order of the texts."""
    tokens: int | None
    """How many tokens the texts had; None where Bedrock did not say."""


class Family(Private, msgspec.Struct, frozen=True, kw_only=True):
    """One family."""

    SHOWN: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    """What callers are told of it."""
    ids: re.Pattern[str]
    """What stands in the ids of its models."""
    texts_max: int = 1
    """How many texts one call takes."""
    lengths: tuple[int, ...]
    """How many numbers a vector may have; the first where the caller does not say."""
    takes: frozenset[str] = frozenset()
    """Members beside OpenAI's that it has a place for."""
    write: Callable[[Sequence[str], Wishes], Mapping[str, Any]]
    """The body of a call for these texts."""
    parse: Callable[[bytes], tuple[list[list[float]], Count]]
    """The vectors in an answer, and the count of tokens if it bears one. Raises BadAnswer."""


# ------------------------------------------------------------------------------------------------- the way in


def family_of(*names: str) -> Family | None:
    """The family of a model that goes by these names; None: it is none that makes embeddings."""
    for name in names:
        for family in FAMILIES:
            if family.ids.search(name):
                return family
    return None


def wishes_of(asked: Asked, family: Family, *, drop: bool) -> Wishes:
    """What the family is to be told of what the caller has said. Raises Refused.

    drop: what it has no place for is left out.
    """
    request = asked.request
    wishes: dict[str, Any] = {}
    for name in _EXTENSIONS:
        value = getattr(request, name)
        if value is None:
            continue
        if name in family.takes:
            wishes[name] = value
        elif not drop:
            raise refuse(Cause.BODY_INVALID, f"{name}: {family.name} has no place for it", param=name)
    if asked.unknown and not drop:
        name = asked.unknown[0]
        raise refuse(Cause.BODY_INVALID, f"{name}: there is no such parameter of embeddings", param=name)
    purpose = wishes.get("embedding_purpose")
    if purpose is not None and purpose not in _PURPOSES:
        allowed = ", ".join(_PURPOSES)
        raise refuse(
            Cause.BODY_INVALID, f"embedding_purpose: must be one of {allowed}", param="embedding_purpose"
        )
    length = _length(asked, family, drop=drop)
    if length is not None:
        wishes["dimensions"] = length
    numbers = length or family.lengths[0]
    most = NUMBERS_MAX // numbers
    if len(asked.texts) > most:
        raise refuse(
            Cause.BODY_INVALID,
            f"input: vectors of {numbers} numbers for {len(asked.texts)} texts are too much for one answer; "
            f"send at most {most} texts at a time",
            param="input",
        )
    return wishes


def asked_length(asked: Asked, family: Family) -> int | None:
    """How many numbers each vector must have; None: the caller has not said."""
    length = asked.request.dimensions
    return length if length in family.lengths else None


def _length(asked: Asked, family: Family, *, drop: bool) -> int | None:
    """The length to ask for. Raises Refused."""
    length = asked.request.dimensions
    if length is None or length in family.lengths:
        return length
    first, *others = map(str, family.lengths)
    if not others and drop:
        return None
    if others:
        message = f"dimensions: {family.name} gives {', '.join((first, *others))} numbers, and not {length}"
    else:
        message = f"dimensions: {family.name} always gives {first} numbers"
    raise refuse(Cause.BODY_INVALID, message, param="dimensions")


def _titan_v2(texts: Sequence[str], wishes: Wishes) -> Mapping[str, Any]:
    return {"inputText": texts[0], **_given(wishes, "dimensions", "normalize")}


def _titan_g1(texts: Sequence[str], wishes: Wishes) -> Mapping[str, Any]:
    return {"inputText": texts[0]}


def _titan_image(texts: Sequence[str], wishes: Wishes) -> Mapping[str, Any]:
    body: dict[str, Any] = {"inputText": texts[0]}
    if "dimensions" in wishes:
        body["embeddingConfig"] = {"outputEmbeddingLength": wishes["dimensions"]}
    return body


_ENDS: Final = {"LEFT": "START", "RIGHT": "END"}
_SIDES: Final = {"START": "LEFT", "END": "RIGHT"}
"""The fourth version of Cohere's models has other words for the ends of a text."""


def _cohere_v3(texts: Sequence[str], wishes: Wishes) -> Mapping[str, Any]:
    body: dict[str, Any] = {
        "texts": texts,
        "input_type": wishes.get("input_type", "search_document"),
    }
    truncate = wishes.get("truncate")
    if truncate is not None:
        body["truncate"] = _ENDS.get(truncate, truncate)
    return body


def _cohere_v4(texts: Sequence[str], wishes: Wishes) -> Mapping[str, Any]:
    body = {
        "texts": texts,
        "input_type": wishes.get("input_type", "search_document"),
        "embedding_types": ("float",),
        **_given(wishes, "max_tokens"),
    }
    truncate = wishes.get("truncate")
    if truncate is not None:
        body["truncate"] = _SIDES.get(truncate, truncate)
    if "dimensions" in wishes:
        body["output_dimension"] = wishes["dimensions"]
    return body


def _nova(texts: Sequence[str], wishes: Wishes) -> Mapping[str, Any]:
    truncate = wishes.get("truncate", "NONE")
    parameters: dict[str, Any] = {
        "embeddingPurpose": wishes.get("embedding_purpose", _PURPOSES[0]),
        "text": {"truncationMode": _ENDS.get(truncate, truncate), "value": texts[0]},
    }
    if "dimensions" in wishes:
        parameters["embeddingDimension"] = wishes["dimensions"]
    return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": parameters}


def _given(wishes: Wishes, *names: str) -> Wishes:
    return {name: wishes[name] for name in names if name in wishes}


# ----------------------------------------------------------------------------------------------- the way back


class _Titan(Private, msgspec.Struct, rename="camel"):
    embedding: list[float]
    input_text_token_count: Count = None


class _ByType(Private, msgspec.Struct):
    float: list[list[float]]


class _Cohere(Private, msgspec.Struct):
    embeddings: list[list[float]] | _ByType


class _NovaVector(Private, msgspec.Struct):
    embedding: list[float]


class _Nova(Private, msgspec.Struct):
    embeddings: list[_NovaVector]


_TITAN: Final = msgspec.json.Decoder(_Titan)
_COHERE: Final = msgspec.json.Decoder(_Cohere)
_NOVA: Final = msgspec.json.Decoder(_Nova)


def _parse_titan(body: bytes) -> tuple[list[list[float]], Count]:
    answer = read(_TITAN, body, "the answer of Titan's embeddings")
    return [answer.embedding], answer.input_text_token_count


def _parse_cohere(body: bytes) -> tuple[list[list[float]], Count]:
    embeddings = read(_COHERE, body, "the answer of Cohere's embeddings").embeddings
    return (embeddings if isinstance(embeddings, list) else embeddings.float), None


def _parse_nova(body: bytes) -> tuple[list[list[float]], Count]:
    answer = read(_NOVA, body, "the answer of Nova's embeddings")
    return [one.embedding for one in answer.embeddings], None


def embedded(family: Family, headers: Headers, body: bytes, count: int, length: int | None) -> Embedded:
    """What a whole 200 answer to a call for `count` texts gives. Raises BadAnswer.

    length: how many numbers each vector must have, where the caller has said.
    """
    vectors, counted = family.parse(body)
    if len(vectors) != count:
        raise garbled(f"{len(vectors)} embeddings came for {count} texts")
    if length is None:
        length = len(vectors[0])
    if not length or any(len(vector) != length for vector in vectors):
        raise garbled(
            "embeddings came whose length is not the one that was asked for, or not the same for all"
        )
    return Embedded(vectors, _tokens_of(headers) if counted is None else token_count(counted))


def _tokens_of(headers: Headers) -> int | None:
    """The count of tokens that Bedrock gives beside an answer."""
    for name, value in headers:
        if name == _TOKENS_HEADER and value.isdigit() and len(value) < 16:
            return int(value)
    return None


# -------------------------------------------------------------------------------------------------- the table


_COHERE_TAKES: Final = frozenset({"input_type", "truncate"})

FAMILIES: Final = (
    Family(
        name="Titan Text Embeddings V2",
        ids=re.compile(r"titan-embed-text-v2"),
        lengths=(1024, 512, 256),
        takes=frozenset({"normalize"}),
        write=_titan_v2,
        parse=_parse_titan,
    ),
    Family(
        name="Titan Embeddings G1",
        ids=re.compile(r"titan-embed-(text-v1|g1)"),
        lengths=(1536,),
        write=_titan_g1,
        parse=_parse_titan,
    ),
    Family(
        name="Titan Multimodal Embeddings",
        ids=re.compile(r"titan-embed-image"),
        lengths=(1024, 384, 256),
        write=_titan_image,
        parse=_parse_titan,
    ),
    Family(
        name="Cohere Embed 4",
        ids=re.compile(r"cohere\.embed-v4"),
        texts_max=COHERE_TEXTS_MAX,
        lengths=(1536, 1024, 512, 256),
        takes=_COHERE_TAKES | {"max_tokens"},
        write=_cohere_v4,
        parse=_parse_cohere,
    ),
    Family(
        name="Cohere Embed 3",
        ids=re.compile(r"cohere\.embed-[a-z-]+-v3"),
        texts_max=COHERE_TEXTS_MAX,
        lengths=(1024,),
        takes=_COHERE_TAKES,
        write=_cohere_v3,
        parse=_parse_cohere,
    ),
    Family(
        name="Nova Multimodal Embeddings",
        ids=re.compile(r"nova-2-multimodal-embeddings"),
        lengths=(3072, 1024, 384, 256),
        takes=frozenset({"truncate", "embedding_purpose"}),
        write=_nova,
        parse=_parse_nova,
    ),
)

"""A request for embeddings: bytes to typed values.

OpenAI's members are `input`, `model`, `dimensions`, `encoding_format` and `user`. Bedrock's models take more
than those, each family its own; callers send that beside them (`extra_body` of OpenAI's SDKs):

    input_type           Cohere      what the vectors are for; `search_document` where nothing is said
    truncate             Cohere,     what becomes of a text that is too long: NONE (an error, where nothing is
                         Nova        said), START or END; LEFT and RIGHT are the same
    max_tokens           Cohere v4   how long a text may be
    normalize            Titan v2    whether vectors are to have unit length; they have, where nothing is said
    embedding_purpose    Nova        what the vectors are for; `GENERIC_INDEX` where nothing is said

`user` is ignored: it names an end user for OpenAI's own watch over abuse, and no family has a place for it.
InvokeModel does have a header for metadata, but what callers write here is often a person's name or address,
and AWS would log it; so nothing is sent.

Tokens instead of texts are refused. They are numbers of OpenAI's own vocabulary, and Bedrock's models have
others. (Some SDKs send them without being asked: LangChain's does until `check_embedding_ctx_length=False`.)

Any other member is refused by name, unless it is null or the operator drops what has no place.

Source: openai-python src/openai/types/embedding_create_params.py.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from stargate_core.dialects.openai_chat_request import invalid, malformed
from stargate_core.faults import Cause, Refused, refuse
from stargate_core.secret import Private

TEXTS_MAX: Final = 2048
"""OpenAI's own bound on the inputs of one request."""

_Number: TypeAlias = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class EmbeddingRequest(Private, msgspec.Struct, forbid_unknown_fields=True):
    """A request, as far as some model has a place for it."""

    input: str | list[str | int | list[Any]]
    model: str | None = None
    dimensions: _Number | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None
    input_type: Literal["search_document", "search_query", "classification", "clustering"] | None = None
    truncate: Literal["NONE", "START", "END", "LEFT", "RIGHT"] | None = None
    max_tokens: _Number | None = None
    normalize: bool | None = None
    embedding_purpose: str | None = None


class _OpenRequest(EmbeddingRequest, forbid_unknown_fields=False):
    pass


class Asked(Private, msgspec.Struct, frozen=True):
    """What is asked for."""

    request: EmbeddingRequest
    texts: tuple[str, ...]
    """One at least; none is empty."""
    unknown: tuple[str, ...]
    """Members that nobody knows, and that are not null."""

    @property
    def is_base64(self) -> bool:
        """Whether vectors are wanted as base64 of their bytes, and not as numbers."""
        return self.request.encoding_format == "base64"


_STRICT: Final = msgspec.json.Decoder(EmbeddingRequest)
_OPEN: Final = msgspec.json.Decoder(_OpenRequest)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_FIELDS: Final = frozenset(EmbeddingRequest.__struct_fields__)
_UNKNOWN: Final = "Object contains unknown field"


def decode(body: bytes) -> Asked:
    """What a body asks for. Raises Refused where it is no request for embeddings."""
    unknown: tuple[str, ...] = ()
    try:
        if not body.isascii():
            body.decode()
        try:
            request = _STRICT.decode(body)
        except msgspec.ValidationError as error:
            if not str(error).startswith(_UNKNOWN):
                raise
            request = _OPEN.decode(body)
            unknown = _unknown(_MEMBERS.decode(body))
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error) from None
    return Asked(request, _texts(request.input), unknown)


def _unknown(members: dict[str, msgspec.Raw]) -> tuple[str, ...]:
    return tuple(name for name, raw in members.items() if name not in _FIELDS and bytes(raw) != b"null")


def _texts(given: str | list[str | int | list[Any]]) -> tuple[str, ...]:
    """The texts of `input`. Raises Refused."""
    if isinstance(given, str):
        if not given:
            raise _refused("an empty text has no embedding")
        return (given,)
    if not given:
        raise _refused("at least one text is needed")
    if len(given) > TEXTS_MAX:
        raise _refused(f"{len(given)} texts are too many; at most {TEXTS_MAX} can be sent at a time")
    texts: list[str] = []
    for at, text in enumerate(given):
        if not isinstance(text, str):
            raise _refused("tokens cannot be embedded, since Bedrock's models have others; send texts")
        if not text:
            raise _refused("an empty text has no embedding", f"input[{at}]")
        texts.append(text)
    return tuple(texts)


def _refused(what: str, param: str = "input") -> Refused:
    return refuse(Cause.BODY_INVALID, f"{param}: {what}", param=param)

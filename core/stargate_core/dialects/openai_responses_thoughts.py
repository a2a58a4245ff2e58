"""Thoughts that survive a turn: what `encrypted_content` of a reasoning item holds.

A model's thoughts are of use to it in the next turn only with what its vendor has put under them: a
signature, or, of a redacted thought, the ciphertext. OpenAI's API has one place for such a thing, opaque to
callers, who send it back as it came. So it is ours to fill: a version, a dot, and base64 of JSON:

    sg1.eyJzaWduYXR1cmUiOiJFdTBDQ2tnSUJ4QUIuLi4ifQ

The text of a thought is not in there a second time. It stands in the item's summary, and a caller that
changes it has broken the signature, which Bedrock says. Nothing is encrypted, for nothing in it is secret
from the caller who has been given the thought; the vendor's own parts are as opaque as the vendor has made
them.

What is none of ours is another service's: a conversation that has begun there and goes on here. Its thoughts
mean nothing to the models here and are left out, as OpenAI leaves out those of its other models. What bears
our mark and cannot be read has been damaged, and is refused: to leave that out would hide a mistake.

Sources: Bedrock's ReasoningContentBlock; openai-python src/openai/types/responses/response_reasoning_item.py.
"""

import binascii
from typing import Final

import msgspec

from stargate_core.secret import Private

MARK: Final = "sg1."


class Sealed(Private, msgspec.Struct, omit_defaults=True, frozen=True):
    """What goes with a thought."""

    signature: str | None = None
    redacted: str | None = None
    """A redacted thought: base64, as Converse has it."""


_DECODE: Final = msgspec.json.Decoder(Sealed).decode
_encode: Final = msgspec.json.Encoder().encode


def seal(sealed: Sealed) -> str | None:
    """The text for `encrypted_content`; None where a thought has nothing that must come back with it."""
    if not sealed.signature and not sealed.redacted:
        return None
    return MARK + binascii.b2a_base64(_encode(sealed), newline=False).rstrip(b"=").decode()


def unseal(text: str) -> Sealed | None:
    """What `encrypted_content` holds; None where it is not of our making. Raises ValueError where it is
    ours, and damaged.
    """
    if not text.startswith(MARK):
        return None
    body = text[len(MARK) :]
    try:
        return _DECODE(binascii.a2b_base64(body + "=" * (-len(body) % 4), strict_mode=True))
    except (ValueError, RecursionError) as error:
        raise ValueError("damaged") from error

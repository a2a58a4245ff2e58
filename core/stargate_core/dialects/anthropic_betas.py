"""Anthropic's betas: what a caller has switched on, and what of it Bedrock is told.

Anthropic's API takes them in the header `anthropic-beta`: several lines, and several values in each, with
commas between. Bedrock's InvokeModel takes them in the body, as `anthropic_beta`; a caller that was made for
Bedrock has put them there itself. Both are taken, the header's first, each value once.

One value that Bedrock does not know, and it refuses the whole request (`invalid beta flag`). So the operator
may name values that are left out, or called otherwise. All others are passed on, known here or not: the list
of betas grows faster than any gateway.

Sources: anthropic-sdk-python src/anthropic/lib/bedrock/_client.py; envoyproxy/ai-gateway,
internal/translator/anthropic_awsanthropic.go.
"""

import re
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Raw

from stargate_core.dialects.converse import NOT_JSON
from stargate_core.dialects.face import Options, Request
from stargate_core.faults import Cause, refuse

HEADER: Final = b"anthropic-beta"
MEMBER: Final = "anthropic_beta"
_LIST: Final = msgspec.json.Decoder(list[str])
_VALUE: Final = re.compile(r"[!-+\--~]+")
"""What can stand in the header: printable, without blanks and commas."""
_NULL: Final = Raw(b"null")


def betas_of(request: Request, member: Raw | None) -> tuple[str, ...]:
    """The betas of a request, each once. member: the body's `anthropic_beta`. Raises Refused."""
    betas: list[str] = []
    for name, value in request.headers:
        if name == HEADER:
            betas += [beta.strip() for beta in value.decode("latin-1").split(",")]
    if member is not None and member != _NULL:
        try:
            betas += _LIST.decode(member)
        except NOT_JSON:
            raise refuse(
                Cause.BODY_INVALID, f"{MEMBER}: Input should be a valid list of strings", param=MEMBER
            ) from None
    told = dict.fromkeys(filter(None, betas))
    for beta in told:
        if _VALUE.fullmatch(beta) is None:
            raise refuse(
                Cause.BODY_INVALID, "Unexpected value(s) for the `anthropic-beta` header", param=MEMBER
            )
    return tuple(told)


def betas_told(betas: Iterable[str], options: Options, without: tuple[str, ...] = ()) -> list[str]:
    """What Bedrock is told of these. without: beginnings of values whose fields have been left out."""
    names = dict(options.betas_renamed)
    kept = [beta for beta in betas if beta not in options.betas_dropped and not beta.startswith(without)]
    return list(dict.fromkeys(names.get(beta, beta) for beta in kept))

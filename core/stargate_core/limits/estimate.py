"""How many input tokens a request will cost, guessed before the call from the bytes of its body.

A limit on tokens must say yes or no before anybody has counted. Bedrock itself reserves input and `maxTokens`
at the start of a call and corrects when it ends (AWS's Bedrock user guide, quotas-token-burndown); what is
guessed here is settled with the true usage in the same way, so a guess must be cheap and of the right size
rather than right. A tokeniser would be neither: each model family has its own, Claude's is not
published, and one costs more than all else that the gateway does to a request.

Four bytes are about one token of English prose in all of them (help.openai.com, "What are tokens and how to
count them"). JSON's quotes and names make the guess a little too high; Chinese, at three bytes and about one
token a character, a little too low.

What would be far off is base64: a photograph of a megabyte is 350,000 tokens by that rule and about 1,600 in
truth. A model sees an image in a size of its own: Claude's cost is width × height / 750, and what is larger
than about 1,600 tokens is scaled down (docs.anthropic.com, "Vision"). A page of a document costs 1,500 to
3,000 tokens (the same, "PDF support"), and how many pages there are only their decoder knows; so it too
counts as 1,600, which is too low for long ones, and settled when the answer names the usage. What looks like
base64 must be long to be taken for it: words and identifiers are made of the same letters. A body of up to
2 KB is not searched at all: what it could hide is 512 tokens.
"""

import re
from typing import Final

BYTES_PER_TOKEN: Final = 4
MEDIA_TOKENS: Final = 1_600
SEARCHED_FROM_BYTES: Final = 2_048
RUN_BYTES_MIN: Final = 1_024
"""No text has a thousand of base64's letters without a blank; the smallest useful image has more."""
_STRIDE: Final = RUN_BYTES_MIN // 2

_RUN: Final = re.compile(rb"[A-Za-z0-9+/_\\-]*")
"""URL-safe base64 as well, and the backslash of writers that escape "/" or break lines."""


def input_tokens(body: bytes) -> int:
    """About how many tokens this request's input has."""
    if len(body) <= SEARCHED_FROM_BYTES:
        return -(-len(body) // BYTES_PER_TOKEN)
    runs, run_bytes = _base64(body)
    return -(-(len(body) - run_bytes) // BYTES_PER_TOKEN) + runs * MEDIA_TOKENS


def _base64(body: bytes) -> tuple[int, int]:
    """How many long runs of base64 there are, and how many bytes in all.

    Looked for at every 512th byte: a run that matters covers one with half its least length to go, and prose
    has a blank a few letters on. So a megabyte takes less than a millisecond, where a search for the pattern
    takes fifteen; and no body, however it was made, is read more than twice.
    """
    runs = run_bytes = at = done = 0
    while at < len(body):
        found = _RUN.match(body, at)
        end = at if found is None else found.end()
        if end - at >= _STRIDE:
            before = _RUN.match(body[max(done, at - _STRIDE) : at][::-1])
            length = end - at + (0 if before is None else before.end())
            if length >= RUN_BYTES_MIN:
                runs += 1
                run_bytes += length
            done = end
        at = max(end, at + _STRIDE)
    return runs, run_bytes

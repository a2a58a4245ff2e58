"""The name of an answer: what two requests must have in common to be given the same one.

It is a digest of the call to Bedrock as it was composed (operation, method, target, headers, body), of the
models that may answer it, and of the scope within which the answer may be shared. Not of the request: what a
dialect makes of it is what Bedrock sees, so an OpenAI client and one that speaks Converse share where they
ask the very same, and a header that never travels on divides nobody.

*Bodies count byte for byte.* What a dialect composes is canonical already: the same request gives the same
bytes, whatever blanks the caller wrote. A native caller's body travels as it came, and so it counts as it
came. To decode it and to sort its members would cost more than the lookup saves, on each request and not
only on hits; and the order of members is not always without meaning: a model sees the members of a tool's
schema, and of a document, in the order written. Two SDKs that write the same question differently therefore
do not share. Two runs of one program do.

*Every part is written with its length before it*, so that no two calls are written alike: without that
`a` + `bc` would be `ab` + `c`, and the caller of one would be told the answer to the other. Headers count in
the order of their names: who writes `accept` first asks nothing else. Values of one name keep their order.

SHA-256, since callers choose much of what goes into it: with a digest for which collisions can be made, one
caller could prepare the answer that another one gets.
"""

import hashlib
from typing import Final

from stargate_core.dialects.face import Call

_FORM: Final = b"stargate-answer-1"
"""The form of what is digested; another form must never give an old form's key."""


def cache_key(call: Call, models: str, scope: str) -> str:
    """The key of the answer to `call`: 64 hexadecimal digits.

    models: which models may answer, where a call may go to several, in a form of the caller's choosing.
    scope: only those with the same scope share; '' for all.
    """
    parts = [
        _FORM,
        scope.encode(errors="surrogatepass"),
        models.encode(errors="surrogatepass"),
        call.operation.value.encode(),
        b"stream" if call.stream else b"plain",
        call.method,
        call.target,
    ]
    for name, value in sorted(call.headers, key=_name):
        parts.append(name)
        parts.append(value)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    # The body's length says that it is the last part, and no header that reads like one.
    digest.update(b"%d:" % len(call.body))
    digest.update(call.body)
    return digest.hexdigest()


def _name(header: tuple[bytes, bytes]) -> bytes:
    return header[0]

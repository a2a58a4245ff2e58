"""Composing: the call that a request is at a target, in the dialect's words, and fit to be signed.

Some of a caller's headers travel on with a call, and all that travels is signed. What stands in a header
beside printable ASCII is not read alike everywhere, and a signature over it would be refused: it would look
as if the gateway's own credentials were at fault, and credentials would be asked for anew, and breakers open,
because of a caller's bytes. So it is the caller who is told.

Source: RFC 9110, 5.5 (field values: octets beyond ASCII are opaque).
"""

import re
from typing import TYPE_CHECKING, Final

from stargate_core.faults import Cause, refuse

if TYPE_CHECKING:
    from stargate_core.dialects.face import Call, Target
    from stargate_core.gateway.exchange import Exchange

_PLAIN: Final = re.compile(rb"[ -~]*")


def composed(exchange: "Exchange", target: "Target") -> "Call":
    """The call at this target. Raises Refused where the request can't be carried there."""
    call = exchange.dialect.compose(exchange.request, exchange.ctx.read_ask(), target)
    for name, value in call.headers:
        if _PLAIN.fullmatch(value) is None:
            text = f"The header {name.decode('latin-1')} must be printable ASCII to travel on to Bedrock"
            raise refuse(Cause.BODY_INVALID, text)
    return call

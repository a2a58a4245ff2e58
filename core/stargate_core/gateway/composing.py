"""Composing: the call that a request is at a target, in the dialect's words, fit to be signed, and to no
model that its caller may not use.

Some of a caller's headers travel on with a call, and all that travels is signed. What stands in a header
beside printable ASCII is not read alike everywhere, and a signature over it would be refused: it would look
as if the gateway's own credentials were at fault, and credentials would be asked for anew, and breakers open,
because of a caller's bytes. So it is the caller who is told.

Which model a call is for, bedrock-proxy has looked at. What a body names beside that (`further_models`) is
looked at here, behind all dialects: what their translations left out is of no consequence.

Source: RFC 9110, 5.5 (field values: octets beyond ASCII are opaque).
"""

import re
from typing import TYPE_CHECKING, Final

from stargate_core.aws.operations import ASK_MODELS
from stargate_core.faults import Cause, refuse
from stargate_core.gateway.further_models import further_models
from stargate_core.plugins.bedrock_proxy import may_use

if TYPE_CHECKING:
    from stargate_core.dialects.face import Call, Target
    from stargate_core.gateway.exchange import Exchange

_PLAIN: Final = re.compile(rb"[ -~]*")
_SHOWN_CHARS: Final = 200


def composed(exchange: "Exchange", target: "Target") -> "Call":
    """The call at this target. Raises Refused where the request can't be carried there."""
    call = exchange.dialect.compose(exchange.request, exchange.ctx.read_ask(), target)
    for name, value in call.headers:
        if _PLAIN.fullmatch(value) is None:
            text = f"The header {name.decode('latin-1')} must be printable ASCII to travel on to Bedrock"
            raise refuse(Cause.BODY_INVALID, text)
    consumer = exchange.ctx.consumer
    if consumer is not None and consumer.models is not None and call.operation in ASK_MODELS:
        for model in further_models(call.body):
            if not may_use(consumer, model):
                text = (
                    f"This key may not use the model {model[:_SHOWN_CHARS]!r}, which the request's body names"
                )
                raise refuse(Cause.MODEL_FORBIDDEN, text, param="model")
    return call

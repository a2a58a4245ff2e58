"""Which model a call is for, as its path says it; or its body, where the path names none.

Operations of Bedrock's own have the model in their path, all of it one segment. Vendors' APIs, as AWS serves
them, have it in their body's `model`.

A model's name comes from a configuration, or from a caller, and not every name can stand in a path: what
can't is no model.
"""

import functools
from typing import Final

import msgspec

from stargate_core.aws import operations
from stargate_core.aws.operations import Operation
from stargate_core.dialects.face import Call
from stargate_core.faults import Cause, refuse


class _Named(msgspec.Struct):
    model: str


_NAMED: Final = msgspec.json.Decoder(_Named)


@functools.lru_cache(maxsize=1024)
def model_path(operation: Operation, model: str) -> bytes:
    """The path of an operation on a model. Raises Refused where the model's name can't stand in one."""
    try:
        return operations.path(operation, **{operation.spec.labels[0]: model})
    except ValueError:
        raise refuse(Cause.MODEL_UNKNOWN, param="model") from None


def model_of(call: Call) -> str:
    """The model a call goes to: what an answer names when the caller has named none."""
    match = operations.match(call.method, call.target)
    return _NAMED.decode(call.body).model if match is None or not match.labels else match.labels["modelId"]

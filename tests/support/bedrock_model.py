"""AWS's own service model as the judge of what we send: botocore's validator, and the rest of the model's
word.

botocore checks required members, types, unknown members and minima. It leaves patterns, maxima, enums and
unions to the service, which is where a gateway's mistakes would then be found; so these are checked here,
from the same model.
"""

import base64
import functools
import re
from collections.abc import Iterator
from typing import Any

import botocore.session
import msgspec
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape
from botocore.validate import ParamValidator


@functools.lru_cache(maxsize=2)
def service_model(service: str = "bedrock-runtime") -> ServiceModel:
    """The model of bedrock-runtime, or of the control plane, `bedrock`."""
    return botocore.session.get_session().get_service_model(service)


def objections(operation: str, body: bytes, **labels: str) -> list[str]:
    """What the service model has against a request with this body; empty when nothing."""
    shape = service_model().operation_model(operation).input_shape
    assert isinstance(shape, StructureShape)
    params = _with_blobs(shape, {**labels, **msgspec.json.decode(body)})
    report = ParamValidator().validate(params, shape)
    said = [report.generate_report()] if report.has_errors() else []
    return said + list(_beyond_botocore(shape, params, ""))


def answer_objections(operation: str, body: bytes, service: str = "bedrock-runtime") -> list[str]:
    """What the service model has against an answer with this body; empty when nothing."""
    shape = service_model(service).operation_model(operation).output_shape
    assert isinstance(shape, StructureShape)
    members = _with_blobs(shape, msgspec.json.decode(body))
    report = ParamValidator().validate(members, shape)
    said = [report.generate_report()] if report.has_errors() else []
    return said + list(_beyond_botocore(shape, members, ""))


def _with_blobs(shape: Shape, value: Any) -> Any:
    """The value as boto3 would be given it: blobs as bytes. Base64 that is none is an error right here."""
    if isinstance(value, dict) and isinstance(shape, StructureShape):
        return {
            name: _with_blobs(shape.members[name], member) if name in shape.members else member
            for name, member in value.items()
        }
    if isinstance(value, list) and isinstance(shape, ListShape):
        return [_with_blobs(shape.member, member) for member in value]
    return base64.b64decode(value, validate=True) if shape.type_name == "blob" else value


def _beyond_botocore(shape: Shape, value: Any, place: str) -> Iterator[str]:
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        if getattr(shape, "is_tagged_union", False) and len(value) != 1:
            yield f"{place}: a union of {sorted(value)}"
        for name, member in value.items():
            if name in shape.members:
                yield from _beyond_botocore(shape.members[name], member, f"{place}.{name}")
        return
    if isinstance(shape, ListShape) and isinstance(value, list):
        for at, member in enumerate(value):
            yield from _beyond_botocore(shape.member, member, f"{place}[{at}]")
    elif isinstance(shape, MapShape) and isinstance(value, dict):
        for key, member in value.items():
            yield from _beyond_botocore(shape.key, key, f"{place} key")
            yield from _beyond_botocore(shape.value, member, f"{place}[{key!r}]")
    rules = shape.metadata
    if "max" in rules and (value if isinstance(value, int | float) else len(value)) > rules["max"]:
        yield f"{place}: more than {rules['max']}"
    if isinstance(value, str):
        if "enum" in rules and value not in rules["enum"]:
            yield f"{place}: {value!r} is none of {rules['enum']}"
        if "pattern" in rules and not re.fullmatch(rules["pattern"], value, re.ASCII):
            yield f"{place}: {value!r} does not match {rules['pattern']}"

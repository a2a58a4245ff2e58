"""The control plane, as far as a gateway asks it: which models there are, and which inference profiles.

Served at the runtime's own address. `--listing-fault`, or a PUT to `/_simulator/listing-fault`, makes the
listings fail: any scenario may be named there.

Source: botocore, bedrock/2023-04-20.
"""

from collections.abc import Mapping
from typing import Any, Final

from stargate.simulator.catalogue import MODELS, Model, Profile, model_arn, profiles
from stargate.simulator.errors import refuse
from stargate.simulator.jobs import page, timestamp

_PROFILES_PAGE: Final = 100


def answer(operation: str, members: Mapping[str, Any], region: str) -> dict[str, object]:
    """The body of one of the control plane's answers. Raises Refusal."""
    match operation:
        case "ListFoundationModels":
            return {
                "modelSummaries": [
                    _model(model, region) for model in MODELS.values() if _is_wanted(model, members)
                ]
            }
        case "GetFoundationModel":
            model = MODELS.get(members["modelIdentifier"].rpartition("/")[2])
            if model is None:
                raise refuse(
                    "ResourceNotFoundException", "Could not resolve the foundation model identifier."
                )
            return {"modelDetails": _model(model, region)}
        case "ListInferenceProfiles":
            found = [
                _profile(profile, region)
                for profile in profiles(region)
                if members.get("typeEquals") in (None, profile.kind)
            ]
            return page("inferenceProfileSummaries", found, members, _PROFILES_PAGE)
        case _:
            return _profile(_found(members["inferenceProfileIdentifier"], region), region)


def _is_wanted(model: Model, members: Mapping[str, Any]) -> bool:
    provider = members.get("byProvider")
    return (
        (provider is None or provider.lower() == model.provider.lower())
        and members.get("byCustomizationType") in (None, *model.customizations)
        and members.get("byOutputModality") in (None, *model.gives)
        and members.get("byInferenceType") in (None, *model.inference)
    )


def _model(model: Model, region: str) -> dict[str, object]:
    return {
        "modelArn": model_arn(model.id, region),
        "modelId": model.id,
        "modelName": model.name,
        "providerName": model.provider,
        "inputModalities": list(model.takes),
        "outputModalities": list(model.gives),
        "responseStreamingSupported": model.streams,
        "customizationsSupported": list(model.customizations),
        "inferenceTypesSupported": list(model.inference),
        "modelLifecycle": {"status": "LEGACY" if model.legacy else "ACTIVE"},
    }


def _profile(profile: Profile, region: str) -> dict[str, object]:
    return {
        "inferenceProfileName": profile.name,
        "description": profile.description,
        "createdAt": timestamp(profile.created_ns),
        "updatedAt": timestamp(profile.created_ns),
        "inferenceProfileArn": profile.arn(region),
        "models": [{"modelArn": arn} for arn in profile.model_arns],
        "inferenceProfileId": profile.id,
        "status": "ACTIVE",
        "type": profile.kind,
    }


def _found(identifier: str, region: str) -> Profile:
    """A profile by its id or its ARN. Raises Refusal."""
    for profile in profiles(region):
        if identifier in (profile.id, profile.arn(region)):
            return profile
    raise refuse("ResourceNotFoundException", "Could not resolve the inference profile identifier.")

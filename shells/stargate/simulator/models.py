"""Which model ids are taken, and what each model is: its provider, whether it may be called by its bare id.

Bedrock knows its models by name. The simulator takes any id of a provider it has heard of, every kind of
ARN, and its own `simulator.…`; anything else is `The provided model identifier is invalid.`, as there.
"""

import functools
import re
from typing import Final

from stargate.simulator.errors import invalid

_REGIONS: Final = r"(us|eu|apac|jp|au|ca|sa|me|af|global|us-gov|amer)"
_PROVIDERS: Final = (
    r"(ai21|amazon|anthropic|cohere|deepseek|google|luma|meta|minimax|mistral|moonshot|moonshotai|nvidia|openai|qwen"
    r"|stability|twelvelabs|writer|zai)"
)
_KNOWN: Final = re.compile(rf"({_REGIONS}\.)?{_PROVIDERS}\.(?!.*does-not-exist).+")
_ARN: Final = re.compile(
    r"arn:aws(-[^:]+)?:(bedrock:[a-z0-9-]+:(\d{12})?:"
    r"(foundation-model|custom-model|custom-model-deployment|imported-model|provisioned-model|inference-profile"
    r"|application-inference-profile|prompt|prompt-router|default-prompt-router)/.+"
    r"|sagemaker:[a-z0-9-]+:\d{12}:endpoint/.+)"
)
_OURS: Final = re.compile(r"(.*[./])?simulator\..+")
_PROFILE_ONLY: Final = re.compile(
    r"anthropic\.claude-(3-7|sonnet-[4-9]|opus-[4-9]|haiku-[4-9])|amazon\.nova-(premier|2-(lite|omni|pro|sonic))|deepseek\.r1"
)


_ASYNCHRONOUS: Final = re.compile(
    r"amazon\.(nova-(reel|2-multimodal-embeddings)|titan-embed-image)|twelvelabs\.|luma\."
)


@functools.lru_cache(maxsize=1024)
def is_ours(model_id: str) -> bool:
    """Whether a model is the simulator's own: it takes part in everything."""
    return _OURS.fullmatch(model_id) is not None


def is_claude(model_id: str) -> bool:
    """Whether a model is one of Anthropic's, as far as its id tells."""
    return "anthropic." in model_id


@functools.lru_cache(maxsize=1024)
def is_known(model_id: str) -> bool:
    """Whether an id could be a model's."""
    return _KNOWN.fullmatch(model_id) is not None or _ARN.fullmatch(model_id) is not None


@functools.lru_cache(maxsize=1024)
def check_model(model_id: str, operation: str) -> None:
    """Whether Bedrock would take this model for this operation. Raises Refusal."""
    if is_ours(model_id):
        return
    if not is_known(model_id):
        raise invalid("The provided model identifier is invalid.")
    if operation == "StartAsyncInvoke":
        if _ASYNCHRONOUS.search(model_id) is None:
            raise invalid("The model doesn't support asynchronous invocation.")
    elif operation == "CountTokens":
        if re.match(rf"{_REGIONS}\.", model_id) or "inference-profile" in model_id:
            raise invalid("The provided model doesn't support counting tokens.")
    elif _PROFILE_ONLY.match(model_id):
        raise invalid(
            f"Invocation of model ID {model_id} with on-demand throughput isn't supported. Retry your "
            "request with the ID or ARN of an inference profile that contains this model."
        )

"""The models and inference profiles that the simulated account has: a fixed, believable list.

What matters is that it has every kind: models that speak, see, draw and embed; active and legacy ones; models
for on-demand use, and some that only a profile reaches; profiles of one continent, of all, and of the
application's own. Names, modalities and lifecycles are as AWS's listings had them at the end of 2025, as far
as they are public; dates are plausible.

Source: AWS's user guide, "Supported foundation models" and "Supported Regions and models for inference
profiles".
"""

import base64
from collections.abc import Iterator
from typing import Final

import msgspec

from stargate.simulator.jobs import ACCOUNT

_TEXT: Final = ("TEXT",)
_SEEING: Final = ("TEXT", "IMAGE")
_EMBEDDING: Final = ("EMBEDDING",)
_IMAGE: Final = ("IMAGE",)
_ON_DEMAND: Final = ("ON_DEMAND",)
_BOTH: Final = ("ON_DEMAND", "PROVISIONED")
_NONE: Final[tuple[str, ...]] = ()
"""Of a model that only an inference profile reaches."""


class Model(msgspec.Struct, frozen=True):
    """A foundation model."""

    id: str
    name: str
    provider: str
    takes: tuple[str, ...] = _TEXT
    gives: tuple[str, ...] = _TEXT
    inference: tuple[str, ...] = _ON_DEMAND
    streams: bool = True
    profiles: tuple[str, ...] = ()
    """The regions of the system's own inference profiles for it."""
    legacy: bool = False
    customizations: tuple[str, ...] = ()


_ROWS: Final = (
    # ---------------------------------------------------------------------------------------------- Anthropic
    Model(
        "anthropic.claude-3-haiku-20240307-v1:0",
        "Claude 3 Haiku",
        "Anthropic",
        _SEEING,
        inference=_BOTH,
        profiles=("us", "eu", "apac"),
        customizations=("FINE_TUNING", "DISTILLATION"),
    ),
    Model(
        "anthropic.claude-3-5-sonnet-20240620-v1:0",
        "Claude 3.5 Sonnet",
        "Anthropic",
        _SEEING,
        profiles=("us", "eu"),
        legacy=True,
    ),
    Model(
        "anthropic.claude-3-7-sonnet-20250219-v1:0",
        "Claude 3.7 Sonnet",
        "Anthropic",
        _SEEING,
        inference=_NONE,
        profiles=("us", "eu"),
        legacy=True,
    ),
    Model(
        "anthropic.claude-sonnet-4-20250514-v1:0",
        "Claude Sonnet 4",
        "Anthropic",
        _SEEING,
        inference=_NONE,
        profiles=("us", "eu", "global"),
    ),
    Model(
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "Claude Sonnet 4.5",
        "Anthropic",
        _SEEING,
        inference=_NONE,
        profiles=("us", "eu", "global"),
    ),
    Model(
        "anthropic.claude-haiku-4-5-20251001-v1:0",
        "Claude Haiku 4.5",
        "Anthropic",
        _SEEING,
        inference=_NONE,
        profiles=("us", "eu", "global"),
    ),
    Model(
        "anthropic.claude-opus-4-1-20250805-v1:0",
        "Claude Opus 4.1",
        "Anthropic",
        _SEEING,
        inference=_NONE,
        profiles=("us",),
    ),
    # ------------------------------------------------------------------------------------------------- Amazon
    Model("amazon.nova-micro-v1:0", "Nova Micro", "Amazon", inference=_BOTH, profiles=("us", "eu", "apac")),
    Model("amazon.nova-lite-v1:0", "Nova Lite", "Amazon", _SEEING, inference=_BOTH, profiles=("us", "eu")),
    Model("amazon.nova-pro-v1:0", "Nova Pro", "Amazon", _SEEING, inference=_BOTH, profiles=("us", "eu")),
    Model("amazon.nova-premier-v1:0", "Nova Premier", "Amazon", _SEEING, inference=_NONE, profiles=("us",)),
    Model("amazon.nova-canvas-v1:0", "Nova Canvas", "Amazon", _SEEING, _IMAGE, streams=False),
    Model("amazon.titan-text-express-v1", "Titan Text Express", "Amazon", legacy=True),
    Model("amazon.titan-embed-text-v1", "Titan Embeddings G1", "Amazon", _TEXT, _EMBEDDING, streams=False),
    Model("amazon.titan-embed-text-v2:0", "Titan Embeddings V2", "Amazon", _TEXT, _EMBEDDING, streams=False),
    Model(
        "amazon.titan-embed-image-v1", "Titan Multimodal", "Amazon", _SEEING, _EMBEDDING, _BOTH, streams=False
    ),
    # ------------------------------------------------------------------------------------------------- others
    Model("meta.llama3-8b-instruct-v1:0", "Llama 3 8B Instruct", "Meta"),
    Model("meta.llama3-3-70b-instruct-v1:0", "Llama 3.3 70B", "Meta", inference=_NONE, profiles=("us",)),
    Model(
        "meta.llama4-maverick-17b-instruct-v1:0",
        "Llama 4 Maverick",
        "Meta",
        _SEEING,
        inference=_NONE,
        profiles=("us",),
    ),
    Model("openai.gpt-oss-20b-1:0", "gpt-oss-20b", "OpenAI"),
    Model("openai.gpt-oss-120b-1:0", "gpt-oss-120b", "OpenAI"),
    Model("qwen.qwen3-32b-v1:0", "Qwen3 32B", "Qwen"),
    Model("deepseek.r1-v1:0", "DeepSeek-R1", "DeepSeek", inference=_NONE, profiles=("us",)),
    Model("mistral.mistral-7b-instruct-v0:2", "Mistral 7B Instruct", "Mistral AI"),
    Model("mistral.mistral-large-2402-v1:0", "Mistral Large 24.02", "Mistral AI"),
    Model("cohere.command-r-v1:0", "Command R", "Cohere"),
    Model("cohere.embed-english-v3", "Embed English", "Cohere", _TEXT, _EMBEDDING, streams=False),
    Model("cohere.embed-multilingual-v3", "Embed Multilingual", "Cohere", _TEXT, _EMBEDDING, streams=False),
    Model(
        "cohere.embed-v4:0",
        "Embed v4",
        "Cohere",
        _SEEING,
        _EMBEDDING,
        streams=False,
        profiles=("us", "eu", "global"),
    ),
    Model("stability.sd3-5-large-v1:0", "SD3.5 Large", "Stability AI", _SEEING, _IMAGE, streams=False),
)

MODELS: Final = {row.id: row for row in _ROWS}
"""Every model, by its id."""

_REGIONS: Final = {
    "us": ("us-east-1", "us-east-2", "us-west-2"),
    "eu": ("eu-central-1", "eu-north-1", "eu-west-1", "eu-west-3"),
    "apac": ("ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2"),
}
_CONTINENTS: Final = {"us": "US", "eu": "EU", "apac": "APAC", "global": "Global"}


class Profile(msgspec.Struct, frozen=True):
    """An inference profile: one name for a model in several regions."""

    id: str
    name: str
    description: str
    kind: str
    """SYSTEM_DEFINED | APPLICATION"""
    model_arns: tuple[str, ...]
    created_ns: int = 1_735_689_600_000_000_000

    def arn(self, region: str) -> str:
        """Its name in an account of that region."""
        folder = "inference-profile" if self.kind == "SYSTEM_DEFINED" else "application-inference-profile"
        return f"arn:aws:bedrock:{region}:{ACCOUNT}:{folder}/{self.id}"


def model_arn(model_id: str, region: str) -> str:
    """A model's name; it belongs to no account."""
    return f"arn:aws:bedrock:{region}::foundation-model/{model_id}"


def profiles(region: str) -> Iterator[Profile]:
    """The profiles that an account of this region sees: the system's, then its own."""
    for model in _ROWS:
        for area in model.profiles:
            # A global profile names the model where it is asked for: it could be anywhere.
            regions = (region,) if area == "global" else _REGIONS[area]
            yield Profile(
                f"{area}.{model.id}",
                f"{_CONTINENTS[area]} {model.provider} {model.name}".replace(".", " "),
                f"Routes requests to {model.provider} {model.name} in {_CONTINENTS[area]} regions.",
                "SYSTEM_DEFINED",
                tuple(model_arn(model.id, name) for name in regions),
            )
    for name, model_id in _APPLICATIONS:
        unique = base64.b32encode(name.encode()).decode().lower().strip("=")[:12]
        yield Profile(
            unique,
            name,
            f"The {name} of the simulated account",
            "APPLICATION",
            (model_arn(model_id, region),),
        )


_APPLICATIONS: Final = (
    ("billing-assistant", "anthropic.claude-3-haiku-20240307-v1:0"),
    ("search-assistant", "amazon.nova-lite-v1:0"),
)
"""The account's own profiles: what they are called, and of which models."""

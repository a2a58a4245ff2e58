"""The plugins that come with Stargate; third parties add theirs by the entry point `stargate.plugins`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from stargate_core.plugins.api_key_auth import ApiKeyAuthPlugin
from stargate_core.plugins.bedrock_guardrail import BedrockGuardrailPlugin
from stargate_core.plugins.bedrock_proxy import BedrockProxyPlugin
from stargate_core.plugins.cors import CorsPlugin
from stargate_core.plugins.ip_restriction import IpRestrictionPlugin
from stargate_core.plugins.jwt_auth import JwtAuthPlugin
from stargate_core.plugins.pii_redactor import PiiRedactorPlugin
from stargate_core.plugins.prompt_guard import PromptGuardPlugin
from stargate_core.plugins.prompt_template import PromptTemplatePlugin
from stargate_core.plugins.rate_limiter import RateLimiterPlugin
from stargate_core.plugins.request_logger import RequestLoggerPlugin
from stargate_core.plugins.request_size import RequestSizePlugin
from stargate_core.plugins.request_transform import RequestTransformPlugin
from stargate_core.plugins.response_cache import ResponseCachePlugin
from stargate_core.plugins.response_store import ResponseStorePlugin
from stargate_core.plugins.response_transform import ResponseTransformPlugin
from stargate_core.views import Plugin

BUILT_IN: Final[Mapping[str, type[Plugin]]] = MappingProxyType(
    {
        plugin.NAME: plugin
        for plugin in (
            ApiKeyAuthPlugin,
            BedrockGuardrailPlugin,
            BedrockProxyPlugin,
            CorsPlugin,
            IpRestrictionPlugin,
            JwtAuthPlugin,
            PiiRedactorPlugin,
            PromptGuardPlugin,
            PromptTemplatePlugin,
            RateLimiterPlugin,
            RequestLoggerPlugin,
            RequestSizePlugin,
            RequestTransformPlugin,
            ResponseCachePlugin,
            ResponseStorePlugin,
            ResponseTransformPlugin,
        )
    }
)
"""By name."""

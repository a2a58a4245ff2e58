"""Which of Kong's plugins is converted how. What is not here is noted, and gone."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from stargate.kong.ai_proxy import ai_proxy, ai_proxy_advanced
from stargate.kong.document import Tree, tree
from stargate.kong.limits import ai_rate_limiting_advanced, rate_limiting, rate_limiting_advanced
from stargate.kong.site import Converter, Site, alike

AI: Final = frozenset({"ai-proxy", "ai-proxy-advanced"})
"""The plugins without which a service of Kong's is nothing of an LLM gateway's."""
_ADMIN: Final = "127.0.0.1:8001"
_AWS: Final = (
    "aws_region",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_assume_role_arn",
    "aws_role_session_name",
)
_SIZES: Final = {"max_request_body_size": "gateway.max_body_bytes is for all"}
_LOOPBACK: Final = "listens on this machine only until gateway.admin_listen says otherwise"


def _key_auth(config: Tree, site: Site) -> list[tuple[str, Tree]]:
    names = config.get("key_names") or ["apikey"]
    # SDKs send their key so, whatever Kong was told to look at beside.
    wanted = [*names, *(name for name in ("authorization", "x-api-key") if name not in names)]
    auth: Tree = {"key_names": wanted}
    if config.get("realm"):
        auth["realm"] = config["realm"]
    if config.get("anonymous"):
        auth["anonymous"] = config["anonymous"]
        site.note("check", "anonymous: expected a consumer's username here, not its id")
    for name in ("key_in_query", "key_in_body"):
        if config.get(name, name == "key_in_query"):
            site.note("changed", f"{name}: keys are taken from headers only; URLs and bodies end up in logs")
    if not config.get("hide_credentials"):
        site.note("changed", "hide_credentials: a caller's key never travels on")
    if config.get("run_on_preflight") is False:
        site.note("changed", "run_on_preflight: the cors plugin answers preflights before keys are asked for")
    read = (
        "key_names",
        "realm",
        "anonymous",
        "key_in_query",
        "key_in_body",
        "key_in_header",
        "hide_credentials",
    )
    site.rest(config, (*read, "run_on_preflight"))
    return [("api-key-auth", auth)]


def _proxy_cache(config: Tree, site: Site) -> list[tuple[str, Tree]]:
    cache: Tree = {"cache_ttl": config["cache_ttl"]} if config.get("cache_ttl") else {}
    site.note("changed", "kept for each consumer apart; `scope: global` shares answers as Kong does")
    if config.get("strategy", "memory") != "memory":
        site.note("check", f"strategy {config['strategy']}: answers are kept in gateway.store")
    ours = (
        "cache_ttl",
        "strategy",
        "response_code",
        "request_method",
        "content_type",
        "memory",
        "cache_control",
    )
    site.rest(config, (*ours, "storage_ttl", "redis"))
    return [("response-cache", cache)]


def _semantic_cache(config: Tree, site: Site) -> list[tuple[str, Tree]]:
    site.note("changed", "answers are kept for the very same call, not for one that means the same")
    return [("response-cache", {"cache_ttl": config["cache_ttl"]} if config.get("cache_ttl") else {})]


def _file_log(config: Tree, site: Site) -> list[tuple[str, Tree]]:
    site.rest(config, ("path", "reopen"), {"custom_fields_by_lua": "there is no Lua here"})
    return [("request-logger", {"path": config.get("path") or "/dev/stdout"})]


def _http_log(config: Tree, site: Site) -> list[tuple[str, Tree]]:
    logger: Tree = {"path": config.get("http_endpoint") or "/dev/stdout"}
    if config.get("headers"):
        logger["http"] = {"headers": tree(config.get("headers"))}
    read = (
        "http_endpoint",
        "headers",
        "method",
        "content_type",
        "timeout",
        "keepalive",
        "queue",
        "retry_count",
        "queue_size",
        "flush_timeout",
    )
    site.rest(config, read)
    return [("request-logger", logger)]


def _udp_log(config: Tree, site: Site) -> list[tuple[str, Tree]]:
    site.rest(config, ("host", "port", "timeout"))
    return [("request-logger", {"path": f"udp://{config.get('host')}:{config.get('port')}"})]


def _prometheus(config: Tree, site: Site) -> list[tuple[str, Tree]]:
    site.ask_gateway("admin_listen", _ADMIN)
    site.note("changed", f"metrics are at /metrics of the admin listener, which {_LOOPBACK}")
    return []


def _opentelemetry(config: Tree, site: Site) -> list[tuple[str, Tree]]:
    endpoint = config.get("traces_endpoint") or config.get("endpoint")
    if endpoint:
        site.ask_gateway("tracing", {"endpoint": endpoint})
    else:
        site.note("dropped", "it names no endpoint: set gateway.tracing")
    site.rest(
        config, ("traces_endpoint", "endpoint", "queue", "connect_timeout", "read_timeout", "send_timeout")
    )
    return []


def _aws_guardrails(config: Tree, site: Site) -> list[tuple[str, Tree]]:
    guardrail: Tree = {"identifier": config.get("guardrails_id"), "version": config.get("guardrails_version")}
    mode = config.get("guarding_mode", "INPUT")
    if mode == "INPUT":
        guardrail |= {"attach": False, "apply": True}
    else:
        site.note(
            "changed", f"guarding_mode {mode}: the guardrail is attached to the call, and sees both sides"
        )
    read = ("guardrails_id", "guardrails_version", "guarding_mode", "stop_on_error", "timeout", "text_source")
    site.rest(config, read, dict.fromkeys(_AWS, "it is asked where, and as whom, bedrock-proxy calls"))
    return [("bedrock-guardrail", {name: value for name, value in guardrail.items() if value is not None})]


def _decorator(config: Tree, site: Site) -> list[tuple[str, Tree]]:
    prompts = tree(config.get("prompts"))
    decorate: Tree = {name: prompts[name] for name in ("prepend", "append") if prompts.get(name)}
    site.rest(
        config, ("prompts", "llm_format"), {"max_request_body_size": "gateway.max_body_bytes is for all"}
    )
    if not decorate:
        site.note("dropped", "it puts nothing before or behind")
        return []
    return [("prompt-template", {"decorate": decorate})]


def _gone(text: str) -> Converter:
    """The converter of a plugin that needs nothing in its place, or can have nothing."""

    def convert(config: Tree, site: Site) -> list[tuple[str, Tree]]:
        site.note("dropped", text)
        return []

    return convert


CONVERTERS: Final[Mapping[str, Converter]] = MappingProxyType(
    {
        "ai-proxy": ai_proxy,
        "ai-proxy-advanced": ai_proxy_advanced,
        "key-auth": _key_auth,
        "key-auth-enc": _key_auth,
        "rate-limiting": rate_limiting,
        "rate-limiting-advanced": rate_limiting_advanced,
        "ai-rate-limiting-advanced": ai_rate_limiting_advanced,
        "proxy-cache": _proxy_cache,
        "proxy-cache-advanced": _proxy_cache,
        "ai-semantic-cache": _semantic_cache,
        "file-log": _file_log,
        "http-log": _http_log,
        "udp-log": _udp_log,
        "prometheus": _prometheus,
        "opentelemetry": _opentelemetry,
        "ai-aws-guardrails": _aws_guardrails,
        "response-transformer": alike("response-transform"),
        "response-transformer-advanced": alike("response-transform"),
        "request-transformer": alike("request-transform"),
        "request-transformer-advanced": alike("request-transform"),
        "ai-prompt-guard": alike("prompt-guard", reasons=_SIZES),
        "ai-prompt-template": alike("prompt-template", reasons=_SIZES),
        "ai-prompt-decorator": _decorator,
        "ai-sanitizer": _gone("look at pii-redactor: its patterns need no service of their own"),
        "cors": alike("cors"),
        "ip-restriction": alike("ip-restriction"),
        "request-size-limiting": alike("request-size"),
        "correlation-id": _gone("every request has an id: x-request-id"),
        "jwt": _gone("write an issuer for jwt-auth: its keys, its audience"),
        "openid-connect": _gone("write an issuer for jwt-auth: its keys (jwks_url), its audience"),
        "acl": _gone("give consumers `models`, or put plugins below consumer_groups"),
        "bot-detection": _gone("callers are known by their keys"),
        "request-termination": _gone("leave the route out, or its service"),
    }
)

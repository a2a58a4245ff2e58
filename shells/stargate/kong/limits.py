"""Kong's rate limiting plugins, as rate-limiter.

Kong counts a fixed window by default, per consumer, and lets everything pass when its store is down; where a
file leaves these out, the new one says them, so that the same is limited in the same way.

Sources: https://developer.konghq.com/plugins/rate-limiting/reference/,
https://developer.konghq.com/plugins/rate-limiting-advanced/reference/,
https://developer.konghq.com/plugins/ai-rate-limiting-advanced/reference/
"""

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from stargate.kong.document import Tree, listed, trees
from stargate.kong.site import Site

_BY: Final = {
    "consumer": "consumer",
    "credential": "key",
    "ip": "address",
    "service": "route",
    "route": "route",
    "consumer-group": "consumer",
}
_WINDOWS: Final = ("second", "minute", "hour", "day", "month")
_UNITS: Final = {
    "total_tokens": "tokens",
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "cost": "usd",
}
_REDIS_PORT: Final = 6379


def rate_limiting(config: Tree, site: Site) -> list[tuple[str, Tree]]:
    """Requests in windows that have a name."""
    limiter: Tree = {name: config[name] for name in _WINDOWS if config.get(name)}
    if config.get("year"):
        site.note("dropped", "year: the longest window is a month")
    limiter |= {"by": _by(config.get("limit_by", "consumer"), site), "window_type": "fixed"}
    policy = config.get("policy", "local")
    if policy == "redis":
        _store(config, site)
        limiter["on_store_failure"] = "allow" if config.get("fault_tolerant", True) else "deny"
    elif policy == "local":
        limiter["policy"] = "local"
    else:
        site.note("check", f"policy {policy}: counted in gateway.store; set it to a Redis to share")
    read = (*_WINDOWS, "year", "limit_by", "policy", "fault_tolerant", "redis", "hide_client_headers")
    return _done(limiter, config, site, read)


def rate_limiting_advanced(config: Tree, site: Site) -> list[tuple[str, Tree]]:
    """Requests in windows of any length."""
    limits = list(_pairs(config.get("limit"), config.get("window_size"), "requests"))
    return _advanced(limits, config, site, ("limit", "window_size"))


def ai_rate_limiting_advanced(config: Tree, site: Site) -> list[tuple[str, Tree]]:
    """Tokens or cost of a provider's in windows of any length."""
    unit = _UNITS.get(config.get("tokens_count_strategy", "total_tokens"), "tokens")
    limits: list[Tree] = []
    for provider in trees(config.get("llm_providers")):
        if provider.get("name") == "bedrock":
            limits += _pairs(provider.get("limit"), provider.get("window_size"), unit)
        else:
            site.note(
                "dropped", f"the limits of provider {provider.get('name')!r}: only Bedrock is called here"
            )
    for policy in trees(config.get("policies")):
        if policy.get("match"):
            site.note("check", "a policy's `match`: put the plugin at the consumer or route that is meant")
        for limit in trees(policy.get("limits")):
            limits += _pairs([limit.get("limit")], [limit.get("window_size")], unit)
    read = ("llm_providers", "policies", "tokens_count_strategy", "llm_format")
    return _advanced(limits, config, site, read)


def together(first: Tree, second: Tree) -> Tree:
    """The config of one rate-limiter that holds what two say. Where they count differently, each limit of the
    second says how; where, the first says for both.
    """
    own = [
        {"unit": "requests", "limit": second[window], "window": window}
        for window in _WINDOWS
        if window in second
    ]
    for limit in (*own, *second.get("limits", [])):
        extra: Tree = {}
        if second.get("by") != first.get("by"):
            extra["by"] = second["by"]
        if second.get("window_type") != first.get("window_type"):
            extra["algorithm"] = second["window_type"]
        first = {**first, "limits": [*first.get("limits", []), {**limit, **extra}]}
    return first


def _advanced(limits: list[Tree], config: Tree, site: Site, read: tuple[str, ...]) -> list[tuple[str, Tree]]:
    limiter: Tree = {"limits": limits} if limits else {}
    limiter["by"] = _by(config.get("identifier", "consumer"), site)
    limiter["window_type"] = config.get("window_type", "sliding")
    strategy = config.get("strategy", "local")
    if strategy == "redis":
        _store(config, site)
        limiter["on_store_failure"] = "local"  # What Kong's advanced plugins do without their Redis.
    elif strategy == "local":
        limiter["policy"] = "local"
    else:
        site.note("check", f"strategy {strategy}: counted in gateway.store; set it to a Redis to share")
    common = (
        "identifier",
        "window_type",
        "strategy",
        "redis",
        "sync_rate",
        "hide_client_headers",
        "namespace",
    )
    return _done(limiter, config, site, (*read, *common))


def _done(limiter: Tree, config: Tree, site: Site, read: tuple[str, ...]) -> list[tuple[str, Tree]]:
    if config.get("hide_client_headers"):
        limiter["headers"] = False
    site.rest(config, read)
    if not any(name in limiter for name in (*_WINDOWS, "limits")):
        site.note("dropped", "no limit is left of it")
        return []
    return [("rate-limiter", limiter)]


def _pairs(limits: object, windows: object, unit: str) -> Iterator[Tree]:
    """A limit for each pair of Kong's two lists, which may also be single numbers."""
    for limit, window in zip(listed(limits), listed(windows), strict=False):
        amount = float(limit)
        whole = amount if unit == "usd" or not amount.is_integer() else int(amount)
        yield {"unit": unit, "limit": whole, "window": int(window)}


def _by(told: object, site: Site) -> str:
    by = _BY.get(str(told))
    if by is None:
        site.note("changed", f"counted by {told}: Stargate counts by consumer, key, model, route or address")
        return "consumer"
    return by


def _store(config: Tree, site: Site) -> None:
    """The Redis it counts in, as the gateway's store; in Kong's older files it stands in fields redis_…"""
    older = {
        name.removeprefix("redis_"): value
        for name, value in config.items()
        if name.startswith("redis_") and value
    }
    redis: Tree = config.get("redis") or older
    if redis.get("cluster_nodes") or redis.get("sentinel_nodes"):
        site.note(
            "check", "a cluster or sentinels: write gateway.store as redis+cluster:// or redis+sentinel://"
        )
        return
    host = redis.get("host")
    if not host:
        site.note("check", "no redis.host: set gateway.store")
        return
    user, password = redis.get("username") or "", redis.get("password") or ""
    who = f"{_quoted(user)}:{_quoted(password)}@" if password else ""
    scheme = "rediss" if redis.get("ssl") else "redis"
    database = redis.get("database") or 0
    url = f"{scheme}://{who}{host}:{redis.get('port') or _REDIS_PORT}/{database}"
    store: Tree | str = (
        url if redis.get("ssl_verify", True) or scheme == "redis" else {"url": url, "verify": False}
    )
    site.ask_gateway("store", store)


def _quoted(text: str) -> str:
    """As a URL's user or password; a variable stays one, so what it holds must be quoted already."""
    return text if text.startswith("${") else quote(text, safe="")

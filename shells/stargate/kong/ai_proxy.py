"""Kong's ai-proxy and ai-proxy-advanced, as bedrock-proxy.

A target of Kong's is a model at a provider with credentials of its own. What has another provider than
Bedrock goes, with a note. In Kong the plugin says which model it is, and a caller's `model` must agree or be
left out; here the same holds: the model is the default and the only one that is listed, and `allow_unlisted`
is off. Kong's `model_alias` is the name that callers use for it, and so it is here.

Several targets with one alias (or none) are places of one model here. Kong sends a request on after a failure
only where `failover_criteria` says so; here every failure that another place might not have is one.

Sources: https://developer.konghq.com/plugins/ai-proxy/reference/,
https://developer.konghq.com/plugins/ai-proxy-advanced/reference/
"""

from typing import Any, Final

from stargate.kong.document import Tree, tree, trees
from stargate.kong.site import Site

_DIALECTS: Final = {
    "llm/v1/chat": "openai_chat",
    "llm/v1/responses": "openai_responses",
    "llm/v1/embeddings": "openai_embeddings",
}
_FORMATS: Final = {"anthropic": "anthropic_messages", "bedrock": "bedrock_native"}
_ALGORITHMS: Final = {"round-robin": "weighted", "priority": "ordered"}
_DEFAULT_RETRIES: Final = 5
"""Kong's balancer's."""
_PARAMETERS: Final = ("max_tokens", "temperature", "top_p", "top_k")


def ai_proxy(config: Tree, site: Site) -> list[tuple[str, Tree]]:
    """One target, written as the config itself."""
    _dialect(config, config.get("route_type"), site)
    _common(config, site)
    target = _target(config, site)
    if target is None:
        return []
    region, model, account, alias = target
    proxy: Tree = {**_region(region), **account, **_models(alias, model)}
    site.rest(config, _READ)
    return [("bedrock-proxy", proxy)]


def ai_proxy_advanced(config: Tree, site: Site) -> list[tuple[str, Tree]]:
    """Several targets, and how they are balanced."""
    balancer: Tree = tree(config.get("balancer"))
    targets = trees(config.get("targets"))
    _common(config, site)
    models: dict[str, list[Tree]] = {}
    accounts: dict[str, Tree] = {}
    default = ""
    for number, told in enumerate(targets, 1):
        if number == 1:
            _dialect(config, told.get("route_type"), site)
        converted = _target(told, site, f"target {number}")
        if converted is None:
            continue
        region, model, account, alias = converted
        place: Tree = {"target": model, **_region(region), **_weight(told)}
        if account:
            name = next(
                (known for known, same in accounts.items() if same == account), f"kong-{len(accounts) + 1}"
            )
            accounts[name] = account
            place["account"] = name
        models.setdefault(alias or "", []).append(place)
        default = default or alias or model
    if not models:
        site.note("dropped", "no target of it is Bedrock's")
        return []
    proxy: Tree = {"balance": _balance(balancer, site)}
    proxy["retry"] = {"count": min(int(balancer.get("retries", _DEFAULT_RETRIES)), 10)}
    if accounts:
        proxy["accounts"] = accounts
    proxy["models"] = {
        alias or places[0]["target"]: {"target": places[0]["target"], "targets": places}
        for alias, places in models.items()
    }
    proxy |= {"model": default, "allow_unlisted": False}
    criteria = set(balancer.get("failover_criteria") or ()) - {"error", "timeout"}
    if criteria:
        text = (
            f"failover_criteria {sorted(criteria)}: here the fault's kind says whether another place is tried"
        )
        site.note("changed", text)
    read = ("algorithm", "retries", "failover_criteria")
    site.rest({f"balancer.{name}": value for name, value in balancer.items() if name not in read}, ())
    site.rest(config, (*_READ, "balancer", "targets"))
    return [("bedrock-proxy", proxy)]


_READ: Final = (
    "auth",
    "genai_category",
    "llm_format",
    "logging",
    "max_request_body_size",
    "model",
    "model_name_header",
    "response_streaming",
    "route_type",
)


def _target(told: Tree, site: Site, which: str = "") -> tuple[str | None, str, Tree, str | None] | None:
    """Region, model id, authority, alias of one target; None: it is not Bedrock's."""
    prefix = f"{which}: " if which else ""
    model: Tree = tree(told.get("model"))
    options: Tree = tree(model.get("options"))
    bedrock: Tree = tree(options.get("bedrock"))
    if model.get("provider") != "bedrock":
        site.note("dropped", f"{prefix}provider {model.get('provider')!r}: only Bedrock is called here")
        return None
    name = model.get("name")
    if not name:
        site.note("dropped", f"{prefix}it names no model; callers must, and bedrock-proxy needs none then")
        return None
    parameters = {name: options[name] for name in _PARAMETERS if options.get(name) is not None}
    if parameters:
        text = f"{prefix}{parameters}: callers set these themselves; request-transform can add them"
        site.note("check", text)
    if options.get("upstream_url"):
        site.note("check", f"{prefix}upstream_url: set endpoint_url if calls must go there instead of AWS")
    return (
        bedrock.get("aws_region"),
        str(name),
        _authority(told, bedrock, site, prefix),
        model.get("model_alias"),
    )


def _authority(told: Tree, bedrock: Tree, site: Site, prefix: str) -> Tree:
    """Whose credentials sign, in bedrock-proxy's words; of none, the usual AWS places'."""
    auth: Tree = tree(told.get("auth"))
    authority: Tree = {}
    role = bedrock.get("aws_assume_role_arn")
    if auth.get("aws_access_key_id"):
        if role:
            text = f"{prefix}a role is assumed with the usual AWS credentials here, not with keys in the file"
            site.note("check", text)
        else:
            authority["credentials"] = {
                "access_key_id": auth["aws_access_key_id"],
                "secret_access_key": auth.get("aws_secret_access_key") or "",
            }
    if role:
        session = bedrock.get("aws_role_session_name")
        authority["role"] = {"arn": role, **({"session_name": session} if session else {})}
    header: Any = auth.get("header_value")
    if header and not authority and str(auth.get("header_name", "")).lower() == "authorization":
        authority["api_key"] = str(header).removeprefix("Bearer ")
    if auth.get("allow_override"):
        site.note("dropped", f"{prefix}auth.allow_override: a caller's own AWS credentials never travel on")
    return authority


def _models(alias: str | None, model: str) -> Tree:
    return {"model": alias or model, "models": {alias or model: model}, "allow_unlisted": False}


def _region(region: str | None) -> Tree:
    return {"region": region} if region else {}


def _weight(told: Tree) -> Tree:
    weight = told.get("weight")
    return {"weight": max(1, min(int(weight), 1000))} if weight is not None else {}


def _balance(balancer: Tree, site: Site) -> str:
    algorithm = balancer.get("algorithm", "round-robin")
    balance = _ALGORITHMS.get(algorithm)
    if balance is None:
        site.note("changed", f"balancer.algorithm {algorithm}: targets are taken by weight, at random")
        return "weighted"
    return balance


def _dialect(config: Tree, route_type: object, site: Site) -> None:
    """What callers speak here: the form, or for OpenAI's the kind of call."""
    form = config.get("llm_format", "openai")
    dialect = _FORMATS.get(form) or _DIALECTS.get(str(route_type))
    if form not in {"openai", *_FORMATS}:
        site.note("check", f"llm_format {form}: callers must speak OpenAI's, Anthropic's or Bedrock's API")
    elif dialect is None and route_type not in (None, "preserve"):
        site.note("check", f"route_type {route_type}: what callers speak is told from the path instead")
    site.dialect = dialect


def _common(config: Tree, site: Site) -> None:
    """What stands beside the targets."""
    size = config.get("max_request_body_size")
    if size:
        site.ask_gateway("max_body_bytes", size)
    if config.get("response_streaming") in ("deny", "always"):
        site.note("dropped", f"response_streaming {config['response_streaming']}: callers choose")
    logging = [tree(told.get("logging")) for told in (config, *trees(config.get("targets")))]
    if any(one.get("log_payloads") for one in logging):
        site.note(
            "dropped", "log_payloads: records hold no prompt and no answer; gateway.journal can, encrypted"
        )
    if any(one.get("log_statistics") for one in logging):
        site.note("changed", "log_statistics: every record of request-logger has tokens, cost and latency")

"""What several bedrock-proxy plugins must agree on: whom and what they mean by a name.

A part of checks.py. Credentials are kept, and breakers count, by the names of accounts and targets, for the
whole process; so what one plugin calls by a name, another one may not call by the same. The plugin's own
authority has a name too: its profile's, its role's, or none.
"""

from collections.abc import Iterator

from stargate_core.config.bedrock_proxy import AwsAccount, BedrockProxy, ModelTarget, ProxyTarget, targets_of
from stargate_core.config.problems import Path, path_text
from stargate_core.config.walk import Walk


def check_targets(walk: Walk) -> None:
    """Note every problem between accounts and targets, and the accounts that nothing uses."""
    configs = [(path, config) for path, config in walk.found if isinstance(config, BedrockProxy)]
    _accounts(walk, configs)
    _names(walk, configs)


def _accounts(walk: Walk, configs: list[tuple[Path, BedrockProxy]]) -> None:
    seen: dict[str, tuple[AwsAccount, Path]] = {}
    for path, config in configs:
        used = tuple(dict.fromkeys(config.accounts_used()))
        for name in used:
            account = config.account(name)
            if name is None and not account.is_looked_for:
                continue
            where = path if name is None else (*path, "accounts", name)
            first, there = seen.setdefault(config.account_name(name), (account, where))
            if first != account:
                at = _at(walk, there)
                walk.problem(where, f"expected the same authority as at {at}, which has the same name")
        for name in config.accounts:
            if name not in used:
                walk.warning((*path, "accounts", name), "no target uses this account")


def _names(walk: Walk, configs: list[tuple[Path, BedrockProxy]]) -> None:
    seen: dict[str, tuple[object, Path]] = {}
    for path, config in configs:
        for where, target in _named(config):
            where = (*path, *where, "name")
            name = target.name or ""
            place = (target.region, config.account_name(target.account), target.endpoint_url)
            first, there = seen.setdefault(name, (place, where))
            if first != place:
                shown = walk.shown(where, name)
                walk.problem(where, f"{shown} is the name of another place already: {_at(walk, there)}")


def _named(config: BedrockProxy) -> Iterator[tuple[Path, ProxyTarget]]:
    """The targets that have names, and where they stand."""
    groups: list[tuple[Path, ModelTarget]] = [((), ModelTarget(""))] if config.targets else []
    groups += [(("models", name), model) for name, model in config.models.items() if model.targets]
    for path, model in groups:
        for index, target in enumerate(targets_of(config, model)):
            if target.name is not None:
                yield (*path, "targets", index), target


def _at(walk: Walk, path: Path) -> str:
    return f"{path_text(path)}, line {walk.place(path).line}"

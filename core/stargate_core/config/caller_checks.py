"""What consumers, their groups, their keys and those who vouch for them must agree on.

A part of checks.py, under the same rules: where a missing piece could be the very thing that is looked for,
nothing is said.

A consumer's `groups` were labels before there were groups to name, so a file without `consumer_groups` may
still write anything there.
"""

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from stargate_core.config.callers import narrowed, with_groups
from stargate_core.config.jwt_auth import Issuer, JwtAuth
from stargate_core.config.problems import Path, nearest, path_text
from stargate_core.config.schema import Config, Consumer, ConsumerGroup
from stargate_core.config.walk import Walk

_Entity = TypeVar("_Entity", bound=msgspec.Struct)


def check_callers(walk: Walk) -> None:
    """Note every problem between consumers, groups, keys and issuers."""
    _groups(walk)
    _keys(walk)
    _issuers(walk)


def _all(walk: Walk, entity: type[_Entity]) -> Iterator[tuple[Path, _Entity]]:
    for path, value in walk.found:
        if isinstance(value, entity):
            yield path, value


def _groups(walk: Walk) -> None:
    """A consumer is in groups that exist, and in each once."""
    names = [group.name for _, group in _all(walk, ConsumerGroup)]
    if not names or ConsumerGroup in walk.failed:
        return
    for path, consumer in _all(walk, Consumer):
        for index, name in enumerate(consumer.groups):
            where = (*path, "groups", index)
            if name in names:
                continue
            near = nearest(name, names)
            hint = f"did you mean {near}?" if near else ""
            walk.problem(where, f"expected the name of a group, found {walk.shown(where, name)}", hint)


def _keys(walk: Walk) -> None:
    """A key narrows what its consumer may call, and each of its patterns leaves something."""
    if ConsumerGroup in walk.failed:
        return
    groups = [group for _, group in _all(walk, ConsumerGroup)]
    for path, consumer in _all(walk, Consumer):
        (resolved,) = with_groups(Config(consumers=[consumer], consumer_groups=groups)).consumers
        for number, key in enumerate(consumer.keyauth_credentials):
            for index, glob in enumerate(key.models or ()):
                if narrowed(resolved.models, [glob]) == []:
                    where = (*path, "keyauth_credentials", number, "models", index)
                    message = f"expected models that its consumer may call, found {walk.shown(where, glob)}"
                    walk.problem(where, message)


def _issuers(walk: Walk) -> None:
    """Those whose tokens are believed: at least one, each once, for consumers that exist."""
    usernames = [consumer.username for _, consumer in _all(walk, Consumer)]
    for path, config in _all(walk, JwtAuth):
        if not config.issuers and Issuer not in walk.failed:
            walk.problem(
                (*path, "issuers"), "expected at least one issuer: without any, no token is believed"
            )
        first: dict[str, Path] = {}
        for index, issuer in enumerate(config.issuers):
            where = (*path, "issuers", index)
            earlier = first.setdefault(issuer.issuer, where)
            if earlier != where:
                there = f"{path_text(earlier)}, line {walk.place(earlier).line}"
                walk.problem((*where, "issuer"), f"the same issuer stands twice: also at {there}")
            for at, name in _usernames(issuer, where):
                if name not in usernames and Consumer not in walk.failed:
                    near = nearest(name, usernames)
                    hint = f"did you mean {near}?" if near else ""
                    message = f"expected the name of a consumer, found {walk.shown(at, name)}"
                    walk.problem(at, message, hint)


def _usernames(issuer: Issuer, where: Path) -> Iterator[tuple[Path, str]]:
    """The consumers that an issuer's entry names, and where."""
    if issuer.consumer is not None:
        yield (*where, "consumer"), issuer.consumer
    for claim, name in issuer.consumers.items():
        yield (*where, "consumers", claim), name

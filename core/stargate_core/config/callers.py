"""Consumers as the gateway runs them: with what their groups give them.

A group holds defaults. What a consumer says of itself counts as it stands, whatever its groups say:

- A consumer with `models` has these. One without has what its groups allow together; groups that say nothing
  of models count for nothing here. Only where neither it nor any group says anything may it call everything.
- A group's plugins stand at each member as if they were written there, unless the member, or a group that it
  names earlier, has a plugin of that name. So a group's limit is each member's own and not the group's in
  common.

A key may narrow what its consumer may call (`narrowed`). Two lists of patterns rarely have a third one as
their exact overlap, so it is taken pattern by pattern: those that lie within one of the other list. What two
patterns merely share is left out: `claude-*` and `*-haiku` have nothing in common here. That can only take
too much away, and `stargate check` names a key's pattern that comes to nothing.
"""

from collections.abc import Sequence

import msgspec

from stargate_core.config.schema import Config, Consumer, ConsumerGroup, PluginEntry


def with_groups(config: Config) -> Config:
    """The configuration with the models and plugins at each consumer that its groups give it."""
    groups = {group.name: group for group in config.consumer_groups}
    consumers = [
        _member(consumer, [groups[name] for name in consumer.groups if name in groups])
        for consumer in config.consumers
    ]
    return msgspec.structs.replace(config, consumers=consumers)


def _member(consumer: Consumer, groups: Sequence[ConsumerGroup]) -> Consumer:
    if not groups:
        return consumer
    lists = [group.models for group in groups if group.models is not None]
    models = consumer.models
    if models is None and lists:
        models = list(dict.fromkeys(glob for globs in lists for glob in globs))
    # Where a place is taken already: a plugin stands once at each place of a consumer.
    plugins = {_place(entry): entry for entry in consumer.plugins}
    own = {entry.name for entry in consumer.plugins}
    for group in groups:
        names = {entry.name for entry in group.plugins}
        plugins.update((_place(entry), entry) for entry in group.plugins if entry.name not in own)
        own |= names
    return msgspec.structs.replace(consumer, models=models, plugins=list(plugins.values()))


def _place(entry: PluginEntry) -> tuple[str, str | None, str | None]:
    return entry.name, entry.service, entry.route


def narrowed(models: list[str] | None, further: list[str] | None) -> list[str] | None:
    """What both lists of patterns allow; None allows everything."""
    if models is None or further is None:
        return further if models is None else models
    kept = [glob for glob in further if any(covers(wide, glob) for wide in models)]
    kept += [glob for glob in models if any(covers(wide, glob) for wide in further)]
    return list(dict.fromkeys(kept))


def covers(wide: str, narrow: str) -> bool:
    """Whether all that the pattern `narrow` stands for is something that `wide` stands for too.

    The patterns' text decides: a star of `wide` stands for any piece of `narrow`, its ? for any one character
    or ?, everything else for itself. True is always right; where two stars would have to be weighed against
    each other, False may be too careful.
    """
    at = star = resume = 0
    has_star = False
    position = 0
    while position < len(narrow):
        mark = wide[at] if at < len(wide) else ""
        if mark == "*":
            has_star, star, resume = True, at, position
            at += 1
        elif mark and (mark == narrow[position] or (mark == "?" and narrow[position] != "*")):
            at, position = at + 1, position + 1
        elif has_star:
            resume += 1
            at, position = star + 1, resume
        else:
            return False
    return not wide[at:].strip("*")

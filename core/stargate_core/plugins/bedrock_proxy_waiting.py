"""What bedrock-proxy waits for: images and documents that a request names by URL, and AWS's list of models.

Both are the shell's to fetch, and both may fail in ways that are nobody's mistake here. A URL that cannot be
used is its caller's to know of, by name and with the reason, for the request cannot go without it. A list of
AWS's that cannot be had is no reason to have none: the configuration's own names are offered then. Why AWS
does not answer is told the operator by whoever asks it, once, and not by every request anew.

URLs are fetched one after another, so that one request takes one place of those that the shell has for all.
"""

from collections.abc import Sequence
from typing import Final

from stargate_core.config.gateway_block import nanoseconds
from stargate_core.config.request_options import ImageUrls
from stargate_core.dialects.face import Ask, Fetched
from stargate_core.direction import Direction
from stargate_core.faults import Cause, Fault
from stargate_core.questions import FetchUrl, ListModels
from stargate_core.script import Script, WaitFailed
from stargate_core.views import Access

_SHOWN_CHARS: Final = 200


def fetch_all(ctx: Access, ask: Ask, allowed: ImageUrls) -> Script[None]:
    """Bring what the request names by URL into `ask.fetched`. Rejects what cannot be had."""
    if len(ask.urls) > allowed.max_count:
        ctx.reject(Fault(Cause.BODY_INVALID, f"At most {allowed.max_count} URLs are fetched for a request"))
    hosts = tuple(host.lower() for host in allowed.hosts)
    for url in ask.urls:
        question = FetchUrl(url, allowed.max_bytes, nanoseconds(allowed.timeout), hosts, allowed.plain_http)
        try:
            found = yield from ctx.fetch(question)
        except WaitFailed as failed:
            found = "it could not be fetched"
            ctx.note("warning", f"a URL of a request was not fetched: {failed}")
        if not isinstance(found, Fetched):
            ctx.reject(Fault(Cause.BODY_INVALID, f"The URL {url[:_SHOWN_CHARS]!r} cannot be used: {found}"))
        ask.fetched[url] = found


def discovered(ctx: Access, control: Direction, kept_ns: int) -> Script[Sequence[str] | None]:
    """The ids of what AWS says there is, asked at this control plane; None where AWS does not say."""
    question = ListModels(control.endpoint, control.account, control.credentials, control.api_key, kept_ns)
    try:
        found = yield from ctx.list_models(question)
    except WaitFailed:
        return None
    return found.ids

"""The verifier: whether one of an issuer's keys has signed a token.

The core has read the token, judged its claims, and asks about one thing only (`VerifyToken`): these bytes,
this signature, this algorithm, one of the keys at this URL. The core has no public-key cryptography and
fetches nothing, so it is answered here, with PyJWT's algorithms, which are cryptography's (the extra `jwt`).

**Keys.** An issuer publishes them as a JWK Set (RFC 7517) and changes them when it likes. They are fetched on
first need and kept for ten minutes. A token that names an unknown key makes them be fetched again, though
not twice within thirty seconds: an issuer that has just changed its keys is believed at once, and somebody
who makes up names of keys cannot make us a nuisance to it. One fetch serves all that wait. While an issuer
can't be reached its old keys stay, for a day at most; where there are none, nobody can tell (`CannotVerify`).

**Which key.** One that the token names, else the only one there is for its algorithm (public_keys.py).

**Fetching** happens in a worker thread (key_fetch.py).

`verify_now` answers without waiting wherever the keys are at hand, which is nearly always: 30 µs for RSA.
Only where it gives None a task is needed, for `verify`.
"""

import time
from collections.abc import Callable
from ssl import SSLContext
from typing import Final
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from stargate.public_keys import INSTALL, BadSet, Key, algorithms, parse_key_set, verified
from stargate_core.questions import VerifyToken

KEPT_SECONDS: Final = 600.0
STALE_SECONDS: Final = 86_400.0
"""How old keys may get while their issuer can't be reached."""
AGAIN_SECONDS: Final = 30.0
"""Between two fetches for a key that is unknown, or while stale keys serve."""
FAILED_SECONDS: Final = 5.0
"""Between two fetches while there are no keys at all."""


class CannotVerify(Exception):
    """Nobody can tell whether the signature is good; the text says why, for the log."""


class _Held:
    """What is known of the keys at one URL."""

    __slots__ = ("attempted_at", "attempts", "fetched_at", "keys", "lock", "problem")

    def __init__(self) -> None:
        self.keys: tuple[Key, ...] | None = None
        self.fetched_at = 0.0
        self.attempted_at = 0.0
        self.attempts = 0
        self.problem = ""
        """Why the last fetch failed; '' if it didn't."""
        self.lock = anyio.Lock()


class Verifier:
    """Answers whether tokens are signed.

    clock: seconds that only grow. context: which certificates are trusted; None: the system's.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, context: SSLContext | None = None
    ) -> None:
        self._clock = clock
        self._context = context
        self._held: dict[str, _Held] = {}
        """By URL: as many as the configuration has issuers."""

    def verify_now(self, question: VerifyToken) -> str | None:
        """'' if the signature is good, else why not; None: `verify` must be asked, and waited for."""
        if not algorithms():
            return None
        held = self._held.get(question.jwks_url)
        return None if held is None else self._judged(held, question)

    async def verify(self, question: VerifyToken) -> str:
        """'' if the signature is good, else why not. Raises CannotVerify where nobody can tell."""
        if not algorithms():
            raise CannotVerify(INSTALL)
        held = self._held.get(question.jwks_url)
        if held is None:
            held = self._held[question.jwks_url] = _Held()
        answer = self._judged(held, question)
        if answer is None:
            await self._refresh(held, question.jwks_url)
            answer = self._judged(held, question)
        if answer is None:
            host = urlsplit(question.jwks_url).hostname or question.jwks_url
            raise CannotVerify(f"the keys of {host} can't be had: {held.problem}")
        return answer

    def _judged(self, held: _Held, question: VerifyToken) -> str | None:
        """The answer, as far as the keys at hand tell."""
        now = self._clock()
        keys = held.keys
        if keys is None or now - held.fetched_at >= STALE_SECONDS:
            return None
        just_tried = now - held.attempted_at < AGAIN_SECONDS
        if now - held.fetched_at >= KEPT_SECONDS and not just_tried:
            return None
        fitting = [key for key in keys if question.algorithm in key.algorithms]
        if question.key_id:
            fitting = [key for key in fitting if key.key_id == question.key_id]
        if not fitting:
            return "the issuer has no such key" if just_tried and not held.problem else None
        if len(fitting) > 1:
            return "the token does not say which of the issuer's keys"
        return verified(fitting[0], question)

    async def _refresh(self, held: _Held, url: str) -> None:
        """Fetch the keys, unless somebody has meanwhile, or has failed to just now."""
        before = held.attempts
        async with held.lock:
            failed_just_now = bool(held.problem) and self._clock() - held.attempted_at < FAILED_SECONDS
            if held.attempts != before or failed_just_now:
                return
            try:
                keys = await anyio.to_thread.run_sync(_fetched, url, self._context, abandon_on_cancel=True)
            except BadSet as error:
                held.problem = str(error)
            else:
                held.keys, held.problem, held.fetched_at = keys, "", self._clock()
            held.attempts += 1
            held.attempted_at = self._clock()


def _fetched(url: str, context: SSLContext | None) -> tuple[Key, ...]:
    """The keys at a URL, blocking. Raises BadSet, also where there are none."""
    from stargate.key_fetch import CannotFetch, fetch  # urllib, which most gateways need not wait for

    try:
        return parse_key_set(fetch(url, context))
    except CannotFetch as error:
        raise BadSet(str(error)) from None

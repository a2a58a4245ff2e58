"""Prices: what a call costs, exactly, from a dated list that operators may correct.

`SHIPPED` holds the public on-demand prices of us-east-1 as of `AS_OF`, in US dollars for a million tokens.
Prices change, other regions differ by some per cent, and contracts differ more, so whoever limits or bills
money should write their own into `gateway.prices`, which is asked first. Not in the list are the discounts of
batch and flex, the surcharge of priority and of long contexts, and the dearer of the two cache lifetimes.

Rules:

- *Whole numbers.* A price is held in pico-dollars for a token, which is exact for six decimals of a dollar
  for a million; a cost is summed in those and rounded up once, to nano-dollars. Sums of floats would make two
  gateways that share a store disagree.
- *The name as it is, then the model behind it.* `us.anthropic.…` and ARNs are looked up as they stand, and
  only then without their region's prefix or path: so a row may price an inference profile of its own (AWS
  asks ten per cent more of regional ones than of `global.` since Claude 4.5), and need not.
- *What is not known is dear.* A model that no row matches costs what the dearest one does: a limit on money
  that counts nothing is no limit, and the operator notices a cost that is too high.
- *No price for the cache: the input's.* Both kinds of cached tokens are input.

Source: https://aws.amazon.com/bedrock/pricing/
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from stargate_core.config.gateway_block import ModelPrice
from stargate_core.dialects.face import Usage
from stargate_core.globs import GlobTable

AS_OF: Final = "2025-12"
"""The month of the shipped prices."""
NANO_USD: Final = 1_000_000_000
"""Nano-dollars in a dollar."""

_KNOWN_MAX: Final = 1024
_REGION: Final = re.compile(r"(?:us-gov|us|eu|apac|ap|jp|au|ca|global)\.(?=[a-z0-9-]+\.)")


class Price(msgspec.Struct, frozen=True):
    """Pico-dollars for a token."""

    input: int
    output: int
    cache_read: int
    cache_write: int


def price_of(told: ModelPrice) -> Price:
    """A price as it is written, in dollars for a million tokens, made whole."""
    read = told.input if told.cache_read is None else told.cache_read
    write = told.input if told.cache_write is None else told.cache_write
    return Price(_pico(told.input), _pico(told.output), _pico(read), _pico(write))


def _pico(dollars: float) -> int:
    return round(dollars * 1_000_000)


def cost_nano_usd(price: Price, usage: Usage) -> int:
    """What these tokens cost, in nano-dollars, rounded up."""
    pico = (
        usage.input_tokens * price.input
        + usage.output_tokens * price.output
        + usage.cache_read_tokens * price.cache_read
        + usage.cache_write_tokens * price.cache_write
    )
    return -(-pico // 1000)


def base_model(model: str) -> str:
    """The model behind an inference profile's id or an ARN: without path and region's prefix.

    Of an application's profile or provisioned throughput the ARN doesn't tell which model it is; its own id
    is left.
    """
    if model.startswith("arn:"):
        model = model.rpartition("/")[2]
    found = _REGION.match(model)
    return model if found is None else model[found.end() :]


def _row(
    glob: str,
    of_input: float,
    of_output: float = 0,
    cache_read: float | None = None,
    cache_write: float | None = None,
) -> tuple[str, ModelPrice]:
    return glob, ModelPrice(input=of_input, output=of_output, cache_read=cache_read, cache_write=cache_write)


SHIPPED: Final[tuple[tuple[str, ModelPrice], ...]] = (
    # Anthropic. From 4.5 on a regional profile, or a region's own model id, costs a tenth more.
    _row("global.anthropic.claude-opus-4-5*", 5, 25, 0.5, 6.25),
    _row("global.anthropic.claude-opus-4-6*", 5, 25, 0.5, 6.25),
    _row("global.anthropic.claude-sonnet-4-5*", 3, 15, 0.3, 3.75),
    _row("global.anthropic.claude-sonnet-4-6*", 3, 15, 0.3, 3.75),
    _row("global.anthropic.claude-haiku-4-5*", 1, 5, 0.1, 1.25),
    _row("anthropic.claude-opus-4-5*", 5.5, 27.5, 0.55, 6.875),
    _row("anthropic.claude-opus-4-6*", 5.5, 27.5, 0.55, 6.875),
    _row("anthropic.claude-sonnet-4-5*", 3.3, 16.5, 0.33, 4.125),
    _row("anthropic.claude-sonnet-4-6*", 3.3, 16.5, 0.33, 4.125),
    _row("anthropic.claude-haiku-4-5*", 1.1, 5.5, 0.11, 1.375),
    _row("anthropic.claude-opus-4-1*", 15, 75, 1.5, 18.75),
    _row("anthropic.claude-opus-4-2025*", 15, 75, 1.5, 18.75),
    _row("anthropic.claude-sonnet-4-2025*", 3, 15, 0.3, 3.75),
    _row("anthropic.claude-3-7-sonnet*", 3, 15, 0.3, 3.75),
    _row("anthropic.claude-3-5-sonnet*", 3, 15, 0.3, 3.75),
    _row("anthropic.claude-3-5-haiku*", 0.8, 4, 0.08, 1),
    _row("anthropic.claude-3-opus*", 15, 75),
    _row("anthropic.claude-3-sonnet*", 3, 15),
    _row("anthropic.claude-3-haiku*", 0.25, 1.25),
    _row("anthropic.claude-v2*", 8, 24),
    _row("anthropic.claude-instant*", 0.8, 2.4),
    # Amazon.
    _row("amazon.nova-micro*", 0.035, 0.14, 0.00875),
    _row("amazon.nova-lite*", 0.06, 0.24, 0.015),
    _row("amazon.nova-pro*", 0.8, 3.2, 0.2),
    _row("amazon.nova-premier*", 2.5, 12.5, 0.625),
    _row("amazon.nova-2-lite*", 0.3, 2.5, 0.075),
    _row("amazon.titan-embed-text-v1*", 0.1),
    _row("amazon.titan-embed-g1-text*", 0.1),
    _row("amazon.titan-embed-text-v2*", 0.02),
    _row("amazon.titan-embed-image*", 0.8),
    _row("amazon.titan-text-lite*", 0.15, 0.2),
    _row("amazon.titan-text-express*", 0.2, 0.6),
    _row("amazon.titan-text-premier*", 0.5, 1.5),
    # Meta.
    _row("meta.llama4-maverick*", 0.24, 0.97),
    _row("meta.llama4-scout*", 0.17, 0.66),
    _row("meta.llama3-3-70b*", 0.72, 0.72),
    _row("meta.llama3-2-90b*", 0.72, 0.72),
    _row("meta.llama3-2-11b*", 0.16, 0.16),
    _row("meta.llama3-2-3b*", 0.15, 0.15),
    _row("meta.llama3-2-1b*", 0.1, 0.1),
    _row("meta.llama3-1-405b*", 2.4, 2.4),
    _row("meta.llama3-1-70b*", 0.72, 0.72),
    _row("meta.llama3-1-8b*", 0.22, 0.22),
    _row("meta.llama3-70b*", 2.65, 3.5),
    _row("meta.llama3-8b*", 0.3, 0.6),
    # Others.
    _row("cohere.command-r-plus*", 3, 15),
    _row("cohere.command-r-v1*", 0.5, 1.5),
    _row("cohere.embed-english-v3*", 0.1),
    _row("cohere.embed-multilingual-v3*", 0.1),
    _row("mistral.mistral-7b*", 0.15, 0.2),
    _row("mistral.mixtral-8x7b*", 0.45, 0.7),
    _row("mistral.mistral-large-2402*", 4, 12),
    _row("ai21.jamba-1-5-large*", 2, 8),
    _row("ai21.jamba-1-5-mini*", 0.2, 0.4),
    _row("deepseek.r1*", 1.35, 5.4),
    _row("openai.gpt-oss-120b*", 0.15, 0.6),
    _row("openai.gpt-oss-20b*", 0.07, 0.3),
)

_EMPTY: Final[Mapping[str, ModelPrice]] = MappingProxyType({})


class Row(msgspec.Struct, frozen=True):
    """One row of the list."""

    glob: str
    price: ModelPrice
    shipped: bool
    """Not the operator's own."""


class Prices:
    """The shipped list behind the operator's own."""

    __slots__ = ("_known", "_own", "_shipped", "dearest", "rows")

    def __init__(self, own: Mapping[str, ModelPrice] = _EMPTY) -> None:
        self.rows = (
            *(Row(glob, told, shipped=False) for glob, told in own.items()),
            *(Row(glob, told, shipped=True) for glob, told in SHIPPED),
        )
        """In the order in which they count."""
        self._own = GlobTable((glob, price_of(told)) for glob, told in own.items())
        self._shipped = GlobTable((glob, price_of(told)) for glob, told in SHIPPED)
        told = (*own.values(), *(told for _, told in SHIPPED))
        self.dearest = _dearest(price_of(one) for one in told)
        """What a model costs that nobody knows."""
        self._known: dict[str, Price] = {}

    def of(self, model: str) -> Price:
        """The price of a model, an inference profile's id, or an ARN."""
        price = self._known.get(model)
        if price is None:
            names = (model, base_model(model))
            price = self._own.find(*names) or self._shipped.find(*names) or self.dearest
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._known[model] = price
        return price

    def row_of(self, model: str) -> Row | None:
        """The row that prices a model; None: none does, and it costs what the dearest one does."""
        names = (model, base_model(model))
        for shipped in (False, True):
            rows = GlobTable((row.glob, row) for row in self.rows if row.shipped is shipped)
            found = rows.find(*names)
            if found is not None:
                return found
        return None

    def is_known(self, price: Price) -> bool:
        """Whether a price that `of` gave is the model's own, and not the dearest in its place."""
        return price is not self.dearest

    def of_dearest(self, models: Iterable[str]) -> Price:
        """The price of the dearest of these models, which are one at least."""
        return _dearest(map(self.of, models))


def _dearest(prices: Iterable[Price]) -> Price:
    return max(prices, key=lambda price: (price.output, price.input, price.cache_write, price.cache_read))

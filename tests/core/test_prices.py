"""What a call costs: exact against fractions, region prefixes and ARNs looked through, the unknown dear."""

import re
from fractions import Fraction
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.config.gateway_block import ModelPrice
from stargate_core.dialects.face import Usage
from stargate_core.prices import (
    AS_OF,
    SHIPPED,
    Price,
    Prices,
    base_model,
    cost_nano_usd,
    price_of,
)

SONNET: Final = "anthropic.claude-sonnet-4-20250514-v1:0"
TOKENS: Final = st.integers(0, 10**9)


class TestCost:
    def test_a_million_of_each_costs_what_the_list_says(self) -> None:
        price = price_of(ModelPrice(input=3, output=15, cache_read=0.3, cache_write=3.75))
        million = 1_000_000
        assert cost_nano_usd(price, Usage(input_tokens=million)) == 3_000_000_000
        assert cost_nano_usd(price, Usage(output_tokens=million)) == 15_000_000_000
        assert cost_nano_usd(price, Usage(cache_read_tokens=million)) == 300_000_000
        assert cost_nano_usd(price, Usage(cache_write_tokens=million)) == 3_750_000_000
        assert cost_nano_usd(price, Usage(million, million, million, million)) == 22_050_000_000

    def test_cached_tokens_without_a_price_cost_what_input_does(self) -> None:
        price = price_of(ModelPrice(input=3, output=15))
        assert price.cache_read == price.cache_write == price.input

    def test_nothing_costs_nothing_and_a_fraction_counts_as_a_whole(self) -> None:
        nova = price_of(ModelPrice(input=0.035, output=0.14, cache_read=0.00875))
        assert cost_nano_usd(nova, Usage()) == 0
        assert cost_nano_usd(nova, Usage(cache_read_tokens=1)) == 9
        assert cost_nano_usd(nova, Usage(cache_read_tokens=4)) == 35

    @given(st.tuples(TOKENS, TOKENS, TOKENS, TOKENS), st.sampled_from([told for _, told in SHIPPED]))
    def test_no_nano_dollar_is_lost(self, tokens: tuple[int, int, int, int], told: ModelPrice) -> None:
        read = told.input if told.cache_read is None else told.cache_read
        write = told.input if told.cache_write is None else told.cache_write
        written = [Fraction(str(price)) for price in (told.input, told.output, read, write)]
        exact = sum(count * price for count, price in zip(tokens, written, strict=True)) * 1000
        cost = cost_nano_usd(price_of(told), Usage(*tokens))
        assert isinstance(cost, int)
        assert 0 <= cost - exact < 1


class TestNames:
    @pytest.mark.parametrize(
        "model",
        [
            SONNET,
            f"us.{SONNET}",
            f"eu.{SONNET}",
            f"apac.{SONNET}",
            f"global.{SONNET}",
            f"us-gov.{SONNET}",
            f"arn:aws:bedrock:us-east-1::foundation-model/{SONNET}",
            f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{SONNET}",
        ],
    )
    def test_the_model_behind_a_profile_or_an_arn(self, model: str) -> None:
        assert base_model(model) == SONNET
        assert Prices().of(model) == Price(3_000_000, 15_000_000, 300_000, 3_750_000)

    @pytest.mark.parametrize(
        "model",
        [
            "amazon.nova-lite-v1:0",
            "ai21.jamba-1-5-large-v1:0",
            "deepseek.v3-v1:0",
            "us.x",
            "euro.anthropic.claude",
            "claude",
            "",
        ],
    )
    def test_what_is_no_region_stays(self, model: str) -> None:
        assert base_model(model) == model

    def test_of_an_applications_profile_only_its_own_id_is_left(self) -> None:
        arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3"
        assert base_model(arn) == "a1b2c3"
        assert Prices().of(arn) == Prices().dearest


class TestList:
    def test_it_is_dated(self) -> None:
        assert re.fullmatch(r"20[0-9]{2}-[01][0-9]", AS_OF)

    @pytest.mark.parametrize("row", range(len(SHIPPED)))
    def test_every_row_is_reached_by_the_names_it_is_meant_for(self, row: int) -> None:
        """A row behind a broader one would never count."""
        glob, told = SHIPPED[row]
        assert Prices().of(glob.replace("*", "-x")) == price_of(told)

    @pytest.mark.parametrize(
        ("model", "dollars_in", "dollars_out"),
        [
            # The public list of us-east-1: whole dollars that many a budget was made with.
            ("anthropic.claude-3-haiku-20240307-v1:0", "0.25", "1.25"),
            ("us.anthropic.claude-3-5-haiku-20241022-v1:0", "0.8", "4"),
            ("anthropic.claude-3-5-sonnet-20241022-v2:0", "3", "15"),
            ("us.anthropic.claude-opus-4-1-20250805-v1:0", "15", "75"),
            ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", "3", "15"),
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "3.3", "16.5"),
            ("global.anthropic.claude-haiku-4-5-20251001-v1:0", "1", "5"),
            ("amazon.nova-pro-v1:0", "0.8", "3.2"),
            ("amazon.titan-embed-text-v2:0", "0.02", "0"),
            ("us.meta.llama3-3-70b-instruct-v1:0", "0.72", "0.72"),
        ],
    )
    def test_well_known_prices(self, model: str, dollars_in: str, dollars_out: str) -> None:
        price = Prices().of(model)
        assert price.input == Fraction(dollars_in) * 1_000_000
        assert price.output == Fraction(dollars_out) * 1_000_000

    def test_what_nobody_knows_costs_what_the_dearest_does(self) -> None:
        prices = Prices()
        assert prices.of("some.model") == prices.dearest
        assert all(prices.dearest.output >= price_of(told).output for _, told in SHIPPED)

    def test_the_names_callers_make_up_fill_no_memory(self) -> None:
        prices = Prices()
        for number in range(5000):
            prices.of(f"model-{number}")
        assert len(prices._known) <= 1024  # pyright: ignore[reportPrivateUsage]


class TestOwn:
    def test_the_operators_prices_come_first(self) -> None:
        prices = Prices({"anthropic.claude-*": ModelPrice(input=1, output=2)})
        assert prices.of(f"global.{SONNET}") == price_of(ModelPrice(input=1, output=2))
        assert prices.of("amazon.nova-pro-v1:0") == Prices().of("amazon.nova-pro-v1:0")

    def test_a_profile_may_have_its_own(self) -> None:
        prices = Prices(
            {
                "eu.anthropic.*": ModelPrice(input=4, output=5),
                "arn:*/a1b2c3": ModelPrice(input=6, output=7),
                "anthropic.*": ModelPrice(input=1, output=2),
            }
        )
        arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3"
        assert [prices.of(name).input // 1_000_000 for name in (f"eu.{SONNET}", arn, f"us.{SONNET}")] == [
            4,
            6,
            1,
        ]

    def test_a_dearer_one_of_the_operators_is_what_the_unknown_costs(self) -> None:
        dear = ModelPrice(input=100, output=1000)
        assert Prices({"my-model": dear}).of("another") == price_of(dear)

    @pytest.mark.parametrize(
        "model",
        [
            "mine",
            "eu.mine",
            "arn:aws:bedrock:us-east-1:1:x/us." + SONNET,
            SONNET,
            "nova",
            "x",
        ],
    )
    def test_the_row_that_is_shown_is_the_one_that_counts(self, model: str) -> None:
        prices = Prices({"mine*": ModelPrice(input=7), "*nova": ModelPrice(input=8, cache_read=1)})
        row = prices.row_of(model)
        assert prices.of(model) == (prices.dearest if row is None else price_of(row.price))
        assert (row is None) is not prices.is_known(prices.of(model))

    def test_the_operators_rows_come_first_and_say_so(self) -> None:
        own = {SONNET: ModelPrice(input=7)}
        rows = Prices(own).rows
        assert (rows[0].glob, rows[0].price.input, rows[0].shipped) == (SONNET, 7, False)
        assert [(row.glob, row.price) for row in rows[1:]] == list(SHIPPED)
        assert all(row.shipped for row in rows[1:])
        found = Prices(own).row_of(SONNET)
        assert found is not None
        assert not found.shipped

    def test_it_is_told_whether_a_price_is_the_models_own(self) -> None:
        prices = Prices({"mine": ModelPrice(input=1), "dear": ModelPrice(input=999_999, output=999_999)})
        assert all(prices.is_known(prices.of(model)) for model in (SONNET, "mine", "dear"))
        assert not prices.is_known(prices.of("some.model"))

    def test_of_several_the_dearest(self) -> None:
        prices = Prices()
        assert prices.of_dearest([SONNET, "amazon.nova-lite-v1:0"]) == prices.of(SONNET)

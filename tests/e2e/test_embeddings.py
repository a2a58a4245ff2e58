"""Embeddings in the running gateway: openai-python on one side, the simulated models on the other.

The simulated models make a vector of its text alone, so what boto3 gets for a text from Bedrock itself is
what the gateway must give for it, at its place in the batch, whatever else was asked.
"""

import asyncio
import json
import math
import struct
from collections.abc import Generator, Sequence
from typing import Any, Final

import openai
import pytest

from stargate.simulator.dialogue import count_tokens
from support.embeddings import texts_in
from support.gateway import NARROW_KEY, RunningGateway, eventually, running_gateway
from support.raw import connected, request
from support.simulator import RunningSimulator, running_simulator

TITAN: Final = "amazon.titan-embed-text-v2:0"
MODELS: Final = {
    "titan": TITAN,
    "titan-g1": "amazon.titan-embed-text-v1",
    "titan-image": "amazon.titan-embed-image-v1",
    "cohere": "cohere.embed-english-v3",
    "cohere-4": "us.cohere.embed-v4:0",
    "nova": "amazon.nova-2-multimodal-embeddings-v1:0",
    "claude": "anthropic.claude-3-haiku-20240307-v1:0",
}
LENGTHS: Final = {
    "titan": 1024,
    "titan-g1": 1536,
    "titan-image": 1024,
    "cohere": 1024,
    "cohere-4": 1536,
    "nova": 3072,
}
THROTTLED: Final = "[[simulator: throw-ThrottlingException]]"
THROTTLED_ONCE: Final = "[[simulator: throw-ThrottlingException times=1]] of the batch"
SILENT: Final = "[[simulator: stall-before-headers]]"
CACHE: Final = {"name": "response-cache", "config": {"operations": ["invoke_model"]}}


@pytest.fixture(scope="module")
def bedrock() -> Generator[RunningSimulator]:
    """A Bedrock of this module's own: its calls are counted."""
    with running_simulator() as running:
        yield running


@pytest.fixture(scope="module")
def direct(bedrock: RunningSimulator) -> Generator[Any]:
    """boto3, with no gateway between."""
    client = bedrock.client()
    yield client
    client.close()


@pytest.fixture(scope="module")
def embedding(bedrock: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway that knows all families."""
    with running_gateway(bedrock.url, proxy={"models": MODELS}) as running:
        yield running


@pytest.fixture(scope="module")
def sdk(embedding: RunningGateway) -> Generator[openai.OpenAI]:
    """openai-python."""
    with embedding.openai() as client:
        yield client


@pytest.fixture(scope="module")
def cached(bedrock: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway that keeps what InvokeModel answers."""
    with running_gateway(bedrock.url, proxy={"models": MODELS}, plugins=[CACHE]) as running:
        yield running


@pytest.fixture(autouse=True)
def _forgotten(bedrock: RunningSimulator) -> None:
    bedrock.clear()


def texts(count: int, about: str = "things") -> list[str]:
    return [f"Text {at} about {about}" for at in range(count)]


def calls(bedrock: RunningSimulator) -> int:
    """How many calls Bedrock has answered since the test began."""
    return int(bedrock.statistics()["operations"].get("InvokeModel", 0))


def of_bedrock(direct: Any, model: str, body: dict[str, Any]) -> Any:
    """What a model answers to boto3."""
    return json.load(direct.invoke_model(modelId=model, body=json.dumps(body))["body"])


def in_32_bits(vector: Sequence[float]) -> list[float]:
    return list(struct.unpack(f"<{len(vector)}f", struct.pack(f"<{len(vector)}f", *vector)))


class TestFamilies:
    @pytest.mark.parametrize("name", LENGTHS)
    def test_one_text(self, sdk: openai.OpenAI, bedrock: RunningSimulator, name: str) -> None:
        made = sdk.embeddings.create(model=name, input="One text", encoding_format="float")
        (one,) = made.data
        assert (made.model, one.index, len(one.embedding)) == (name, 0, LENGTHS[name])
        assert math.hypot(*one.embedding) == pytest.approx(1)
        (received,) = bedrock.requests()
        assert received["model_id"] == MODELS[name]
        assert texts_in(received["body"]) == ["One text"]
        assert made.usage.prompt_tokens == made.usage.total_tokens == count_tokens("One text")

    @pytest.mark.parametrize("name", LENGTHS)
    def test_as_base64_it_is_the_same_vector(self, sdk: openai.OpenAI, name: str) -> None:
        plain = sdk.embeddings.create(model=name, input=texts(3), encoding_format="float")
        coded = sdk.embeddings.create(model=name, input=texts(3))
        for one, other in zip(plain.data, coded.data, strict=True):
            assert other.embedding == in_32_bits(one.embedding)
        assert plain.usage == coded.usage

    @pytest.mark.parametrize(
        ("name", "dimensions"),
        [
            ("titan", 256),
            ("titan", 512),
            ("titan-image", 384),
            ("cohere-4", 256),
            ("cohere-4", 1024),
            ("nova", 384),
        ],
    )
    def test_vectors_may_be_shorter(self, sdk: openai.OpenAI, name: str, dimensions: int) -> None:
        made = sdk.embeddings.create(model=name, input=texts(2), dimensions=dimensions)
        assert [len(one.embedding) for one in made.data] == [dimensions, dimensions]

    def test_what_a_family_takes_beside_openais_own(
        self, sdk: openai.OpenAI, bedrock: RunningSimulator
    ) -> None:
        sdk.embeddings.create(model="cohere", input="x", extra_body={"input_type": "search_query"})
        sdk.embeddings.create(model="titan", input="x", extra_body={"normalize": False})
        first, second = (received["body"] for received in bedrock.requests())
        assert (first["input_type"], second["normalize"]) == ("search_query", False)


class TestBatches:
    def test_three_hundred_texts_of_one_a_call(
        self, sdk: openai.OpenAI, embedding: RunningGateway, bedrock: RunningSimulator, direct: Any
    ) -> None:
        every = texts(300)
        raw = sdk.embeddings.with_raw_response.create(model="titan", input=every, encoding_format="float")
        made = raw.parse()
        assert calls(bedrock) == 300
        assert [one.index for one in made.data] == list(range(300))
        for at in (0, 1, 7, 8, 150, 298, 299):
            exact = of_bedrock(direct, TITAN, {"inputText": every[at]})
            assert made.data[at].embedding == exact["embedding"]
        assert len({tuple(one.embedding) for one in made.data}) == 300
        used = sum(map(count_tokens, every))
        assert (made.usage.prompt_tokens, made.usage.total_tokens) == (used, used)
        record = embedding.record(request_id=raw.headers["x-request-id"])
        assert (record["attempts"], record["input_tokens"], record["outcome"]) == (300, used, "complete")
        assert "output_tokens" not in record
        assert "cache" not in record
        assert record["cost_usd"] == pytest.approx(used * 0.02 / 1e6)

    @pytest.mark.parametrize(
        ("name", "count", "parts"), [("cohere", 200, [96, 96, 8]), ("cohere-4", 96, [96])]
    )
    def test_cohere_takes_96_at_a_time(
        self,
        sdk: openai.OpenAI,
        bedrock: RunningSimulator,
        direct: Any,
        name: str,
        count: int,
        parts: list[int],
    ) -> None:
        every = texts(count)
        made = sdk.embeddings.create(model=name, input=every, encoding_format="float")
        received = bedrock.requests()
        assert sorted((len(one["body"]["texts"]) for one in received), reverse=True) == parts
        body = {"texts": every[-3:], "input_type": "search_document"}
        assert [one.embedding for one in made.data[-3:]] == of_bedrock(direct, MODELS[name], body)[
            "embeddings"
        ]
        assert made.usage.prompt_tokens == sum(count_tokens(one["body"]["texts"]) for one in received)

    def test_the_most_that_openai_allows(self, sdk: openai.OpenAI, bedrock: RunningSimulator) -> None:
        made = sdk.embeddings.create(model="titan", input=texts(2048), dimensions=256)
        assert calls(bedrock) == 2048
        assert [one.index for one in made.data] == list(range(2048))

    def test_no_more_than_eight_calls_are_in_the_air(self, bedrock: RunningSimulator) -> None:
        with running_gateway(bedrock.url, proxy={"models": MODELS}) as gateway:
            body = json.dumps({"model": "titan", "input": [SILENT] * 50}).encode()
            with connected(gateway.url) as raw:
                raw.send(request(path="/v1/embeddings", body=body))
                eventually(lambda: bedrock.statistics()["running"] == 8)
                raw.sock.close()
                eventually(lambda: len(bedrock.statistics()["cancelled"]) == 8)
            record = gateway.record(dialect="openai-embeddings")
            assert (record["outcome"], record["usage_estimated"]) == ("client_left", True)
        assert len(bedrock.requests()) == 8

    def test_many_callers_at_once(self, embedding: RunningGateway, direct: Any) -> None:
        async def ask() -> list[Any]:
            async with openai.AsyncOpenAI(**embedding.openai_options()) as client:
                asked = [
                    client.embeddings.create(model=name, input=texts(20 + at, f"{name} {at}"))
                    for at in range(6)
                    for name in ("titan", "cohere")
                ]
                return await asyncio.gather(*asked)

        answers = asyncio.run(ask())
        for number, made in enumerate(answers):
            at, name = number // 2, ("titan", "cohere")[number % 2]
            every = texts(20 + at, f"{name} {at}")
            assert len(made.data) == len(every)
            if name == "titan":
                exact = of_bedrock(direct, TITAN, {"inputText": every[-1]})["embedding"]
            else:
                body = {"texts": every[-1:], "input_type": "search_document"}
                exact = of_bedrock(direct, MODELS[name], body)["embeddings"][0]
            assert made.data[-1].embedding == in_32_bits(exact)


class TestErrors:
    @pytest.mark.parametrize("model", ["claude", "text-embedding-3-small"])
    def test_a_model_that_makes_no_embeddings(
        self, sdk: openai.OpenAI, bedrock: RunningSimulator, model: str
    ) -> None:
        with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as caught:
            sdk.embeddings.create(model=model, input=["one", "two"])
        assert (caught.value.param, model in caught.value.message) == ("model", True)
        assert bedrock.requests() == []

    def test_a_model_that_the_key_may_not_use(self, embedding: RunningGateway) -> None:
        with embedding.openai(api_key=NARROW_KEY) as client, pytest.raises(openai.PermissionDeniedError):
            client.embeddings.create(model="titan", input="x")

    @pytest.mark.parametrize(
        ("given", "members", "param"),
        [
            ([[1, 2, 3]], {}, "input"),
            ([1, 2, 3], {}, "input"),
            ("", {}, "input"),
            ([], {}, "input"),
            (["x", ""], {}, "input[1]"),
            (["x"] * 2049, {}, "input"),
            ("x", {"dimensions": 100}, "dimensions"),
            ("x", {"encoding_format": "binary"}, "encoding_format"),
            ("x", {"extra_body": {"input_type": "search_query"}}, "input_type"),
            ("x", {"extra_body": {"unheard_of": 1}}, "unheard_of"),
        ],
    )
    def test_what_cannot_be_asked_is_named_and_never_reaches_bedrock(
        self, sdk: openai.OpenAI, bedrock: RunningSimulator, given: Any, members: Any, param: str
    ) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            sdk.embeddings.create(model="titan", input=given, **members)
        assert caught.value.param == param
        assert bedrock.requests() == []

    @pytest.mark.parametrize("place", [0, 3, 20, 39])
    def test_one_throttled_call_is_no_answer_at_all(
        self, sdk: openai.OpenAI, embedding: RunningGateway, bedrock: RunningSimulator, place: int
    ) -> None:
        every = texts(40, f"throttled {place}")
        every[place] = THROTTLED
        with pytest.raises(openai.RateLimitError) as caught:
            sdk.embeddings.create(model="titan", input=every)
        assert caught.value.response.headers["x-should-retry"] == "true"
        record = embedding.record(request_id=caught.value.request_id)
        assert (record["outcome"], record["cause"]) == ("failed", "UPSTREAM_THROTTLED")
        # Eight are in the air at a time; while the throttled one is, others land and more are made.
        assert 1 <= record["attempts"] <= calls(bedrock) <= len(every)

    def test_one_throttled_call_is_repeated_by_itself(self, bedrock: RunningSimulator) -> None:
        every = texts(20)
        every[5] = THROTTLED_ONCE
        proxy = {"models": MODELS, "retry": {"count": 2, "delay": 10}}
        with running_gateway(bedrock.url, proxy=proxy) as gateway, gateway.openai() as client:
            made = client.embeddings.create(model="titan", input=every)
            record = gateway.record(dialect="openai-embeddings")
        assert [one.index for one in made.data] == list(range(20))
        assert calls(bedrock) == record["attempts"] == 21
        assert len(record["tried"]) == 2
        assert record["input_tokens"] == made.usage.prompt_tokens == sum(map(count_tokens, every))

    def test_a_text_that_bedrock_refuses(self, sdk: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError):
            sdk.embeddings.create(
                model="titan", input=["fine", "[[simulator: throw-ValidationException]]", "fine too"]
            )


class TestCache:
    def test_of_a_batch_that_has_grown_only_the_new_texts_are_asked(
        self, cached: RunningGateway, bedrock: RunningSimulator
    ) -> None:
        every = texts(30, "growth")
        with cached.openai() as client:
            first = client.embeddings.with_raw_response.create(model="titan", input=every[:20])
            second = client.embeddings.with_raw_response.create(model="titan", input=every)
            third = client.embeddings.with_raw_response.create(model="titan", input=every)
        assert calls(bedrock) == 30
        told = [raw.headers["x-cache-status"] for raw in (first, second, third)]
        assert told == ["Miss", "Miss", "Hit"]
        assert third.parse() == second.parse()
        assert second.parse().data[:20] == first.parse().data
        records = [cached.record(request_id=raw.headers["x-request-id"]) for raw in (first, second, third)]
        assert [record.get("attempts", 0) for record in records] == [20, 10, 0]
        # Paid for is what was made; the caller is told of all.
        assert records[1]["input_tokens"] == sum(map(count_tokens, every[20:]))
        assert second.parse().usage.prompt_tokens == sum(map(count_tokens, every))
        assert records[2].get("cost_usd", 0) == 0

    def test_either_encoding_is_made_of_the_same_answer(
        self, cached: RunningGateway, bedrock: RunningSimulator
    ) -> None:
        every = texts(5, "encodings")
        with cached.openai() as client:
            plain = client.embeddings.create(model="titan", input=every, encoding_format="float")
            coded = client.embeddings.create(model="titan", input=every)
        assert calls(bedrock) == 5
        assert [one.embedding for one in coded.data] == [in_32_bits(one.embedding) for one in plain.data]

    def test_a_crowd_that_asks_the_same_shares_calls(
        self, cached: RunningGateway, bedrock: RunningSimulator
    ) -> None:
        async def ask() -> list[Any]:
            async with openai.AsyncOpenAI(**cached.openai_options()) as client:
                return await asyncio.gather(
                    *(client.embeddings.create(model="titan", input=texts(40, "crowd")) for _ in range(10))
                )

        answers = asyncio.run(ask())
        assert calls(bedrock) == 40
        assert all(answer == answers[0] for answer in answers)


class TestLimits:
    def test_tokens_are_settled_as_bedrock_counts_them(self, bedrock: RunningSimulator) -> None:
        """What was reserved is given back but for what was used; there is no output."""
        limits = [{"unit": unit, "limit": 100_000, "window": "month"} for unit in ("tokens", "output_tokens")]
        limiter = {"name": "rate-limiter", "config": {"limits": limits}}
        with running_gateway(bedrock.url, proxy={"models": MODELS}, plugins=[limiter]) as gateway:
            with gateway.openai() as client:
                first = client.embeddings.with_raw_response.create(model="titan", input=texts(50))
                gateway.record(request_id=first.headers["x-request-id"])
                second = client.embeddings.with_raw_response.create(model="titan", input="x")
        used = first.parse().usage.total_tokens
        reserved = -(-len(second.http_request.content) // 4)
        assert int(second.headers["x-ratelimit-remaining-tokens"]) == 100_000 - used - reserved

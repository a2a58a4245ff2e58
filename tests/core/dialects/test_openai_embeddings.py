"""Embeddings from end to end: openai-python on one side, Bedrock's answers on the other."""

import math
import struct
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.operations import Operation, match
from stargate_core.aws.surfaces import Surface
from stargate_core.dialects.face import BadAnswer, Call, Headers, Part, Reply, Request, Target, Usage
from stargate_core.dialects.openai_embeddings import EmbeddingsTranslator, OpenAIEmbeddings
from stargate_core.dialects.openai_errors import in_band
from stargate_core.faults import Cause, Fault, Refused
from support.embeddings import (
    COHERE,
    COHERE_V4,
    LENGTH,
    NOVA,
    TITAN,
    TITAN_G1,
    TITAN_IMAGE,
    answer_to,
    composed,
    embeddings_request,
    told,
    vector,
)
from support.sdks import Gateway, openai_client
from support.vectors import recordings

EMBEDDINGS: Final = OpenAIEmbeddings()
ALL: Final = (TITAN, TITAN_G1, TITAN_IMAGE, COHERE, COHERE_V4, NOVA)
ARN: Final = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6"


def gathered(
    translator: EmbeddingsTranslator, answers: Sequence[tuple[Headers, bytes]], *, plain: bool = True
) -> Part:
    """The one answer that these make, which come in the order of their calls."""
    for at, (headers, body) in enumerate(answers):
        translator.take(at, headers, body)
    return translator.gather(plain=plain)


def answers_to(call: Call, length: int = LENGTH) -> list[tuple[Headers, bytes]]:
    """What Bedrock answers to all bodies of a call."""
    return [answer_to(body, length) for body in (call.body, *call.more_bodies)]


def translator(request: Request, target: str = TITAN) -> EmbeddingsTranslator:
    """The translator of the answers to a request."""
    ask = EMBEDDINGS.read(request)
    return EMBEDDINGS.translator(request, ask, composed(request, target))


def gateway(target: str, length: int = LENGTH) -> Gateway:
    """A gateway whose Bedrock answers every call."""

    def handle(request: Request) -> Reply:
        try:
            ask = EMBEDDINGS.read(request)
            call = EMBEDDINGS.compose(request, ask, Target(target, Surface.INVOKE))
            found = EMBEDDINGS.translator(request, ask, call)
            part = gathered(found, answers_to(call, length))
            return found.render_answer(part, [])
        except Refused as refused:
            return EMBEDDINGS.failure(refused.fault, request.request_id)

    return handle


class TestOpenAIPython:
    @pytest.mark.parametrize("model", ALL)
    @pytest.mark.parametrize("texts", ["one", ["one"], [f"text {at}" for at in range(100)]])
    def test_texts_become_vectors(self, model: str, texts: Any) -> None:
        """The SDK asks for base64, and reads it by itself."""
        with openai_client(gateway(model)) as client:
            made = client.embeddings.create(model="embed", input=texts)
        every = [texts] if isinstance(texts, str) else texts
        assert [one.embedding for one in made.data] == [vector(text) for text in every]
        assert [one.index for one in made.data] == list(range(len(every)))
        assert (made.object, made.model) == ("list", "embed")
        tokens = sum(map(len, every))
        assert (made.usage.prompt_tokens, made.usage.total_tokens) == (tokens, tokens)

    def test_both_encodings_are_the_same_vectors(self) -> None:
        with openai_client(gateway(TITAN)) as client:
            coded = client.embeddings.create(model="embed", input=["one", "two"])
            plain = client.embeddings.create(model="embed", input=["one", "two"], encoding_format="float")
        assert coded == plain

    @pytest.mark.parametrize(("encoding", "kind"), [("base64", str), ("float", list), (None, list)])
    def test_the_answer_is_in_the_encoding_that_was_asked_for(self, encoding: Any, kind: type) -> None:
        answer = msgspec.json.decode(whole(embeddings_request("one", encoding_format=encoding), TITAN).body)
        assert isinstance(answer["data"][0]["embedding"], kind)
        assert told(answer) == [vector("one")]

    def test_what_the_models_take_beside_openais_own(self) -> None:
        with openai_client(gateway(COHERE)) as client:
            made = client.embeddings.create(
                model="embed", input="one", user="me", extra_body={"input_type": "search_query"}
            )
            assert len(made.data) == 1
            with pytest.raises(openai.BadRequestError) as caught:
                client.embeddings.create(model="embed", input="one", extra_body={"normalize": True})
        assert caught.value.param == "normalize"

    def test_tokens_instead_of_texts_are_refused(self) -> None:
        with openai_client(gateway(TITAN)) as client, pytest.raises(openai.BadRequestError) as caught:
            client.embeddings.create(model="embed", input=[[1, 2, 3]])
        assert (caught.value.param, "tokens" in caught.value.message) == ("input", True)

    def test_recorded_vectors(self) -> None:
        (recording,) = [one for one in recordings() if "cohere.embed" in one.uri]
        texts = msgspec.json.decode(recording.request_body)["texts"]
        headers = [(name.encode(), value.encode()) for name, value in recording.response_headers.items()]

        def handle(request: Request) -> Reply:
            found = translator(request, COHERE)
            return found.render_answer(found.answer(headers, recording.body), headers)

        with openai_client(handle) as client:
            made = client.embeddings.create(model="embed", input=texts, encoding_format="float")
            coded = client.embeddings.create(model="embed", input=texts)
        recorded = msgspec.json.decode(recording.body)["embeddings"]
        assert [one.embedding for one in made.data] == recorded
        for one, exact in zip(coded.data, recorded, strict=True):
            assert one.embedding == list(struct.unpack("<1024f", struct.pack("<1024f", *exact)))
        assert made.usage.prompt_tokens == 7


class TestRead:
    def test_what_policy_must_know(self) -> None:
        ask = EMBEDDINGS.read(embeddings_request("one"))
        assert (ask.model, ask.stream, ask.local) == (TITAN, False, False)
        assert (ask.output_tokens_max, ask.temperature, ask.urls) == (0, 0.0, ())
        assert ask.operation is Operation.INVOKE_MODEL

    @pytest.mark.parametrize("model", [None, ""])
    def test_no_model_is_the_default(self, model: Any) -> None:
        request = embeddings_request("one", model)
        assert EMBEDDINGS.read(request).model is None
        assert msgspec.json.decode(whole(request, TITAN).body)["model"] == TITAN


def whole(request: Request, target: str) -> Reply:
    """The answer to a request."""
    found = translator(request, target)
    return found.render_answer(gathered(found, answers_to(composed(request, target))), [])


class TestCompose:
    def test_the_call(self) -> None:
        call = composed(embeddings_request("one"), COHERE_V4)
        assert (call.operation, call.method, call.stream) == (Operation.INVOKE_MODEL, b"POST", False)
        assert call.target == b"/model/us.cohere.embed-v4%3A0/invoke"
        assert call.headers == [(b"content-type", b"application/json"), (b"accept", b"application/json")]
        assert call.more_bodies == ()

    def test_one_request_may_be_many_calls(self) -> None:
        assert len(composed(embeddings_request(["x"] * 2048), TITAN).more_bodies) == 2047
        assert len(composed(embeddings_request(["x"] * 2048), COHERE).more_bodies) == 21

    def test_the_same_request_is_the_same_bytes(self) -> None:
        calls = [composed(embeddings_request(["x", "y"], dimensions=256), TITAN) for _ in range(2)]
        assert calls[0] == calls[1]

    @pytest.mark.parametrize(
        ("target", "name"),
        [("anthropic.claude-3-haiku-20240307-v1:0", "claude"), ("no-such-model", ""), (ARN, "my-model")],
    )
    def test_a_model_that_makes_no_embeddings(self, target: str, name: str) -> None:
        with pytest.raises(Refused) as caught:
            composed(embeddings_request("one", name), target)
        fault = caught.value.fault
        assert (fault.row.status, fault.param) == (400, "model")
        assert (name or target) in fault.text
        assert "embeddings" in fault.text

    def test_an_arn_that_does_not_tell_is_known_by_its_name(self) -> None:
        request = embeddings_request(["one", "two"], "team-titan-embed-text-v2")
        call = composed(request, ARN)
        assert match(call.method, call.target).labels["modelId"] == ARN  # type: ignore[union-attr]
        answer = msgspec.json.decode(whole(request, ARN).body)
        assert told(answer) == [vector("one"), vector("two")]

    def test_but_a_model_that_tells_is_what_it_says(self) -> None:
        with pytest.raises(Refused):
            composed(embeddings_request("one", "titan-embed-text-v2"), "amazon.nova-lite-v1:0")

    @pytest.mark.parametrize("surface", [one for one in Surface if one is not Surface.INVOKE])
    def test_another_surface_is_refused(self, surface: Surface) -> None:
        with pytest.raises(Refused) as caught:
            composed(embeddings_request("one"), Target(TITAN, surface))
        assert (caught.value.fault.cause, caught.value.fault.param) == (Cause.BODY_INVALID, "model")

    @pytest.mark.parametrize("target", ["titan-embed-text-v2\ud800"])
    def test_an_id_that_fits_into_no_path(self, target: str) -> None:
        with pytest.raises(Refused) as caught:
            composed(embeddings_request("one"), target)
        assert caught.value.fault.param == "model"


class TestAnswers:
    @given(texts=st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=200), coded=st.booleans())
    def test_every_text_has_its_vector_in_its_place(self, texts: list[str], coded: bool) -> None:
        for target in (TITAN, COHERE):
            request = embeddings_request(texts, encoding_format="base64" if coded else None)
            answer = msgspec.json.decode(whole(request, target).body)
            assert told(answer) == [vector(text) for text in texts]
            assert answer["usage"] == {
                "prompt_tokens": sum(map(len, texts)),
                "total_tokens": sum(map(len, texts)),
            }

    def test_the_only_answer_is_a_batch_of_one(self) -> None:
        request = embeddings_request("one")
        headers, body = answer_to(composed(request, TITAN).body)
        one, batch = translator(request), translator(request)
        assert one.answer(headers, body) == gathered(batch, [(headers, body)])
        assert one.usage == batch.usage == Usage(input_tokens=3)
        assert one.complete
        assert one.meaningful
        assert one.stop_reason is None

    def test_tokens_are_added_up_and_unknown_where_nobody_says_them(self) -> None:
        request = embeddings_request(["one", "three"])
        found = translator(request)
        bare = b'{"embedding":[1.0]}'
        counted = b'{"embedding":[1.0],"inputTextTokenCount":4.0}'
        part = gathered(found, [([], bare), ([], counted)])
        assert (found.usage, part.payload["usage"]["prompt_tokens"]) == (Usage(input_tokens=4), 4)
        found = translator(request)
        part = gathered(found, [([], bare), ([], bare)])
        assert (found.usage, part.payload["usage"]["total_tokens"]) == (None, 0)

    def test_who_looks_at_it_sees_numbers_and_nobody_else_pays_for_them(self) -> None:
        request = embeddings_request(["one", "three"], encoding_format="float")
        bodies: list[tuple[Headers, bytes]] = [
            ([], b'{"embedding":[1.0,0.5]}'),
            ([], b'{"embedding":[0.1,2e-05]}'),
        ]
        plain = gathered(translator(request), bodies)
        raw = gathered(translator(request), bodies, plain=False)
        assert [one["embedding"] for one in plain.payload["data"]] == [[1.0, 0.5], [0.1, 2e-05]]
        assert all(isinstance(one["embedding"], msgspec.Raw) for one in raw.payload["data"])
        one = translator(request)
        assert one.render_answer(plain, []) == one.render_answer(raw, [])

    @pytest.mark.parametrize(
        "answers",
        [
            [b'{"embedding":[1.0,2.0]}', b'{"embedding":[1.0]}'],
            [b'{"embedding":[1.0]}', b"{}"],
            [b'{"embedding":[1.0]}', b'{"embedding":[]}'],
        ],
        ids=["two lengths", "nothing", "an empty one"],
    )
    def test_one_bad_answer_spoils_all(self, answers: list[bytes]) -> None:
        found = translator(embeddings_request(["one", "two"]))
        with pytest.raises(BadAnswer) as caught:
            gathered(found, [([], body) for body in answers])
        assert caught.value.fault.cause is Cause.UPSTREAM_GARBLED
        assert not found.complete

    def test_vectors_must_be_as_long_as_was_asked_for(self) -> None:
        request = embeddings_request("one", dimensions=256)
        headers, body = answer_to(composed(request, TITAN).body, 255)
        with pytest.raises(BadAnswer):
            translator(request).answer(headers, body)
        part = translator(request).answer(*answer_to(composed(request, TITAN).body, 256))
        assert told(part.payload) == [vector("one", 256)]

    def test_the_last_call_of_coheres_has_the_rest(self) -> None:
        request = embeddings_request([f"{at}" for at in range(97)])
        first, last = answers_to(composed(request, COHERE))
        found = translator(request, COHERE)
        assert len(gathered(found, [first, last]).payload["data"]) == 97
        with pytest.raises(BadAnswer):
            gathered(found, [last, first])
        with pytest.raises(BadAnswer):
            gathered(found, [first, first])

    @pytest.mark.parametrize("number", [1e39, -1e300])
    def test_a_number_beyond_32_bits_cannot_be_base64(self, number: float) -> None:
        body = msgspec.json.encode({"embedding": [number]})
        with pytest.raises(BadAnswer):
            translator(embeddings_request("one", encoding_format="base64")).answer([], body)
        part = translator(embeddings_request("one")).answer([], body)
        assert part.payload["data"][0]["embedding"] == [number]

    @given(st.floats(width=32, allow_nan=False, allow_infinity=False))
    def test_32_bits_survive_base64(self, number: float) -> None:
        body = msgspec.json.encode({"embedding": [number]})
        part = translator(embeddings_request("one", encoding_format="base64")).answer([], body)
        ((back,),) = told(part.payload)
        assert back == number
        assert math.copysign(1, back) == math.copysign(1, number)

    def test_the_answer_is_json_and_nothing_of_upstreams_headers(self) -> None:
        found = translator(embeddings_request("one"))
        part = found.answer([], b'{"embedding":[1.0]}')
        reply = found.render_answer(part, [(b"x-amzn-bedrock-input-token-count", b"3")])
        assert (reply.status, reply.headers) == (200, [(b"content-type", b"application/json")])
        assert msgspec.json.decode(reply.body) == part.payload


def test_nothing_is_local() -> None:
    request = embeddings_request("one")
    with pytest.raises(AssertionError):
        EMBEDDINGS.answer_locally(request, EMBEDDINGS.read(request), [])


def test_a_fault_is_put_in_openais_words() -> None:
    made = translator(embeddings_request("hi"))
    assert made.broken(Fault(Cause.STREAM_CUT)) == in_band(Fault(Cause.STREAM_CUT))

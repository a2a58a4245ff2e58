"""Families of embedding models: which is which, what each is sent, and what is believed of its answers."""

from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.surfaces import Surface
from stargate_core.dialects.face import BadAnswer, Options, Target
from stargate_core.dialects.openai_embeddings import OpenAIEmbeddings
from stargate_core.dialects.openai_embeddings_families import (
    FAMILIES,
    NUMBERS_MAX,
    Family,
    asked_length,
    embedded,
    family_of,
)
from stargate_core.dialects.openai_embeddings_request import Asked
from stargate_core.faults import Cause, Fault, Refused
from support.bedrock_model import objections
from support.embeddings import (
    COHERE,
    COHERE_V4,
    NOVA,
    TITAN,
    TITAN_G1,
    TITAN_IMAGE,
    TOKENS_HEADER,
    answer_to,
    bodies,
    composed,
    embeddings_request,
    vector,
)
from support.vectors import recordings

ALL: Final = (TITAN, TITAN_G1, TITAN_IMAGE, COHERE, COHERE_V4, NOVA)
ACCOUNT: Final = "arn:aws:bedrock:us-east-1:123456789012"


def family(model: str) -> Family:
    """The family of a model that has one."""
    found = family_of(model)
    assert found is not None
    return found


def sent(model: str, texts: Any = "hi", **members: Any) -> dict[str, Any]:
    """The body of the only call."""
    (body,) = bodies(composed(embeddings_request(texts, **members), model))
    return body


def refused(model: str, texts: Any = "hi", *, drop: bool = False, **members: Any) -> Fault:
    """Why a model cannot be asked that."""
    target = Target(model, Surface.INVOKE, Options(drop_params=drop))
    with pytest.raises(Refused) as caught:
        composed(embeddings_request(texts, **members), target)
    return caught.value.fault


class TestWhichIsWhich:
    @pytest.mark.parametrize(
        ("model", "name"),
        [
            ("amazon.titan-embed-text-v2:0", "Titan Text Embeddings V2"),
            ("amazon.titan-embed-text-v2:0:8k", "Titan Text Embeddings V2"),
            (f"{ACCOUNT[:-12]}:foundation-model/amazon.titan-embed-text-v2:0", "Titan Text Embeddings V2"),
            ("amazon.titan-embed-text-v1", "Titan Embeddings G1"),
            ("amazon.titan-embed-g1-text-02", "Titan Embeddings G1"),
            ("amazon.titan-embed-image-v1", "Titan Multimodal Embeddings"),
            ("amazon.titan-embed-image-v1:0", "Titan Multimodal Embeddings"),
            ("cohere.embed-english-v3", "Cohere Embed 3"),
            ("cohere.embed-multilingual-v3:0:512", "Cohere Embed 3"),
            ("cohere.embed-v4:0", "Cohere Embed 4"),
            ("us.cohere.embed-v4:0", "Cohere Embed 4"),
            ("global.cohere.embed-v4:0", "Cohere Embed 4"),
            (f"{ACCOUNT}:inference-profile/eu.cohere.embed-v4:0", "Cohere Embed 4"),
            ("amazon.nova-2-multimodal-embeddings-v1:0", "Nova Multimodal Embeddings"),
        ],
    )
    def test_by_its_id(self, model: str, name: str) -> None:
        assert family(model).name == name

    @pytest.mark.parametrize(
        "model",
        [
            "anthropic.claude-3-haiku-20240307-v1:0",
            "amazon.titan-text-lite-v1",
            "amazon.nova-lite-v1:0",
            "cohere.command-r-v1:0",
            "cohere.rerank-v3-5:0",
            "twelvelabs.marengo-embed-2-7-v1:0",
            "text-embedding-3-small",
            f"{ACCOUNT}:provisioned-model/abc123",
            "",
        ],
    )
    def test_others_make_no_embeddings(self, model: str) -> None:
        assert family_of(model) is None

    def test_names_are_asked_in_their_order(self) -> None:
        assert family_of("arn:x", COHERE) is family(COHERE)
        assert family_of(TITAN, COHERE) is family(TITAN)

    def test_no_id_is_of_two(self) -> None:
        for model in ALL:
            assert [one for one in FAMILIES if one.ids.search(model)] == [family(model)]


class TestBodies:
    @pytest.mark.parametrize(
        ("model", "members", "body"),
        [
            (TITAN, {}, {"inputText": "hi"}),
            (TITAN, {"dimensions": 256}, {"inputText": "hi", "dimensions": 256}),
            (TITAN, {"normalize": False}, {"inputText": "hi", "normalize": False}),
            (TITAN, {"encoding_format": "base64"}, {"inputText": "hi"}),
            (TITAN, {"user": "somebody"}, {"inputText": "hi"}),
            (TITAN_G1, {}, {"inputText": "hi"}),
            (TITAN_G1, {"dimensions": 1536}, {"inputText": "hi"}),
            (TITAN_IMAGE, {}, {"inputText": "hi"}),
            (
                TITAN_IMAGE,
                {"dimensions": 384},
                {"inputText": "hi", "embeddingConfig": {"outputEmbeddingLength": 384}},
            ),
            (COHERE, {}, {"texts": ["hi"], "input_type": "search_document"}),
            (COHERE, {"dimensions": 1024}, {"texts": ["hi"], "input_type": "search_document"}),
            (
                COHERE,
                {"input_type": "clustering", "truncate": "RIGHT"},
                {"texts": ["hi"], "input_type": "clustering", "truncate": "END"},
            ),
            (
                COHERE_V4,
                {},
                {"texts": ["hi"], "input_type": "search_document", "embedding_types": ["float"]},
            ),
            (
                COHERE_V4,
                {"dimensions": 512, "truncate": "START", "max_tokens": 99, "input_type": "search_query"},
                {
                    "texts": ["hi"],
                    "input_type": "search_query",
                    "embedding_types": ["float"],
                    "output_dimension": 512,
                    "truncate": "LEFT",
                    "max_tokens": 99,
                },
            ),
            (
                COHERE_V4,
                {"truncate": "NONE"},
                {
                    "texts": ["hi"],
                    "input_type": "search_document",
                    "embedding_types": ["float"],
                    "truncate": "NONE",
                },
            ),
            (
                NOVA,
                {},
                {
                    "taskType": "SINGLE_EMBEDDING",
                    "singleEmbeddingParams": {
                        "embeddingPurpose": "GENERIC_INDEX",
                        "text": {"truncationMode": "NONE", "value": "hi"},
                    },
                },
            ),
            (
                NOVA,
                {"dimensions": 3072, "truncate": "LEFT", "embedding_purpose": "TEXT_RETRIEVAL"},
                {
                    "taskType": "SINGLE_EMBEDDING",
                    "singleEmbeddingParams": {
                        "embeddingPurpose": "TEXT_RETRIEVAL",
                        "embeddingDimension": 3072,
                        "text": {"truncationMode": "START", "value": "hi"},
                    },
                },
            ),
        ],
    )
    def test_each_is_sent_its_own(self, model: str, members: dict[str, Any], body: dict[str, Any]) -> None:
        assert sent(model, **members) == body

    @pytest.mark.parametrize("model", ALL)
    def test_nobody_is_asked_for_bits(self, model: str) -> None:
        """OpenAI's base64 is of floats; Titan's and Cohere's `binary` is something else."""
        assert b"binary" not in msgspec.json.encode(sent(model, encoding_format="base64"))

    def test_a_recorded_request_is_composed_to_the_letter(self) -> None:
        (recording,) = [one for one in recordings() if "cohere.embed" in one.uri]
        asked = msgspec.json.decode(recording.request_body)
        assert sent(COHERE, asked["texts"]) == asked

    @pytest.mark.parametrize("model", ALL)
    @pytest.mark.parametrize("count", [1, 2, 95, 96, 97, 200, 1024])
    def test_texts_are_divided_among_calls_in_order(self, model: str, count: int) -> None:
        texts = [f"text {at}" for at in range(count)]
        call = composed(embeddings_request(texts), model)
        most = family(model).texts_max
        parts = (call.body, *call.more_bodies)
        assert len(parts) == -(-count // most)
        found: list[list[float]] = []
        for part in parts:
            found += embedded(family(model), *answer_to(part), min(most, count - len(found)), None).vectors
        assert found == [vector(text) for text in texts]

    @pytest.mark.parametrize("model", ALL)
    def test_the_service_model_has_nothing_against_them(self, model: str) -> None:
        call = composed(embeddings_request(["one", "two"]), model)
        wrapped = msgspec.json.encode({"body": call.body})
        assert objections("InvokeModel", wrapped, modelId=model) == []


class TestWhatHasNoPlace:
    @pytest.mark.parametrize(
        ("model", "name", "value"),
        [
            (TITAN, "input_type", "search_query"),
            (TITAN, "truncate", "END"),
            (TITAN, "max_tokens", 5),
            (TITAN, "embedding_purpose", "CLUSTERING"),
            (TITAN_G1, "normalize", True),
            (TITAN_G1, "dimensions", 256),
            (TITAN_IMAGE, "normalize", False),
            (COHERE, "normalize", True),
            (COHERE, "embedding_purpose", "CLUSTERING"),
            (COHERE, "max_tokens", 5),
            (COHERE, "dimensions", 512),
            (COHERE_V4, "normalize", True),
            (NOVA, "input_type", "search_query"),
            (NOVA, "normalize", True),
            (TITAN, "unheard_of", 1),
        ],
    )
    def test_it_is_refused_by_name_or_dropped_where_the_operator_says_so(
        self, model: str, name: str, value: Any
    ) -> None:
        members = {name: value}
        fault = refused(model, **members)
        assert (fault.cause, fault.param) == (Cause.BODY_INVALID, name)
        assert fault.text.startswith(f"{name}: ")
        target = Target(model, Surface.INVOKE, Options(drop_params=True))
        assert bodies(composed(embeddings_request("hi", **members), target)) == [sent(model)]

    @pytest.mark.parametrize("drop", [False, True])
    @pytest.mark.parametrize(
        ("model", "name", "value", "said"),
        [
            (TITAN, "dimensions", 1536, "1024, 512, 256"),
            (TITAN_IMAGE, "dimensions", 512, "1024, 384, 256"),
            (COHERE_V4, "dimensions", 3072, "1536, 1024, 512, 256"),
            (NOVA, "dimensions", 1536, "3072, 1024, 384, 256"),
            (NOVA, "embedding_purpose", "FUN", "GENERIC_INDEX, GENERIC_RETRIEVAL"),
        ],
    )
    def test_a_value_that_is_not_allowed_is_always_refused_with_those_that_are(
        self, model: str, name: str, value: Any, said: str, drop: bool
    ) -> None:
        fault = refused(model, drop=drop, **{name: value})
        assert (fault.cause, fault.param) == (Cause.BODY_INVALID, name)
        assert said in fault.text

    def test_more_numbers_than_one_answer_can_hold(self) -> None:
        texts = ["x"] * 1025
        fault = refused(NOVA, texts)
        assert (fault.param, "at most 1024 texts" in fault.text) == ("input", True)
        assert len(bodies(composed(embeddings_request(texts[1:]), NOVA))) == 1024
        assert len(bodies(composed(embeddings_request(texts, dimensions=1024), NOVA))) == 1025

    @pytest.mark.parametrize("model", [model for model in ALL if model != NOVA])
    def test_which_are_all_that_openai_allows_but_for_one_family(self, model: str) -> None:
        assert 2048 * family(model).lengths[0] <= NUMBERS_MAX


GOOD: Final[dict[str, Any]] = {
    TITAN: {"embedding": [0.5, -1], "inputTextTokenCount": 3, "embeddingsByType": {"float": [0.5, -1]}},
    TITAN_G1: {"embedding": [0.5, -1], "inputTextTokenCount": 3},
    TITAN_IMAGE: {"embedding": [0.5, -1], "inputTextTokenCount": 3, "message": None},
    COHERE: {"embeddings": [[0.5, -1]], "id": "1", "response_type": "embeddings_floats", "texts": ["hi"]},
    COHERE_V4: {"embeddings": {"float": [[0.5, -1]]}, "id": "1", "response_type": "embeddings_by_type"},
    NOVA: {"embeddings": [{"embeddingType": "TEXT", "embedding": [0.5, -1], "truncatedCharLength": 3}]},
}


class TestAnswers:
    @pytest.mark.parametrize("model", ALL)
    def test_good_ones(self, model: str) -> None:
        found = embedded(family(model), [(TOKENS_HEADER, b"3")], msgspec.json.encode(GOOD[model]), 1, 2)
        assert (found.vectors, found.tokens) == ([[0.5, -1.0]], 3)

    def test_either_form_of_coheres(self) -> None:
        for model in (COHERE, COHERE_V4):
            for form in (COHERE, COHERE_V4):
                found = embedded(family(model), [], msgspec.json.encode(GOOD[form]), 1, None)
                assert found.vectors == [[0.5, -1.0]]

    def test_a_recorded_one(self) -> None:
        (recording,) = [one for one in recordings() if "cohere.embed" in one.uri]
        headers = [(name.encode(), value.encode()) for name, value in recording.response_headers.items()]
        found = embedded(family(COHERE), headers, recording.body, 2, 1024)
        assert found.tokens == 7
        assert found.vectors == msgspec.json.decode(recording.body)["embeddings"]

    @pytest.mark.parametrize(
        ("count", "header", "tokens"),
        [
            (5, None, 5),
            (28.0, None, 28),
            (5, b"9", 5),
            (None, b"9", 9),
            (None, None, None),
            (None, b"", None),
            (None, b"many", None),
            (None, b"-4", None),
            (None, b"9" * 40, None),
            (-3, None, 0),
            (0, b"7", 0),
        ],
    )
    def test_tokens_are_the_answers_own_or_the_headers(
        self, count: float | None, header: bytes | None, tokens: int | None
    ) -> None:
        headers = [] if header is None else [(TOKENS_HEADER, header)]
        body = msgspec.json.encode({"embedding": [1.0], "inputTextTokenCount": count})
        assert embedded(family(TITAN), headers, body, 1, None).tokens == tokens

    BAD: Final = (
        b"",
        b"{}",
        b"[]",
        b"null",
        b"not JSON",
        b"\xff",
        b'{"embedding":[]}',
        b'{"embedding":null}',
        b'{"embedding":["1"]}',
        b'{"embedding":[null]}',
        b'{"embedding":[NaN]}',
        b'{"embedding":[Infinity]}',
        b'{"embedding":[1e999]}',
        b'{"embedding":[1],"inputTextTokenCount":"3"}',
        b'{"embedding":[1],"inputTextTokenCount":1e999}',
        b'{"embedding":{"float":[1]}}',
        b'{"embeddings":[]}',
        b'{"embeddings":[[]]}',
        b'{"embeddings":[[1],[2]]}',
        b'{"embeddings":{}}',
        b'{"embeddings":{"int8":[[1]]}}',
        b'{"embeddings":{"float":[[1],[2]]}}',
        b'{"embeddings":{"float":[1]}}',
        b'{"embeddings":[{"embeddingType":"TEXT"}]}',
        b'{"embeddings":[{"embedding":[]}]}',
        b'{"embeddings":[{"embedding":[1]},{"embedding":[2]}]}',
        b'{"embedding":' + b"[" * 5000,
    )

    @pytest.mark.parametrize("body", BAD)
    @pytest.mark.parametrize("model", ALL)
    def test_bad_ones(self, model: str, body: bytes) -> None:
        with pytest.raises(BadAnswer) as caught:
            embedded(family(model), [], body, 1, None)
        assert caught.value.fault.cause is Cause.UPSTREAM_GARBLED

    def test_vectors_of_two_lengths_or_of_another_than_was_asked_for(self) -> None:
        body = b'{"embeddings":[[1,2],[3]]}'
        for length in (None, 2):
            with pytest.raises(BadAnswer):
                embedded(family(COHERE), [], body, 2, length)
        with pytest.raises(BadAnswer):
            embedded(family(COHERE), [], b'{"embeddings":[[1,2],[3,4]]}', 2, 1024)

    @given(body=st.binary(max_size=80))
    def test_whatever_comes_is_read_or_is_a_bad_answer(self, body: bytes) -> None:
        for model in ALL:
            for wrapped in (body, b'{"embedding":' + body, b'{"embeddings":[' + body + b"]}"):
                try:
                    embedded(family(model), [], wrapped, 1, None)
                except BadAnswer:
                    pass

    @given(numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
    def test_numbers_are_exact(self, numbers: list[float]) -> None:
        body = msgspec.json.encode({"embedding": numbers})
        assert embedded(family(TITAN), [], body, 1, None).vectors == [numbers]


@pytest.mark.parametrize(("asked_for", "length"), [(None, None), (512, 512), (7, None)])
def test_only_a_length_that_the_family_has_is_held_to(asked_for: int | None, length: int | None) -> None:
    members: dict[str, Any] = {} if asked_for is None else {"dimensions": asked_for}
    ask = OpenAIEmbeddings().read(embeddings_request("hi", **members))
    assert isinstance(ask.body, Asked)
    assert asked_length(ask.body, family(TITAN)) == length

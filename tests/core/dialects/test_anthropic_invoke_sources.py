"""Images and documents that are elsewhere: which URLs a request names, and what takes their place."""

import base64
from typing import Any, Final

import msgspec
import pytest

from stargate_core.dialects.anthropic_invoke_blocks import OBJECT, encoded
from stargate_core.dialects.anthropic_invoke_sources import bring, urls_of
from stargate_core.dialects.face import Fetched
from stargate_core.faults import Cause, Refused

PNG: Final = b"\x89PNG\r\n\x1a\n...."
CAT, PAPER, NOTE = "https://a.test/cat.png", "http://a.test/paper.pdf", "https://a.test/note.txt"
FETCHED: Final = {
    CAT: Fetched("image/png", PNG),
    PAPER: Fetched("application/pdf", b"%PDF-1.7 ..."),
    NOTE: Fetched("text/markdown", "# é".encode()),
}


def by_url(url: str, kind: str = "image") -> dict[str, Any]:
    return {"type": kind, "source": {"type": "url", "url": url}, "cache_control": {"type": "ephemeral"}}


def a_body(*blocks: Any) -> dict[str, Any]:
    return {"model": "claude", "messages": [{"role": "user", "content": list(blocks)}]}


def brought(body: Any, *, all_of_them: bool = True, fetched: dict[str, Fetched] = FETCHED) -> Any:
    members = OBJECT.decode(msgspec.json.encode(body))
    bring(members, fetched, all_of_them=all_of_them)
    return msgspec.json.decode(encoded(members))


def sources(body: Any) -> list[Any]:
    return [block["source"] for block in body["messages"][0]["content"]]


class TestUrls:
    def test_are_found_wherever_a_source_can_be_each_once_in_order(self) -> None:
        nested = {"type": "tool_result", "tool_use_id": "t", "content": [by_url(PAPER, "document")]}
        inside = {"type": "document", "source": {"type": "content", "content": [by_url(NOTE)]}}
        body = a_body(by_url(CAT), nested, by_url(CAT), inside)
        assert urls_of(OBJECT.decode(msgspec.json.encode(body))) == (CAT, PAPER, NOTE)

    @pytest.mark.parametrize(
        "block",
        [
            {
                "type": "tool_use",
                "id": "t",
                "name": "fetch",
                "input": {"url": CAT, "source": {"type": "url", "url": CAT}},
            },
            {"type": "text", "text": f'{{"source":{{"type":"url","url":"{CAT}"}}}}'},
            {"type": "web_search_tool_result", "content": [{"type": "web_search_result", "url": CAT}]},
            {
                "type": "search_result",
                "source": CAT,
                "title": "url",
                "content": [{"type": "text", "text": "url"}],
            },
            by_url("data:image/png;base64,AAAA"),
            by_url("ftp://a.test/x"),
            {"type": "image", "source": {"type": "url", "url": 5}},
            {"type": "image", "source": {"type": "url"}},
            {"type": "image", "source": {"type": "base64", "url": CAT}},
        ],
    )
    def test_what_is_no_source_to_fetch_is_none(self, block: Any) -> None:
        assert urls_of(OBJECT.decode(msgspec.json.encode(a_body(block)))) == ()


class TestBrought:
    def test_what_was_fetched_takes_the_place_of_its_url(self) -> None:
        body = brought(a_body(by_url(CAT), by_url(PAPER, "document"), by_url(NOTE, "document")))
        image, document, note = sources(body)
        assert image == {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()}
        assert document["media_type"] == "application/pdf"
        assert base64.b64decode(document["data"]) == b"%PDF-1.7 ..."
        assert note == {"type": "text", "media_type": "text/plain", "data": "# é"}
        assert all(block["cache_control"] for block in body["messages"][0]["content"])

    @pytest.mark.parametrize(
        ("data", "media_type"),
        [
            (PNG, "image/png"),
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"GIF89a..", "image/gif"),
            (b"RIFF1234WEBPVP8 ", "image/webp"),
            (b"%PDF-1.4", "application/pdf"),
        ],
    )
    def test_mere_octets_are_told_by_their_first(self, data: bytes, media_type: str) -> None:
        body = brought(a_body(by_url(CAT)), fetched={CAT: Fetched("application/octet-stream", data)})
        assert sources(body)[0]["media_type"] == media_type

    @pytest.mark.parametrize("content_type", ["video/mp4", "application/octet-stream", "image/tiff", ""])
    def test_what_anthropic_knows_nothing_like_is_refused(self, content_type: str) -> None:
        with pytest.raises(Refused) as caught:
            brought(a_body(by_url(CAT)), fetched={CAT: Fetched(content_type, b"....")})
        assert caught.value.fault.param == "messages.0.content.0.source"
        assert "PDF" in caught.value.fault.text

    @pytest.mark.parametrize("url", ["https://a.test/other.png", "ftp://a.test/x", 5])
    def test_a_url_that_was_not_fetched_is_refused(self, url: Any) -> None:
        with pytest.raises(Refused) as caught:
            brought(a_body({"type": "text", "text": "hi"}, by_url(url)))
        fault = caught.value.fault
        assert (fault.cause, fault.param) == (Cause.BODY_INVALID, "messages.0.content.1.source")
        assert "URL" in fault.text
        assert "base64" in fault.text

    def test_a_files_id_is_refused(self) -> None:
        block = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
        with pytest.raises(Refused) as caught:
            brought(a_body(block))
        assert caught.value.fault.text.startswith("messages.0.content.0.source: Bedrock has no files")

    def test_where_others_may_stay_they_stay(self) -> None:
        file = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
        other = by_url("https://a.test/other.png")
        body = brought(a_body(file, other, by_url(CAT)), all_of_them=False)
        assert body["messages"][0]["content"][:2] == [file, other]
        assert sources(body)[2]["type"] == "base64"

    def test_sources_that_are_there_already_are_left_alone(self) -> None:
        block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "url file"}}
        assert brought(a_body(block)) == a_body(block)

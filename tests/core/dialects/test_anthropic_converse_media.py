"""Images and documents: each source, each format, each name; and what is refused, by its place."""

import base64
from typing import Any

import msgspec
import pytest

from stargate_core.dialects.anthropic_converse_types import DocumentBlock, TextSource
from stargate_core.dialects.face import Fetched
from support.anthropic_converse import NOVA, composed, refused

PNG = b"\x89PNG\r\n\x1a\n and more"
JPEG = b"\xff\xd8\xff and more"
GIF = b"GIF89a and more"
WEBP = b"RIFF\x00\x00\x00\x00WEBP"
PDF = b"%PDF-1.7 and more"
URL = "https://a.example/x"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def sent(data: bytes, media_type: str) -> dict[str, Any]:
    return {"type": "base64", "media_type": media_type, "data": b64(data)}


def user(*content: dict[str, Any]) -> list[Any]:
    return [{"role": "user", "content": [*content, {"type": "text", "text": "?"}]}]


def image(source: dict[str, Any], found: Fetched | None = None) -> Any:
    messages = user({"type": "image", "source": source})
    made = composed(messages=messages, fetched={} if found is None else {URL: found})
    return made["messages"][0]["content"][0]


def doc(source: dict[str, Any], **members: Any) -> Any:
    found = members.pop("found", None)
    block = {"type": "document", "source": source, **members}
    made = composed(messages=user(block), fetched={} if found is None else {URL: found})
    return made["messages"][0]["content"][0]["document"]


class TestImages:
    @pytest.mark.parametrize(
        ("data", "media_type", "kind"),
        [
            (PNG, "image/png", "png"),
            (JPEG, "image/jpeg", "jpeg"),
            (GIF, "image/gif", "gif"),
            (WEBP, "image/webp", "webp"),
            (JPEG, "image/png", "jpeg"),
            (b"who knows", "image/jpg", "jpeg"),
            (b"who knows", "IMAGE/WEBP; q=1", "webp"),
        ],
    )
    def test_the_first_bytes_say_what_it_is(self, data: bytes, media_type: str, kind: str) -> None:
        made = image(sent(data, media_type))
        assert made == {"image": {"format": kind, "source": {"bytes": b64(data)}}}

    def test_line_breaks_in_base64_are_none_of_bedrocks_business(self) -> None:
        source = sent(PNG * 9, "image/png")
        source["data"] = "\r\n".join(source["data"][at : at + 76] for at in range(0, len(source["data"]), 76))
        assert image(source)["image"]["source"]["bytes"] == b64(PNG * 9)

    def test_what_was_at_a_url(self) -> None:
        made = image({"type": "url", "url": URL}, found=Fetched("image/jpeg", WEBP))
        assert made == {"image": {"format": "webp", "source": {"bytes": b64(WEBP)}}}

    @pytest.mark.parametrize(
        ("source", "place", "said"),
        [
            ({"type": "url", "url": URL}, ".url", "does not fetch"),
            ({"type": "file", "file_id": "file_1"}, "", "out of reach"),
            ({"type": "base64", "media_type": "image/png", "data": "!"}, ".data", "base64"),
            ({"type": "base64", "media_type": "image/png", "data": "ü"}, ".data", "base64"),
            ({"type": "base64", "media_type": "image/png", "data": ""}, ".data", "empty"),
            (sent(b"who knows", "image/tiff"), "", "png, jpeg"),
            (sent(b"who knows", "text/plain"), "", "png, jpeg"),
        ],
    )
    def test_what_is_refused(self, source: Any, place: str, said: str) -> None:
        param, text = refused(messages=user({"type": "image", "source": source}))
        assert param == f"messages.0.content.0.source{place}"
        assert text.startswith(f"{param}: ")
        assert said in text

    def test_nothing_at_a_url(self) -> None:
        with pytest.raises(Exception, match="BODY_INVALID"):
            image({"type": "url", "url": URL}, found=Fetched("image/png", b""))


class TestDocuments:
    def test_a_pdf_with_all_that_can_be_said_of_it(self) -> None:
        made = doc(
            sent(PDF, "application/pdf"), title="Q3/report.pdf", context="c", citations={"enabled": True}
        )
        assert made == {
            "format": "pdf",
            "name": "Q3 report",
            "source": {"bytes": b64(PDF)},
            "context": "c",
            "citations": {"enabled": True},
        }

    def test_text_is_a_file_unless_it_is_to_be_cited(self) -> None:
        source = {"type": "text", "media_type": "text/plain", "data": "grün"}
        plain = {"format": "txt", "name": "document", "source": {"bytes": b64("grün".encode())}}
        assert doc(source) == plain
        assert doc(source, citations={"enabled": False}, context=" ") == plain
        assert doc(source, citations={"enabled": True}) == {
            "format": "txt",
            "name": "document",
            "source": {"text": "grün"},
            "citations": {"enabled": True},
        }

    @pytest.mark.parametrize(
        ("content", "texts"),
        [
            ("a", ["a"]),
            (
                [{"type": "text", "text": "a"}, {"type": "text", "text": ""}, {"type": "text", "text": "b"}],
                ["a", "", "b"],
            ),
        ],
    )
    def test_pieces_stay_where_they_are(self, content: Any, texts: list[str]) -> None:
        made = doc({"type": "content", "content": content})
        assert made["source"] == {"content": [{"text": text} for text in texts]}

    @pytest.mark.parametrize(
        ("found", "kind"),
        [
            (Fetched("application/octet-stream", PDF), "pdf"),
            (Fetched("text/csv", b"a,b"), "csv"),
            (Fetched("text/html", b"<p>"), "html"),
        ],
    )
    def test_what_was_at_a_url(self, found: Fetched, kind: str) -> None:
        made = doc({"type": "url", "url": URL}, found=found)
        assert (made["format"], made["source"]) == (kind, {"bytes": b64(found.data)})

    @pytest.mark.parametrize(
        ("source", "place", "said"),
        [
            ({"type": "url", "url": URL}, ".url", "does not fetch"),
            ({"type": "file", "file_id": "f"}, "", "out of reach"),
            ({"type": "text", "media_type": "text/plain", "data": " \n"}, ".data", "blank"),
            ({"type": "content", "content": ""}, ".content", "blank"),
            ({"type": "content", "content": []}, ".content", "blank"),
            (
                {"type": "content", "content": [{"type": "image", "source": sent(PNG, "image/png")}]},
                ".content.0.type",
                "text only",
            ),
            (sent(b"PK", "application/zip"), "", "pdf"),
        ],
    )
    def test_what_is_refused(self, source: Any, place: str, said: str) -> None:
        param, text = refused(messages=user({"type": "document", "source": source}))
        assert param == f"messages.0.content.0.source{place}"
        assert said in text

    def test_each_has_a_name_of_its_own(self) -> None:
        block = {"type": "document", "source": {"type": "text", "data": "x"}, "title": "a"}
        made = composed(NOVA, messages=user(block, block, {**block, "title": "a (2)"}))
        names = [b["document"]["name"] for b in made["messages"][0]["content"] if "document" in b]
        assert names == ["a", "a (2)", "a (2) (2)"]


def test_no_word_of_a_document_is_shown() -> None:
    block = msgspec.convert({"type": "text", "data": "sesame"}, TextSource)
    assert "sesame" not in repr(DocumentBlock(source=block, title="sesame"))

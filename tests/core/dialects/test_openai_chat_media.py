"""Images, sounds and documents: the same base64 goes on, under the format that its first bytes say."""

import base64
import re
from typing import Any

import msgspec
import pytest

from stargate_core.dialects.face import Fetched
from stargate_core.dialects.openai_chat_media import audio, document, image, urls
from stargate_core.dialects.openai_chat_request import File, InputAudio, decode
from stargate_core.faults import Cause, Refused

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
JPEG = b"\xff\xd8\xff\xe0" + b"\0" * 20
GIF = b"GIF89a" + b"\0" * 20
WEBP = b"RIFF\x10\0\0\0WEBPVP8 " + b"\0" * 20
UNKNOWN = b"\0\1\2\3" * 5
PLACE = "https://example.org/pictures/cat"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{b64(data)}"


def refusal(call: Any, *arguments: Any) -> str:
    with pytest.raises(Refused) as caught:
        call(*arguments, "here")
    fault = caught.value.fault
    assert fault.cause is Cause.BODY_INVALID
    assert fault.param is not None
    assert fault.param.startswith("here")
    return fault.text


class TestImages:
    @pytest.mark.parametrize(
        ("claimed", "data", "kind"),
        [
            ("image/png", PNG, "png"),
            ("image/jpeg", JPEG, "jpeg"),
            ("image/jpg", JPEG, "jpeg"),
            ("image/gif", GIF, "gif"),
            ("image/webp", WEBP, "webp"),
            # The type lies, as it does in many clients.
            ("image/png", JPEG, "jpeg"),
            ("image/jpeg", WEBP, "webp"),
            ("application/octet-stream", GIF, "gif"),
            # The bytes say nothing; the type is believed, by whatever name.
            ("image/jpg", UNKNOWN, "jpeg"),
            ("image/webp", UNKNOWN, "webp"),
        ],
    )
    def test_the_first_bytes_win_over_the_type(self, claimed: str, data: bytes, kind: str) -> None:
        assert image(url(claimed, data), "here") == {
            "image": {"format": kind, "source": {"bytes": b64(data)}}
        }

    def test_case_settings_and_line_breaks_do_not_matter(self) -> None:
        folded = "\n".join(re.findall(".{1,8}", b64(PNG)))
        block = image(f"DATA:Image/PNG;charset=utf-8;BASE64,{folded}", "here")
        assert block == {"image": {"format": "png", "source": {"bytes": b64(PNG)}}}

    def test_what_was_not_fetched_is_refused(self) -> None:
        for place in ("http://169.254.169.254/latest/", "https://example.org/cat.png", "HTTP://x"):
            assert "image URLs are not fetched here" in refusal(image, place)
        for place in ("file:///etc/passwd", b64(PNG), "", "s3://bucket/key", "http:cat.png"):
            assert "no URL of an image" in refusal(image, place)

    @pytest.mark.parametrize(
        ("content_type", "data", "kind"),
        [("image/png", JPEG, "jpeg"), ("image/jpg", UNKNOWN, "jpeg"), ("text/html", GIF, "gif")],
    )
    def test_what_was_fetched_is_an_image(self, content_type: str, data: bytes, kind: str) -> None:
        fetched = {PLACE: Fetched(content_type, data)}
        assert image(PLACE, "here", fetched) == {"image": {"format": kind, "source": {"bytes": data}}}

    def test_or_none(self) -> None:
        for found, said in ((Fetched("text/html", b"<p>"), "no png"), (Fetched("image/png", b""), "nothing")):
            with pytest.raises(Refused) as caught:
                image(PLACE, "here", {PLACE: found})
            assert (caught.value.fault.cause, caught.value.fault.param) == (Cause.BODY_INVALID, "here")
            assert said in caught.value.fault.text

    @pytest.mark.parametrize(
        ("bad", "said"),
        [
            ("data:image/png," + b64(PNG), "no data URL in base64"),
            ("data:image/png;base64", "no data URL in base64"),
            ("data:image/png;base64,", "is empty"),
            ("data:image/png;base64,\n", "is empty"),
            ("data:image/png;base64,ab!d", "not base64"),
            ("data:image/png;base64,abcde", "not base64"),
            ("data:image/png;base64,ab==cd==", "not base64"),
            ("data:image/png;base64,äöü=", "not base64"),
            (url("image/svg+xml", b"<svg/>"), "no png, jpeg, gif or webp"),
            (url("text/plain", UNKNOWN), "no png, jpeg, gif or webp"),
        ],
    )
    def test_what_is_no_image_is_refused(self, bad: str, said: str) -> None:
        assert said in refusal(image, bad)


def test_a_sound() -> None:
    assert audio(InputAudio(b64(b"RIFF"), "wav"), "here") == {
        "audio": {"format": "wav", "source": {"bytes": b64(b"RIFF")}}
    }
    assert "here.data is not base64" in refusal(audio, InputAudio("***", "mp3"))


class TestDocuments:
    @pytest.mark.parametrize(
        ("file", "kind", "name"),
        [
            (File(url("application/pdf", b"%PDF-1.7"), filename="a.pdf"), "pdf", "a"),
            (File(b64(b"%PDF-1.7")), "pdf", "document"),
            (File(b64(b"a,b"), filename="Zahlen für 2026.v2.CSV"), "csv", "Zahlen f r 2026 v2"),
            (File(url("text/markdown", b"# a"), filename="README"), "md", "README"),
            (File(b64(b"<p>"), filename="x.htm"), "html", "x"),
            (
                File(
                    url("application/vnd.openxmlformats-officedocument.wordprocessingml.document", b"PK"),
                    filename="letter",
                ),
                "docx",
                "letter",
            ),
            # What a file says of itself wins over its name.
            (File(b64(b"%PDF-1.7"), filename="a.txt"), "pdf", "a"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_format_and_name(self, file: File, kind: str, name: str) -> None:
        block = document(file, {}, "here")["document"]
        assert (block["format"], block["name"]) == (kind, name)
        assert base64.b64decode(block["source"]["bytes"])

    def test_no_two_documents_bear_one_name(self) -> None:
        taken: dict[str, int] = {}
        file = File(b64(b"%PDF"), filename="a.pdf")
        names = [document(file, taken, "here")["document"]["name"] for _ in range(3)]
        assert names == ["a", "a (2)", "a (3)"]

    def test_what_is_no_document_is_refused(self) -> None:
        taken: dict[str, int] = {}
        assert "uploaded elsewhere" in refusal(document, File(file_id="file-1"), taken)
        assert "has no file_data" in refusal(document, File(), taken)
        assert "is none of csv" in refusal(document, File(b64(b"PK"), filename="a.zip"), taken)
        assert "not base64" in refusal(document, File("%%%", filename="a.pdf"), taken)
        assert "no data URL in base64" in refusal(document, File("data:text/plain,hello"), taken)


class TestFetchedDocuments:
    PLACE = "https://example.org/reports/Q4%20report.pdf?version=3"

    @pytest.mark.parametrize("field", ["file_url", "file_data", "file_id"])
    def test_wherever_the_url_stands(self, field: str) -> None:
        found = {self.PLACE: Fetched("application/octet-stream", b"%PDF-1.7")}
        block = document(File(**{field: self.PLACE}), {}, "here", found)["document"]
        assert block == {"format": "pdf", "name": "Q4 20report", "source": {"bytes": b"%PDF-1.7"}}

    @pytest.mark.parametrize(
        ("place", "filename", "content_type", "kind", "name"),
        [
            ("https://a.example/b.csv", None, "", "csv", "b"),
            ("https://a.example/b", "c.docx", "", "docx", "c"),
            ("https://a.example/", None, "text/html", "html", "document"),
            ("https://a.example", None, "text/plain", "txt", "document"),
        ],
    )
    def test_its_name_and_type_say_what_it_is(
        self, place: str, filename: str | None, content_type: str, kind: str, name: str
    ) -> None:
        found = {place: Fetched(content_type, b"words")}
        block = document(File(file_url=place, filename=filename), {}, "here", found)["document"]
        assert (block["format"], block["name"]) == (kind, name)

    def test_what_was_not_fetched_is_refused(self) -> None:
        assert "file URLs are not fetched here" in refusal(document, File(file_url=self.PLACE), {})


class TestUrls:
    def test_are_found_each_once_in_order(self) -> None:
        def picture(place: str) -> dict[str, Any]:
            return {"type": "image_url", "image_url": {"url": place}}

        places = [f"https://a.example/{number}" for number in range(4)]
        messages = [
            {"role": "system", "content": "http://no.example"},
            {"role": "user", "content": [picture(places[0]), picture(url("image/png", PNG))]},
            {"role": "user", "content": "http://no.example"},
            {"role": "assistant", "content": [{"type": "text", "text": "http://no.example"}]},
            {"role": "tool", "tool_call_id": "a", "content": [picture(places[1]), picture(places[0])]},
            {"role": "user", "content": [{"type": "file", "file": {"file_url": places[2]}}]},
            {"role": "user", "content": [{"type": "file", "file": {"file_data": places[3]}}]},
            {"role": "user", "content": [{"type": "file", "file": {"file_data": "https"}}]},
        ]
        request, *_ = decode(msgspec.json.encode({"messages": messages}))
        assert urls(request.messages) == tuple(places)

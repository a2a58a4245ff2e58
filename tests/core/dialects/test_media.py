"""Formats by first bytes and by what is claimed, base64 that goes on as it came, names that Bedrock takes."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.dialects.media import (
    DOCUMENT_FORMATS,
    base64_text,
    document_format,
    document_name,
    image_format,
    image_signature,
)
from support.bedrock_model import service_model

SIGNATURES = [
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff\xe0", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"RIFF\x10\0\0\0WEBPVP8 ", "webp"),
]
CLAIMS = [
    ("image/png", "png"),
    ("image/jpeg", "jpeg"),
    ("image/jpg", "jpeg"),
    ("image/pjpeg", "jpeg"),
    ("image/x-png", "png"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
]
NAME = re.compile(r"[A-Za-z0-9\-()\[\]]+( [A-Za-z0-9\-()\[\]]+)*")
"""AWS's words: alphanumeric characters, single spaces, hyphens, parentheses, square brackets."""


class TestImages:
    @pytest.mark.parametrize(("head", "kind"), SIGNATURES)
    @given(rest=st.binary(max_size=30), claimed=st.sampled_from(["", "text/plain", "image/png", "image/gif"]))
    def test_the_first_bytes_win(self, head: bytes, kind: str, rest: bytes, claimed: str) -> None:
        assert image_signature(head + rest) == kind
        assert image_format(head + rest, claimed) == kind

    @pytest.mark.parametrize(("claimed", "kind"), CLAIMS)
    @pytest.mark.parametrize("head", [b"", b"\0\1\2", b"\x89PN", b"RIFF\0\0\0\0WAVE"])
    def test_what_they_do_not_say_is_believed(self, claimed: str, kind: str, head: bytes) -> None:
        assert image_signature(head) is None
        assert image_format(head, claimed) == kind

    @pytest.mark.parametrize("claimed", ["", "image/", "image/tiff", "image/svg+xml", "application/pdf"])
    def test_anything_else_is_no_image(self, claimed: str) -> None:
        assert image_format(b"\0\1\2", claimed) is None


class TestDocuments:
    def test_formats_are_bedrocks(self) -> None:
        model = service_model()
        assert set(DOCUMENT_FORMATS) == set(model.shape_for("DocumentFormat").metadata["enum"])
        assert {kind for _, kind in SIGNATURES} == set(model.shape_for("ImageFormat").metadata["enum"])

    @pytest.mark.parametrize(
        ("head", "media_type", "ending", "kind"),
        [
            (b"%PDF-1.7", "text/plain", "txt", "pdf"),
            (b"a,b", "", "csv", "csv"),
            (b"<p>", "", "htm", "html"),
            (b"# a", "", "markdown", "md"),
            (b"a", "", "text", "txt"),
            # The file's name wins over the type, which is often a guess.
            (b"a,b", "text/plain", "csv", "csv"),
            (b"PK", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "", "docx"),
            (b"PK", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "v2", "xlsx"),
            (b"\xd0\xcf\x11\xe0", "application/msword", "", "doc"),
            (b"PK", "application/zip", "zip", None),
            (b"", "", "", None),
        ],
    )
    def test_first_bytes_then_ending_then_type(
        self, head: bytes, media_type: str, ending: str, kind: str | None
    ) -> None:
        assert document_format(head, media_type, ending) == kind

    @given(st.text())
    def test_any_title_becomes_a_name_that_bedrock_takes(self, title: str) -> None:
        name = document_name(title, {})
        assert NAME.fullmatch(name)
        assert len(name) <= 200

    @given(st.from_regex(NAME, fullmatch=True).filter(lambda name: len(name) < 190))
    def test_a_good_name_stays(self, name: str) -> None:
        assert document_name(name, {}) == name

    @given(st.lists(st.sampled_from(["", "a", "a (2)", "a  (2)", "ä", "x" * 300]), max_size=30))
    def test_no_two_are_alike(self, titles: list[str]) -> None:
        taken: dict[str, int] = {}
        names = [document_name(title, taken) for title in titles]
        assert len(set(names)) == len(titles)
        assert set(names) == taken.keys()
        assert all(NAME.fullmatch(name) and len(name) <= 200 for name in names)

    def test_thousands_may_bear_one_name(self) -> None:
        taken: dict[str, int] = {}
        assert [document_name("a", taken) for _ in range(100_000)][-1] == "a (100000)"


class TestBase64:
    @given(st.binary(max_size=60))
    def test_goes_on_as_it_came(self, data: bytes) -> None:
        sent = base64.b64encode(data).decode()
        text, head = base64_text(sent)
        assert text == sent
        assert data.startswith(head)
        assert len(head) == min(len(data), 18)

    @given(st.binary(max_size=60), st.integers(1, 76), st.sampled_from(["\n", "\r\n", " ", "\t"]))
    def test_but_for_line_breaks(self, data: bytes, width: int, end: str) -> None:
        sent = base64.b64encode(data).decode()
        folded = "".join(sent[at : at + width] + end for at in range(0, len(sent), width))
        assert base64_text(folded) == base64_text(sent)

    @pytest.mark.parametrize("sent", ["!", "ab!d", "abcde", "ab==cd==", "äöü=", "YQ", "YQ==YQ==", "-_-_"])
    def test_and_to_nobody_who_would_not_read_it(self, sent: str) -> None:
        with pytest.raises(ValueError):
            base64_text(sent)

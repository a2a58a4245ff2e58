"""Every input that is kept, through its target: no fuzzer is needed for what one has found already."""

from pathlib import Path
from typing import Final

import pytest

from fuzz.choices import Choices, every_byte, pieces
from fuzz.json_mutator import mutated
from fuzz.known import CORPUS, NAMES, load

CORPUS_BYTES_MAX: Final = 2_000_000
DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "fuzzing.md"


@pytest.mark.parametrize("name", NAMES)
def test_a_target_finds_nothing_in_its_corpus(name: str) -> None:
    target = load(name)
    assert target.invariant.endswith("."), "a target says what it holds the code to"
    assert target.corpus, "nothing is kept"
    for path in target.corpus:
        try:
            target.run(path.read_bytes())
        except Exception as error:
            error.add_note(f"the input is {path}")
            raise


def test_each_corpus_has_its_target_and_all_are_small() -> None:
    folders = [path for path in CORPUS.iterdir() if path.is_dir()]
    assert sorted(path.name for path in folders) == sorted(NAMES)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < CORPUS_BYTES_MAX


def test_the_document_tells_what_each_target_holds_the_core_to() -> None:
    told = DOCUMENT.read_text()
    assert [name for name in NAMES if f"| `{name}` | {load(name).invariant} |" not in told] == []


class TestReading:
    def test_decisions_are_taken_from_the_front_and_never_fail(self) -> None:
        choices = Choices(b"\x05\x02\x03abcd")
        assert (choices.number(4), choices.of("xyz"), choices.some(), choices.more) == (1, "z", b"abc", True)
        assert (choices.rest(), choices.more) == (b"d", False)
        assert (choices.number(9), choices.flag(), choices.some()) == (0, False, b"")

    @pytest.mark.parametrize("data", [b"", b"x", bytes(range(256))])
    def test_a_stream_in_pieces_is_the_same_stream(self, data: bytes) -> None:
        assert b"".join(pieces(data)) == b"".join(every_byte(data)) == data
        assert pieces(data) == pieces(data)

    def test_changed_json_is_json_of_the_size_that_is_allowed(self) -> None:
        def never(data: bytes, size_max: int) -> bytes:
            return b"(libFuzzer's)"

        document = b'{"a":[1,{"b":"c"}],"d":null}'
        made = {mutated(document, 60, seed, never) for seed in range(200)}
        assert len(made) > 50
        assert all(len(data) <= 60 for data in made)
        assert mutated(b"no json", 60, 1, never) == b"(libFuzzer's)"


def test_inputs_are_kept_by_their_digest_or_as_findings() -> None:
    for path in CORPUS.rglob("*"):
        if path.is_file():
            assert len(path.name) == 16 or path.name.startswith("finding-"), Path(path).name

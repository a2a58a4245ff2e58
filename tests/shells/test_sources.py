"""Where a configuration comes from: what it says, whether that is something else by now, why not."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from stargate.plugins import installed
from stargate.sources import STDIN, Source, Unreadable
from stargate_core.config.schema import Config


def source(path: str | None) -> Source:
    """A source with all plugins."""
    return Source(path, installed())


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    file = tmp_path / "stargate.yaml"
    file.write_text("gateway: {drain_seconds: 1}\n")
    return file


class TestReading:
    def test_a_file_can_be_read_again(self, file: Path) -> None:
        found = source(str(file))
        assert found.is_file
        assert found.read() == "gateway: {drain_seconds: 1}\n"
        file.write_text("gateway: {drain_seconds: 2}\n")
        assert found.read() == "gateway: {drain_seconds: 2}\n"

    def test_standard_input_and_the_defaults_cannot(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"consumers: []")))
        assert source(STDIN).read() == "consumers: []"
        assert source(None).read() is None
        assert not source(STDIN).is_file
        assert not source(None).is_file

    @pytest.mark.parametrize(
        ("data", "told"),
        [
            (None, "1:1: can't be read: No such file or directory"),
            (b"a: b\nc: \xc3\xa4\xff", "2:5: expected UTF-8"),
        ],
    )
    def test_why_there_is_none_is_told_with_its_place(
        self, file: Path, data: bytes | None, told: str
    ) -> None:
        if data is None:
            file.unlink()
        else:
            file.write_bytes(data)
        with pytest.raises(Unreadable) as caught:
            source(str(file)).read()
        assert str(caught.value) == f"{file}:{told}"
        assert [str(problem) for problem in source(str(file)).examine_now().problems] == [f"{file}:{told}"]


class TestExamining:
    def test_what_the_command_line_says_stands_in_its_place(self, file: Path) -> None:
        def change(config: Config) -> Config:
            return msgspec.structs.replace(
                config, gateway=msgspec.structs.replace(config.gateway, drain_seconds=7)
            )

        examined = Source(str(file), installed(), change).examine_now()
        assert examined.config is not None
        assert examined.config.gateway.drain_seconds == 7

    def test_problems_bear_the_files_name(self, file: Path) -> None:
        found = source(str(file)).examine("gateway: {nonsense: 1}")
        assert found.config is None
        assert found.problems[0].file == str(file)


def looks(found: Source, times: int = 3) -> bool:
    """Whether it has changed, for somebody who looks a few times."""
    return sum(found.changed() for _ in range(times)) > 0


def rewritten(file: Path) -> None:
    """Write other text of the same length."""
    file.write_text("gateway: {drain_seconds: 3}\n")


def renamed(file: Path) -> None:
    """Rename another file into its place."""
    beside = file.with_suffix(".new")
    rewritten(beside)
    beside.replace(file)


class TestChanged:
    @pytest.mark.parametrize("change", [rewritten, renamed])
    def test_another_text_is_a_change_until_it_is_read(
        self, file: Path, change: Callable[[Path], None]
    ) -> None:
        found = source(str(file))
        found.read()
        assert not looks(found)
        change(file)
        assert looks(found)
        found.read()
        assert not looks(found)

    def test_one_between_reading_and_the_first_look_is_seen(self, file: Path) -> None:
        found = source(str(file))
        found.read()
        rewritten(file)
        assert looks(found)

    def test_the_same_text_written_again_is_none(self, file: Path) -> None:
        found = source(str(file))
        found.read()
        assert not looks(found)
        renamed(file)
        file.write_text("gateway: {drain_seconds: 1}\n")
        os.utime(file, ns=(1, 1))
        assert not looks(found)

    def test_a_file_that_is_being_written_is_left_alone(self, file: Path) -> None:
        found = source(str(file))
        found.read()
        looks(found)
        for number in range(3):
            file.write_text("gateway: {drain" + "_" * number)
            assert not found.changed()
            assert found.moving
        rewritten(file)
        assert not found.changed()
        assert found.changed()
        assert not found.moving

    def test_one_that_is_not_there_has_not_changed(self, file: Path) -> None:
        found = source(str(file))
        found.read()
        file.unlink()
        assert not looks(found)
        rewritten(file)
        assert looks(found)

    def test_a_link_turned_elsewhere_is_a_change(self, tmp_path: Path) -> None:
        """As Kubernetes does it with ConfigMaps."""
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "f.yaml").write_text(f"consumers: [{{username: {name}}}]")
        (tmp_path / "data").symlink_to("one")
        (tmp_path / "f.yaml").symlink_to("data/f.yaml")
        found = source(str(tmp_path / "f.yaml"))
        found.read()
        assert not looks(found)
        (tmp_path / "new").symlink_to("two")
        (tmp_path / "new").replace(tmp_path / "data")
        assert looks(found)

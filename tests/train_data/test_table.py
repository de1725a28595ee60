"""The table that gathering writes: whole at any time, one writer, and other people's columns and changes stay."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from edge.errors import CatalogError, OptionError
from train.data.catalog import read_catalog
from train.data.table import Table, csv_bytes, plain_text

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import example, given
from hypothesis import strategies as st


def row(file: str, label: str = "no_bear", **values: str) -> dict[str, str]:
    """A row with its least columns."""
    return {"file": file, "label": label, **values}


def rows(root: Path, name: str = "MANIFEST.csv") -> list[dict[str, str]]:
    """The table as it lies on the disk."""
    with (root / name).open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def test_rows_and_boxes_are_read_back_as_pictures(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(b"1")
    with Table(tmp_path) as table:
        table.add(
            row(
                "a.jpg", "brown_bear", source="s", group="g", licence="CC BY 4.0", author="A. Author", time="2024-05-01"
            ),
            [("bear", (0.1, 0.2, 0.3, 0.4))],
        )
    [picture] = read_catalog(tmp_path).pictures
    assert (picture.source, picture.group, picture.licence) == ("s", "g", "CC BY 4.0")
    assert (picture.author, picture.taken_at) == ("A. Author", "2024-05-01")
    assert picture.boxes[0] == pytest.approx((0.1, 0.2, 0.3, 0.4), abs=1e-4)


def test_somebody_elses_columns_and_values_stay(tmp_path: Path):
    (tmp_path / "MANIFEST.csv").write_text(
        '﻿file,label,mood,source_repo\na.jpg,no_bear,"good, ""very""",r\n', encoding="utf-8"
    )
    with Table(tmp_path) as table:
        table.add(row("b.jpg", source="s"))
    first, second = rows(tmp_path)
    assert (first["mood"], first["source_repo"]) == ('good, "very"', "r")
    assert (second["file"], second["source"], second["mood"]) == ("b.jpg", "s", "")


def test_one_writer_at_a_time(tmp_path: Path):
    with Table(tmp_path), pytest.raises(OptionError, match="another program is gathering"):
        Table(tmp_path)
    Table(tmp_path).close()


def test_a_broken_off_run_keeps_what_came(tmp_path: Path):
    def interrupted() -> None:
        with Table(tmp_path) as table:
            table.add(row("a.jpg"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [each["file"] for each in rows(tmp_path)] == ["a.jpg"]


def test_a_write_that_fails_leaves_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with Table(tmp_path) as table:
        table.add(row("a.jpg"))
        table.write()
        before = (tmp_path / "MANIFEST.csv").read_bytes()
        table.add(row("b.jpg"))

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("edge.files.os.fsync", full)
            with pytest.raises(OptionError, match="No space left"):
                table.write()
        assert (tmp_path / "MANIFEST.csv").read_bytes() == before
        assert sorted(file.name for file in tmp_path.iterdir()) == [".gather.lock", "MANIFEST.csv"]
    assert [each["file"] for each in rows(tmp_path)] == ["a.jpg", "b.jpg"]  # and nothing is forgotten


def test_what_somebody_changes_meanwhile_stays(tmp_path: Path):
    table_file = tmp_path / "MANIFEST.csv"
    table_file.write_text("file,label\na.jpg,no_bear\n")
    with Table(tmp_path) as table:
        table.add(row("b.jpg"))
        table.change("a.jpg", {"note": "fox"})
        table_file.write_text("file,label\na.jpg,brown_bear\nc.jpg,no_bear\n")
    assert [(each["file"], each["label"], each["note"]) for each in rows(tmp_path)] == [
        ("a.jpg", "brown_bear", "fox"),
        ("c.jpg", "no_bear", ""),
        ("b.jpg", "no_bear", ""),
    ]


def test_boxes_follow_a_file_that_is_called_otherwise(tmp_path: Path):
    with Table(tmp_path) as table:
        table.add(row("unsorted/a.jpg"), [("bear", (0.0, 0.0, 0.5, 1.0))])
        table.change("unsorted/a.jpg", {"file": "brown_bear/a.jpg", "label": "brown_bear"})
        with pytest.raises(KeyError):
            table.change("unsorted/a.jpg", {"label": "no_bear"})
    assert rows(tmp_path, "boxes.csv")[0]["file"] == rows(tmp_path)[0]["file"] == "brown_bear/a.jpg"


@pytest.mark.parametrize(
    "box", [(-0.1, 0.0, 0.5, 0.5), (0.6, 0.0, 0.5, 0.5), (0.0, 0.0, 0.0, 0.5), (10.0, 10.0, 50.0, 50.0)]
)
def test_boxes_that_lie_outside_are_refused(tmp_path: Path, box: tuple[float, float, float, float]):
    with Table(tmp_path) as table, pytest.raises(CatalogError, match="is not inside"):
        table.add(row("a.jpg"), [("bear", box)])


def test_a_file_that_is_there_is_not_added_again(tmp_path: Path):
    with Table(tmp_path) as table:
        table.add(row("a.jpg"))
        with pytest.raises(CatalogError, match="is in the table already"):
            table.add(row("a.jpg"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,label\na.jpg,no_bear,more\n", "line 2: more values than columns"),
        ("picture,label\na.jpg,no_bear\n", "column 'file' is missing"),
    ],
)
def test_a_damaged_table_is_refused_and_left_as_it_is(tmp_path: Path, text: str, words: str):
    (tmp_path / "MANIFEST.csv").write_text(text)
    with pytest.raises(CatalogError, match=words):
        Table(tmp_path)
    assert (tmp_path / "MANIFEST.csv").read_text() == text
    (tmp_path / "MANIFEST.csv").unlink()
    Table(tmp_path).close()  # and the folder is not held any more


def test_nothing_changed_nothing_written(tmp_path: Path):
    with Table(tmp_path):
        pass
    assert [file.name for file in tmp_path.iterdir()] == [".gather.lock"]


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="cannot be written to"):
        Table(tmp_path / "file" / "out")


@given(st.lists(st.text(st.characters()), min_size=1, max_size=5))
@example(["Ann \ud83d", "Ann\rBob", "caf\udce9", "a\r\nb", "\x00\x85"])
def test_any_words_come_back_in_one_line(tmp_path_factory: pytest.TempPathFactory, words: list[str]):
    root = tmp_path_factory.mktemp("table")
    for number, each in enumerate(words):
        with Table(root) as table:
            table.add(row(f"{number}.jpg", author=each), [(each, (0.0, 0.0, 1.0, 1.0))])
            table.change(f"{number}.jpg", {"note": each})
            table.record_skipped(f"{number}{each}", each, "gone", each)
    plain = [plain_text(each) for each in words]
    assert [each["author"] for each in rows(root)] == [each["note"] for each in rows(root)] == plain
    assert [each["class"] for each in rows(root, "boxes.csv")] == plain
    assert [each["words"] for each in rows(root, "LEFT_OUT.csv")] == plain
    assert not {"\r", "\x00"} & set((root / "MANIFEST.csv").read_bytes().decode())


def test_words_of_one_line_stay_as_they_are():
    assert plain_text('Ann "Ñ" 🐻, Bob') == 'Ann "Ñ" 🐻, Bob'
    assert plain_text("Ann\r\nBob \ud83d") == "Ann Bob \N{REPLACEMENT CHARACTER}"


@given(st.text())
@example("a\rb")
@example("a\r\nb\n")
def test_words_that_somebody_else_wrote_stay_whatever_they_are(tmp_path_factory: pytest.TempPathFactory, words: str):
    root = tmp_path_factory.mktemp("table")
    with (root / "MANIFEST.csv").open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened, quoting=csv.QUOTE_ALL).writerows([("file", "label", "mood"), ("a.jpg", "no_bear", words)])
    with Table(root) as table:
        table.add(row("b.jpg"))
    assert [(each["file"], each["mood"]) for each in rows(root)] == [("a.jpg", words), ("b.jpg", "")]


@pytest.mark.parametrize("file", ["caf\udce9/a.jpg", "a\nb.jpg"])
def test_a_file_whose_name_no_table_can_hold_is_a_sentence(tmp_path: Path, file: str):
    with Table(tmp_path) as table:
        table.add(row("b.jpg"))
        with pytest.raises(CatalogError, match="not UTF-8 text on one line; rename it"):
            table.add(row(file))
        with pytest.raises(CatalogError, match="rename it"):
            table.change("b.jpg", {"file": file})
    assert [each["file"] for each in rows(tmp_path)] == ["b.jpg"]


def test_what_was_skipped_is_there_once_and_can_come_in(tmp_path: Path):
    for words in ("cut", "cut", "empty"):
        with Table(tmp_path) as table:
            table.record_skipped("/card/a.jpg", "", "truncated", words)
            table.record_skipped("/card/b\udce9.jpg", "", "truncated", "cut")
    assert [each["words"] for each in rows(tmp_path, "LEFT_OUT.csv")] == ["empty", "cut"]
    with Table(tmp_path) as table:
        table.forget_skipped("/card/b\udce9.jpg")
        table.forget_skipped("/card/never.jpg")
    assert [each["url"] for each in rows(tmp_path, "LEFT_OUT.csv")] == ["/card/a.jpg"]


def test_a_bare_carriage_return_in_a_cell_stays_in_its_cell() -> None:
    written = csv_bytes(["file", "author"], [{"file": "a.jpg", "author": "Ann\rBob"}, {"file": "b.jpg"}])
    read = list(csv.DictReader(io.StringIO(written.decode(), newline="")))
    assert read == [{"file": "a.jpg", "author": "Ann\rBob"}, {"file": "b.jpg", "author": ""}]
    assert b"\r\n" not in written

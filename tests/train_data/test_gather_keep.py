"""What is kept, replaced or left out, and that nothing is fetched or written twice."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.helpers.far_side import jpeg, photo, picture
from tests.helpers.gather_world import found, keep, rows
from train.data.catalog import read_catalog

pytest.importorskip("imagehash")
from train.data.gather.importer import PictureImporter
from train.data.gather.offers import BETTER, DUPLICATE, NEW, OTHER_LABEL, THERE, Failed, photo_key, safe_name
from train.data.table import Table

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import example, given
from hypothesis import strategies as st


def test_a_picture_is_kept_with_all_that_is_known_of_it(tmp_path: Path):
    assert keep(tmp_path, (found(1, taken_at="2024-05-01", place="50.1, -104.7", note="cub"), photo(1))) == [NEW]
    [row] = rows(tmp_path)
    assert (tmp_path / row["file"]).read_bytes() == photo(1)
    assert row["file"] == "brown_bear/s/1.jpg"
    assert row["licence_url"] == "https://creativecommons.org/licenses/by/4.0/"
    [known] = read_catalog(tmp_path).pictures
    assert (known.author, known.page, known.taken_at, known.place) == (
        "A. Author", "https://example.org/1", "2024-05-01", "50.1, -104.7",
    )  # fmt: skip
    assert "160x120 jpg sha256=" in known.checks
    assert "phash=" in known.checks


def test_what_is_there_is_not_wanted_again(tmp_path: Path):
    keep(tmp_path, (found(1), photo(1)), (found(2), b"<html>"), (found(3), Failed("gone", "404", for_good=True)))
    with Table(tmp_path) as table:
        importer = PictureImporter(table)
        assert [importer.wants(found(n)) for n in (1, 2, 3, 4)] == [False, False, False, True]
    assert [row["kind"] for row in rows(tmp_path, "LEFT_OUT.csv")] == ["not a picture", "gone"]


def test_what_failed_for_now_is_asked_for_again(tmp_path: Path):
    assert keep(tmp_path, (found(1), Failed("no answer", "…"))) == ["no answer"]
    assert keep(tmp_path, (found(1), photo(1))) == [NEW]


def test_a_picture_offered_twice_in_a_run_is_taken_once(tmp_path: Path):
    assert keep(tmp_path, (found(1), photo(1)), (found(1), photo(1))) == [NEW, THERE]


def test_the_same_bytes_and_near_copies_are_left_out(tmp_path: Path):
    near = jpeg(picture(1), 40)
    assert keep(tmp_path, (found(1), photo(1)), (found(2), photo(1)), (found(3), near)) == [NEW, THERE, DUPLICATE]
    assert keep(tmp_path, (found(4), near)) == [DUPLICATE]  # and against an earlier run's
    assert len(rows(tmp_path)) == 1


def test_a_copy_with_another_label_is_left_out_and_named(tmp_path: Path):
    with Table(tmp_path) as table:
        importer = PictureImporter(table)
        importer.take(found(1), photo(1))
        assert importer.take(found(2, label="no_bear"), jpeg(picture(1), 40)) == OTHER_LABEL
        assert "brown_bear (brown_bear/s/1.jpg)" in " ".join(importer.counts.lines(tmp_path, 1))


@pytest.mark.parametrize(
    ("before", "after", "scale", "outcome"),
    [
        ("CC BY-NC 4.0", "CC BY 4.0", 0.8, BETTER),  # a better licence, though smaller
        ("not stated", "cc0", 1.0, BETTER),
        ("CC BY 4.0", "CC BY-NC 4.0", 4.0, DUPLICATE),  # however large
        ("CC BY 4.0", "CC BY-SA 4.0", 2.0, BETTER),  # larger
        ("CC BY 4.0", "CC BY 4.0", 1.1, DUPLICATE),
        ("not stated", "not stated", 2.0, BETTER),
    ],
)
def test_the_better_copy_stays(tmp_path: Path, before: str, after: str, scale: float, outcome: str):
    image = picture(1)
    other = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    with Table(tmp_path) as table:
        importer = PictureImporter(table)
        importer.take(found(1, licence=before, boxes=(("bear", (0.1, 0.1, 0.5, 0.5)),)), jpeg(image))
        assert importer.take(found(2, licence=after, source="t"), jpeg(np.asarray(other, np.uint8), 90)) == outcome
        table.change(table.rows[0]["file"], {"split": "test"})
    [row] = rows(tmp_path)
    better = outcome == BETTER
    assert row["source"] == ("t" if better else "s")
    assert rows(tmp_path, "boxes.csv")[0]["file"] == row["file"]
    assert (tmp_path / row["file"]).is_file()
    assert (tmp_path / "left-out/brown_bear/s/1.jpg").is_file() == better  # nothing is deleted
    assert len(read_catalog(tmp_path).pictures) == 1


def test_pictures_of_a_table_made_elsewhere_are_known_too(tmp_path: Path):
    (tmp_path / "old.jpg").write_bytes(photo(1))
    (tmp_path / "MANIFEST.csv").write_text("file,label,source_repo,licence\nold.jpg,brown_bear,repo,MIT\n")
    assert keep(tmp_path, (found(1), photo(1)), (found(2), jpeg(picture(1), 40)), (found(3), photo(3))) == [
        THERE, DUPLICATE, NEW,
    ]  # fmt: skip
    assert [(p.source, p.licence) for p in read_catalog(tmp_path).pictures] == [("repo", "MIT"), ("s", "CC BY 4.0")]


def test_new_pictures_do_not_get_into_the_test_part_unasked(tmp_path: Path):
    lines = ["file,label,source,group,split"]
    for n, part in enumerate(("train", "tune", "test")):
        (tmp_path / f"{n}.jpg").write_bytes(photo(100 + n))
        lines.append(f"{n}.jpg,no_bear,s{n},g,{part}")
    (tmp_path / "MANIFEST.csv").write_text("\n".join(lines) + "\n")
    keep(tmp_path, (found(1, source="new"), photo(1)), (found(2, source="s2"), photo(2)))
    assert [row["split"] for row in rows(tmp_path)[3:]] == ["train", "test"]  # the group that is in test stays whole


def test_two_files_of_one_name_and_a_file_without_a_row(tmp_path: Path):
    (tmp_path / "brown_bear/s").mkdir(parents=True)
    (tmp_path / "brown_bear/s/1.jpg").write_bytes(photo(9))  # of a run that was killed, or a person's own
    keep(tmp_path, (found(1), photo(1)), (found(2, name="1"), photo(2)))
    names = [row["file"] for row in rows(tmp_path)]
    assert len(set(names)) == 2
    assert (tmp_path / "brown_bear/s/1.jpg").read_bytes() == photo(9)


def test_boxes_in_pixels_become_fractions_and_end_at_the_edge(tmp_path: Path):
    boxes = (
        ("bear", (80.0, 60.0, 40.0, 30.0)),
        ("bear", (120.0, 90.0, 400.0, 300.0)),
        ("bear", (500.0, 0.0, 9.0, 9.0)),
    )
    keep(tmp_path, (found(1, boxes_px=boxes), photo(1)))
    [known] = read_catalog(tmp_path).pictures
    assert known.boxes[0] == pytest.approx((0.5, 0.5, 0.25, 0.25))
    assert known.boxes[1] == pytest.approx((0.75, 0.75, 0.25, 0.25))
    assert len(known.boxes) == 2


def test_the_same_photograph_by_two_ways():
    one = "https://inaturalist-open-data.s3.amazonaws.com/photos/225727271/square.jpeg"
    other = "https://static.inaturalist.org/photos/225727271/original.jpg?1545715684"
    assert photo_key(one) == photo_key(other)
    assert photo_key("https://example.org/photos/1/a.jpg") == "https://example.org/photos/1/a.jpg"


@given(st.text(st.characters()), st.text(st.characters()))
@example("caf\udce9", "half a character \ud83d")
def test_names_are_safe_and_tell_apart(one: str, other: str):
    for words in (one, other):
        name = safe_name(words)
        assert name
        assert not set(name) & set('/\\:*?"<>|\0 ')
        assert not name.startswith((".", "-"))
        assert len(name) <= 80
    assert safe_name(one) != safe_name(other) or one == other

"""Reviewed evidence becomes rows of the table: which pictures, with which labels and boxes."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edge.pictures import read_picture
from edge.record.misses import Miss, write_miss
from tests.helpers.feedback_evidence import imported, red, review, samples, standing, table, walking, write_evidence
from train.data.catalog import read_catalog
from train.data.feedback_pictures import review_of
from train.data.pictures import Picture


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evidence that nobody has reviewed."""
    return write_evidence(tmp_path_factory.mktemp("evidence"))


@pytest.fixture
def evidence(written: Path, tmp_path: Path) -> Path:
    """A copy of it, for one test."""
    return shutil.copytree(written, tmp_path / "evidence")


def rows(data: Path) -> dict[str, Picture]:
    """The catalogue's pictures by which look they are."""
    return {row.note.split("part=")[1].split(";")[0]: row for row in read_catalog(data).pictures}


def test_a_confirmed_bear_gives_whole_frames_with_its_box_and_the_crop(evidence: Path, tmp_path: Path) -> None:
    review(walking(evidence), "confirmed", note="big; one\nnear")
    result = imported(evidence, tmp_path / "data", site="apiary")
    found = rows(tmp_path / "data")
    assert result.pictures == {"bear_any": len(found)} == {"bear_any": 5}
    assert {"full", "crop"} < set(found)
    assert any(part.startswith("clip-") for part in found)
    for part, row in found.items():
        assert (row.label, row.source, row.group) == ("bear_any", "apiary", "yard/2026-01-01")
        assert (row.licence, row.taken_at) == ("own", "2026-01-01T00:00:00.000Z")
        assert "model=test@1" in row.note
        assert "told=brown_bear" in row.note
        assert "said=big, one near" in row.note
        image = read_picture(row.file)
        bear = red(image)
        if part == "crop":
            assert row.boxes == ()
            assert bear.mean() > 0.3
            continue
        [(x, y, w, h)] = row.boxes
        tall, wide = image.shape[:2]
        inside = bear[round(y * tall) : round((y + h) * tall), round(x * wide) : round((x + w) * wide)]
        assert inside.sum() > 0.8 * bear.sum() > 0, part  # the box is the bear's, at that very moment
        assert inside.mean() > 0.4, part


def test_the_still_with_a_frame_drawn_on_it_is_never_a_training_picture(evidence: Path, tmp_path: Path) -> None:
    folder = walking(evidence)
    review(folder, "confirmed")
    imported(evidence, tmp_path / "data")
    still = read_picture(folder / "alarm.jpg").astype(int)
    clean = read_picture(folder / "full.jpg").astype(int)
    drawn = np.abs(still - clean).max(axis=2) > 100
    assert drawn.sum() > 200  # the frame and the words on it
    for part, row in rows(tmp_path / "data").items():
        if part == "full" or part.startswith("clip"):
            image = read_picture(row.file).astype(int)
            same = np.abs(image - still).max(axis=2)[drawn] < 40
            assert same.mean() < 0.5, part
    for name in ("full.jpg", "crop.jpg", "clip.mp4"):
        (folder / name).unlink()
    result = imported(evidence, tmp_path / "second")
    assert not result.pictures
    assert "no picture in it to learn from" in result.left_out[0]


def test_a_false_alarm_gives_crops_without_boxes(evidence: Path, tmp_path: Path) -> None:
    review(walking(evidence), "wrong")
    imported(evidence, tmp_path / "data")
    found = rows(tmp_path / "data")
    assert "crop" in found
    for row in found.values():
        assert (row.label, row.boxes) == ("no_bear", ())
        image = read_picture(row.file)
        assert max(image.shape[:2]) < 160  # of a frame 640 wide
        assert red(image).mean() > 0.3
    assert not (tmp_path / "data" / "boxes.csv").exists() or "feedback" not in (tmp_path / "data/boxes.csv").read_text()


def test_what_was_labelled_otherwise_gets_that_label_or_is_asked_for(evidence: Path, tmp_path: Path) -> None:
    review(walking(evidence), "relabelled", "grizzly")
    review(standing(evidence), "relabelled", "fox")
    result = imported(evidence, tmp_path / "data")
    assert {row.label for row in read_catalog(tmp_path / "data").pictures} == {"brown_bear"}
    assert [words for words in result.left_out if "--label fox=no_bear" in words]
    imported(evidence, tmp_path / "data", names={"fox": "no_bear"})
    foxes = [row for row in read_catalog(tmp_path / "data").pictures if row.label == "no_bear"]
    assert {row.group for row in foxes} == {"the gate/2026-01-01"}
    assert all(row.note.startswith("fox; ") for row in foxes)


def test_what_nobody_has_reviewed_or_can_tell_stays_out(evidence: Path, tmp_path: Path) -> None:
    review(walking(evidence), "unsure")
    result = imported(evidence, tmp_path / "data")
    assert (result.unsure, result.unreviewed_events, result.unreviewed_negatives) == (1, 1, 2)
    assert not result.pictures
    assert not (tmp_path / "data" / "feedback").exists()


def test_frames_that_look_alike_are_one_picture_and_an_event_has_no_more_than_asked(
    evidence: Path, tmp_path: Path
) -> None:
    review(standing(evidence), "wrong")
    review(walking(evidence), "confirmed")
    result = imported(evidence, tmp_path / "data", most=3)
    counts = Counter(row.group for row in read_catalog(tmp_path / "data").pictures)
    assert counts["the gate/2026-01-01"] < 3  # it never moved
    assert counts["yard/2026-01-01"] == 3
    assert result.alike > 0


def test_random_negatives_come_in_reviewed_or_where_it_is_asked_for(evidence: Path, tmp_path: Path) -> None:
    first, second = samples(evidence)
    review(first, "wrong")
    result = imported(evidence, tmp_path / "data")
    found = rows(tmp_path / "data")
    assert result.unreviewed_negatives == 1
    assert set(found) == {"frame", "frame-cut"}
    assert {row.label for row in found.values()} == {"no_bear"}
    assert found["frame"].file.read_bytes() == first.read_bytes()
    assert max(read_picture(found["frame-cut"].file).shape[:2]) == pytest.approx(1.1 * 128, abs=2)
    result = imported(evidence, tmp_path / "data", unreviewed_negatives=True)
    assert (result.taken_unreviewed, result.known) == (1, 1)
    assert {review_of(row["note"]).partition("@")[0] for row in table(tmp_path / "data")} == {"wrong", "none"}
    review(second, "wrong")  # looked at after all
    assert imported(evidence, tmp_path / "data").changed == 1
    assert {review_of(row["note"]).partition("@")[0] for row in table(tmp_path / "data")} == {"wrong"}


def test_a_bear_that_was_missed_in_a_negative_needs_its_box(evidence: Path, tmp_path: Path) -> None:
    first, _ = samples(evidence)
    review(first, "confirmed")
    result = imported(evidence, tmp_path / "data", unreviewed_negatives=False)
    assert "review it again with --box" in result.left_out[0]
    review(first, "confirmed", box_xywh=(0.25, 0.5, 0.2, 0.25))
    imported(evidence, tmp_path / "data")
    [row] = read_catalog(tmp_path / "data").pictures
    assert row.label == "bear_any"
    assert row.boxes[0] == pytest.approx((0.25, 0.5, 0.2, 0.25))
    review(first, "confirmed", at="2026-01-03T09:00:00.000Z", box_xywh=(0.5, 0.5, 0.2, 0.25))  # drawn better
    imported(evidence, tmp_path / "data")
    [row] = read_catalog(tmp_path / "data").pictures
    assert [box[0] for box in row.boxes] == [0.5]
    review(first, "wrong", at="2026-01-04T09:00:00.000Z")
    imported(evidence, tmp_path / "data")
    assert {row.label: row.boxes for row in read_catalog(tmp_path / "data").pictures} == {"no_bear": ()}


def test_masks_stay_black(evidence: Path, tmp_path: Path) -> None:
    review(walking(evidence), "confirmed")
    imported(evidence, tmp_path / "data")
    whole = [row for part, row in rows(tmp_path / "data").items() if part != "crop"]
    assert whole
    for row in whole:
        image = read_picture(row.file)
        assert image[: image.shape[0] // 6].max() < 30


def test_without_the_whole_frame_crop_and_clip_are_taken(evidence: Path, tmp_path: Path) -> None:
    folder = walking(evidence)
    (folder / "full.jpg").unlink()
    review(folder, "confirmed")
    imported(evidence, tmp_path / "data")
    found = rows(tmp_path / "data")
    assert "crop" in found
    assert "full" not in found
    assert len(found) == 5


def test_the_box_of_the_whole_frame_is_that_of_the_alarm_and_not_of_the_end(evidence: Path, tmp_path: Path) -> None:
    folder = walking(evidence)
    event = json.loads((folder / "event.json").read_text())
    assert event["type"] == "end"
    assert abs(event["box_xywh"][0] - event["path"][0][1]) > 0.1  # it has walked on since
    review(folder, "confirmed")
    imported(evidence, tmp_path / "data")
    assert rows(tmp_path / "data")["full"].boxes[0][0] == pytest.approx(event["path"][0][1], abs=1e-3)


def test_reported_misses_are_counted_for_there_is_no_picture_of_them(evidence: Path, tmp_path: Path) -> None:
    at = "2026-01-01T03:12:00.000Z"
    for camera in ("yard", "the gate"):
        write_miss(evidence, Miss(camera, at, at))
    result = imported(evidence, tmp_path / "data", dry=True)
    assert (result.misses, result.events, result.negatives) == (2, 2, 2)

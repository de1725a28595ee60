"""Evidence that is damaged, strange or hostile: named and left out, and the rest comes in all the same."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from edge.errors import OptionError
from edge.pictures import decode_picture
from edge.record.clip import jpeg, note_in
from edge.record.media_store import visit_folder
from edge.schema import Event
from tests.helpers.feedback_evidence import imported, negative, review
from train.data.catalog import read_catalog

try:
    from hypothesis import given
    from hypothesis import strategies as st
except ImportError:
    pytest.skip("hypothesis is not installed", allow_module_level=True)

from train.data.feedback_evidence import Case, Step, Unit, open_evidence
from train.data.feedback_pictures import EvidencePicture, ReviewedLabel, _spread, key_of, review_of, row_of

NIGHT = datetime(2026, 1, 1, 3, 12, 7, tzinfo=UTC)
PICTURE = np.random.default_rng(1).integers(0, 255, (90, 160, 3), np.uint8)


def event(root: Path, number: int = 1, **more: Any) -> Path:
    """An event's folder with a crop, made by hand."""
    id_ = f"{number:032x}"[::-1]
    folder = visit_folder(root, "yard", NIGHT, id_)
    folder.mkdir(parents=True)
    reported = Event("bear", "end", id_, 2, "run", "yard", "2026-01-01T03:12:20.000Z", label="brown_bear", score=0.9)
    found = json.loads(reported.to_json()) | {"clips": [], "path": [[0.0, 0.1, 0.1, 0.3, 0.4, 0.9]]} | more
    (folder / "event.json").write_text(json.dumps(found))
    (folder / "crop.jpg").write_bytes(jpeg(PICTURE, 90, {"score": 0.9, "captured_at": "2026-01-01T03:12:08.000Z"}))
    (folder / "alarm.jpg").write_bytes(jpeg(PICTURE, 90))
    review(folder, "wrong")
    return folder


def spoil(name: str, data: bytes | Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Writes something else into a file."""

    def work(folder: Path) -> None:
        path = folder / name
        path.write_bytes(data if isinstance(data, bytes) else data(path.read_bytes()))

    return work


def without_key(key: str) -> Callable[[bytes], bytes]:
    return lambda data: json.dumps({k: v for k, v in json.loads(data).items() if k != key}).encode()


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (spoil("crop.jpg", lambda data: data[: len(data) // 2]), "truncated"),
        (spoil("crop.jpg", b""), "empty"),
        (spoil("crop.jpg", b"<html>"), "not a picture"),
        (spoil("event.json", b""), "not an event"),
        (spoil("event.json", b"\xff\xfe\x00"), "not an event"),
        (spoil("event.json", b"[1]"), "not an event"),
        (spoil("event.json", b'{"schema_version": 9}'), "not an event"),
        (spoil("event.json", without_key("id")), "not an event"),
        (spoil("event.json", lambda d: d.replace(b'"path": [[', b'"path": [["x", ')), "not an event"),
        (spoil("event.json", lambda d: d.replace(b'"score": 0.9', b'"score": "much"')), "not an event"),
        (spoil("event.json", lambda d: d.replace(b'"id": "', b'"id": "../ ;')), "not an event"),
        (spoil("review.json", b"{"), "no review this program can read"),
        (lambda folder: (folder / "crop.jpg").unlink(), "no picture in it"),
    ],
)
def test_what_is_broken_is_named_and_the_rest_comes_in(
    tmp_path: Path, work: Callable[[Path], None], words: str
) -> None:
    whole, broken = event(tmp_path / "evidence", 1), event(tmp_path / "evidence", 2)
    work(broken)
    result = imported(tmp_path / "evidence", tmp_path / "data")
    assert any(words in each and broken.name in each for each in result.left_out), result.left_out
    assert all("\n" not in each for each in result.left_out)
    [row] = read_catalog(tmp_path / "data").pictures
    assert row.file.read_bytes() == (whole / "crop.jpg").read_bytes()


def test_a_damaged_clip_is_named_and_the_crop_is_taken(tmp_path: Path) -> None:
    folder = event(tmp_path / "evidence", clips=[{"file": "clip.mp4", "from_s": -5.0}])
    (folder / "clip.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(500))
    result = imported(tmp_path / "evidence", tmp_path / "data")
    assert "a damaged clip" in result.left_out[0]
    assert result.pictures == {"no_bear": 1}


def test_a_clip_that_is_named_like_another_file_is_not_read(tmp_path: Path) -> None:
    folder = event(tmp_path / "evidence", clips=[{"file": "../../secret.mp4", "from_s": 0.0}])
    (tmp_path / "evidence" / "secret.mp4").write_bytes(b"x")
    result = imported(tmp_path / "evidence", tmp_path / "data")
    assert folder.exists()
    assert result.left_out == []
    assert result.pictures == {"no_bear": 1}


def test_what_is_written_or_thrown_away_at_the_moment_is_passed_over(tmp_path: Path) -> None:
    event(tmp_path / "evidence", 1)
    going = event(tmp_path / "evidence", 2)
    going.rename(going.with_name(f".gone-{going.name}"))
    assert imported(tmp_path / "evidence", tmp_path / "data").events == 1


def test_a_camera_that_failed_is_no_bear(tmp_path: Path) -> None:
    event(tmp_path / "evidence", 1, kind="camera")
    event(tmp_path / "evidence", 2)
    result = imported(tmp_path / "evidence", tmp_path / "data")
    assert (result.events, result.left_out) == (1, [])


def test_a_negative_without_a_note_is_named(tmp_path: Path) -> None:
    unit = negative(tmp_path / "evidence", 5)
    unit.write_bytes(jpeg(PICTURE, 80))
    review(unit, "wrong")
    assert "no note in it" in imported(tmp_path / "evidence", tmp_path / "data").left_out[0]


@pytest.mark.parametrize(
    "bad",
    [
        {"captured_at": "0001-01-01T00:00:00+14:00"},
        {"captured_at": "0001-01-01T00:00:00+00:00"},
        {"captured_at": "9999-12-31T23:59:59+00:00"},
        {"score": 10**400},
        {"score": float("nan")},
        {"box_xywh": [0.1, 0.1, 10**400, 0.1]},
        {"box_xywh": [0.1, 0.1, float("inf"), 0.1]},
    ],
)
def test_a_note_of_impossible_numbers_is_named_and_the_rest_comes_in(tmp_path: Path, bad: dict[str, Any]) -> None:
    event(tmp_path / "evidence")
    unit = negative(tmp_path / "evidence", 5)
    unit.write_bytes(jpeg(PICTURE, 80, note_in(unit.read_bytes()) | bad))
    review(unit, "wrong")
    result = imported(tmp_path / "evidence", tmp_path / "data", zone=ZoneInfo("Asia/Tokyo"))
    assert "its note cannot be read" in result.left_out[0]
    assert result.pictures == {"no_bear": 1}
    reported = event(
        tmp_path / "evidence", 2, score=bad.get("score", 0.5), path=[[0.0, *bad.get("box_xywh", [0] * 4), 1]]
    )
    path = reported / "event.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | bad))
    reported.rename(reported.with_name("no-time"))
    result = imported(tmp_path / "evidence", tmp_path / "data", zone=ZoneInfo("Asia/Tokyo"))
    assert any("not an event" in words for words in result.left_out), result.left_out


def test_a_note_as_deep_as_a_well_is_no_note() -> None:
    assert note_in(b"\xff\xd8\xff\xfe\xea\x62" + b"[" * 60000) == {}


def test_one_bad_file_of_a_zip_is_named(tmp_path: Path) -> None:
    event(tmp_path / "evidence", 1)
    event(tmp_path / "evidence", 2)
    path = tmp_path / "night.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as made:
        for file in sorted(file for file in (tmp_path / "evidence").rglob("*") if file.is_file()):
            made.write(file, str(file.relative_to(tmp_path)))
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as made:
        crops = [info for info in made.infolist() if info.filename.endswith("crop.jpg")]
    data[crops[0].header_offset + 30 + len(crops[0].filename) + 200] ^= 0xFF
    path.write_bytes(bytes(data))
    result = imported(path, tmp_path / "data")
    assert "cannot be read" in result.left_out[0]
    assert result.pictures == {"no_bear": 1}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no such folder or archive"),
        (lambda path: path.mkdir(), "no evidence in it"),
        (lambda path: path.write_bytes(b"hello"), "neither a folder nor a zip or tar"),
        (lambda path: path.write_bytes(b""), "neither a folder nor a zip or tar"),
        (lambda path: zipfile.ZipFile(path, "w").close(), "no evidence in it"),
    ],
)
def test_a_place_without_evidence_is_one_sentence(tmp_path: Path, make: Callable[[Path], Any], words: str) -> None:
    make(tmp_path / "it")
    with pytest.raises(OptionError, match=words):
        imported(tmp_path / "it", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_folder_of_pictures_that_cannot_be_written_ends_it(tmp_path: Path) -> None:
    event(tmp_path / "evidence")
    (tmp_path / "data").write_bytes(b"a file")
    with pytest.raises(OptionError, match=r"--into .*: is no folder"):
        imported(tmp_path / "evidence", tmp_path / "data")
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "feedback").write_bytes(b"in the way")
    with pytest.raises(OptionError, match="cannot be written"):
        imported(tmp_path / "evidence", tmp_path / "second")


def test_a_closed_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    event(tmp_path / "evidence")
    closed = tmp_path / "evidence" / "2026-01-02"
    closed.mkdir()
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path) == closed:  # root may look into every folder
            raise PermissionError(13, "Permission denied", str(closed))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    result = imported(tmp_path / "evidence", tmp_path / "data")
    assert "2026-01-02: cannot be looked into (Permission denied)" in result.left_out[0]
    assert result.pictures == {"no_bear": 1}


def test_a_picture_that_was_given_away_by_half_is_brought_again(tmp_path: Path) -> None:
    folder = event(tmp_path / "evidence")
    imported(tmp_path / "evidence", tmp_path / "data")
    [row] = read_catalog(tmp_path / "data").pictures
    (tmp_path / "data" / "MANIFEST.csv").unlink()  # as where the power went before the table was written
    row.file.write_bytes(b"half")
    shutil.rmtree(tmp_path / "data" / "feedback" / "none", ignore_errors=True)
    with pytest.raises(OptionError, match=r"no MANIFEST\.csv"):
        imported(tmp_path / "evidence", tmp_path / "data")
    (tmp_path / "data" / "MANIFEST.csv").write_text("file,label\n")
    imported(tmp_path / "evidence", tmp_path / "data")
    assert row.file.read_bytes() == (folder / "crop.jpg").read_bytes()


def _unit(name: str) -> Unit:
    return Unit("event", name, frozenset(), lambda name: b"")


@given(
    camera=st.text(min_size=1),
    site=st.text(min_size=1),
    id_=st.text("0123456789abcdef", min_size=8, max_size=32),
    model=st.text(),
    by=st.text(),
    note=st.text(),
)
def test_a_row_has_its_case_and_review_whatever_people_write(
    camera: str, site: str, id_: str, model: str, by: str, note: str
) -> None:
    from edge.record.review import Review

    printed = Review("wrong", "2026-01-01T00:00:00.000Z", by=by, note=note)
    case = Case(_unit("x"), f"event={id_}", camera, NIGHT, "brown_bear", 0.5, model, None, review=printed)
    look = EvidencePicture("clip-1.50s", b"", None, None, np.zeros((16, 16), np.float32))
    row = row_of(
        case, look, ReviewedLabel("no_bear", "false alarm", f"wrong@{printed.at}"), site=site, zone=UTC, split=""
    )
    assert key_of(row["note"]) == f"event={id_}"
    assert review_of(row["note"]) == f"wrong@{printed.at}"
    parts = row["file"].split("/")
    assert parts[0] == "feedback"
    assert len(parts) == 5
    assert not any(part in ("", ".", "..") for part in parts)
    assert all(len(part.encode()) < 255 for part in parts)
    assert "\n" not in row["note"]


@given(st.integers(0, 60), st.integers(1, 30))
def test_places_of_the_way_are_spread_and_each_taken_once(count: int, most: int) -> None:
    steps = [Step(float(n), (0.0, 0.0, 1.0, 1.0), None) for n in range(count)]
    found = [step.at_s for step in _spread(steps, most)]
    assert len(found) == len(set(found)) == min(count, most)
    if count and most > 1:
        assert {0.0, count - 1.0} <= set(found)


def test_pictures_of_open_evidence_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    folder = event(tmp_path / "evidence")
    with open_evidence(tmp_path / "evidence") as evidence:
        [unit] = evidence.units
        assert {"event.json", "crop.jpg", "review.json"} <= unit.files
        assert unit.read("crop.jpg") == (folder / "crop.jpg").read_bytes()
    assert decode_picture(unit.read("crop.jpg"), "it").shape == PICTURE.shape

"""Night or day, on painted and real pictures."""

from __future__ import annotations

import csv
from itertools import pairwise

import cv2
import numpy as np
import pytest

from edge.detect import camera_check
from edge.detect.camera_check import Night, is_night
from tests.scenery.scene import Scene


@pytest.fixture(scope="module")
def day() -> np.ndarray:
    """A clearing by day (360, 640, 3)."""
    return next(Scene(1, size_wh=(640, 360)).frames()).image


@pytest.fixture(scope="module")
def infrared(day) -> np.ndarray:
    return cv2.cvtColor(cv2.cvtColor(day, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def night_after(night: Night, pictures) -> list[bool]:
    return [night(picture, float(i)) for i, picture in enumerate(pictures)]


def test_a_clearing_by_day_is_no_night_and_infrared_or_dark_is(day, infrared):
    assert not is_night(day)
    assert is_night(infrared)
    assert is_night(day // 6)


def test_grey_alone_tells_only_whether_it_is_dark(infrared):
    grey = infrared[..., 0]
    assert not is_night(grey)
    assert is_night(grey // 6)
    assert is_night((grey // 6).astype(np.float32))


def test_what_a_camera_writes_in_colour_makes_no_day(infrared):
    written = infrared.copy()
    cv2.putText(written, "2026-11-24 03:12:44", (8, 340), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (0, 255, 255), 3)
    assert is_night(written)


@pytest.mark.parametrize("quality", [40, 75, 95])
def test_a_compressed_infrared_picture_with_a_cast_is_still_infrared(infrared, quality):
    cast = np.clip(infrared.astype(int) + np.array((1, 0, 0)), 0, 255).astype(np.uint8)
    data = cv2.imencode(".jpg", cast, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    assert is_night(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8))


def test_the_first_picture_decides(day, infrared):
    assert Night()(infrared, 0.0)
    assert not Night()(day, 0.0)


def test_night_comes_when_it_has_lasted(day, infrared):
    told = night_after(Night(), [day] * 20 + [infrared] * 20 + [day] * 20)
    assert told.index(True) == 30
    assert told.index(False, 30) == 50


def test_headlights_and_shadows_change_nothing(day, infrared):
    assert all(night_after(Night(), [infrared] * 5 + [day] * 9 + [infrared] * 20))
    assert not any(night_after(Night(), [day] * 5 + [day // 8] * 9 + [day] * 20))


def test_dusk_flickers_neither_way(day, monkeypatch):
    monkeypatch.setattr(camera_check, "LASTS_S", 0.0)
    between = [np.full_like(day, (60, 40, 30)) + (i % 2) * np.uint8(8) for i in range(200)]  # brightness 39 and 47
    told = night_after(Night(), between)
    assert sum(one != two for one, two in pairwise(told)) <= 1


def test_grey_pictures_in_between_leave_infrared_as_it_was(day, infrared, monkeypatch):
    monkeypatch.setattr(camera_check, "LASTS_S", 0.0)
    night = Night()
    assert night(infrared, 0.0)
    assert night(infrared[..., 0], 1.0)
    assert not night(day, 2.0)
    assert not night(day[..., 1], 3.0)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1), (3, 4000, 3), (4000, 3), (44, 45, 3)])
def test_any_size_will_do(shape):
    assert is_night(np.zeros(shape, np.uint8))
    assert Night()(np.zeros(shape, np.uint8), 0.0)


def test_real_pictures_are_told_apart(pictures):
    found: dict[str, list[bool]] = {"0": [], "1": []}
    with (pictures / "MANIFEST.csv").open(encoding="utf-8", newline="") as table:
        # The newer rows, which have a condition, go by colour alone: fog is grey by day too.
        rows = [row for row in csv.DictReader(table) if row["file"].endswith(".jpg") and not row.get("condition")]
    rows = [row for row in rows if row["grey_or_ir"] == "1"] + rows[::20]
    for row in rows:
        image = cv2.imread(str(pictures / row["file"]))
        # What is dark is night, colour or not; and some toys on white have next to no colour.
        if image is not None and 60 < image.mean() < 180:
            found[row["grey_or_ir"]].append(is_night(np.asarray(image, np.uint8)))
    assert len(found["0"]) > 100
    assert len(found["1"]) > 30
    assert np.mean(found["1"]) > 0.9
    assert np.mean(found["0"]) < 0.02

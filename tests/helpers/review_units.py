"""Evidence for reviews: alarms and random frames as the alarm writes them, each with a picture of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np

from edge.detect.zones import BLACK, PrivacyMask
from edge.record.media_store import PLAIN, visit_folder
from edge.record.recorder import DICE, Negatives, plain
from edge.schema import BoxXYWH, Event, Frame, Picture, Region, Score, utc_text

BEGAN = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
BOX: BoxXYWH = (0.4, 0.4, 0.2, 0.3)
NO_MASK = PrivacyMask((), BLACK)


def picture(seed: int, size_wh: tuple[int, int] = (640, 360)) -> Picture:
    """Return a made-up scene: the same for the same seed, and like no other."""
    coarse = np.random.default_rng(seed).integers(0, 255, (9, 16, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, size_wh, interpolation=cv2.INTER_CUBIC), np.uint8)


def alarm(
    root: Path, number: int, scene: Picture | None = None, *, camera: str = "yard", box: BoxXYWH = BOX, **more: object
) -> Path:
    """Write what an alarm keeps, ``number`` minutes after the first; return the event's folder."""
    at, id_ = BEGAN + timedelta(minutes=number), f"{number:032x}"[::-1]
    folder = visit_folder(root, camera, at, id_)
    folder.mkdir(parents=True)
    values = {"label": "brown_bear", "score": 0.93, "box_xywh": box} | more
    event = Event("bear", "new", id_, number, "boot", camera, utc_text(at), **values)  # type: ignore[arg-type]
    (folder / PLAIN).write_bytes(plain(picture(number) if scene is None else scene, NO_MASK))
    (folder / "event.json").write_text(event.to_json())
    return folder


def frame(
    root: Path, number: int, camera: str = "yard", scene: Picture | None = None, *, began: datetime = BEGAN
) -> Path:
    """Write a random frame that raised no alarm, ``number`` minutes after ``began``; return its file."""
    at = began + timedelta(minutes=number)
    scene = picture(10_000 + number) if scene is None else scene
    score = Score(Region((0.25, 0.5, 0.2, 0.25), "motion"), (0.3, 0.7), 0.3, "brown_bear", 0.0)
    DICE.seed(number)
    job = Negatives(root, 4.0, NO_MASK)._job(Frame(scene, 0.0, at, camera, 0), [score])
    for path, make in job.files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make())
    return job.unit

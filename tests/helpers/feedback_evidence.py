"""Evidence as the alarm really writes it, of events and of random negatives, and ways to review and import it."""

from __future__ import annotations

import csv
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from edge.alert.events import EventPublisher
from edge.detect.zones import BLACK, PrivacyMask, parse_polygon
from edge.record.recorder import DICE, MediaWriter, Negatives
from edge.record.review import Review, write_review
from edge.schema import Event, Frame, Region, Score
from edge.settings import CameraSettings
from edge.watch import Watcher
from tests.alarm.test_watch import RULE, Colours, scene, walk
from tests.helpers.tiny import BEAR_COLOUR
from train.data.feedback import ImportOptions, ImportResult, import_evidence
from train.data.feedback_evidence import open_evidence

AT = "2026-01-02T09:00:00.000Z"
MASK = "0,0 1,0 1,0.2 0,0.2"
WALKS = (4.0, 8.0, BEAR_COLOUR, 100, 60)  # from 100 to 340 px in four seconds
STANDS = (4.0, 8.0, BEAR_COLOUR, 100, 0)


def watched(root: Path, *animals: Any, clips: bool = True) -> list[Path]:
    """Evidence of one clip with these animals, a mask over its upper fifth; each event's folder."""
    told: list[Event] = []
    masks = (parse_polygon(MASK, "--mask"),)
    writer = MediaWriter(root, reserve_mb=0.0, negatives_per_day=0.0, full=True, clips=clips)
    publisher = EventPublisher([told.append], model="test@1", evidence=writer.camera(masks, context=1.1))
    Watcher(Colours(), RULE, publisher, CameraSettings(masks=masks))(walk(20, *animals, fps=5))
    assert writer.close(120.0)
    return [Path(event.evidence).parent for event in told if event.type == "new" and event.evidence]


def write_evidence(root: Path, *, clips: bool = True) -> Path:
    """Evidence of one walking and one standing thing, at two cameras, and of two random frames; nobody reviewed it."""
    assert len(watched(root, WALKS, clips=clips)) == 1
    [stands] = watched(root, STANDS, clips=clips)
    moved = stands.rename(stands.with_name("010000-gate-" + stands.name[-8:]))
    text = (moved / "event.json").read_text().replace('"camera":"yard"', '"camera":"the gate"')
    (moved / "event.json").write_text(text)
    negative(root, 5)
    negative(root, 15)
    return root


def walking(evidence: Path) -> Path:
    """The folder of what walked."""
    return next(evidence.glob("*/*-yard-*/"))


def standing(evidence: Path) -> Path:
    """The folder of what stood."""
    return next(evidence.glob("*/*-gate-*/"))


def samples(evidence: Path) -> list[Path]:
    """The random frames."""
    return sorted(evidence.glob("negatives/*/*.jpg"))


def table(data: Path) -> list[dict[str, str]]:
    """The rows of a folder's table."""
    with (data / "MANIFEST.csv").open(newline="") as opened:
        return list(csv.DictReader(opened))


def contents(folder: Path) -> dict[str, str]:
    """Each file below with its digest."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def negative(root: Path, minutes: int, camera: str = "yard") -> Path:
    """A random frame as the alarm keeps it."""
    wall = datetime(2026, 1, 1, 23, 50, tzinfo=UTC) + timedelta(minutes=minutes)
    frame = Frame(scene(seed=minutes), 10.0, wall, camera, 0)
    score = Score(Region((0.25, 0.5, 0.2, 0.25), "motion"), (0.3, 0.7), 0.3, "brown_bear", 0.0)
    DICE.seed(minutes)
    job = Negatives(root, 4.0, PrivacyMask((), BLACK))._job(frame, [score])
    for path, make in job.files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make())
    return job.unit


def review(unit: Path, verdict: Any, label: str | None = None, *, at: str = AT, **more: Any) -> None:
    """What a person says of it."""
    write_review(unit, Review(verdict, at, label, "anna", **more))


def imported(evidence: Path, data: Path, *, dry: bool = False, **wanted: Any) -> ImportResult:
    """Return what `bear-alarm feedback import` does, in this process."""
    with open_evidence(evidence) as found:
        return import_evidence(found, data, ImportOptions(**{"zone": UTC} | wanted), dry=dry)


def red(picture: np.ndarray) -> np.ndarray:
    """Return where the made-up bear is, (H, W) bool."""
    return np.asarray((picture[..., 2].astype(int) - picture[..., 1]) > 90)

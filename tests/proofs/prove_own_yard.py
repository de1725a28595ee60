"""Measure what reviewed bear-free frames of the own yard bring to somebody without a bear picture of the own.

    BEAR_ALARM_PICTURES=PICTURES python tests/proofs/prove_own_yard.py [--runs FOLDER]

Two yards of the trail cameras, each in a fold of its own (`train --fold 1/3`, `2/3`): a training of the shipped recipe,
cut short, that has seen neither the yard nor the fold's bears; and two with half of the yard's days each. A day is
twenty frames in a row. Odd days are watched by the first model, reviewed as what they are (wrong alarms, and random
frames without a bear), imported by `bear-alarm feedback import`, and learned. What is judged are the even days; then
the other way round. Models are judged as exported, at their own thresholds. --runs keeps all, and goes on from there.
"""

from __future__ import annotations

import argparse
import csv
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.alert.events import EventPublisher
from edge.decide.evidence import Rule
from edge.detect.classifier import Classifier
from edge.pictures import read_picture
from edge.record.recorder import MediaWriter
from edge.record.review import Review, write_review
from edge.schema import Frame
from edge.settings import CameraSettings
from edge.watch import Watcher
from tests.conftest import PICTURES, ROOT
from train.data.catalog import read_catalog
from train.data.feedback_evidence import open_evidence
from train.data.feedback_pictures import ALIKE
from train.data.pictures import Picture, is_bear
from train.data.split import Fold, is_judged, split_catalog
from train.data.table import MANIFEST
from train.evaluate.held_out import Judge
from train.evaluate.trail_cameras import Frame as Judged
from train.evaluate.trail_cameras import part_of, score_frames
from train.metrics.paired import rate_difference
from train.metrics.rates import auc, wilson

# As the bundled model was made: whole sources that tune and test.
TUNE = (
    "poziki/fastailearning", "Intraraksa/Computer_vision", "Makori81/Real-time-wildlife-detection-system",
    "BIDS/BSDS500",
)  # fmt: skip
TEST = (
    "ktosiu/Bear-Detection", "y-arjun-y/bears", "kovacspeter/Animal-classification", "datitran/raccoon_dataset",
    "lizhogn/tiny_coco_dataset",
)  # fmt: skip
YARDS = {2: "noahpbrown/trail-cam-project", 1: "mikeyEcology/MLWIC_examples"}  # fold -> source of the yard in it
SEED = 7  # of the split; the training has the same
RECIPE = ("--epochs", "1")  # the shipped one has four
DAY = 20  # frames
BEGIN = datetime(2026, 5, 1, 6, tzinfo=UTC)
EVERY = timedelta(minutes=30)
HALVES = ("odd days", "even days")
HEAD = """\
| yard, and what is learned | wrong alarms | where 9 of 10 bears are found | bears surer than every frame of the yard \
| area under the curve | bears found | at their boxes | far bears at their boxes |
|---|---|---|---|---|---|---|---|"""


def command(*words: str | Path) -> None:
    """Run `bear-alarm` with these words."""
    subprocess.run([sys.executable, "-m", "edge", *map(str, words)], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)


def yard_of(tested: Iterable[Picture], source: str, where: dict[Path, str]) -> list[Picture]:
    """Return the yard's frames without a bear, in the order of their numbers there."""
    frames = [one for one in tested if one.source == source and one.of_trail_camera and is_judged(one)]
    return sorted((one for one in frames if not is_bear(one.label)), key=lambda one: where[one.file])


def half(frames: Sequence[Picture], number: int) -> list[Picture]:
    """Return the frames of odd (0) or even (1) days."""
    return [one for place, one in enumerate(frames) if place // DAY % 2 == number]


def near_copies(learned: Sequence[Picture], others: Iterable[Picture]) -> int:
    """Return the number of other frames that are near copies of a learned one, by the rule of the import."""
    known = np.stack([thumbnail(one) for one in learned])
    return sum(bool((np.abs(known - thumbnail(one)).mean(axis=(1, 2)) < ALIKE).any()) for one in others)


def thumbnail(frame: Picture) -> NDArray[np.float32]:
    """Return the frame in grey, (16, 16)."""
    grey = cv2.cvtColor(read_picture(frame.file), cv2.COLOR_BGR2GRAY)
    return cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)


def write_table(folder: Path, parts: Mapping[Path, str]) -> None:
    """Make a folder of the same pictures, in whose table each has its part; those without one are not in it."""
    folder.mkdir(parents=True)
    for entry in PICTURES.iterdir():
        if entry.is_dir():
            (folder / entry.name).symlink_to(entry)
        elif entry.name != MANIFEST:
            (folder / entry.name).write_bytes(entry.read_bytes())  # `feedback import` may write it
    with (PICTURES / MANIFEST).open(newline="", encoding="utf-8-sig") as table:
        reader = csv.DictReader(table)
        rows = [row | {"split": parts[PICTURES / row["file"]]} for row in reader if PICTURES / row["file"] in parts]
    with (folder / MANIFEST).open("w", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, reader.fieldnames or [])
        writer.writeheader()
        writer.writerows(rows)


def watched(frames: Sequence[Picture], model: Path, evidence: Path) -> None:
    """Watch frames as pictures that arrive, two of each, with every quiet one kept as a random frame."""
    classifier, part = Classifier(model), evidence.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)  # of an interrupted run
    writer = MediaWriter(part, reserve_mb=0.0, negatives_per_day=1e9, full=True, clips=False)
    publisher = EventPublisher([], model=classifier.name, evidence=writer.camera(context=classifier.card.crop.context))
    watcher = Watcher(classifier, Rule.from_card(classifier.card), publisher, CameraSettings(), single_images=True)

    def arriving() -> Iterable[Frame]:
        for number, one in enumerate(frames):
            image = read_picture(one.file)
            day, hour = divmod(number, DAY)
            wall = BEGIN + timedelta(days=day) + hour * EVERY
            for again in (0.0, 0.5):
                at = 1800.0 * number + again
                yield Frame(image, at, wall + timedelta(seconds=again), "yard", 2 * number + round(2 * again),
                            discontinuity=again == 0)  # fmt: skip
            time.sleep(0.05)  # the writer keeps up

    watcher(arriving())
    assert writer.close(120.0)
    part.rename(evidence)


def review_all(evidence: Path) -> tuple[int, int]:
    """Review everything as wrong, for there was no bear; return the wrong alarms and the random frames."""
    with open_evidence(evidence) as found:
        for unit in found.units:
            write_review(evidence / unit.name, Review("wrong", "2026-06-01T09:00:00.000Z", None, "anna"))
        events = sum(unit.kind == "event" for unit in found.units)
        return events, len(found.units) - events


def made(path: Path, make: Callable[..., object], *words: Any) -> Path:
    """Make it, unless an earlier run did, and say how long it took."""
    if not path.exists():
        started = time.monotonic()
        make(*words)
        print(f"{path}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return path


def trained(pictures: Path, run: Path) -> Path:
    """Train and export; return the model."""
    made(run / "learner.pkl", command, "train", pictures, "--out", run, *RECIPE)
    # The gate of int8 is for what ships: a short training may fail it.
    return made(run / "bear.onnx", command, "export", run, "--out", run / "bear.onnx", "--force")


def with_own(frames: Sequence[Picture], base: Path, place: Path, parts: Mapping[Path, str]) -> Path:
    """Make the pictures with what was reviewed at the own yard; return their folder."""
    pictures, evidence = place / "pictures", place / "evidence"
    made(pictures, write_table, pictures, parts)
    made(evidence, watched, frames, base, evidence)
    events, random_frames = review_all(evidence)
    print(f"{place}: {events} wrong alarms and {random_frames} random frames are reviewed", file=sys.stderr)
    command("feedback", "import", evidence, "--into", pictures, "--site", "own yard")
    return pictures


@dataclass
class Tally:
    """Scores of one or more models, before or after."""

    yard: list[Judged] = field(default_factory=list)
    bears: list[Judged] = field(default_factory=list)
    far: list[Judged] = field(default_factory=list)

    def add(self, frames: Iterable[Judged]) -> None:
        """Add what one model says of the yard's judged frames, the fold's bears and the far camera's windows."""
        for one in frames:
            some = self.yard if not one.bear else self.bears if one.part == "trail camera" else self.far
            some.append(one)

    @property
    def wrong(self) -> int:
        """Return the number of wrong alarms."""
        return sum(one.alarm for one in self.yard)

    @property
    def found(self) -> int:
        """Return the number of bears found."""
        return sum(one.alarm for one in self.bears)

    @property
    def wrong_at_nine_of_ten(self) -> int:
        """Return the number of wrong alarms at the threshold where nine of ten bears are found."""
        limit = sorted((one.score for one in self.bears), reverse=True)[math.ceil(0.9 * len(self.bears)) - 1]
        return sum(one.score >= limit for one in self.yard)

    @property
    def surer(self) -> int:
        """Return the number of bears that are surer than every frame of the yard."""
        return sum(one.score > max(other.score for other in self.yard) for one in self.bears)

    def at_boxes(self, of: Iterable[Judged]) -> tuple[int, int]:
        """Return the true boxes that pass the crop threshold, and all of them."""
        passed = [score >= one.box_threshold for one in of for score in one.boxes]
        return sum(passed), len(passed)


def in_words(k: int, n: int) -> str:
    """Write a share with Wilson's interval, in percent."""
    found = wilson(k, n)
    return f"{k} of {n} [{100 * found.low:.0f}–{100 * found.high:.0f}]" if found else "none"


def chance(before: Sequence[Judged], after: Sequence[Judged]) -> str:
    """Write McNemar's exact p of no difference in alarms."""
    old, new = (np.array([one.alarm for one in some]) for some in (before, after))
    found = rate_difference(old, new, range(len(old)))
    return f", p {found.p:.3f}" if found else ""


def row(name: str, before: Tally, after: Tally) -> str:
    """Write a line of the table: before → after."""
    areas = [auc([one.score for one in each.bears], [one.score for one in each.yard]) for each in (before, after)]
    lost = sum(old.alarm and not new.alarm for old, new in zip(before.bears, after.bears, strict=True))
    cells = [
        " → ".join(in_words(each.wrong, len(each.yard)) for each in (before, after)) + chance(before.yard, after.yard),
        f"{before.wrong_at_nine_of_ten} → {after.wrong_at_nine_of_ten}",
        f"{before.surer} → {after.surer}",
        " → ".join(f"{area.value:.3f} [{area.low:.3f}–{area.high:.3f}]" if area else "none" for area in areas),
        " → ".join(in_words(each.found, len(each.bears)) for each in (before, after)) + f", {lost} lost",
        " → ".join(in_words(*each.at_boxes(each.bears)) for each in (before, after)),
        " → ".join(in_words(*each.at_boxes(each.far)) for each in (before, after)),
    ]
    return f"| {name} | {' | '.join(cells)} |"


def judged(model: Path, pictures: Iterable[Picture]) -> list[Judged]:
    """Score pictures as `classify` does, and bears at their boxes too."""
    return score_frames([Judge(Classifier(model), tuple(pictures))])


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path)
    options = parser.parse_args()
    if not (PICTURES / MANIFEST).is_file():
        print(f"{PICTURES}: no table of pictures, nothing was measured; name a folder in BEAR_ALARM_PICTURES")
        return
    catalog = read_catalog(PICTURES)
    with (PICTURES / MANIFEST).open(newline="", encoding="utf-8-sig") as table:
        where = {PICTURES / row["file"]: row["source_path"] for row in csv.DictReader(table)}
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        root = (options.runs or Path(temporary)).absolute()
        all_before, all_after = Tally(), Tally()
        for fold, source in YARDS.items():
            split = split_catalog(catalog, SEED, tune=TUNE, test=TEST, fold=Fold(fold, 3))
            yard = yard_of(split["test"], source, where)
            bears = [
                one for one in split["test"] if part_of(one) in ("trail camera", "far window") and is_bear(one.label)
            ]
            split["test"] = [one for one in split["test"] if one.of_trail_camera and one not in yard]
            parts = {one.file: part for part, some in split.items() for one in some}
            place = root / f"yard-{fold}"
            pictures = made(place / "pictures", write_table, place / "pictures", parts)
            base = trained(pictures, place / "base")
            for number, name in enumerate(HALVES):
                folder = place / name.replace(" ", "-")
                own = trained(with_own(half(yard, number), base, folder, parts), folder / "run")
                others = half(yard, 1 - number)
                copies = near_copies(half(yard, number), others)
                frames = [*others, *bears]
                before, after = Tally(), Tally()
                for model, sums in ((base, (before, all_before)), (own, (after, all_after))):
                    scores = judged(model, frames)
                    for tally in sums:
                        tally.add(scores)
                print(row(f"{source}, {name} ({copies} near copies)", before, after), flush=True)
        print(row("all", all_before, all_after))


if __name__ == "__main__":
    main()

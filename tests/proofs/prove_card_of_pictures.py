"""What `bear-alarm classify` gains where pictures are of one camera: by what differs between them, and by bursts.

    BEAR_ALARM_PICTURES=PICTURES python tests/proofs/prove_card_of_pictures.py [--model X] [--only WORDS] [--frames]

Cards are made of the pictures and judged as `classify` judges a card, at the model's own thresholds:

- a fixed camera over a railway, a picture a minute: its 34 full frames (480 px wide, bears of 4 to 20 px), and the same
  bears in 21 stills at the camera's own resolution, which its clip holds (bears of 13 to 54 px);
- a camera at a path with a burst of five dark flash pictures of a bear, the rest of its card without (black cattle);
- cards without bears: cameras at one place, folders of one owner's cameras that stand in several places, and clips at a
  frame a second, as bursts.

A region is at a bear where the middle of its box lies in it, and it is not five times as long.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.background import in_order
from edge.camera.video import VideoSource
from edge.detect.classifier import BUNDLED, Classifier
from edge.detect.sequences import CardPictures, read_head
from edge.detect.stills import FileResult, StillResult, look, look_closer, support
from edge.pictures import read_picture
from edge.schema import BoxXYWH
from tests.conftest import PICTURES
from tests.helpers.uploads import dated
from train.data.catalog import read_catalog
from train.data.pictures import Picture, is_bear
from train.data.table import MANIFEST
from train.evaluate.trail_cameras import part_of

FAR_CLIP, ENTER_CLIP = "railway_far_bear_A.mp4", "railway_enter_leave_A.mp4"
FAR_DAY = "2013-05-30"  # of the clip's stills, in the group of the full frames they are cut from
ZOOM, LEFT, TOP = 8 / 3, 47.0, 98.5  # of the clip: its pixels for one of the full frames, and where it begins there
THREADS = 2
PATH_CAMERA = "mikeyEcology/MLWIC_examples"
ONE_PLACE = ("animl Peru", "CCT sample location", "IDFG burst")
BEGIN = datetime(2026, 1, 1)


@dataclass
class Shot:
    """One picture of a card."""

    data: bytes  # a JPEG
    bear: bool = False
    boxes: list[BoxXYWH] = field(default_factory=list)
    taken: datetime | None = None


@dataclass
class Offer:
    """What came of one picture."""

    shot: Shot
    size_wh: tuple[int, int]
    regions: list[BoxXYWH]
    alarm: tuple[bool, bool, bool]  # by the whole picture, with the regions, with the burst

    @property
    def longer_px(self) -> float:
        """The longer side of its largest bear, pixels."""
        return max((max(w * self.size_wh[0], h * self.size_wh[1]) for _, _, w, h in self.shot.boxes), default=0.0)

    @property
    def proposed(self) -> bool:
        """Return True if a region is at a bear."""
        return any(at(region, box) for region in self.regions for box in self.shot.boxes)


def at(region: BoxXYWH, box: BoxXYWH) -> bool:
    """Return whether the middle of the box lies in the region, and that is not five times as long."""
    x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
    inside = region[0] <= x <= region[0] + region[2] and region[1] <= y <= region[1] + region[3]
    return inside and max(region[2:]) <= 5 * max(box[2:])


def cards(folder: Path) -> Iterator[tuple[str, list[Shot]]]:
    """Each card by its name."""
    with (folder / MANIFEST).open(newline="", encoding="utf-8-sig") as table:
        rows = {folder / row["file"]: row for row in csv.DictReader(table)}
    pictures = sorted(
        (one for one in read_catalog(folder).pictures if part_of(one)), key=lambda one: rows[one.file]["source_path"]
    )
    far = [one for one in pictures if part_of(one) == "far frame"]
    yield "railway camera, full frames", [shot(one) for one in far]
    yield "railway camera, own resolution", list(far_stills(folder, [one for one in far if FAR_DAY in one.group]))
    yield "railway camera, enter and leave", list(still_frames(folder / "videos" / ENTER_CLIP, bear_s=(10, 21)))
    path = [one for one in pictures if one.source == PATH_CAMERA]
    numbers = [int(re.findall(r"\d+", rows[one.file]["source_path"])[-1]) for one in path]
    yield (
        "path camera",
        [shot(one, BEGIN + timedelta(seconds=taken)) for one, taken in zip(path, seconds(numbers), strict=True)],
    )
    groups = defaultdict(list)
    for one in pictures:
        row = rows[one.file]
        if (
            part_of(one) == "trail camera"
            and one.source != PATH_CAMERA
            and not is_bear(one.label)
            and "web" not in row["group_id"]
        ):
            groups[row["group_id"], row["width"], row["height"]].append(one)
    for (name, width, height), some in groups.items():
        if len(some) >= 5 and int(width) >= 200:
            kind = "one place" if name in ONE_PLACE else "several places"
            yield f"{kind}: {name}, {width} x {height}", [shot(one) for one in some]
    with (folder / "videos" / "videos.csv").open(newline="", encoding="utf-8-sig") as table:
        for row in csv.DictReader(table):
            if row["bear_from_s"] == "none":
                yield f"clip: {row['file']}", list(still_frames(folder / "videos" / row["file"]))


def seconds(numbers: list[int]) -> list[int]:
    """When pictures of these numbers were taken: those that follow one another in a burst, the others minutes apart."""
    taken = [0]
    for before, number in pairwise(numbers):
        taken.append(taken[-1] + (1 if number - before == 1 else 60 * (number - before)))
    return taken


def shot(picture: Picture, taken: datetime | None = None) -> Shot:
    """One row of the table."""
    return Shot(picture.file.read_bytes(), is_bear(picture.label), list(picture.boxes), taken)


def far_stills(folder: Path, frames: list[Picture]) -> Iterator[Shot]:
    """The stills of the clip, with the boxes of the full frames that they are cut from."""
    stills = list(still_frames(folder / "videos" / FAR_CLIP))
    assert len(stills) == len(frames)
    for still, frame in zip(stills, frames, strict=True):
        x, y, w, h = frame.boxes[0]
        box = ((x * 480 - LEFT) * ZOOM / 854, (y * 360 - TOP) * ZOOM / 480, w * 480 * ZOOM / 854, h * 360 * ZOOM / 480)
        yield Shot(still.data, True, [box])


def still_frames(clip: Path, bear_s: tuple[float, float] = (0, 0)) -> Iterator[Shot]:
    """A frame a second of a clip, as bursts would show it."""
    with VideoSource(clip, name=clip.stem, fps=1.0) as source:
        for frame in source:
            data = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
            bear = bear_s[0] <= frame.time < bear_s[1]
            yield Shot(data, bear, taken=BEGIN + timedelta(seconds=round(frame.time)))


def judge(classifier: Classifier, shots: list[Shot]) -> list[Offer]:
    """Judge a card as ``classify`` does, with and without."""
    with tempfile.TemporaryDirectory() as name:
        files = []
        for number, one in enumerate(shots):
            file = Path(name) / f"{number:04d}.jpg"
            text = one.taken.strftime("%Y:%m:%d %H:%M:%S") if one.taken else None
            file.write_bytes(dated(one.data, text) if text else one.data)
            files.append(file)
        card = CardPictures(map(read_head, files))
        looked = list(in_order(partial(score_model, classifier, card), files, THREADS))
        closer = [FileResult(file, seen=seen) for file, (_, _, _, seen) in zip(files, looked, strict=True)]
        bursts = support(closer, card.burst, classifier.card)
        return [
            Offer(one, size_wh, boxes, (whole.alarm, seen.alarm, bool(burst.seen and burst.seen.alarm)))
            for one, (size_wh, boxes, whole, seen), burst in zip(shots, looked, bursts, strict=True)
        ]


def score_model(
    classifier: Classifier, card: CardPictures, file: Path
) -> tuple[tuple[int, int], list[BoxXYWH], StillResult, StillResult]:
    """Size and regions of a picture, what the whole of it shows, and what is seen with the regions."""
    image = read_picture(file)
    size_wh = image.shape[1], image.shape[0]
    boxes, whole = card.regions(file, size_wh), look(classifier, image)
    return size_wh, boxes, whole, look_closer(classifier, image, whole, boxes)


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=BUNDLED)
    parser.add_argument("--only", default="", help="Cards whose name holds this.")
    parser.add_argument(
        "--frames", action="store_true", help="A line for each picture with a bear, and each false alarm."
    )
    options = parser.parse_args()
    if not (PICTURES / MANIFEST).is_file():
        print(f"{PICTURES}: no table of pictures, nothing was measured; name a folder in BEAR_ALARM_PICTURES")
        return
    classifier = Classifier(options.model)
    print(f"{classifier.name}; trained on: {', '.join(sorted(classifier.card.counts_by_source))}\n")
    print("| card | pictures | a region at the bear | whole picture | and regions | and bursts | regions a picture |")
    print("|---|---|---|---|---|---|---|")
    clear: dict[str, list[Offer]] = defaultdict(list)
    for name, shots in cards(PICTURES):
        if options.only not in name:
            continue
        found = judge(classifier, shots)
        bears, others = ([one for one in found if one.shot.bear is bear] for bear in (True, False))
        if bears:
            say(f"{name}: bears found", bears)
        if others:
            clear[name.partition(":")[0]] += others
        for number, one in enumerate(found):
            if options.frames and (one.shot.bear or any(one.alarm)):
                print(name, number, f"{one.longer_px:.0f} px", one.proposed, one.alarm, file=sys.stderr)
    for name, others in clear.items():
        say(f"{name}: no bear, taken for one", others)


def say(name: str, found: list[Offer]) -> None:
    """One line of the table."""
    boxed = [one for one in found if one.shot.boxes]
    proposed = f"{sum(one.proposed for one in boxed)} of {len(boxed)}" if boxed else ""
    counts = " | ".join(str(sum(one.alarm[how] for one in found)) for how in range(3))
    regions = sum(len(one.regions) for one in found) / len(found)
    print(f"| {name} | {len(found)} | {proposed} | {counts} | {regions:.1f} |", flush=True)


if __name__ == "__main__":
    main()

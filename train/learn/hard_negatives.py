"""Hard negatives: crops of bear-free pictures and clips that the present model takes for bears. Needs no torch.

A file's licence is that of the table in the nearest folder above it; without a table the owner decides.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from edge.camera import CLIPS, open_source
from edge.detect.classifier import Classifier
from edge.detect.crops import square
from edge.detect.frame_scan import FrameScanner
from edge.detect.tracker import inside, iou
from edge.errors import BearAlarmError, OptionError
from edge.files import replace_whole
from edge.pictures import SUFFIXES, read_picture
from edge.schema import BoxXYWH, Picture, Region, Score
from train.data.catalog import licences_in
from train.data.decisions import digest_of
from train.data.licences import NOT_STATED, may_ship
from train.data.pictures import Picture as Row
from train.data.table import MANIFEST

log = logging.getLogger(__name__)

FOLDER = "hard-negatives"  # in the run's folder
SOURCE = "hard negatives"
MIN_BEAR = 0.2  # probability from which a crop is hard
MAX_CROPS = 600  # crops kept: those with the highest scores
PER_PICTURE = 3  # regions of the frame scan, and as many small windows
APART = 0.3  # crops of one picture that overlap more (IoU) count once
WINDOWS = 12  # small windows of each picture: what may move far away, such as a leaf
PIECE = 0.5  # share of a window inside a hard region from which it is part of that
WINDOW_PX = 16.0, 64.0  # range of their sides
SEED = 7  # of their positions
FPS = 1.0  # of clips
OWN = re.compile(r"\d{5}(-[0-9a-f]{8})?\.png")  # rank by score, and digest
Track = Callable[[Iterable[Path], str], Iterator[Path]]


class HardCrop(NamedTuple):
    """One crop without a bear and with a high score."""

    bear: float
    crop: Picture
    file: Path  # the clip or picture


@dataclass(frozen=True)
class Mined:
    """The rows to train on, the number of pictures and frames that were scored, and the highest score."""

    rows: tuple[Row, ...]
    looked_at: int
    highest: float
    held_out: int = 0  # files of the tuning or test part
    not_shippable: int = 0  # with ``shippable``: files whose licence keeps a model from being passed on


def mine(
    paths: Sequence[Path],
    classifier: Classifier,
    out: Path,
    track: Track,
    least: float = MIN_BEAR,
    *,
    held_out: Iterable[Path] = (),
    shippable: bool = False,
) -> Mined:
    """Score every picture, one frame for each second of a clip, and some small windows; keep scores from ``least`` on.

    The crops are written to OUT/hard-negatives as PNG, so that a person can check them for bears. ``held_out``:
    pictures of the tuning and test parts; files with the same bytes are skipped. ``shippable``: skip pictures whose
    licence keeps a model from being passed on. Raises OptionError for a path that is neither picture, folder nor clip,
    CatalogError if a table beside the files cannot be read.
    """
    files = files_of(paths)
    same = same_bytes(files, held_out)
    apart = [file for file in files if file not in same]
    licences = licences_of(apart)
    free = [file for file in apart if not shippable or may_ship(licences[file])]
    found: list[HardCrop] = []
    looked_at = 0
    rng = np.random.default_rng(SEED)
    for path in track(free, "looking for hard negatives"):
        for image in pictures_of(path):
            looked_at += 1
            found += hard_crops(classifier, image, path, least, rng)
        found = sorted(found, key=lambda one: -one.bear)[:MAX_CROPS]
    rows = tuple(_write(found, licences, out / FOLDER))
    return Mined(rows, looked_at, found[0].bear if found else 0.0, len(files) - len(apart), len(apart) - len(free))


def files_of(paths: Sequence[Path]) -> list[Path]:
    """List the pictures and clips of some paths; folders are searched for both."""
    files: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise OptionError(f"--hard-negatives {path}: no such file or folder; name bear-free pictures or a clip")
        inside = [path]
        if path.is_dir():
            inside = sorted(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in SUFFIXES | CLIPS and not file.name.startswith(".") and file.is_file()
            )
            if not inside:
                raise OptionError(f"--hard-negatives {path}: has no picture and no clip; name bear-free ones")
        files.update(dict.fromkeys(inside))
    return list(files)


def same_bytes(files: Sequence[Path], others: Iterable[Path]) -> set[Path]:
    """Return the ``files`` with the same bytes as one of ``others``. Only files of equal size are read."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for other in others:
        by_size[other.stat().st_size].append(other)
    sizes = {file: file.stat().st_size for file in files}
    digests = {size: {digest_of(other) for other in by_size[size]} for size in set(sizes.values()) & set(by_size)}
    same = set()
    for file, size in sizes.items():
        try:
            if size in digests and digest_of(file) in digests[size]:
                same.add(file)
        except OSError:  # reported when it is decoded
            continue
    return same


def licences_of(files: Sequence[Path]) -> dict[Path, str]:
    """Return each file's licence, by the table in the nearest folder above; "" without a table."""
    tables: dict[Path, dict[Path, str]] = {}
    found: dict[Path, str] = {}
    for file in files:
        whole = file.resolve()
        above = next((folder for folder in whole.parents if (folder / MANIFEST).is_file()), None)
        if above is not None and above not in tables:
            tables[above] = licences_in(above)
        found[file] = tables[above].get(whole, NOT_STATED) if above is not None else ""
    return found


def pictures_of(path: Path) -> Iterator[Picture]:
    """Yield the picture, or one frame for each second of a clip. Damaged parts are skipped with a warning."""
    try:
        if path.suffix.lower() in SUFFIXES:
            yield read_picture(path)
        else:
            source = open_source(str(path), fps=FPS)
            try:
                for frame in source:
                    yield frame.image
            finally:
                source.close()
    except BearAlarmError as error:
        log.warning("%s; the rest of it is skipped", error)


def hard_crops(
    classifier: Classifier, image: Picture, file: Path, least: float, rng: np.random.Generator
) -> list[HardCrop]:
    """Find the highest-scoring regions without overlap: ``PER_PICTURE`` of the frame scan, and as many windows.

    A small window inside a hard region belongs to that, and is skipped.
    """
    size_wh = (image.shape[1], image.shape[0])
    views = FrameScanner(classifier)(image)
    hard = [view.region.box_xywh for view in views if view.bear >= least]
    free = [box for box in small_windows(size_wh, rng) if not any(inside(box, place) > PIECE for place in hard)]
    windows = classifier.score(image, [Region(box, "scan") for box in free])
    found = []
    for bear, box in (*_apart(views, least), *_apart(windows, least)):
        x, y, w, h = square(box, size_wh, 1.0)
        found.append(HardCrop(bear, image[y : y + h, x : x + w].copy(), file))
    return found


def _apart(scores: Iterable[Score], least: float) -> list[tuple[float, BoxXYWH]]:
    """Return the highest scores with little overlap, at most ``PER_PICTURE``."""
    kept: list[tuple[float, BoxXYWH]] = []
    for score in sorted(scores, key=lambda one: -one.bear):
        box = score.region.box_xywh
        if score.bear < least or len(kept) == PER_PICTURE:
            break
        if all(iou(box, other) <= APART for _, other in kept):
            kept.append((score.bear, box))
    return kept


def small_windows(size_wh: tuple[int, int], rng: np.random.Generator) -> Iterator[BoxXYWH]:
    """Draw squares of 16 to 64 px anywhere in a picture, log-uniform in size."""
    width, height = size_wh
    low, high = np.log(WINDOW_PX)
    for side in np.exp(rng.uniform(low, high, WINDOWS)):
        if side < min(size_wh):
            left, top = rng.uniform(0, width - side), rng.uniform(0, height - side)
            yield left / width, top / height, side / width, side / height


def as_notes(rows: Iterable[Row]) -> list[dict[str, str]]:
    """Return rows of hard negatives as a run's settings keep them; ``from_notes`` reads that."""
    return [{"file": row.file.name, "group": row.group, "licence": row.licence, "note": row.note} for row in rows]


def from_notes(notes: Iterable[Mapping[str, str]], folder: Path) -> tuple[Row, ...]:
    """Read the rows that a run's settings name, without those whose crop is gone."""
    kept = [note for note in notes if OWN.fullmatch(note["file"]) and (folder / note["file"]).is_file()]
    return tuple(
        Row(folder / note["file"], "no_bear", SOURCE, note["group"], note["licence"], note=note["note"])
        for note in kept
    )


def kept_crops(rows: Iterable[Row], run: Path) -> list[Row]:
    """Copy crops of other folders into the run's folder; return the rows there. Raises OptionError, OSError."""
    kept = []
    for row in rows:
        own = run / FOLDER / row.file.name
        if own != row.file:
            own.parent.mkdir(parents=True, exist_ok=True)
            replace_whole(own, row.file.read_bytes())
        kept.append(replace(row, file=own))
    return kept


def remove_others(folder: Path, rows: Iterable[Row]) -> None:
    """Remove crops of earlier trainings, once a run has learned from ``rows``."""
    kept = {row.file.name for row in rows}
    for file in folder.glob("*.png"):
        if OWN.fullmatch(file.name) and file.name not in kept:
            file.unlink(missing_ok=True)


def _write(found: Sequence[HardCrop], licences: Mapping[Path, str], folder: Path) -> Iterator[Row]:
    """Write the crops, highest first, beside those of an earlier training, whose run is still in use."""
    for number, one in enumerate(found):
        data = cv2.imencode(".png", one.crop)[1].tobytes()
        file = folder / f"{number:05d}-{hashlib.sha256(data).hexdigest()[:8]}.png"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        except OSError as error:
            raise OptionError(
                f"{file}: cannot be written ({error.strerror}); free some space, and train again"
            ) from None
        yield Row(
            file, "no_bear", SOURCE, one.file.name, licences[one.file], note=f"hard negative: p(bear) {one.bear:.2f}"
        )

"""The benchmark's crops: a subject as a camera sees it from so far away that it is a given number of pixels long.

The degradation is a camera's and nothing else: the lens and the sensor average the light of an area (INTER_AREA), the
animal stands in another place, the file is JPEG. No darkness, blur, noise or infrared: those are what training adds
(``train.learn.dataloaders``), and a benchmark made of the same code would measure how well it was learned by heart.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from edge.detect.crops import cut
from edge.errors import PictureError
from edge.pictures import read_picture
from edge.schema import WHOLE, BoxXYWH
from edge.schema import Picture as Image
from train.benchmark.subjects import Subjects, kind_of
from train.data.pictures import Picture, is_bear

# Longer side of the subject in pixels, drawn evenly on a logarithmic scale.
BINS: dict[str, tuple[float, float]] = {
    "<27 px": (16.0, 27.0),
    "27-45 px": (27.0, 45.0),
    "45-90 px": (45.0, 90.0),
    ">90 px": (90.0, 160.0),
}
LEAST = 300  # crops a bin, of bears and of others
JPEG_QUALITY = (60, 90)  # what trail and network cameras use
RIM = 0.08  # of the subject's shorter side, blended into the place
AROUND = 2.0  # the place that is rendered, times the subject's longer side
READ = 64  # pictures kept decoded


@dataclass(frozen=True)
class View:
    """One crop of the benchmark and what is known of it."""

    crop: Image  # (size, size, 3) BGR
    bin: str
    bear: bool
    picture: str  # the original picture: crops of one are not independent
    source: str
    kind: str  # animal, toy, or the bear's label
    side_px: float


def bin_of(side_px: float) -> str:
    """The size bin of a box by its longer side in pixels."""
    return next((name for name, (_, most) in list(BINS.items())[:-1] if side_px < most), list(BINS)[-1])


def views(subjects: Subjects, size: int, context: float, seed: int, least: int = LEAST) -> Iterator[View]:
    """Benchmark A's crops, the same for every model with this input ``size`` and crop ``context``.

    Each subject is taken equally often in a bin, so that at least ``least`` crops come together, where its own pixels
    suffice: nothing is enlarged. In bins that only some reach these are taken more often, which changes no crop of
    another bin; where none does, the bin falls short. A picture that cannot be read is left out.
    """
    read = reader()
    for side in (subjects.bears, subjects.others):
        boxes = sum(max(len(picture.boxes), 1) for picture in side)
        copies = -(-least // boxes)
        made: dict[str, Counter[Path]] = {name: Counter() for name in BINS}
        for picture in side:
            for view in of_picture(
                picture, subjects.places, read, size, context, seed, dict.fromkeys(BINS, (0, copies))
            ):
                made[view.bin][picture.file] += 1
                yield view
        more = {
            name: (copies, copies + -(-(least - found.total()) * copies // found.total()))
            for name, found in made.items()
            if 0 < found.total() < least
        }
        for picture in side:
            reached = {name: wanted for name, wanted in more.items() if made[name][picture.file]}
            if reached:
                yield from of_picture(picture, subjects.places, read, size, context, seed, reached)


def of_picture(
    picture: Picture,
    places: Sequence[Picture],
    read: Callable[[Path], Image],
    size: int,
    context: float,
    seed: int,
    wanted: Mapping[str, tuple[int, int]],
) -> Iterator[View]:
    """The crops of one picture in each bin: copies from the first number to before the second. None if unreadable."""
    try:
        image = read(picture.file)
    except PictureError:
        return
    for number, box in enumerate(picture.boxes or (WHOLE,)):
        subject = take(image, box)
        for name, copies in wanted.items():
            low, high = BINS[name]
            for copy in range(*copies):
                # Seeded by what is drawn for, so that adding a picture changes no other one's crops.
                rng = np.random.default_rng(
                    [seed, zlib.crc32(picture.file.name.encode()), number, list(BINS).index(name), copy]
                )
                side_px = float(np.exp(rng.uniform(np.log(low), np.log(high))))
                if side_px > max(subject.shape[:2]):
                    side_px = float(max(subject.shape[:2]))
                    if side_px < low:
                        continue
                place = _place(places, picture, read, rng)
                if place is None:
                    continue
                yield View(
                    crop=render(subject, place, side_px, size, context, rng),
                    bin=name,
                    bear=is_bear(picture.label),
                    picture=str(picture.file),
                    source=picture.source,
                    kind=picture.named or picture.label if is_bear(picture.label) else kind_of(picture),
                    side_px=side_px,
                )


def real_views(pictures: Sequence[Picture], size: int, context: float) -> Iterator[View]:
    """Benchmark B's crops: trail-camera bears, cut at their true boxes."""
    for picture in pictures:
        try:
            image = read_picture(picture.file)
        except PictureError:
            continue
        height, width = image.shape[:2]
        for box in picture.boxes:
            side_px = max(box[2] * width, box[3] * height)
            crop = cut(image, box, size, context)
            name = str(picture.file)
            yield View(crop, bin_of(side_px), True, name, picture.source, picture.named or picture.label, side_px)


def take(image: Image, box_xywh: BoxXYWH) -> Image:
    """The box's own pixels, uint8 (h, w, 3)."""
    height, width = image.shape[:2]
    left, top, w, h = box_xywh
    x, y = min(round(left * width), width - 1), min(round(top * height), height - 1)
    return image[y : max(y + 1, round((top + h) * height)), x : max(x + 1, round((left + w) * width))]


def render(subject: Image, place: Image, side_px: float, size: int, context: float, rng: np.random.Generator) -> Image:
    """``subject`` standing in ``place``, ``side_px`` long, photographed and cut as the alarm cuts a region.

    (size, size, 3). The place keeps its own scale, and is a random window of ``AROUND`` times the subject.
    """
    scale = side_px / max(subject.shape[:2])
    w, h = (max(4, round(length * scale)) for length in (subject.shape[1], subject.shape[0]))
    small = cv2.resize(subject, (w, h), interpolation=cv2.INTER_AREA).astype(np.float32)
    if rng.random() < 0.5:
        small = small[:, ::-1]
    scene = window(place, round(max(w, h) * AROUND), rng).astype(np.float32)
    side = scene.shape[0]
    x, y = (side - w) // 2, (side - h) // 2
    alpha = feather(h, w)
    scene[y : y + h, x : x + w] = alpha * small + (1 - alpha) * scene[y : y + h, x : x + w]
    shown = np.clip(np.rint(scene), 0, 255).astype(np.uint8)
    quality = int(rng.integers(JPEG_QUALITY[0], JPEG_QUALITY[1] + 1))
    packed = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    photograph = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return cut(photograph, (x / side, y / side, w / side, h / side), size, context)


def feather(height: int, width: int) -> np.ndarray:
    """(height, width, 1) weight of the subject, 1 inside and falling towards its rim."""
    rim = max(1.0, RIM * min(height, width))
    across, down = (np.minimum(np.arange(n) + 0.5, n - np.arange(n) - 0.5) for n in (width, height))
    alpha = np.minimum(np.clip(across / rim, 0, 1)[None, :], np.clip(down / rim, 0, 1)[:, None])
    return alpha[..., None].astype(np.float32)


def window(place: Image, side: int, rng: np.random.Generator) -> Image:
    """A random square window (side, side, 3) of a place, mirrored at its borders where it is too small."""
    height, width = place.shape[:2]
    down, right = max(0, side - height), max(0, side - width)
    if down or right:
        place = np.asarray(cv2.copyMakeBorder(place, 0, down, 0, right, cv2.BORDER_REFLECT_101), np.uint8)
        height, width = place.shape[:2]
    x, y = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
    return place[y : y + side, x : x + side].copy()


def reader() -> Callable[[Path], Image]:
    """``read_picture`` that keeps the last pictures: the places are few and asked for again and again."""
    return lru_cache(maxsize=READ)(read_picture)


def _place(
    places: Sequence[Picture], subject: Picture, read: Callable[[Path], Image], rng: np.random.Generator
) -> Image | None:
    """A place for a subject that can be read and is not the subject itself."""
    for index in rng.permutation(len(places)):
        if places[index].file == subject.file:
            continue
        try:
            return read(places[index].file)
        except PictureError:
            continue
    return None

"""The pictures of a card, by camera and in the order they were taken: what each differs from, and which are a burst."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path, PurePath

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.detect.camera_check import is_night
from edge.detect.motion import Grey, Motion, MotionFinder, Seen, blobs, middle, relit, small_grey
from edge.detect.zones import Polygon, drawn
from edge.errors import PictureError
from edge.pictures import decode_picture, jpeg_or_none, jpeg_size, picture_bytes, read_exif
from edge.schema import BoxXYWH, Frame, Picture, Region

# Background of the pictures of one camera: they share a background, as the frames of a film do.
#
# Each picture is held against the median of others of the same light, taken before and after it. Its light is evened
# out by gain and offset (``edge.detect.motion.relit``); what differs by more than a few grey levels, and by more than
# the others do among themselves, is a region (``edge.detect.motion``).


WIDTH_PX = 640  # of the small picture: a bear of 27 px in 1280 is 13 px there, and one of 45 px in 4000 is 7
MAX_OTHERS, MIN_OTHERS = 8, 4  # that a picture is held against
BURST = timedelta(seconds=10)  # pictures within it show the same animals
THRESHOLD = 4.0  # least difference that counts, grey levels; at night a bear is no more than ten darker
SPREADS = 5.0  # and at least so many times what the others differ among themselves
MIN_AREA_PX, MIN_SIDE_PX, NEAR_PX = 8, 4, 3.0  # of the small picture, as in ``MotionSettings``
MAX_REGIONS = 3  # a picture
STRANGE = 0.3  # share of the picture; where more differs, it shares no background with the others
LARGE = 0.6  # of the picture: the look at the whole shows as much
MIN_PX = 28  # longer side of a region in the picture itself: of what is smaller no crop shows a bear
MAX_PLACES = 24  # camera, size and light, that are kept of pictures that arrive: 60 MB

HEAD_BYTES = 1 << 17  # Exif and a thumbnail of 64 kB lie before the size
MAX_IN_BURST = 50  # five a second
REACH = 20  # how many pictures before and after one its neighbours are looked for among
KEPT = 3 * REACH  # small pictures, for all threads together: 20 MB
REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}


@dataclass(frozen=True, slots=True, eq=False)
class Small:
    """A picture as it is kept for its neighbours: at most 0.3 MB for the usual 4:3."""

    grey: NDArray[np.uint8]  # (h, w), w is WIDTH_PX or less
    night: bool  # infrared or dark

    def like(self, other: Small) -> bool:
        """Return True if both have the same size and light."""
        return self.night == other.night and self.grey.shape == other.grey.shape


def small(picture: Picture) -> Small:
    """Make a picture (H, W, 3) BGR small."""
    grey = small_grey(picture, min(WIDTH_PX, picture.shape[1]))
    return Small(np.rint(grey).astype(np.uint8), is_night(picture))


def apart(nearest: Iterable[tuple[datetime | None, Small]], now: datetime | None) -> list[Small]:
    """Choose as many others as are needed, of as many bursts as there are, none of the picture's own if possible.

    What stands in one place for a burst would be in the median too. Without a time each is a burst of its own.
    """
    first, rest, moments = list[Small](), list[Small](), [now] if now else []
    for taken, other in nearest:
        if taken and any(abs(taken - moment) <= BURST for moment in moments):
            rest.append(other)
            continue
        first.append(other)
        moments += [taken] if taken else []
        if len(first) == MAX_OTHERS:
            break
    return (first + rest)[:MAX_OTHERS]


def differing(one: Small, others: Sequence[Small], size_wh: tuple[int, int], seen: Seen | None = None) -> list[BoxXYWH]:
    """Find where a picture of ``size_wh`` pixels differs from the others, the clearest first; at most three places.

    Empty for too few others, and where so much differs that they show another place. What is not ``seen`` (0) differs
    never.
    """
    if len(others) < MIN_OTHERS:
        return []
    grey = one.grey.astype(np.float32)
    ordered = _sorted([_in_its_light(other.grey.astype(np.float32), grey, seen) for other in others])
    half, quarter, last = len(others) // 2, len(others) // 4, len(others) - 1
    spread = (ordered[last - quarter] - ordered[quarter]) / 2
    differs = np.abs(grey - (ordered[half] + ordered[last - half]) / 2)
    foreground = (differs > np.maximum(SPREADS * spread, THRESHOLD)).view(np.uint8)
    if seen is not None:
        foreground &= seen
    if foreground.mean() > STRANGE:
        return []
    # Nothing is joined by nearness to what is large: a bear before a cloud that moved is one of its own.
    boxes = blobs(foreground, seen, min_area_px=MIN_AREA_PX, min_side_px=MIN_SIDE_PX, near_px=NEAR_PX, near_share=0.0)
    height, width = grey.shape
    found = []
    for x, y, w, h in boxes:
        if w * h <= LARGE * grey.size:
            part = differs[y : y + h, x : x + w][foreground[y : y + h, x : x + w] > 0]
            # How clear it is counts more than how large: shadows are large.
            found.append((float(part.mean()) * len(part) ** 0.25, (x / width, y / height, w / width, h / height)))
    found.sort(key=lambda item: (-item[0], item[1]))
    return [_at_least(box, size_wh) for _, box in found[:MAX_REGIONS]]


def _sorted(pictures: list[Grey]) -> list[Grey]:
    """Sort each pixel of some pictures, the darkest first (odd-even transposition sort, Habermann 1972).

    Whole pictures are compared at a time: of eight it takes a sixth of the time of ``np.sort``.
    """
    for turn in range(len(pictures)):
        for n in range(turn % 2, len(pictures) - 1, 2):
            one, other = pictures[n], pictures[n + 1]
            pictures[n], pictures[n + 1] = cv2.min(one, other), cv2.max(one, other)  # type: ignore[assignment]
    return pictures


def _in_its_light(background: Grey, grey: Grey, seen: Seen | None) -> Grey:
    if light := relit(background, grey, seen):
        return np.asarray(np.clip(light[0] * background + light[1], 0, 255), np.float32)
    return background + middle(grey - background, seen)


def _at_least(box: BoxXYWH, size_wh: tuple[int, int]) -> BoxXYWH:
    """Return the box, in the picture itself no smaller than ``LEAST_PX``, around its middle."""
    (x, y, w, h), (width, height) = box, size_wh
    if max(w * width, h * height) >= MIN_PX:
        return box
    across, down = min(MIN_PX / width, 1.0), min(MIN_PX / height, 1.0)
    left, top = x + (w - across) / 2, y + (h - down) / 2
    return min(max(left, 0.0), 1.0 - across), min(max(top, 0.0), 1.0 - down), across, down


class ArrivingMotion:
    """Frame in, ``Motion`` out, for pictures that arrive one by one: held against those of the bursts before.

    Sub-folders are cameras. Until enough have come it is what ``MotionFinder`` finds from one picture to the next.
    """

    def __init__(self, masks: Sequence[Polygon] = ()) -> None:
        self.masks = tuple(masks)
        self._finder = MotionFinder(masks=masks)
        self._places: OrderedDict[object, deque[tuple[datetime, Small]]] = OrderedDict()

    def __call__(self, frame: Frame) -> Motion:
        """Find what differs from the pictures before. Raises PictureError for what is no picture."""
        motion, now = self._finder(frame), small(frame.image)
        key = PurePath(frame.file or "").parent, frame.size_wh, now.night
        known = self._places.setdefault(key, deque(maxlen=MAX_OTHERS + 1))
        self._places.move_to_end(key)
        if len(self._places) > MAX_PLACES:
            self._places.popitem(last=False)
        before = [other for taken, other in known if abs(frame.wall - taken) > BURST][-MAX_OTHERS:]
        if all(abs(frame.wall - taken) > BURST for taken, _ in known):
            known.append((frame.wall, now))
        if len(before) < MIN_OTHERS:
            return motion
        height, width = now.grey.shape
        seen = (~drawn(self.masks, (width, height))).view(np.uint8) if self.masks else None
        regions = tuple(Region(box, "motion") for box in differing(now, before, frame.size_wh, seen))
        return replace(motion, regions=regions or motion.regions)


@dataclass(frozen=True, slots=True)
class Head:
    """Facts of a picture's file that are read before it is decoded."""

    file: Path
    size_wh: tuple[int, int] | None = None  # None: no JPEG, or damaged
    camera: str = ""  # as Exif names it
    taken: datetime | None = None  # by the camera's own clock
    turned: bool = False  # by 90 or 270 degrees, as its Exif says

    @property
    def upright_wh(self) -> tuple[int, int] | None:
        """Return the picture's size as it is shown."""
        return self.size_wh[::-1] if self.size_wh and self.turned else self.size_wh


def read_head(file: Path) -> Head:
    """Read a picture's size, camera and time; all of them unknown where it is no JPEG or cannot be read."""
    try:
        with file.open("rb") as opened:
            data = opened.read(HEAD_BYTES)
    except OSError:  # reported when it is looked at
        return Head(file)
    exif = read_exif(data)
    return Head(file, jpeg_size(data) if jpeg_or_none(data) else None, exif.camera, exif.taken, exif.turned)


class CardPictures:
    """Finds out which pictures are of one camera, and answers for each of them. Any thread may ask.

    Of one camera are five or more pictures of one folder, one size and one camera in the Exif. They are in order of
    their Exif time, or in the order given where they have none. Those of the ``context`` are only compared with.
    """

    def __init__(self, heads: Iterable[Head], context: Collection[Path] = ()) -> None:
        cameras: dict[object, list[Head]] = defaultdict(list)
        for head in heads:
            if head.size_wh:
                cameras[head.file.parent, head.size_wh, head.camera, head.taken is None].append(head)
        self.cameras = [
            sorted(pictures, key=lambda head: head.taken or datetime.min)
            for pictures in cameras.values()
            if len(pictures) > MIN_OTHERS
        ]
        self._places = {head.file: (camera, number) for camera in self.cameras for number, head in enumerate(camera)}
        own = ([head for head in camera if head.file not in context] for camera in self.cameras)
        # With more pictures the camera's clock stands still.
        together = (burst for camera in own for burst in bursts(camera) if len(burst) <= MAX_IN_BURST)
        self._bursts = {file: number for number, burst in enumerate(together) for file in burst}
        # A file is read twice, here and when it is looked at; soon after one another, so that the system still has it.
        self._small = lru_cache(KEPT)(_read_small)

    def in_turn(self, files: Iterable[Path]) -> list[Path]:
        """Return the files camera by camera, those of one in the order they were taken, the others where they are."""
        wanted, turn = dict.fromkeys(files), dict[Path, None]()
        for file in wanted:
            if file not in turn:
                of_one = [head.file for head in self._places[file][0]] if file in self._places else [file]
                turn |= dict.fromkeys(each for each in of_one if each in wanted)
        return list(turn)

    def line(self) -> str | None:
        """Return in one sentence how the pictures of cameras are compared; None where there are none."""
        if not self.cameras:
            return None
        count = sum(map(len, self.cameras))
        whose = "one camera" if len(self.cameras) == 1 else f"{len(self.cameras):,} cameras"
        return (
            f"{count:,} pictures look like those of {whose}: what differs from picture to picture is looked at closer."
        )

    def burst(self, file: Path) -> int | None:
        """Return the number of the burst a picture is of; None without a time, or where the clock stands still."""
        return self._bursts.get(file)

    def regions(self, file: Path, size_wh: tuple[int, int]) -> list[BoxXYWH]:
        """Find where a picture differs from those nearest in time of the same light; empty for what is of no camera.

        ``size_wh`` is that of the picture upright. The same whichever was asked before. Raises PictureError where it
        cannot be read.
        """
        if file not in self._places:
            return []
        camera, number = self._places[file]
        one, own = camera[number], self._small(camera[number])
        around = [*camera[max(number - REACH, 0) : number], *camera[number + 1 : number + 1 + REACH]]
        if one.taken is None:
            around.sort(key=lambda other: abs(self._places[other.file][1] - number))
        else:
            around.sort(key=lambda other: abs((other.taken or datetime.min) - (one.taken or datetime.min)))
        return differing(own, apart(self._alike(own, around), one.taken), size_wh)

    def _alike(self, own: Small, around: Iterable[Head]) -> Iterator[tuple[datetime | None, Small]]:
        """Yield those of the same light, read as they are needed; what cannot be read is passed over."""
        for head in around:
            try:
                other = self._small(head)
            except PictureError:
                continue
            if own.like(other):
                yield head.taken, other


def _read_small(head: Head) -> Small:
    """Read a picture and make it small, decoded no larger than that takes. Raises PictureError."""
    width = head.size_wh[0] if head.size_wh else 0
    by = next((by for by in REDUCED if width >= by * WIDTH_PX), 1)
    return small(decode_picture(picture_bytes(head.file), head.file, REDUCED.get(by, cv2.IMREAD_COLOR)))


def bursts(camera: Iterable[Head]) -> list[list[Path]]:
    """Return the pictures of a camera in the order they were taken, those within ``BURST`` of the first together.

    Those of a clock that stands still are together, however many; those without a time are in none.
    """
    found: list[list[Path]] = []
    began: datetime | None = None
    for head in camera:
        if head.taken is None:
            continue
        if began is None or head.taken - began > BURST:
            found.append([])
            began = head.taken
        found[-1].append(head.file)
    return found

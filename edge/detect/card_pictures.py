"""The pictures of a card, by camera and in the order they were taken: what each differs from, and which are a burst."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import cv2

from edge.detect.card_background import BURST, LEAST_OTHERS, WIDTH_PX, Small, apart, differing, small
from edge.errors import PictureError
from edge.pictures import decode_picture, jpeg_or_none, jpeg_size, picture_bytes, read_exif
from edge.schema import BoxXYWH

HEAD_BYTES = 1 << 17  # Exif and a thumbnail of 64 kB lie before the size
MOST_IN_BURST = 50  # five a second; with more the camera's clock stands still
REACH = 20  # how many pictures before and after one its neighbours are looked for among
KEPT = 3 * REACH  # small pictures, for all threads together: 20 MB
REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}


@dataclass(frozen=True, slots=True)
class Head:
    """Facts of a picture's file that are read before it is decoded."""

    file: Path
    size_wh: tuple[int, int] | None = None  # None: no JPEG, or damaged
    camera: str = ""  # as Exif names it
    taken: datetime | None = None  # by the camera's own clock


def read_head(file: Path) -> Head:
    """Read a picture's size, camera and time; all of them unknown where it is no JPEG or cannot be read."""
    try:
        with file.open("rb") as opened:
            data = opened.read(HEAD_BYTES)
    except OSError:  # said when it is looked at
        return Head(file)
    exif = read_exif(data)
    return Head(file, jpeg_size(data) if jpeg_or_none(data) else None, exif.camera, exif.taken)


class CardPictures:
    """Finds out which pictures are of one camera, and answers for each of them. Any thread may ask.

    Of one camera are five or more pictures of one folder, one size and one camera in the Exif. They are in order of
    their Exif time, or in the order given where they have none.
    """

    def __init__(self, heads: Iterable[Head]) -> None:
        cameras: dict[object, list[Head]] = defaultdict(list)
        for head in heads:
            if head.size_wh:
                cameras[head.file.parent, head.size_wh, head.camera, head.taken is None].append(head)
        self.cameras = [
            sorted(pictures, key=lambda head: head.taken or datetime.min)
            for pictures in cameras.values()
            if len(pictures) > LEAST_OTHERS
        ]
        self._places = {head.file: (camera, number) for camera in self.cameras for number, head in enumerate(camera)}
        self._bursts = {file: number for number, burst in enumerate(_bursts(self.cameras)) for file in burst}
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
        """Say in one sentence how the pictures of cameras are compared; None where there are none."""
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


def _bursts(cameras: Iterable[list[Head]]) -> Iterator[list[Path]]:
    """Yield the pictures that lie within ``BURST`` of the first of them; none of a clock that stands still."""
    for camera in cameras:
        bursts: list[list[Path]] = []
        began: datetime | None = None
        for head in camera:
            if head.taken is None:
                continue
            if began is None or head.taken - began > BURST:
                bursts.append([])
                began = head.taken
            bursts[-1].append(head.file)
        yield from (burst for burst in bursts if len(burst) <= MOST_IN_BURST)

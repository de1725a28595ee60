"""Examples to train on: pictures are decoded once before training starts, and their crops are kept in memory.

Broken pictures are skipped with a warning.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from edge.detect.crops import square
from edge.errors import CatalogError, PictureError
from edge.pictures import read_picture
from edge.schema import WHOLE, BoxXYWH, Picture
from train.data.pictures import Catalog, check_trainable, table_digest
from train.data.pictures import Picture as Row
from train.data.split import Split, name_of

log = logging.getLogger(__name__)

T = TypeVar("T")

Track = Callable[[Iterable[T], str], Iterator[T]]  # a progress bar around the items

# A crop's side over the box's longer side; the random-resized crop then takes 35-100 % of its area, so that training
# crops are shifted and partial, as motion regions are.
BOX_CONTEXT = 1.5
# Longest shorter side in the cache, twice the network's input: 35 % of its area are 265 pixels square.
MAX_SHORTER_PX = 448
CACHE_BYTES = 3 << 30
MAX_BROKEN_SHARE = 0.10  # above it the card or the copy is broken, not single pictures
MAX_NAMED = 3  # broken pictures that are named; the rest is counted


@dataclass(frozen=True)
class Example:
    """One training example: a picture, or one box of it."""

    file: Path
    label: str
    box_xywh: BoxXYWH
    # Show a random part each time: of cameras' frames without a bear. The cache has the same pixels for both.
    window: bool = field(default=False, compare=False)


def examples_of(rows: Sequence[Row], windows: bool = False) -> list[Example]:
    """Return one example for each box; without boxes, one for the whole picture.

    ``windows``: show random parts of cameras' frames without a bear.
    """
    return [
        Example(row.file, row.label, box, windows and row.label == "no_bear" and row.of_trail_camera)
        for row in rows
        for box in (row.boxes or (WHOLE,))
    ]


class PictureCache:
    """The pixels of examples, up to ``limit`` bytes (by default 3 GiB, or half of the memory if that is less)."""

    def __init__(self, limit: int | None = None):
        self.limit, self.held = cache_bytes() if limit is None else limit, 0
        self._kept: dict[Example, Picture] = {}

    def __call__(self, example: Example) -> Picture:
        """Return the example, uint8 (H, W, 3) BGR: the whole picture, or a square ``BOX_CONTEXT`` times its box."""
        kept = self._kept.get(example)
        return self._keep(example, read_picture(example.file)) if kept is None else kept

    def fill(self, row: Row) -> None:
        """Decode one picture and keep its examples. Raises PictureError if it is broken."""
        image = read_picture(row.file)
        for example in examples_of([row]):
            self._keep(example, image)

    def _keep(self, example: Example, image: Picture) -> Picture:
        pixels = cut_example(image, example.box_xywh)
        if example not in self._kept and self.held + pixels.nbytes <= self.limit:
            self._kept[example] = pixels
            self.held += pixels.nbytes
        return pixels


def cut_example(image: Picture, box_xywh: BoxXYWH) -> Picture:
    """Cut an example out of a picture, uint8 BGR, at most ``MAX_SHORTER_PX`` on the shorter side."""
    if box_xywh != WHOLE:
        x, y, w, h = square(box_xywh, (image.shape[1], image.shape[0]), BOX_CONTEXT)
        image = image[y : y + h, x : x + w].copy()  # a view would keep the whole picture in memory
    scale = MAX_SHORTER_PX / min(image.shape[:2])
    if scale < 1:
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    return image


def cache_bytes() -> int:
    """Return the limit of the cache: half of the machine's memory, at most 3 GiB."""
    try:
        return min(CACHE_BYTES, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
    except (AttributeError, ValueError, OSError):  # Windows, and other systems without these names
        return CACHE_BYTES // 2


def skip_broken(
    catalog: Catalog, split: Split, cache: PictureCache, track: Track[tuple[str, Row]]
) -> tuple[Catalog, Split]:
    """Remove pictures that cannot be decoded from the catalogue and its parts; they join its ``left_out``.

    Decodes every picture of the three parts once; training and tuning examples stay in ``cache``. One warning names the
    broken pictures. Raises CatalogError if more than ``MAX_BROKEN_SHARE`` of all are broken, or too few are left.
    """
    rows = [(part, row) for part, some in split.items() for row in some]
    broken: list[Row] = []
    for part, row in track(rows, "reading the pictures"):
        try:
            if part == "test":
                read_picture(row.file)
            else:
                cache.fill(row)
        except PictureError:
            broken.append(row)
    if not broken:
        return catalog, split
    out = set(broken)
    names = sorted(name_of(row, catalog.root) for row in broken)
    named = ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")
    what = f"{len(names)} of {len(rows)} pictures are damaged or empty ({named})"
    if len(names) > MAX_BROKEN_SHARE * len(rows):
        raise CatalogError(f"{catalog.root}: {what}: too many; copy the pictures again")
    log.warning("%s: %s; training skips them: copy them again, or delete them", catalog.root, what)
    kept = tuple(row for row in catalog.pictures if row not in out)
    left = replace(
        catalog, pictures=kept, digest=table_digest(kept, catalog.root), left_out=(*catalog.left_out, *broken)
    )
    check_trainable(left)
    return left, {part: [row for row in some if row not in out] for part, some in split.items()}

"""What an offered picture has that its copy in the table lacks: a label, a licence that ships, more pixels, boxes."""

from __future__ import annotations

import re

from edge.schema import BoxXYWH
from train.catalog.licences import find_licence
from train.catalog.read import UNSORTED
from train.catalog.table import Values
from train.gather.found import Found
from train.gather.labels import known_label
from train.gather.verify import Checked

LARGER = 1.5  # times the pixels that make the same picture a better one

_SIZE = re.compile(r"\b(\d+)x(\d+)\b")


def labels_differ(found: Found, there: Values) -> bool:
    """Whether both have a label, and not the same one by whatever name."""
    its_label, label = known_label(there["label"]), known_label(found.label)
    return UNSORTED not in (its_label, label) and its_label != label


def brings_label(found: Found, there: Values) -> bool:
    """Whether nobody had labelled the picture that is there, and now it has a label."""
    return known_label(there["label"]) == UNSORTED != known_label(found.label)


def brings_licence(found: Found, there: Values) -> bool:
    """Whether a model may be passed on with the offered copy and not with the one that is there."""
    return find_licence(found.licence, found.licence_url).ships and not _ships(there)


def is_better(found: Found, checked: Checked, there: Values) -> bool:
    """Whether a copy should take the place of the one that is there: by licence, else by size."""
    if find_licence(found.licence, found.licence_url).ships != _ships(there):
        return brings_licence(found, there)
    size = _SIZE.search(there.get("checks") or "")
    pixels = int(size[1]) * int(size[2]) if size else 0
    return bool(pixels) and checked.size_wh[0] * checked.size_wh[1] >= LARGER * pixels


def boxes_inside(found: Found, checked: Checked) -> list[tuple[str, BoxXYWH]]:
    """Boxes as fractions, cut at the picture's edge; what lies outside is no box."""
    w, h = checked.size_wh
    scaled = [(name, (box[0] / w, box[1] / h, box[2] / w, box[3] / h)) for name, box in found.boxes_px]
    boxes = []
    for name, (left, top, width, height) in (*found.boxes, *scaled):
        x1, y1 = max(left, 0.0), max(top, 0.0)
        x2, y2 = min(left + width, 1.0), min(top + height, 1.0)
        if x2 - x1 > 1e-4 and y2 - y1 > 1e-4:
            boxes.append((name, (x1, y1, x2 - x1, y2 - y1)))
    return boxes


def _ships(there: Values) -> bool:
    return find_licence(there.get("licence"), there.get("licence_url")).ships

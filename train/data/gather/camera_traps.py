"""Camera-trap sets in COCO Camera Traps JSON, as LILA BC publishes them: places are groups, boxes are kept.

Format: https://lila.science/coco-camera-traps. The pictures are in a folder, or at an address.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edge.errors import CatalogError
from edge.schema import BoxXYWH
from train.data.gather.offers import Offer, parsed
from train.data.licences import NOT_STATED
from train.data.pictures import is_bear

Boxes = tuple[tuple[str, BoxXYWH], ...]


@dataclass(frozen=True)
class TrapSet:
    """One set: its pictures by id, the annotations of each, and the categories' names."""

    name: str
    images: Mapping[str, dict[str, Any]]
    annotations: Mapping[str, list[dict[str, Any]]]  # by the picture's id
    categories: Mapping[str, str]  # name by id

    def counts(self) -> dict[str, int]:
        """Count the pictures of each category, the most first."""
        counted: dict[str, int] = defaultdict(int)
        for some in self.annotations.values():
            for name in {self.category(each) for each in some}:
                counted[name] += 1
        return dict(sorted(counted.items(), key=lambda pair: -pair[1]))

    def category(self, annotation: Mapping[str, Any]) -> str:
        """Return the category's name of an annotation."""
        return self.categories.get(str(annotation.get("category_id")), "")


def read_set(path: Path) -> TrapSet:
    """Read a set's JSON, or a zip with this one file. Raises CatalogError if it is none."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                inside = [name for name in packed.namelist() if name.lower().endswith(".json")]
                if len(inside) != 1:
                    raise CatalogError(f"{path}: has {len(inside)} JSON files, and one is expected; unpack it first")
                found = json.loads(packed.read(inside[0]))
        else:
            found = json.loads(path.read_bytes())
        images = {str(image["id"]): image for image in found["images"] if image["file_name"]}
        categories = {str(each["id"]): str(each["name"]).strip().lower() for each in found["categories"]}
        seen: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for each in found["annotations"]:
            seen[str(each["image_id"])].append(each)
    except FileNotFoundError:
        raise CatalogError(f"{path}: no such file; give the set's JSON") from None
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
        if isinstance(error, CatalogError):
            raise
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)[:80]
        raise CatalogError(
            f"{path}: not COCO Camera Traps JSON ({what}); it has images, annotations and categories"
        ) from None
    return TrapSet(path.name.split(".")[0], images, dict(seen), categories)


def from_set(
    traps: TrapSet,
    labels: Mapping[str, str],
    *,
    limit: int,
    images: Path | None = None,
    base_url: str = "",
    licence: str = NOT_STATED,
    licence_url: str = "",
    page: str = "",
) -> Iterator[Offer]:
    """Yield at most ``limit`` pictures of the categories in ``labels`` (category → label), evenly over labels.

    Within a label the places take turns, so that no camera dominates; the choice is the same each time. A picture with
    several categories has a bear's label if there is one among them, else the first; its boxes are those of its label.
    Give one of ``images`` (a folder) and ``base_url``.
    """
    by_label: dict[str, dict[str, list[tuple[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for number, image in traps.images.items():
        names = [traps.category(each) for each in traps.annotations.get(number, ())]
        known = sorted((name for name in names if name in labels), key=lambda name: not is_bear(labels[name]))
        if known and not image.get("corrupt"):
            by_label[labels[known[0]]][str(image.get("location", ""))].append((number, known[0]))
    turns = [_in_turn(by_label[label]) for label in sorted(by_label)]
    picked = [each for round_ in zip_longest(*turns) for each in round_ if each is not None]
    given = 0

    def picture(pick: tuple[str, str]) -> Iterator[Offer]:
        number, name = pick
        image = traps.images[number]
        file = str(image["file_name"]).replace("\\", "/")
        if ".." in file.split("/") or file.startswith("/"):
            raise CatalogError(f"{traps.name}: file_name {file!r} leads out of the set's folder; correct the JSON")
        boxes, boxes_px = _boxes(traps, number, labels, labels[name])
        yield Offer(
            label=labels[name],
            source=traps.name,
            group=str(image.get("location", "")),
            name=file.rsplit(".", 1)[0],
            url="" if images else f"{base_url.rstrip('/')}/{quote(file)}",
            file=images / file if images else None,
            page=page,
            author=str(image.get("rights_holder") or ""),
            licence=licence,
            licence_url=licence_url,
            taken_at=str(image.get("datetime") or image.get("date_captured") or "").replace(" ", "T"),
            note=name,
            boxes=boxes,
            boxes_px=boxes_px,
            trail_camera=True,
            fixed_camera=True,
        )

    for found in parsed(picked, picture, traps.name):
        yield found
        given += found.failed is None
        if given >= limit:
            return


def _in_turn(places: Mapping[str, list[tuple[str, str]]]) -> list[tuple[str, str]]:
    """Return one picture of each place, then the next of each, in a fixed random order."""
    shuffled = [sorted(places[place], key=lambda each: _shuffle(each[0])) for place in sorted(places, key=_shuffle)]
    return [each for round_ in zip_longest(*shuffled) for each in round_ if each is not None]


def _shuffle(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def _boxes(traps: TrapSet, number: str, labels: Mapping[str, str], label: str) -> tuple[Boxes, Boxes]:
    """Return the boxes of a picture's label: as fractions if the set has the picture's size, else in pixels."""
    image = traps.images[number]
    w, h = float(image.get("width") or 0), float(image.get("height") or 0)
    boxes: list[tuple[str, BoxXYWH]] = []
    for each in traps.annotations[number]:
        name, box = traps.category(each), each.get("bbox")
        if labels.get(name) == label and isinstance(box, list) and len(box) == 4:
            left, top, wide, high = (float(value) for value in box)
            if wide > 0 and high > 0:
                boxes.append((name, (left, top, wide, high)))
    if w > 0 and h > 0:
        return tuple((name, (b[0] / w, b[1] / h, b[2] / w, b[3] / h)) for name, b in boxes), ()
    return (), tuple(boxes)

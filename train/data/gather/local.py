"""Local pictures: a folder, a camera's card with its bursts, frames of clips. They are copied, never moved."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np

from edge.errors import CatalogError, PictureError, SourceError
from edge.pictures import EXIF_IFD, WANTED, Exif, exif_of, find_pictures, moment, picture_bytes, words
from edge.record.clip import jpeg
from edge.schema import BoxXYWH
from train.data.decisions import digest_of
from train.data.gather.offers import LEFT_OUT_FOLDER, Offer, need, parsed
from train.data.licences import NOT_STATED, OWN
from train.data.pictures import UNSORTED, is_bear

log = logging.getLogger(__name__)

MISSING = 0.05  # share of the frames in a clip's head that may be missing: the head is not exact
QUALITY = 95  # of a frame's JPEG


def from_clip(
    clip: Path,
    label: str,
    *,
    every_s: float = 1.0,
    most: int = 200,
    source: str = "",
    licence: str = NOT_STATED,
    author: str = "",
    note: str = "",
) -> Iterator[Offer]:
    """Yield at most ``most`` frames of a clip, ``every_s`` seconds apart, the first one first. A clip is a group.

    Warns if a clip ends long before its head says. Raises SourceError if the clip cannot be read.
    """
    if not clip.is_file():
        raise SourceError(f"{clip}: no such clip")
    digest = digest_of(clip)
    reader = cv2.VideoCapture(str(clip))
    try:
        fps = reader.get(cv2.CAP_PROP_FPS)
        if not reader.isOpened() or not 0 < fps < 1000:
            raise SourceError(f"{clip}: not a clip this program can read; try `ffmpeg -i {clip.name} clip.mp4`")
        frames = reader.get(cv2.CAP_PROP_FRAME_COUNT)
        number, given, next_s = 0, 0, 0.0
        while given < most and reader.grab():
            at_s = number / fps
            if at_s + 1e-9 < next_s:
                number += 1
                continue
            next_s = at_s + every_s
            ok, frame = reader.retrieve()
            if not ok:
                break
            number += 1
            given += 1
            yield Offer(
                label=label,
                source=source or clip.resolve().parent.name,
                group=clip.stem,
                name=f"{clip.stem}-{at_s:08.2f}",
                data=partial(jpeg, np.asarray(frame, np.uint8), QUALITY),
                known_by=f"{clip.name}#sha256={digest[:16]}&t={at_s:.2f}",
                author=author,
                licence=licence,
                note=note,
                fixed_camera=True,
            )
        if not number:
            raise SourceError(f"{clip}: no frame can be read from it; copy it again")
        if given < most and number < frames * (1 - MISSING) - 1:
            log.warning("%s: ends after %d of %.0f frames; copy it again for the rest", clip, number, frames)
    finally:
        reader.release()


DATE_TIME = 0x0132  # time of the last change; many programs write no other time


def read_exif(data: bytes) -> Exif:
    """Return the Exif of any format that Pillow reads; empty if there is none or it is damaged.

    ``edge.pictures`` reads only what cameras write.
    """
    pil = need("PIL.Image")
    try:
        with pil.open(io.BytesIO(data)) as opened:
            found = opened.getexif()
            entries = (*found.items(), *found.get_ifd(EXIF_IFD).items())
    except Exception:  # Pillow's readers raise whatever damaged data leads to
        return Exif()
    texts = {tag: _text(value) for tag, value in entries if tag in WANTED or tag == DATE_TIME}
    exif = exif_of(texts)
    return exif if exif.taken else replace(exif, taken=moment(texts.get(DATE_TIME, "")))


def _text(value: Any) -> str:
    return words(
        value if isinstance(value, bytes) else str(value or "").encode("latin-1", "replace")
    )  # as Pillow reads


BURST_S = 60.0  # a burst is pictures of one camera with shorter gaps

_DCF = re.compile(r"\d{3}([A-Z0-9_]{5})", re.IGNORECASE)  # 100RECNX: the Design rule for Camera File system's folders

Track = Callable[[Iterable[Path], str], Iterator[Path]]


def from_folder(
    folder: Path,
    label: str | Callable[[str], tuple[str, str]],
    *,
    source: str = "",
    group: str = "",
    licence: str = NOT_STATED,
    author: str = "",
    note: str = "",
    trail_camera: bool = False,
) -> Iterator[Offer]:
    """Yield the pictures of a folder and its sub-folders, as one source.

    ``label``: of all of them; or a function from a sub-folder's name to a label and a note, which raises CatalogError
    for a name it does not know. Deeper sub-folders are groups, unless ``group`` names one.
    """
    source = source or folder.resolve().name
    for file in _files(folder):
        inside = file.relative_to(folder)
        parts = inside.parent.parts
        if callable(label):
            if not parts:
                raise CatalogError(
                    f"{file}: is in no sub-folder that names its label; move it into one, or give --label"
                )
            (its_label, its_note), groups = label(parts[0]), parts[1:]
        else:
            its_label, its_note, groups = label, note, parts
        yield Offer(
            label=its_label,
            source=source,
            group=group or "/".join(groups),
            name="-".join((*groups, inside.stem)),
            file=file,
            author=author,
            licence=licence,
            taken_at=_exif(file).taken_at,
            note=note or its_note,
            trail_camera=trail_camera,
            fixed_camera=True,  # possibly; copies inside one source do little harm
        )


@dataclass(frozen=True)
class Shot:
    """One picture on a card."""

    file: Path
    inside: Path  # relative to the card
    exif: Exif
    camera: str


def from_card(
    card: Path,
    label: str = UNSORTED,
    *,
    camera: str = "",
    licence: str = OWN,
    author: str = "",
    place: str = "",
    note: str = "",
    track: Track = lambda files, _: iter(files),
) -> Iterator[Offer]:
    """Yield a camera's pictures: the camera is the source, each burst a group.

    The camera's name is ``camera``, else from Exif (make, model, serial), else its folder on the card (100RECNX →
    RECNX), else the card's. Raises PictureError if there are no pictures.
    """
    shots = [_shot(file, card, camera) for file in track(_files(card), "reading the card")]
    for shot, group in bursts(shots):
        yield Offer(
            label=label,
            source=shot.camera,
            group=group,
            name="-".join((*(part for part in shot.inside.parent.parts if part.upper() != "DCIM"), shot.inside.stem)),
            file=shot.file,
            author=author,
            licence=licence,
            taken_at=shot.exif.taken_at,
            place=place,
            note=note,
            trail_camera=True,
            fixed_camera=True,
        )


def bursts(shots: Iterable[Shot]) -> Iterator[tuple[Shot, str]]:
    """Yield each picture with its burst: same camera, at most ``BURST_S`` after the picture before.

    A burst is named by its first picture's time. Pictures without a time are one group for each folder.
    """
    last: dict[str, tuple[datetime, str]] = {}
    for shot in sorted(shots, key=lambda shot: (shot.camera, shot.exif.taken or datetime.min, str(shot.inside))):
        taken = shot.exif.taken
        if taken is None:
            folder = shot.inside.parent.as_posix()
            yield shot, "no time" if folder == "." else f"no time/{folder}"
            continue
        before = last.get(shot.camera)
        if before and taken - before[0] <= timedelta(seconds=BURST_S):
            group = before[1]
        else:
            group = taken.isoformat(timespec="seconds")
        last[shot.camera] = taken, group
        yield shot, group


def _shot(file: Path, card: Path, camera: str) -> Shot:
    inside, exif = file.relative_to(card), _exif(file)
    makers = [match[1] for part in inside.parent.parts if (match := _DCF.fullmatch(part))]
    return Shot(file, inside, exif, camera or exif.camera or (makers[-1] if makers else card.resolve().name))


def _exif(file: Path) -> Exif:
    try:
        return read_exif(picture_bytes(file))
    except PictureError:  # reported when it is imported
        return Exif()


def _files(folder: Path) -> list[Path]:
    """Return the folder's pictures, sorted, without hidden files and folders.

    Raises PictureError if there are none.
    """
    if not folder.is_dir():
        raise PictureError(f"{folder}: no such folder; give the folder or card with the pictures")
    return [
        file
        for file in find_pictures([folder])
        if not any(part.startswith(".") or part == LEFT_OUT_FOLDER for part in file.relative_to(folder).parts)
    ]


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

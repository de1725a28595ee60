"""Pictures that lie here already: a folder, and a camera's card with its bursts. They are copied, never moved."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from edge.errors import CatalogError, PictureError
from edge.pictures import Exif, find_pictures, picture_bytes
from train.catalog.licences import NOT_STATED, OWN
from train.catalog.read import UNSORTED
from train.gather.exif import read_exif
from train.gather.found import Found
from train.gather.tally import LEFT_OUT_FOLDER

BURST_S = 60.0  # pictures of one camera that follow each other closer are one burst

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
) -> Iterator[Found]:
    """The pictures of a folder, through and through, as one source.

    ``label``: of all of them; or a function from the name of the sub-folder that a picture lies in to its label
    and a note, which raises CatalogError for one it does not know. Deeper sub-folders are groups, unless ``group``
    names one.
    """
    source = source or folder.resolve().name
    for file in _files(folder):
        inside = file.relative_to(folder)
        parts = inside.parent.parts
        if callable(label):
            if not parts:
                raise CatalogError(
                    f"{file}: lies in no sub-folder that names its label; move it into one, or give --label"
                )
            (its_label, its_note), groups = label(parts[0]), parts[1:]
        else:
            its_label, its_note, groups = label, note, parts
        yield Found(
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
            fixed_camera=True,  # it may be one's; copies inside one source do little harm
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
) -> Iterator[Found]:
    """A camera's pictures: the camera is the source, each burst a group.

    The camera is called ``camera``, else as Exif says (make, model, serial), else by its folder on the card
    (100RECNX → RECNX), else like the card. Raises PictureError where there are no pictures.
    """
    shots = [_shot(file, card, camera) for file in track(_files(card), "reading the card")]
    for shot, group in bursts(shots):
        yield Found(
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


def bursts(shots: Iterable[Shot], gap_s: float = BURST_S) -> Iterator[tuple[Shot, str]]:
    """Each picture with its burst: same camera, no more than ``gap_s`` after the one before.

    A burst is named by its first picture's time. Pictures without a time are one group for each folder.
    """
    last: dict[str, tuple[datetime, str]] = {}
    named: Counter[str] = Counter()
    for shot in sorted(shots, key=lambda shot: (shot.camera, shot.exif.taken or datetime.min, str(shot.inside))):
        taken = shot.exif.taken
        if taken is None:
            folder = shot.inside.parent.as_posix()
            yield shot, "no time" if folder == "." else f"no time/{folder}"
            continue
        before = last.get(shot.camera)
        if before and taken - before[0] <= timedelta(seconds=gap_s):
            group = before[1]
        else:
            group = taken.isoformat(timespec="seconds")
            named[f"{shot.camera}/{group}"] += 1
        last[shot.camera] = taken, group
        yield shot, group


def _shot(file: Path, card: Path, camera: str) -> Shot:
    inside, exif = file.relative_to(card), _exif(file)
    makers = [match[1] for part in inside.parent.parts if (match := _DCF.fullmatch(part))]
    return Shot(file, inside, exif, camera or exif.camera or (makers[-1] if makers else card.resolve().name))


def _exif(file: Path) -> Exif:
    try:
        return read_exif(picture_bytes(file))
    except PictureError:  # said when it is looked at
        return Exif()


def _files(folder: Path) -> list[Path]:
    """The folder's pictures, sorted, without hidden files and folders. Raises PictureError where there are none."""
    if not folder.is_dir():
        raise PictureError(f"{folder}: no such folder; give the folder or card that holds the pictures")
    return [
        file
        for file in find_pictures([folder])
        if not any(part.startswith(".") or part == LEFT_OUT_FOLDER for part in file.relative_to(folder).parts)
    ]

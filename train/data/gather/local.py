"""Local pictures: a folder, a camera's card with its bursts, frames of clips. They are copied, never moved."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.errors import CatalogError, PictureError, SourceError
from edge.pictures import EXIF_IFD, WANTED, Exif, exif_of, find_pictures, moment, picture_bytes, words
from edge.record.clip import jpeg
from train.data.decisions import digest_of
from train.data.gather.offers import LEFT_OUT_FOLDER, Offer, need
from train.data.labels import UNSORTED
from train.data.licences import NOT_STATED, OWN

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


def bursts(shots: Iterable[Shot], gap_s: float = BURST_S) -> Iterator[tuple[Shot, str]]:
    """Yield each picture with its burst: same camera, at most ``gap_s`` after the picture before.

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
        if before and taken - before[0] <= timedelta(seconds=gap_s):
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

"""Frames out of video clips, every few seconds; each clip is a group, for its frames look alike."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from edge.errors import SourceError
from edge.schema import Picture
from train.catalog.licences import NOT_STATED
from train.gather.found import Found

log = logging.getLogger(__name__)

MISSING = 0.05  # of the frames that a clip's head tells of; a head may be out by a few
QUALITY = 95  # of the JPEG a frame becomes


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
) -> Iterator[Found]:
    """At most ``most`` frames of a clip, ``every_s`` seconds apart, the first one first.

    Warns where a clip ends long before its head says. Raises SourceError where the clip cannot be read.
    """
    if not clip.is_file():
        raise SourceError(f"{clip}: no such clip")
    digest = _digest(clip)
    reader = cv2.VideoCapture(str(clip))
    try:
        fps = reader.get(cv2.CAP_PROP_FPS)
        if not reader.isOpened() or not 0 < fps < 1000:
            raise SourceError(f"{clip}: not a clip this program can read; try `ffmpeg -i {clip.name} clip.mp4`")
        told = reader.get(cv2.CAP_PROP_FRAME_COUNT)
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
            yield Found(
                label=label,
                source=source or clip.resolve().parent.name,
                group=clip.stem,
                name=f"{clip.stem}-{at_s:08.2f}",
                data=partial(encode, np.asarray(frame, np.uint8)),
                known_by=f"{clip.name}#sha256={digest[:16]}&t={at_s:.2f}",
                author=author,
                licence=licence,
                note=note,
                fixed_camera=True,
            )
        if not number:
            raise SourceError(f"{clip}: no frame can be read from it; copy it again")
        if given < most and number < told * (1 - MISSING) - 1:
            log.warning("%s: breaks off after %d of %.0f frames; copy it again for the rest", clip, number, told)
    finally:
        reader.release()


def encode(frame: Picture) -> bytes:
    """A frame, uint8 (H, W, 3) BGR, as JPEG."""
    ok, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not ok:
        raise SourceError("a frame cannot be written as JPEG")
    return data.tobytes()


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()

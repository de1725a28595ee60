"""A card of pictures as it comes back from the field, and ``classify`` on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from tests.helpers.command import bear_alarm
from tests.helpers.tiny import BEAR_COLOUR, plain

Colour = tuple[int, int, int]
CUT = "cut"  # in place of a colour: a picture whose end is missing


def picture(colour: Colour, height: int = 90, width: int = 120) -> bytes:
    """A JPEG of one colour."""
    return cv2.imencode(".jpg", plain(colour, height, width))[1].tobytes()


def card(folder: Path, colours: dict[str, Any], height: int = 90, width: int = 120) -> Path:
    """A folder with a picture of each name and colour."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, colour in colours.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        data = picture(BEAR_COLOUR)[:-200] if colour == CUT else picture(colour, height, width)
        (folder / name).write_bytes(data)
    return folder


def clip(file: Path, colours: Sequence[Colour], fps: float = 10.0) -> Path:
    """A film with a frame of each colour."""
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), fps, (120, 90))
    for colour in colours:
        writer.write(plain(colour))
    writer.release()
    return file


def classified(*words: object) -> tuple[int, str, str]:
    """``bear-alarm classify WORDS``: exit code, standard output, standard error."""
    ran = bear_alarm("classify", *words)
    return ran.returncode, ran.stdout, ran.stderr


def results_of(file: Path) -> dict[str, Any]:
    """The images of a MegaDetector file by name."""
    return {image["file"]: image for image in json.loads(file.read_bytes())["images"]}

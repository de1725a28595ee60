"""Painted pictures for practice, with brown furry blobs as bears. They teach the steps, and nothing about bears.

    folder/brown_bear/camera-1/bear-0.jpg …     folder/no_bear/camera-1/rock-0.jpg, empty-0.jpg …

One bear is among the pictures without bears, as happens with gathered labels.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from edge.errors import OptionError
from edge.files import replace_whole
from edge.schema import Picture

CAMERAS, EACH = 6, 6  # pictures of each kind at each camera
SIDE_PX = 96
MEADOW, FUR, ROCK = (60, 120, 70), (35, 60, 95), (180, 90, 40)  # BGR
KINDS = {"bear": ("brown_bear", FUR), "rock": ("no_bear", ROCK), "empty": ("no_bear", None)}
MISFILED = "no_bear/camera-1/hidden-bear.jpg"
CLIP_WH, CLIP_FPS, COMES_S, CLIP_S = (640, 360), 10, 1.5, 6.0
WALKER_PX, STEP_PX = 120, 8
# Short and small, and without ImageNet's bears: painted ones look different.
RECIPE = {
    "epochs": 1, "per_epoch": 512, "size": 64, "frozen": 0.0, "distill": 0.0, "untouched": 0.0,
    "lr_head": 3e-3, "lr_body": 1e-3,
}  # fmt: skip


def practice_pictures(folder: Path) -> Path:
    """Paint the pictures into a new or empty folder, or find them there; return it. Raises OptionError for others."""
    if (folder / MISFILED).is_file():
        return folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(f"{folder}: has other files; give the practice pictures a folder of their own")
    for camera in range(1, CAMERAS + 1):
        rng = np.random.default_rng(camera)
        for kind, (label, colour) in KINDS.items():
            for number in range(EACH):
                _save(paint(rng, colour), folder / label / f"camera-{camera}" / f"{kind}-{number}.jpg")
    _save(paint(np.random.default_rng(99), FUR), folder / MISFILED)
    return folder


def practice_recipe(file: Path) -> Path:
    """Write the recipe for these pictures, for `bear-alarm train --recipe`; return the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_whole(file, json.dumps(RECIPE, indent=1).encode())
    return file


def practice_clip(file: Path) -> Path:
    """Write a clip (.avi) of a meadow, where a practice bear walks from 1.5 s on; return it."""
    rng = np.random.default_rng(7)
    width, height = CLIP_WH
    still = meadow(rng, width, height)
    walker, mask = paint(rng, FUR, WALKER_PX).astype(np.float32), _blob(WALKER_PX, 0.38, 0.28)
    file.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), CLIP_FPS, CLIP_WH)
    for number in range(round(CLIP_S * CLIP_FPS)):
        frame = still + rng.normal(0, 2, still.shape)
        steps = number - round(COMES_S * CLIP_FPS)
        if steps >= 0:
            part = frame[150 : 150 + WALKER_PX, 40 + STEP_PX * steps : 40 + STEP_PX * steps + WALKER_PX]
            part += (walker - part) * mask[..., None]
        writer.write(np.clip(frame, 0, 255).astype(np.uint8))
    writer.release()
    return file


def paint(rng: np.random.Generator, colour: tuple[int, int, int] | None, side: int = SIDE_PX) -> Picture:
    """Paint a meadow, uint8 (side, side, 3) BGR, with a furry blob of one colour in it, or with nothing."""
    picture = meadow(rng, side, side)
    if colour:
        mask = _blob(side, 0.34, 0.24, rng)
        picture += (rng.normal(colour, 14, picture.shape) - picture) * mask[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8)


def meadow(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Paint green noise, float (height, width, 3) BGR."""
    return np.asarray(cv2.GaussianBlur(rng.normal(MEADOW, 18, (height, width, 3)), (0, 0), 1.2))


def _blob(side: int, half_width: float, half_height: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """Draw an ellipse of ones in zeros, float32 (side, side), moved and rotated by ``rng``; axes as shares of it."""
    mask = np.zeros((side, side), np.float32)
    middle = rng.uniform(0.4, 0.6, 2) if rng else (0.5, 0.5)
    turn = float(rng.uniform(-15, 15)) if rng else 0.0
    centre, axes = (int(middle[0] * side), int(middle[1] * side)), (int(half_width * side), int(half_height * side))
    return np.asarray(cv2.ellipse(mask, centre, axes, turn, 0, 360, 1.0, -1))


def _save(picture: Picture, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_whole(file, cv2.imencode(".jpg", picture)[1].tobytes())

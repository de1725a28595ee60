"""A painted meadow, an animal that walks through it, and what is found there: what the motion tests share."""

from datetime import UTC, datetime
from functools import cache

import cv2
import numpy as np

from edge.detect.tracker import iou
from edge.schema import Frame

WALL = datetime(2026, 1, 1, tzinfo=UTC)
SIZE_WH = (1280, 720)


@cache
def meadow():
    """A textured scene (720, 1280, 3), larger than life by half so that it can be panned over."""
    noise = np.random.default_rng(1).integers(0, 255, (1080, 1920, 3), np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 9).astype(np.float32)
    return ((smooth - smooth.min()) / np.ptp(smooth) * 140 + 60).astype(np.uint8)


def frames(pictures, fps=10.0, start=0.0):
    return [Frame(picture, start + i / fps, WALL, "test", i) for i, picture in enumerate(pictures)]


NOISE = np.random.default_rng(2).normal(128, 4.0, (800, 1400, 3)).astype(np.uint8)


def noisy(picture, seed):
    """With noise of 4 grey levels, another piece of the same sheet each time."""
    y, x = seed * 7 % 80, seed * 11 % 120
    return cv2.addWeighted(picture, 1.0, NOISE[y : y + 720, x : x + 1280], 1.0, -128)


def with_animal(picture, left, top, width, height, shade=25):
    picture = picture.copy()
    middle = (round(left + width / 2), round(top + height / 2))
    cv2.ellipse(picture, middle, (width // 2, height // 2), 0, 0, 360, (shade, shade, shade), -1)
    return picture


def walking(scene, count, left=300, by=8):
    """The scene with an animal of 60 x 40 pixels that goes ``by`` pixels a frame."""
    return [with_animal(scene, left + by * i, 400, 60, 40) for i in range(count)]


def hits(found, left=300, by=8):
    """In which share of these the animal of ``walking`` is found."""
    true = [((left + by * i) / 1280, 400 / 720, 60 / 1280, 40 / 720) for i in range(len(found))]
    close = [any(iou(box, region.box_xywh) > 0.3 for region in m.regions) for box, m in zip(true, found, strict=True)]
    return np.mean(close)


def run(finder, pictures, fps=10.0, start=0.0):
    return [finder(frame) for frame in frames([noisy(picture, i) for i, picture in enumerate(pictures)], fps, start)]

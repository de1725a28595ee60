"""Evidence with frames of the bundled clip: three alarms of a bear, and three random frames of other animals."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

import edge.demo
from edge.schema import BoxXYWH, Picture
from tests.helpers.review_units import alarm, frame

DEMO = Path(edge.demo.__file__).parent
BEARS_S = (14, 16, 20)  # at 14 s the bear is half in the picture: the scan alone misses it
OTHERS_S = (4, 8, 28)


def demo_frame(second: int) -> tuple[Picture, BoxXYWH]:
    """Return a frame of the bundled clip, and the box of the bear in it, else of the toy."""
    truth = json.loads((DEMO / "demo.json").read_text())
    number = second * truth["fps"]
    clip = cv2.VideoCapture(str(DEMO / "demo.mp4"))
    clip.set(cv2.CAP_PROP_POS_FRAMES, number)
    boxes = truth["boxes"][number]
    box: BoxXYWH = tuple(boxes.get("bear", boxes["toy"]))
    return np.asarray(clip.read()[1], np.uint8), box


def demo_evidence(root: Path) -> list[Path]:
    """Fill an evidence folder; return the folders of its three alarms."""
    alarms = []
    for number, second in enumerate(BEARS_S):
        scene, box = demo_frame(second)
        alarms.append(alarm(root, number, scene, box=box))
    for number, second in enumerate(OTHERS_S):
        frame(root, number, scene=demo_frame(second)[0])
    return alarms

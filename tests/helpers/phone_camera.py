"""The demo clip as the camera of a phone: a file that chromium plays as its fake camera, and single frames as PNG."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

import edge.demo
from edge.schema import Picture

CLIP = Path(edge.demo.__file__).with_name("demo.mp4")
FPS = 10


def clip_frames(clip: Path = CLIP) -> Iterator[Picture]:
    """Yield every frame of a clip, BGR."""
    reader = cv2.VideoCapture(str(clip))
    try:
        while True:
            there, image = reader.read()
            if not there:
                return
            yield np.asarray(image, np.uint8)
    finally:
        reader.release()


def write_camera(path: Path, frames: Iterable[Picture] | None = None) -> Path:
    """Write frames, by default the demo's, as YUV4MPEG2, which chromium plays in a loop at the rate in its head."""
    with path.open("wb") as file:
        for number, image in enumerate(clip_frames() if frames is None else frames):
            if number == 0:
                height, width = image.shape[:2]
                file.write(f"YUV4MPEG2 W{width} H{height} F{FPS}:1 Ip A1:1 C420jpeg\n".encode())
            file.write(b"FRAME\n")
            file.write(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420).tobytes())
    return path


def camera_flags(path: Path) -> list[str]:
    """Return the flags with which chromium has this camera, and is allowed to use it."""
    return [
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={path}",
        "--use-fake-ui-for-media-stream",
        "--autoplay-policy=user-gesture-required",
    ]

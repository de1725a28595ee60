"""Video files and folders of pictures: read in full, on their own clock, as fast as it goes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from edge.camera.source import Source
from edge.errors import PictureError, SourceError
from edge.pictures import decode_picture, jpeg_or_none, picture_bytes
from edge.schema import Frame

USUAL_FPS = 25.0  # where a file gives none, or nonsense
MAX_FPS = 480.0
PICTURE_S = 1.0  # a folder plays one picture a second


class VideoSource(Source):
    """A video file, thinned to ``fps``. Frames that are not wanted are grabbed and never decoded to pictures.

    ``Frame.time`` is the media time, which always goes forward also where the file's time stamps do not.
    """

    def __init__(self, path: Path, *, name: str, fps: float) -> None:
        self.path = path
        self.name = name
        self.fps = fps
        self.problems: list[str] = []
        try:
            size = path.stat().st_size
        except OSError as error:
            raise SourceError(f"{path}: cannot read the video ({error.strerror})") from None
        if size == 0:
            raise SourceError(f"{path}: the video file is empty (0 bytes); copy it again")
        self._closed = False
        self._reading = False
        # One decoding thread: a board has other work for its cores, and each thread holds frames of its own.
        self._video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        if not self._video.isOpened():
            raise SourceError(f"{path}: cannot be read as a video; it is truncated, damaged or no video at all")
        fps_of_file = self._video.get(cv2.CAP_PROP_FPS)
        known = math.isfinite(fps_of_file) and 0.1 <= fps_of_file <= MAX_FPS
        self.file_fps = fps_of_file if known else USUAL_FPS
        count = self._video.get(cv2.CAP_PROP_FRAME_COUNT)
        self._count = int(count) if math.isfinite(count) and 0 < count < 1e9 else None
        self.length_s = self._count / self.file_fps if self._count else None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames. Raises SourceError when there is not one."""
        self._reading = True
        index, grabbed, at, last = 0, 0, -math.inf, -1.0 / self.fps
        try:
            while not self._closed and self._video.grab():
                at = self._stamp(grabbed, at)
                grabbed += 1
                # A hair early is on time: the stamps of a 10 fps file are not exact multiples of 0.1.
                gap_s = 1.0 / self.fps
                if at < last + gap_s - 0.25 / self.file_fps:
                    continue
                read, image = self._video.retrieve()
                if not read or image is None:
                    continue
                last = max(last + gap_s, at - gap_s)  # when it was due, so that the rate holds on average
                yield frame(image, self.name, index, at)
                index += 1
            if not self._closed:
                self._judge(grabbed, index)
        finally:
            self._video.release()

    def _stamp(self, grabbed: int, last: float) -> float:
        """Seconds into the file of the frame just grabbed; by counting where its stamp is missing or goes back."""
        stamp = float(self._video.get(cv2.CAP_PROP_POS_MSEC)) / 1000.0
        if grabbed == 0:
            return stamp if math.isfinite(stamp) and 0.0 <= stamp < 1e6 else 0.0
        step = stamp - last
        # A hole of more than a minute is a broken stamp, not a pause.
        return stamp if math.isfinite(step) and 1e-4 < step < 60.0 else last + 1.0 / self.file_fps

    def _judge(self, grabbed: int, given: int) -> None:
        """Report what was wrong with the file, once it has been read."""
        if given == 0:
            raise SourceError(f"{self.path}: no frame could be read from this video; it is truncated or damaged")
        # Containers that only estimate their length are off by a few frames.
        if self._count and grabbed < 0.97 * self._count - 2:
            self.problems.append(
                f"{self.path}: ends early, {grabbed} of {self._count} frames could be read; "
                "the file is truncated or damaged"
            )

    def close(self) -> None:
        """Close the file; an iteration under way ends with its current frame, and releases it there."""
        self._closed = True
        if not self._reading:
            self._video.release()


class PictureSource(Source):
    """Pictures played one a second, all of them whatever ``fps`` is; what cannot be read is named in ``problems``."""

    slides = True
    fps = 1.0 / PICTURE_S

    def __init__(self, paths: Sequence[Path], source: str, *, name: str) -> None:
        if not paths:
            raise SourceError(f"{source}: no pictures there (.jpg, .png, .bmp, .tif, .webp)")
        self.paths = list(paths)
        self.source = source
        self.name = name
        self.problems: list[str] = []
        self.length_s: float | None = len(self.paths) * PICTURE_S
        self._closed = False

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames. Raises SourceError when no picture can be read."""
        index = 0
        for number, path in enumerate(self.paths):
            if self._closed:
                return
            try:
                data = picture_bytes(path)
                image = decode_picture(data, path)
            except PictureError as error:
                self.problems.append(str(error))
                continue
            yield frame(image, self.name, index, number * PICTURE_S, jpeg_or_none(data), path.name)
            index += 1
        if index == 0:
            only = f" ({self.problems[0]})" if self.problems else ""
            raise SourceError(f"{self.source}: none of its {len(self.paths)} pictures can be read{only}")

    def close(self) -> None:
        """End an iteration under way."""
        self._closed = True


def frame(image: object, name: str, index: int, at: float, jpeg: bytes | None = None, file: str | None = None) -> Frame:
    """Return a frame of a file, ``at`` seconds into it."""
    picture = np.asarray(image, np.uint8)
    return Frame(picture, at, datetime.now(UTC), name, index, time.monotonic(), media_time_s=at, jpeg=jpeg, file=file)

"""A stand-in for ``rpicam-vid``: the same command line, a moving picture, faults on request. To try without a camera:

    BEAR_ALARM_RPICAM_VID='python3 tests/helpers/fake_rpicam_vid.py' bear-alarm watch picamera://0

python3 must be that of the environment bear-alarm is installed in (bears/bin/python, .venv/bin/python).

``BEAR_ALARM_FAKE_CAMERA`` says what else it does, separated by spaces:

    clip=demo         play the bundled clip, or the clip named, again and again
    cameras=0         no camera is there        busy            another program has it
    refuse=yuv420     knows no such codec       adjust=640x480  gives this size, whatever is asked
    stop=N            falls silent after N pictures (0: never gives one)
    die=N             complains and ends with an error after N
    cut=N             ends in the middle of the picture after N
    flood             fills standard error      stubborn        ends only by force
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.camera import DEMO
from edge.schema import Picture

VARIABLE = "BEAR_ALARM_FAKE_CAMERA"
ROW = 64  # bytes a row is padded to, as on a Pi 4
FAILED = 255  # what the real one ends with

Planes = NDArray[np.uint8]  # I420, rows padded


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        fail(message)


def parse(words: list[str]) -> argparse.Namespace:
    """The options it shares with the real one; the others are refused, as there."""
    parser = _Parser(prog="rpicam-vid", allow_abbrev=False)
    parser.add_argument("--camera", type=int, default=0)
    parser.add_argument("--codec", default="h264")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--framerate", type=float, default=30.0)
    parser.add_argument("--rotation", type=int, default=0)
    parser.add_argument("--denoise", default="auto")
    parser.add_argument("--quality", type=int, default=50)
    parser.add_argument("--timeout", "-t", type=int, default=5000)
    parser.add_argument("--output", "-o", default="")
    parser.add_argument("--nopreview", "-n", action="store_true")
    parser.add_argument("--flush", action="store_true")
    return parser.parse_args(words)


def faults(words: str) -> dict[str, str]:
    """Return what ``BEAR_ALARM_FAKE_CAMERA`` asks for, by name."""
    return {name: value for name, _, value in (word.partition("=") for word in words.split())}


def moving(width: int, height: int) -> Iterator[Picture]:
    """A hillside with a dark animal that walks along it, and the picture's number (0 to 255) as grey in two corners."""
    y, x = np.mgrid[0:height, 0:width]
    hill = np.dstack([90 + 60 * y // height, 120 + 40 * x // width, 80 + 50 * (x + y) // (width + height)])
    corner = max(2, height // 24)
    for number in itertools.count():
        picture = hill.astype(np.uint8)
        left, top = (number * width // 60) % width, height // 2
        picture[top : top + height // 8, left : left + width // 8] = (30, 45, 60)
        picture[:corner, :corner] = picture[-corner:, -corner:] = number % 256
        yield picture


def clip(path: str, width: int, height: int) -> Iterator[Picture]:
    """A clip's pictures at this size, again and again. Ends the program where there is none."""
    while True:
        video = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
        read, picture = video.read()
        if not read:
            fail(f"cannot read the clip {path}")
        while read:
            yield np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            read, picture = video.read()
        video.release()


def i420(picture: Picture, row: int = ROW) -> bytes:
    """A BGR picture as the sensor's processor gives it: full-range I420, each row of Y padded to ``row`` bytes."""
    height, width = picture.shape[:2]
    stride = -(-width // row) * row
    y, cr, cb = cv2.split(cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb))
    half = (width // 2, height // 2)
    planes = []
    for plane, padded in ((y, stride), (cb, stride // 2), (cr, stride // 2)):
        small = plane if plane is y else cv2.resize(plane, half, interpolation=cv2.INTER_AREA)
        planes.append(np.pad(small, ((0, 0), (0, padded - small.shape[1]))).tobytes())
    return b"".join(planes)


def say(line: str) -> None:
    """One line to standard error, as libcamera writes them."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def fail(cause: str) -> NoReturn:
    """End as the real one does."""
    say(f"ERROR: *** {cause} ***")
    sys.exit(FAILED)


def start(options: argparse.Namespace, asked: dict[str, str]) -> tuple[int, int]:
    """Open the camera, or end with what the real one says; the size it gives."""
    if options.codec not in {"yuv420", "mjpeg"} or options.codec == asked.get("refuse"):
        fail(f"Unrecognised codec {options.codec}")
    cameras = int(asked.get("cameras", "1"))
    if not cameras:
        fail("no cameras available")
    if options.camera >= cameras:
        fail("selected camera is not available")
    if "busy" in asked:
        say(f"[0:00:01.000000000] [{os.getpid()}]  INFO Camera Pipeline handler in use by another process")
        fail("failed to acquire camera /base/soc/i2c0mux/i2c@1/imx708@1a")
    width, height = map(int, asked.get("adjust", f"{options.width}x{options.height}").split("x"))
    say(
        f"[0:00:01.000000000] [{os.getpid()}]  INFO Camera camera.cpp:1205 configuring streams: "
        f"(0) {width}x{height}-YUV420/sYCC (1) 2304x1296-SBGGR10_CSI2P/RAW"
    )
    return width, height


def film(options: argparse.Namespace, asked: dict[str, str], size_wh: tuple[int, int], out: Any) -> None:
    """Write pictures at the rate asked for, until the time is up or a fault comes."""
    path = asked.get("clip")
    pictures = clip(str(DEMO) if path == "demo" else path, *size_wh) if path else moving(*size_wh)
    began = time.monotonic()
    for number, picture in enumerate(pictures):
        if number == int(asked.get("stop", "-1")):
            time.sleep(3600.0)
        if number == int(asked.get("die", "-1")):
            say("[0:00:09.000000000] WARN V4L2 Camera frontend has timed out!")
            fail("failed to queue request")
        if options.timeout and time.monotonic() - began > options.timeout / 1000.0:
            return
        if "flood" in asked:
            sys.stderr.write("#1 (10.00 fps) exp 3000.00 ag 1.00 dg 1.00\n" * 3000 + "x" * 100_000)
        turned = cv2.rotate(picture, cv2.ROTATE_180) if options.rotation == 180 else picture
        if options.codec == "yuv420":
            data = i420(np.asarray(turned, np.uint8))
        else:
            data = cv2.imencode(".jpg", turned, [cv2.IMWRITE_JPEG_QUALITY, options.quality])[1].tobytes()
        if number == int(asked.get("cut", "-1")):
            out.write(data[: len(data) // 2])
            out.flush()
            return
        out.write(data)
        out.flush()
        time.sleep(max(0.0, began + (number + 1) / options.framerate - time.monotonic()))


def main(words: list[str] | None = None) -> None:
    """Run it as a program; ends quietly when nobody reads any more."""
    cv2.setNumThreads(1)
    options, asked = parse(sys.argv[1:] if words is None else words), faults(os.environ.get(VARIABLE, ""))
    if "stubborn" in asked:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    size_wh = start(options, asked)
    try:
        if options.output == "-":
            film(options, asked, size_wh, sys.stdout.buffer)
        else:
            with Path(options.output).open("wb") as file:
                film(options, asked, size_wh, file)
    except (BrokenPipeError, KeyboardInterrupt):
        # Python would complain once more when it flushes standard output at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()

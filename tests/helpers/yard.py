"""A yard with one bear in it, as a clip, and a tiny model that knows the bear by its colour."""

from pathlib import Path

import cv2

from tests.alarm.test_watch import GREEN, walk
from tests.helpers.tiny import BEAR_COLOUR, tiny_card, write_tiny_model


def yard_clip(path):
    """Nine seconds of 640x360 at 10 frames a second; the bear walks through from 2 s to 5 s."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 360))
    for frame in walk(9, (2.0, 5.0, BEAR_COLOUR, 100, 60), background=GREEN):
        writer.write(frame.image)
    writer.release()
    return Path(path)


def yard_model(path):
    """The model's file."""
    return write_tiny_model(path, tiny_card())

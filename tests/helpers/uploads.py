"""What cameras upload, for the tests of what watches a folder."""

import os
import struct

import cv2
import numpy as np

from edge.pictures import SOF, segments


def jpeg(shade=90, size_wh=(64, 48)):
    noise = np.random.default_rng(shade).integers(0, 60, (size_wh[1], size_wh[0], 3))
    return cv2.imencode(".jpg", (noise + shade).astype(np.uint8))[1].tobytes()


def claiming(data, size_wh):
    """The JPEG with another width and height in its header, as an attacker or a broken camera writes it."""
    at = next(segment.body for segment in segments(data) if segment.kind in SOF)
    return data[: at + 3] + struct.pack(">HH", size_wh[1], size_wh[0]) + data[at + 7 :]


def oriented(data, orientation):
    """The JPEG with the Exif of a camera that is not held upright (Exif 2.32, tag 0x0112)."""
    segment = b"Exif\0\0" + struct.pack("<2sHLHHHLHHL", b"II", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def dated(data, taken, *, order="<", zone=None):
    """The JPEG with the Exif a trail camera writes: DateTimeOriginal, and a time zone where one is given."""
    texts = [(0x9003, taken.encode() + b"\0")] + ([(0x9011, zone.encode() + b"\0")] if zone else [])
    at = 26 + 2 + 12 * len(texts) + 4
    entries, values = b"", b""
    for tag, text in texts:
        entries += struct.pack(order + "HHLL", tag, 2, len(text), at + len(values))
        values += text
    head = struct.pack(order + "HL", 42, 8) + struct.pack(order + "HHHLLL", 1, 0x8769, 4, 1, 26, 0)
    block = {"<": b"II", ">": b"MM"}[order] + head + struct.pack(order + "H", len(texts)) + entries + b"\0" * 4 + values
    segment = b"Exif\0\0" + block
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def taken_by(data, make, model, serial, taken="", *, order="<"):
    """The JPEG with a camera's name in its Exif: make and model in the first directory, the rest in the second."""
    first = [(tag, text.encode() + b"\0") for tag, text in ((0x010F, make), (0x0110, model)) if text]
    second = [(tag, text.encode() + b"\0") for tag, text in ((0x9003, taken), (0xA431, serial)) if text]
    inner = 8 + 2 + 12 * (len(first) + 1) + 4
    at, values, block = inner + 2 + 12 * len(second) + 4, b"", {"<": b"II", ">": b"MM"}[order]
    block += struct.pack(order + "HL", 42, 8)
    for entries, pointer in ((first, [struct.pack(order + "HHLL", 0x8769, 4, 1, inner)]), (second, [])):
        block += struct.pack(order + "H", len(entries) + len(pointer))
        for tag, text in entries:
            where = text.ljust(4, b"\0") if len(text) <= 4 else struct.pack(order + "L", at + len(values))
            block += struct.pack(order + "HHL", tag, 2, len(text)) + where
            values += text if len(text) > 4 else b""
        block += b"".join(pointer) + b"\0" * 4
    segment = b"Exif\0\0" + block + values
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def put(path, data=None, *, at=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg() if data is None else data)
    if at is not None:
        os.utime(path, (at, at))
    return path

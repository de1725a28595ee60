"""H.264 as a camera sends it, for tests: packets in Annex B, on a clock in seconds."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av

from edge.schema import Packet, Picture, VideoBuffer

MILLISECOND = Fraction(1, 1000)


def filmed(
    pictures: Iterable[Picture],
    *,
    fps: float = 25.0,
    start: float = 0.0,
    group: int = 25,
    b_frames: int = 0,
    pix_fmt: str = "yuv420p",
) -> list[Packet]:
    """Encode pictures (H, W, 3), a key picture every ``group``."""
    encoder: av.VideoCodecContext | None = None
    found: list[av.Packet] = []
    for number, picture in enumerate(chain(pictures, [None])):
        if encoder is None:
            assert picture is not None
            made = av.CodecContext.create("libx264", "w")
            assert isinstance(made, av.VideoCodecContext)
            encoder = made
            encoder.height, encoder.width = picture.shape[:2]
            encoder.pix_fmt, encoder.time_base = pix_fmt, MILLISECOND
            options = {"preset": "veryfast", "threads": "1", "g": str(group), "bf": str(b_frames), "sc_threshold": "0"}
            encoder.options = options | {"b_strategy": "0"}
        frame = None
        if picture is not None:
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = round(1000 * number / fps), MILLISECOND
        found += encoder.encode(frame)
    return [_packet(each, start) for each in found]


def demuxed(path: Path, start: float = 0.0) -> list[Packet]:
    """Return the H.264 of a file."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        to_annex_b = av.BitStreamFilterContext("h264_mp4toannexb", stream)
        found = [each for packet in file.demux(stream) for each in to_annex_b.filter(packet)]
    return [_packet(each, start) for each in found if each.size]


def buffered(packets: Iterable[Packet], seconds: float = 60.0, **more: int) -> VideoBuffer:
    """Return a buffer that was given these."""
    buffer = VideoBuffer(**more)
    buffer.seconds = seconds
    for packet in packets:
        buffer.add(packet)
    return buffer


def _packet(packet: av.Packet, start: float) -> Packet:
    assert packet.pts is not None
    assert packet.dts is not None
    assert packet.time_base
    tick = float(packet.time_base)
    return Packet(bytes(packet), start + packet.pts * tick, start + packet.dts * tick, packet.is_keyframe)

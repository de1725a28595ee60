"""Count what is decoded of a camera's own bytes, and decode its own H.264."""

import itertools
import re

import cv2


def noted_flags(monkeypatch):
    """Return the flags of each picture that OpenCV decodes from now on, but the one that leaves Exif aside."""
    flags, decode = [], cv2.imdecode

    def noted(data, flag):
        flags.append(flag & ~cv2.IMREAD_IGNORE_ORIENTATION)
        return decode(data, flag)

    monkeypatch.setattr(cv2, "imdecode", noted)
    return flags


def pictures_of(packets):
    """Return how many pictures a ``VideoBuffer``'s packets alone give; check their order and parameter sets."""
    import av

    assert packets[0].key
    assert all(before.decode_time < after.decode_time for before, after in itertools.pairwise(packets))
    for packet in packets:
        assert packet.data.startswith((b"\0\0\1", b"\0\0\0\1"))
        kinds = {unit[0] & 31 for unit in re.findall(rb"\x00\x00\x01(.)", packet.data, re.DOTALL)}
        assert not packet.key or {7, 8, 5} <= kinds  # SPS, PPS and the key picture: ITU-T H.264, table 7-1
    decoder = av.CodecContext.create("h264", "r")
    given = [len(decoder.decode(av.Packet(packet.data))) for packet in packets]
    return sum(given) + len(decoder.decode(None))

"""The one walk through a JPEG's segments: thumbnails, damage, floods of markers, and who uses it."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from edge.camera.picamera import JpegCutter
from edge.pictures import APP1, EOI, SOF, SOS, capture_time, jpeg_is_whole, jpeg_or_none, segments
from tests.helpers.uploads import dated, jpeg

WHOLE = jpeg(40, (80, 60))
DATED = dated(WHOLE, "2024:05:01 22:15:30")


def test_segments_follow_one_another_and_the_last_is_the_end():
    found = list(segments(DATED))
    assert [segment.kind for segment in found][:1] == [APP1]
    assert found[-1].kind == EOI
    assert found[-1].end == len(DATED)
    assert len([segment for segment in found if segment.kind in SOF]) == 1
    assert all(later.start >= before.end for before, later in itertools.pairwise(found))
    head = [segment for segment in found if segment.start < next(s.start for s in found if s.kind == SOS)]
    assert all(later.start == before.end for before, later in itertools.pairwise(head))


def test_a_thumbnails_end_is_not_the_pictures():
    segment = b"Exif\0\0" + WHOLE
    thumbed = WHOLE[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + WHOLE[2:]
    assert jpeg_is_whole(thumbed)
    assert not any(jpeg_is_whole(thumbed[:end]) for end in range(len(thumbed) - 1))


def test_what_is_a_jpeg_is_given_back():
    assert jpeg_or_none(WHOLE) is WHOLE
    assert jpeg_or_none(b"\x89PNG") is None
    assert jpeg_or_none(b"") is None


def test_a_time_is_found_behind_other_segments_and_not_in_the_picture_data():
    other = b"\xff\xe0\x00\x06abcd"
    assert capture_time(DATED[:2] + other * 3 + DATED[2:]) == capture_time(DATED)
    assert capture_time(DATED[:2] + b"\xff\xda\x00\x02" + DATED[2:]) is None


def test_a_flood_of_starts_is_survived():
    cut = JpegCutter()
    assert cut(b"\xff\xd8" * 5000 + WHOLE) == [WHOLE]


@given(st.binary(max_size=300))
def test_no_bytes_break_the_walk(data):
    found = list(segments(b"\xff\xd8" + data))
    assert all(segment.start < segment.body <= segment.end for segment in found)

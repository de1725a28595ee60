"""The one walk through a JPEG's segments: thumbnails, damage, floods of markers, and who uses it."""

from __future__ import annotations

import itertools
import resource

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.camera.picamera import JpegCutter
from edge.pictures import (
    APP1,
    EOI,
    SOF,
    SOS,
    camera_jpeg,
    capture_time,
    decode_picture,
    jpeg_colours,
    jpeg_is_whole,
    jpeg_or_none,
    segments,
)
from tests.helpers.decoding import noted_flags
from tests.helpers.uploads import claiming, dated, jpeg, oriented

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


@pytest.mark.parametrize("size_wh", [(65500, 65500), (40000, 40000), (20000, 20000), (7100, 7100)])
def test_a_header_that_claims_too_many_pixels_is_never_decoded(monkeypatch, size_wh):
    asked = noted_flags(monkeypatch)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert camera_jpeg(claiming(WHOLE, size_wh)) is None
    assert jpeg_colours(claiming(WHOLE, size_wh)) is None
    assert asked == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss == before


def test_what_is_cut_short_or_no_jpeg_is_never_decoded(monkeypatch):
    asked = noted_flags(monkeypatch)
    png = cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes()
    for data in (b"", WHOLE[:-2], WHOLE[:300], png + WHOLE[2:]):
        assert camera_jpeg(data) is None
    assert asked == []


def test_a_picture_whose_full_decode_fails_is_shown_in_grey(monkeypatch):
    later, luma = camera_jpeg(WHOLE) or pytest.fail("a whole picture")

    def refused(*_):
        raise cv2.error("too large")

    monkeypatch.setattr(cv2, "imdecode", refused)
    assert later().shape == (60, 80, 3)
    assert np.array_equal(later()[..., 1], luma)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_the_exif_of_a_camera_turns_neither_grey_nor_colours(orientation):
    theirs = decode_picture(oriented(WHOLE, orientation), "a file")
    later, luma = camera_jpeg(oriented(WHOLE, orientation)) or pytest.fail("a whole picture")
    straight, grey = camera_jpeg(WHOLE) or pytest.fail("a whole picture")
    assert later.size_wh == (80, 60)
    assert not np.array_equal(theirs, straight())  # as a picture from a folder it is turned
    assert np.array_equal(luma, grey)
    assert np.array_equal(later(), straight())
    colours = jpeg_colours(oriented(WHOLE, orientation))
    assert colours is not None
    assert np.array_equal(colours, straight())


def test_a_flood_of_starts_is_survived():
    cut = JpegCutter()
    assert cut(b"\xff\xd8" * 5000 + WHOLE) == [WHOLE]


@given(st.binary(max_size=300))
def test_no_bytes_break_the_walk(data):
    found = list(segments(b"\xff\xd8" + data))
    assert all(segment.start < segment.body <= segment.end for segment in found)

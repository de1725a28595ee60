"""What is not a picture that can be trained on is refused, by kind."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
import pytest

from tests.helpers.far_side import jpeg, photo, picture

pytest.importorskip("PIL")
hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from train.data.gather.check import RefusedError, check

HTML = b"<!DOCTYPE html><html><body>Not found</body></html>"


def encoded(kind: str, frames: int = 1, size: tuple[int, int] = (96, 80)) -> bytes:
    """A picture of a format, with so many frames."""
    images = [Image.fromarray(cv2.cvtColor(picture(n, size), cv2.COLOR_BGR2RGB)) for n in range(frames)]
    out = io.BytesIO()
    more = {"save_all": True, "append_images": images[1:]} if frames > 1 else {}
    images[0].save(out, kind, **more)
    return out.getvalue()


@pytest.mark.parametrize(
    ("kind", "suffix"), [("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp"), ("BMP", ".bmp"), ("TIFF", ".tif")]
)
def test_good_pictures_pass(kind: str, suffix: str):
    checked = check(encoded(kind))
    assert (checked.suffix, checked.size_wh) == (suffix, (96, 80))
    assert checked.image.shape == (80, 96, 3)
    assert f"96x80 {suffix[1:]} sha256={checked.sha256}" == checked.words


def broken_inside() -> bytes:
    """A JPEG with its end in place and a hole in its data."""
    data = bytearray(photo(1, (320, 240)))
    half = len(data) // 2
    del data[half : half + len(data) // 4]
    return bytes(data)


def huge() -> bytes:
    """A small file that takes 432 MB decoded."""
    out = io.BytesIO()
    Image.new("1", (12000, 12000)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", "empty", "0 bytes"),
        (HTML, "not a picture", "a web page"),
        (b'<?xml version="1.0"?><svg/>', "not a picture", "no picture format"),
        (b"\x00\x00\x00\x20ftypheic" + bytes(40), "not a picture", "HEIC"),
        (b"\x00" * 500, "not a picture", "no picture format"),
        (photo(1)[:-400], "truncated", "without its end"),
        (photo(1)[:30], "truncated", "30 bytes"),
        (broken_inside(), "corrupt", ""),
        (encoded("PNG")[:-300], "truncated", ""),
        (photo(1, (200, 63)), "too small", "200x63 pixels"),
        (encoded("GIF"), "not a picture", "GIF"),
        (encoded("GIF", 3), "animated", "3 pictures in one GIF"),
        (encoded("WEBP", 3), "animated", "WEBP"),
        (encoded("PNG", 3), "animated", "PNG"),
        (encoded("TIFF", 2), "animated", "TIFF"),
        (huge(), "too large", "million"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)  # fmt: skip
def test_the_rest_is_refused_by_kind(data: bytes, kind: str, words: str):
    with pytest.raises(RefusedError) as caught:
        check(data)
    assert caught.value.kind == kind
    assert words in caught.value.words


def test_a_picture_on_its_side_is_measured_upright():
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((100, 200, 3), np.uint8)).save(out, "JPEG", exif=exif)
    assert check(out.getvalue()).size_wh == (100, 200)


@given(st.binary(max_size=400))
def test_any_bytes_are_answered(data: bytes):
    with pytest.raises(RefusedError):
        check(data)


GOOD = jpeg(picture(3, (96, 96)), 60)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_one_wrong_byte_passes_or_is_refused(at: int, value: int):
    with suppress(RefusedError):
        assert min(check(GOOD[:at] + bytes([value]) + GOOD[at + 1 :]).size_wh) >= 64


@given(st.integers(0, len(GOOD) - 3))
def test_what_is_cut_short_never_passes(length: int):
    with pytest.raises(RefusedError):
        check(GOOD[:length])


def test_what_cameras_and_programs_put_behind_a_jpeg_does_no_harm():
    for behind in (b"\x00" * 100, b"made by a phone", photo(5)):
        assert check(photo(1) + behind).size_wh == (160, 120)
    out = io.BytesIO()
    two = [Image.fromarray(picture(n, (96, 80))) for n in (1, 2)]
    two[0].save(out, "MPO", save_all=True, append_images=two[1:])
    assert check(out.getvalue()).suffix == ".jpg"


@pytest.mark.parametrize(
    ("mode", "more"),
    [
        ("L", {}),
        ("CMYK", {}),
        ("RGB", {"progressive": True}),
        ("RGB", {"subsampling": 0}),
        ("RGB", {"restart_marker_rows": 1}),
    ],
)
def test_every_usual_kind_of_jpeg_passes(mode: str, more: dict[str, Any]):
    out = io.BytesIO()
    Image.fromarray(picture(1, (161, 123))).convert(mode).save(out, "JPEG", **more)
    assert check(out.getvalue()).size_wh == (161, 123)

"""Stills: reading them safely and judging them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge.detect.classifier import BATCH, Classifier
from edge.detect.stills import look
from edge.errors import PictureError
from edge.pictures import decode_picture, find_pictures, jpeg_is_whole, read_picture
from edge.schema import Region
from tests.helpers.tiny import BEAR_COLOUR, NO_BEAR_COLOUR, TEDDY_COLOUR, plain, tiny_card, write_tiny_model


def scene(height: int = 120, width: int = 160) -> np.ndarray:
    """A picture with texture, so that its JPEG has some length."""
    return np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


def with_exif(data: bytes, *, orientation: int, thumbnail: bytes = b"") -> bytes:
    """The JPEG with an EXIF segment: its orientation and, behind it, a thumbnail's bytes."""
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00" + b"\x12\x01\x03\x00\x01\x00\x00\x00" + bytes([orientation, 0, 0, 0])
    body = b"Exif\x00\x00" + tiff + b"\x00\x00\x00\x00" + thumbnail
    return data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.999])
def test_a_truncated_jpeg_is_noticed(part):
    data = jpeg(scene())
    with pytest.raises(PictureError, match=r"a\.jpg: truncated JPEG"):
        decode_picture(data[: int(len(data) * part)], "a.jpg")


def test_a_thumbnails_end_is_not_the_pictures_end():
    data = with_exif(jpeg(scene()), orientation=1, thumbnail=jpeg(plain(BEAR_COLOUR, 16, 16)))
    assert jpeg_is_whole(data)
    assert not jpeg_is_whole(data[:-200])


def test_progressive_jpegs_and_bytes_behind_the_end_are_fine():
    data = cv2.imencode(".jpg", scene(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 4])[
        1
    ].tobytes()
    assert jpeg_is_whole(data)
    assert jpeg_is_whole(data + b"\x00" * 64)
    assert not jpeg_is_whole(data[:-2] + b"\x00" * 64)


def test_a_truncated_png_is_noticed():
    data = cv2.imencode(".png", scene())[1].tobytes()
    with pytest.raises(PictureError, match="truncated PNG"):
        decode_picture(data[:-20], "a.png")


@pytest.mark.parametrize(("data", "why"), [(b"", "empty"), (b"no picture at all", "not a picture")])
def test_what_is_no_picture_is_said(tmp_path, data, why):
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    with pytest.raises(PictureError, match=why):
        read_picture(path)


def test_missing_files_and_folders_are_said(tmp_path):
    with pytest.raises(PictureError, match="no such picture"):
        read_picture(tmp_path / "gone.jpg")
    with pytest.raises(PictureError, match="is a folder"):
        read_picture(tmp_path)
    with pytest.raises(PictureError, match="no such picture or folder"):
        find_pictures([tmp_path / "gone"])
    with pytest.raises(PictureError, match="empty of pictures"):
        find_pictures([tmp_path])


def test_exif_orientation_turns_the_picture():
    wide = plain(NO_BEAR_COLOUR, 40, 80)
    assert decode_picture(with_exif(jpeg(wide), orientation=6), "a").shape == (80, 40, 3)


@pytest.mark.parametrize("kind", ["grey", "sixteen", "alpha"])
def test_every_kind_becomes_bgr_of_eight_bits(kind):
    kinds: dict[str, np.ndarray] = {
        "grey": np.full((20, 30), 100, np.uint8),
        "sixteen": np.full((20, 30, 3), 100 * 257, np.uint16),
        "alpha": np.full((20, 30, 4), (100, 100, 100, 255), np.uint8),
    }
    found = decode_picture(cv2.imencode(".png", kinds[kind])[1].tobytes(), "a.png")
    assert found.dtype == np.uint8
    assert found.shape == (20, 30, 3)
    assert int(found.max()) == int(found.min()) == 100


def test_folders_are_searched_through_without_hidden_files(tmp_path):
    for name in ("b/2.JPG", "a/1.png", "a/._1.png", "a/notes.txt", "clip.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [p.name for p in find_pictures([tmp_path, tmp_path / "a/1.png"])] == ["1.png", "2.JPG"]


@pytest.fixture
def classifier(tmp_path):
    return Classifier(write_tiny_model(tmp_path / "tiny.onnx", tiny_card()))


def test_a_bear_picture_alarms_and_a_teddy_does_not(classifier):
    bear = look(classifier, plain(BEAR_COLOUR))
    assert bear.alarm
    assert bear.label == "brown_bear"
    assert sum(bear.probabilities.values()) == pytest.approx(1, abs=1e-4)
    assert bear.verdict == "bear"
    teddy = look(classifier, plain(TEDDY_COLOUR))
    assert not teddy.alarm
    assert teddy.label == "teddy_bear"


def test_from_half_the_threshold_on_it_may_be_a_bear_and_which_one_is_said(classifier):
    image = plain((20, 150, 128))  # a green one with some red in it
    score = look(classifier, image).bear
    assert 0.05 < score < 0.95

    def verdict(threshold):
        still = replace(classifier.card.thresholds["frame"], value=threshold)
        classifier.card = replace(classifier.card, thresholds=classifier.card.thresholds | {"frame": still})
        found = look(classifier, image)
        return found.verdict, found.alarm, found.label

    assert verdict(score) == ("bear", True, "brown_bear")
    assert verdict(score * 1.01) == ("maybe", False, "brown_bear")
    assert verdict(score * 2) == ("maybe", False, "brown_bear")
    assert verdict(score * 2.01) == ("none", False, "no_bear")


def test_scores_come_in_order_whatever_the_batch(classifier):
    image = plain(NO_BEAR_COLOUR, 240, 320)
    image[130:235, 205:315] = BEAR_COLOUR
    regions = [Region((x / 8, y / 8, 0.25, 0.25), "motion") for y in range(7) for x in range(7)]
    assert len(regions) > BATCH
    together = classifier.score(image, regions)
    assert [score.region for score in together] == regions
    alone = [classifier.score(image, [region])[0].bear for region in regions]
    assert [score.bear for score in together] == pytest.approx(alone, abs=1e-6)
    assert classifier.score(image, []) == []

"""Copies are found whatever was done to them; a fixed camera's frames are no copies where something moved."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.far_side import jpeg, picture

pytest.importorskip("imagehash")
from train.gather.duplicates import Duplicates, Look, phash, same_picture

WHOLE = picture(1, (640, 480))


def decoded(data: bytes) -> NDArray[np.uint8]:
    """A picture's pixels."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, np.uint8)


COPIES = {
    "compressed": decoded(jpeg(WHOLE, 30)),
    "smaller": np.asarray(cv2.resize(WHOLE, (200, 150), interpolation=cv2.INTER_AREA), np.uint8),
    "brighter": np.clip(WHOLE.astype(np.int16) + 25, 0, 255).astype(np.uint8),
    "grey": np.asarray(cv2.cvtColor(cv2.cvtColor(WHOLE, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8),
    "cut off at the edges": WHOLE[24:456, 32:608],
    "marked": np.asarray(cv2.putText(WHOLE.copy(), "www.example.org", (20, 460), 0, 1.6, (255, 255, 255), 3), np.uint8),
}


def index(*there: NDArray[np.uint8], source: str = "one") -> Duplicates:
    """Pictures that are there, called 0, 1 …"""
    duplicates = Duplicates(lambda name: Look.of(there[int(name)]))
    for number, each in enumerate(there):
        duplicates.add(str(number), source, phash(each))
    return duplicates


@pytest.mark.parametrize("what", COPIES)
def test_a_copy_is_found(what: str):
    copy = COPIES[what]
    assert index(picture(2), WHOLE, picture(3)).find(copy, phash(copy), "two", False) == "1"


def test_another_picture_is_none():
    others = [picture(seed) for seed in range(2, 40)]
    assert index(*others).find(WHOLE, phash(WHOLE), "one", False) is None


def test_the_hash_alone_is_not_believed():
    other = picture(2, (640, 480))
    liar = Duplicates(lambda _: Look.of(other))
    liar.add("0", "one", phash(WHOLE))  # as if the hashes were the same
    assert liar.find(WHOLE, phash(WHOLE), "two", False) is None


def with_animal(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The same view with something dark in it, ``side`` pixels wide."""
    changed = image.copy()
    changed[300 : 300 + side, 200 : 200 + side] = 255 - changed[300 : 300 + side, 200 : 200 + side]
    return changed


@pytest.mark.parametrize("side", [15, 30, 60])
def test_a_small_animal_makes_another_picture_of_a_fixed_cameras_view(side: int):
    seen = with_animal(WHOLE, side)
    view = index(WHOLE, source="camera")
    assert view.find(seen, phash(seen), "camera", True) is None
    assert view.find(COPIES["compressed"], phash(COPIES["compressed"]), "camera", True) == "0"


def test_and_not_where_the_same_comes_from_elsewhere():
    seen = with_animal(WHOLE, 15)  # a mark in a corner, as web sites add
    assert index(WHOLE, source="one site").find(seen, phash(seen), "another site", True) == "0"


def test_what_is_forgotten_or_gone_is_not_found():
    there = index(WHOLE)
    there.forget("0")
    assert there.find(WHOLE, phash(WHOLE), "two", False) is None
    gone = Duplicates(lambda _: None)
    gone.add("0", "one", phash(WHOLE))
    assert gone.find(WHOLE, phash(WHOLE), "two", False) is None


def test_plain_pictures_are_compared_too():
    black, grey = np.zeros((100, 100, 3), np.uint8), np.full((100, 100, 3), 90, np.uint8)
    assert same_picture(Look.of(black), Look.of(black), fixed_camera=True)
    assert not same_picture(Look.of(black), Look.of(grey), fixed_camera=True)

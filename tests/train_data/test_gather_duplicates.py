"""Copies are found whatever was done to them; a fixed camera's frames are no copies where something moved."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.far_side import jpeg, picture

pytest.importorskip("imagehash")
from train.data.gather import duplicates
from train.data.gather.duplicates import Duplicates, Thumbnail, ThumbnailCache, phash, same_picture

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
    duplicates = Duplicates(lambda name: Thumbnail.of(there[int(name)]))
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
    liar = Duplicates(lambda _: Thumbnail.of(other))
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
    assert same_picture(Thumbnail.of(black), Thumbnail.of(black), fixed_camera=True)
    assert not same_picture(Thumbnail.of(black), Thumbnail.of(grey), fixed_camera=True)


def as_documented(mine: NDArray[np.uint8], other: NDArray[np.uint8], fixed_camera: bool) -> bool:
    """Return whether two pictures of near hashes are copies: every pair compared in full, without a screen."""

    def grey(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (256, 256), interpolation=cv2.INTER_AREA)
        return small.astype(np.float32)

    if not fixed_camera:
        return same_picture(Thumbnail.of(mine), Thumbnail.of(other), fixed_camera=False)
    coarse = [cv2.resize(grey(each), (64, 64), interpolation=cv2.INTER_AREA) for each in (mine, other)]
    evened = [(each - each.mean()) / max(float(each.std()), 4.0) * 50.0 for each in coarse]
    fine = [cv2.blur(grey(each), (5, 5)) for each in (mine, other)]
    return float(np.abs(evened[0] - evened[1]).mean()) <= 8 and float(np.abs(fine[0] - fine[1]).max()) <= 10


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("at_once", [4, 256])
def test_the_screen_changes_nothing_of_what_is_a_copy(seed: int, at_once: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(duplicates, "AT_ONCE", at_once)
    random = np.random.default_rng(seed)
    view = picture(seed, (256, 256)).astype(np.int16) // 2 + 60
    frames: list[NDArray[np.uint8]] = []
    for _ in range(60):  # noise, light and something small in it, about as strong as the limit
        frame = view + random.normal(0, random.choice([0, 2, 8]), view.shape) + random.choice([0, 3, 9, 11])
        x, y, side = *random.integers(0, 240, 2), int(random.integers(1, 9))
        frame[y : y + side, x : x + side] += random.choice([0, 8, 10, 11, 12, 20, 60])
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
    sources = [str(random.choice(["camera", "camera", "another"])) for _ in frames]
    opened = Duplicates(lambda name: None if name == "7" else Thumbnail.of(frames[int(name)]))
    there: list[int] = []
    outcomes = set()
    for n, frame in enumerate(frames):
        # All hashes near: the order is that of the numbers.
        expected = next((m for m in there if m != 7 and as_documented(frame, frames[m], sources[m] == "camera")), None)
        found = opened.find(frame, 0, "camera", True)
        assert found == (None if expected is None else str(expected))
        outcomes.add(found is None)
        if found is None or n % 3 == 0:
            opened.add(str(n), sources[n], 0, frame if n % 2 and n != 7 else None)
            there.append(n)
    assert outcomes == {True, False}


def test_thumbnails_are_held_and_opened_again_when_they_must(monkeypatch: pytest.MonkeyPatch):
    opened: list[str] = []

    def look(name: str) -> Thumbnail | None:
        opened.append(name)
        return Thumbnail.of(picture(int(name))) if name != "9" else None

    monkeypatch.setattr("train.data.gather.duplicates.MAX_THUMBNAILS", 2)
    thumbnails = ThumbnailCache(look)
    assert thumbnails("9") is None
    for name in ("1", "2", "1", "3", "1", "2"):
        thumbnails(name)
    assert opened == ["9", "1", "2", "3", "2"]
    thumbnails.forget("1")
    thumbnails("1")
    assert opened[-1] == "1"

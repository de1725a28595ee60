"""How well copies and damaged files are told from others, on the pictures of $BEAR_ALARM_PICTURES.

    python tests/proofs/prove_duplicates.py [--pictures 1000] [--seed 7]

Copies are made of pictures as the web makes them. A copy is found when its original is named; a false one is a picture
that is named without being a copy. The limits in ``train/data/gather/duplicates.py`` were set on the pictures whose
name's digest is even; the figures are of those whose digest is odd.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.pictures import read_picture
from tests.conftest import PICTURES
from train.data.catalog import read_catalog
from train.data.gather.check import TOO_SMALL, RefusedError, check
from train.data.gather.duplicates import NEAR_BITS, Duplicates, Thumbnail, phash, same_picture
from train.data.pictures import Picture

Image = NDArray[np.uint8]


def encoded(image: Image, quality: int) -> Image:
    """Through JPEG and back."""
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def half(image: Image) -> Image:
    """Half as wide."""
    return encoded(np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8), 85)


def brighter(image: Image) -> Image:
    """A quarter brighter."""
    return encoded(np.clip(image.astype(np.float32) * 1.25, 0, 255).astype(np.uint8), 85)


def grey(image: Image) -> Image:
    """Without colour."""
    return encoded(np.repeat(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None], 3, axis=2).astype(np.uint8), 85)


def marked(image: Image) -> Image:
    """With a site's name across a corner."""
    out = image.copy()
    scale = image.shape[1] / 400
    at = (image.shape[1] // 20, image.shape[0] - image.shape[0] // 20)
    cv2.putText(out, "www.example.org", at, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), max(1, round(2 * scale)))
    return encoded(out, 85)


def cropped(share: float) -> Callable[[Image], Image]:
    """Without an edge of so much on each side."""

    def crop(image: Image) -> Image:
        y, x = round(image.shape[0] * share), round(image.shape[1] * share)
        return encoded(image[y : image.shape[0] - y, x : image.shape[1] - x], 85)

    return crop


COPIES: dict[str, Callable[[Image], Image]] = {
    "JPEG quality 40": lambda image: encoded(image, 40),
    "half as wide": half,
    "a quarter brighter": brighter,
    "grey": grey,
    "a name across a corner": marked,
    "2 % cut off each side": cropped(0.02),
    "5 % cut off each side": cropped(0.05),
    "10 % cut off each side": cropped(0.10),
    "mirrored": lambda image: encoded(image[:, ::-1], 85),
}


DAMAGE: dict[str, Callable[[bytearray, int], object]] = {
    "a fifth cut out": lambda data, at: data.__delitem__(slice(at, at + len(data) // 5)),
    "a fifth set to 0": lambda data, at: data.__setitem__(slice(at, at + len(data) // 5), bytes(len(data) // 5)),
    "one wrong byte": lambda data, at: data.__setitem__(at, data[at] ^ 0xFF),
}


def damaged(files: list[Path], seed: int, count: int = 300) -> None:
    """How many good JPEGs the check refuses, and how many damaged ones it does."""
    random, whole = np.random.default_rng(seed), [file.read_bytes() for file in files]
    whole = [data for data in whole if data.startswith(b"\xff\xd8")]
    print(f"\nrefused: {sum(map(refused, whole))} of {len(whole)} good JPEGs")
    for what, harm in DAMAGE.items():
        found = 0
        for number in random.choice(len(whole), count):
            data = bytearray(whole[number])
            harm(data, int(len(data) * random.uniform(0.4, 0.7)))
            found += refused(bytes(data))
        print(f"  {what:<24}{found:>6} of {count}")


def refused(data: bytes) -> bool:
    """Return whether gathering would leave it out as damaged."""
    try:
        check(data)
    except RefusedError as error:
        return error.kind != TOO_SMALL
    return False


def odd(picture: Picture) -> bool:
    """Return whether a picture belongs to those the figures are of."""
    return hashlib.sha256(picture.file.name.encode()).digest()[0] % 2 == 1


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description="How well copies are told from pictures that only look alike.")
    options.add_argument("--pictures", type=int, default=1000, help="originals that copies are made of")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--chosen-on", action="store_true", help="the half that the limits were set on instead")
    given = options.parse_args()
    root = PICTURES
    if not (root / "MANIFEST.csv").is_file():
        print("duplicates: no folder of pictures (BEAR_ALARM_PICTURES), nothing measured")
        return
    rows = [row for row in read_catalog(root).pictures if odd(row) != given.chosen_on]
    images = {str(row.file): read_picture(row.file) for row in rows}
    codes = {name: phash(image) for name, image in images.items()}
    thumbnails = {name: Thumbnail.of(image) for name, image in images.items()}
    sources = {str(row.file): row.source for row in rows}
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {len(rows)} pictures, seed {given.seed}")

    damaged([row.file for row in rows], given.seed)
    there = Duplicates(lambda name: thumbnails[name])
    for name, code in codes.items():
        there.add(name, sources[name], code)
    picked = np.random.default_rng(given.seed).permutation(sorted(images))[: given.pictures]
    print(f"\n{'copy':<26}{'found':>8}{'hash near':>11}{'as another':>12}")
    for what, make in COPIES.items():
        found = near = wrong = 0
        for name in map(str, picked):
            copy = make(images[name])
            code = phash(copy)
            near += (code ^ codes[name]).bit_count() <= NEAR_BITS
            twin = there.find(copy, code, "elsewhere", fixed_camera=False)
            found += twin == name
            wrong += twin not in (None, name)
        print(f"{what:<26}{found / len(picked):>8.1%}{near / len(picked):>11.1%}{wrong:>12}")

    names = list(codes)
    array = np.array([codes[name] for name in names], np.uint64)
    counts: Counter[str] = Counter()
    examples: list[str] = []
    for at, name in enumerate(names):
        apart = np.bitwise_xor(array[at + 1 :], array[at]).view(np.uint8).reshape(-1, 8)
        for other in np.flatnonzero(np.unpackbits(apart, axis=1).sum(axis=1) <= NEAR_BITS) + at + 1:
            one, two = thumbnails[name], thumbnails[names[other]]
            where = "one source" if sources[name] == sources[names[other]] else "two sources"
            counts[f"{where}: hash near"] += 1
            if same_picture(one, two, fixed_camera=False):
                counts[f"{where}: believed"] += 1
                examples.append(f"{where}: {Path(name).name} {Path(names[other]).name}")
                if same_picture(one, two, fixed_camera=True):
                    counts[f"{where}: believed of a fixed camera"] += 1
    print(f"\nof {len(names) * (len(names) - 1) // 2} pairs of different files")
    for what, count in sorted(counts.items()):
        print(f"  {what:<42}{count:>6}")
    print("\n".join(each for each in examples if each.startswith("two")))


if __name__ == "__main__":
    main()

"""Pictures whose labels look wrong, for the page on which they are decided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from train.clean.page import page_rows
from train.clean.suspects import BEAR_INSIDE, NEAR_DUPLICATE, NO_BEAR_HERE, Suspect
from train.data.catalog import read_catalog
from train.data.decisions import digest_of
from train.data.pictures import Picture

ODD = "no_bear/camera/a,b <img src=x onerror=alert(1)> '\"&.jpg"  # a name that must stay a name


def six_pictures(tmp_path: Path) -> Path:
    """Six small pictures, one with a name that tries to get out of the page."""
    root = tmp_path / "pictures"
    for label in ("no_bear", "brown_bear"):
        (root / label / "camera").mkdir(parents=True)
    names = ["no_bear/camera/0.jpg", "no_bear/camera/1.jpg", ODD, *(f"brown_bear/camera/{n}.jpg" for n in range(3))]
    for seed, name in enumerate(names):
        picture = np.random.default_rng(seed).integers(0, 255, (24, 32, 3), np.uint8)
        (root / name).write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
    return root


def rows_of(root: Path) -> list[dict[str, Any]]:
    """The page's rows: three bears inside no_bear, three bears that may be none, one pair of twins."""
    pictures = sorted(read_catalog(root).pictures, key=lambda picture: picture.label == "brown_bear")
    return page_rows([suspect(picture, pictures) for picture in pictures], root)


def suspect(picture: Picture, all_pictures: list[Picture]) -> Suspect:
    """A suspect as ``find_suspects`` makes one."""
    bear = picture.label == "brown_bear"
    twin = all_pictures[-1] if picture is all_pictures[0] else None
    return Suspect(
        picture=picture,
        sha256=digest_of(picture.file),
        why=(NO_BEAR_HERE if bear else BEAR_INSIDE, *((NEAR_DUPLICATE,) if twin else ())),
        flagged=True,
        suggested="no_bear" if bear else "black_bear",
        own=0.1,
        bear=0.1 if bear else 0.9,
        duplicate=twin,
    )

"""What a network makes of each picture, kept in the run's folder so that it is computed once."""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from edge.detect.crops import cut
from edge.errors import OptionError, PictureError
from edge.files import replace_whole
from edge.pictures import read_picture
from edge.schema import WHOLE, BoxXYWH
from edge.schema import Picture as Image
from train.data.decisions import digest_of
from train.data.pictures import Picture
from train.learn.dataloaders import Track
from train.learn.inference import CONTEXT, answers
from train.learn.network import Backbone, BearNet

log = logging.getLogger(__name__)

CACHE = "embeddings.npz"  # in the run's folder; safe to delete
TINY = 16  # side of the grey miniatures that near-duplicates are compared by
BATCH = 64
VERSION = 1  # of the cache: another cut or another network's reading makes another


@dataclass(frozen=True)
class Embedded:
    """Pictures that could be read, and what the network makes of them; all arrays are in the same order."""

    pictures: tuple[Picture, ...]
    digests: tuple[str, ...]  # SHA-256 of the files
    features: NDArray[np.float32]  # (N, F) pooled features, and one column more: ImageNet's log-odds of a bear
    tiny: NDArray[np.uint8]  # (N, TINY, TINY) grey


@dataclass
class _Views:
    """The cache: view (digest and box) -> its row."""

    features: dict[str, NDArray[np.float16]]
    tiny: dict[str, NDArray[np.uint8]]


def viewed(picture: Picture) -> BoxXYWH:
    """The part of a picture that its label is judged by: the largest bear's box, else the whole."""
    return max(picture.boxes, key=lambda box: box[2] * box[3], default=WHOLE)


def embed(
    pictures: Iterable[Picture],
    net: BearNet,
    backbone: Backbone,
    size: int,
    track: Track,
    *,
    cache: Path | None = None,
    network: str = "",
) -> Embedded:
    """Every picture's features through ``net`` at ``size`` pixels; broken ones are left out with one warning.

    ``cache`` is a file to keep them in, valid for the network whose digest is ``network`` only.
    """
    views = _read(cache, network) if cache else _Views({}, {})
    rows, digests, broken, waiting = list[Picture](), list[str](), list[str](), list[tuple[str, Image, BoxXYWH]]()
    known = len(views.features)
    for picture in track(list(pictures), "looking at the pictures"):
        try:
            digest = digest_of(picture.file)
            key = _key(digest, viewed(picture))
            if key not in views.features:
                waiting.append((key, read_picture(picture.file), viewed(picture)))
        except (OSError, PictureError):
            broken.append(picture.file.name)
            continue
        rows.append(picture)
        digests.append(digest)
        if len(waiting) >= BATCH:
            _look(waiting, net, backbone, size, views)
    _look(waiting, net, backbone, size, views)
    if broken:
        log.warning("%d pictures are damaged or empty and are left out (%s …)", len(broken), ", ".join(broken[:3]))
    if cache and len(views.features) > known:
        _write(cache, network, views)
    keys = [_key(digest, viewed(row)) for digest, row in zip(digests, rows, strict=True)]
    width = net.head.in_features + 1
    return Embedded(
        tuple(rows),
        tuple(digests),
        np.array([views.features[key] for key in keys], np.float32).reshape(-1, width),
        np.array([views.tiny[key] for key in keys], np.uint8).reshape(-1, TINY, TINY),
    )


def _look(
    waiting: list[tuple[str, Image, BoxXYWH]], net: BearNet, backbone: Backbone, size: int, views: _Views
) -> None:
    """Ask the network about the pictures that wait, and empty the list."""
    if not waiting:
        return
    crops = np.stack([cut(image, box, size, CONTEXT) for _, image, box in waiting])
    rows = []
    with torch.inference_mode():
        for pooled, raw in answers(net, backbone, crops):
            bear = net.bear_logit(raw)
            rows.append(torch.cat([pooled, bear[:, None].clamp(-50, 50)], dim=1).numpy())
    for (key, _, _), row, crop in zip(waiting, np.concatenate(rows), crops, strict=True):
        views.features[key] = row.astype(np.float16)
        grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
        views.tiny[key] = np.asarray(cv2.resize(grey, (TINY, TINY), interpolation=cv2.INTER_AREA), np.uint8)
    waiting.clear()


def _key(digest: str, box: BoxXYWH) -> str:
    return digest if box == WHOLE else f"{digest} {' '.join(f'{side:.4f}' for side in box)}"


def _read(cache: Path, network: str) -> _Views:
    """The cache, empty where it is not there, damaged, or of another network."""
    try:
        with np.load(cache, allow_pickle=False) as held:
            if str(held["network"]) != f"{VERSION} {network}":
                return _Views({}, {})
            keys: Sequence[str] = held["keys"].tolist()
            features, tiny = held["features"], held["tiny"]
            return _Views(dict(zip(keys, features, strict=True)), dict(zip(keys, tiny, strict=True)))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return _Views({}, {})


def _write(cache: Path, network: str, views: _Views) -> None:
    data = io.BytesIO()
    keys = list(views.features)
    np.savez(
        data,
        network=np.array(f"{VERSION} {network}"),
        keys=np.array(keys),
        features=np.stack([views.features[key] for key in keys]),
        tiny=np.stack([views.tiny[key] for key in keys]),
    )
    try:
        replace_whole(cache, data.getvalue())
    except OptionError as error:  # a run on a read-only disk: slower next time, no more
        log.warning("%s", error)

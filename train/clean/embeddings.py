"""Features of each picture by a network, cached in the run's folder; and near duplicates with different labels."""

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
from train.data.pictures import BEAR_ANY, Picture, is_bear
from train.learn.examples import Track
from train.learn.inference import CONTEXT, answers
from train.learn.network import Backbone, BearNet

log = logging.getLogger(__name__)

CACHE = "embeddings.npz"  # in the run's folder; safe to delete
THUMBNAIL_PX = 16  # side of the grey thumbnails, for near duplicates
BATCH = 64
VERSION = 1  # of the cache: increase it if the crop or the features change


@dataclass(frozen=True)
class Embedded:
    """Readable pictures and their features, all in the same order."""

    pictures: tuple[Picture, ...]
    digests: tuple[str, ...]  # SHA-256 of the files
    features: NDArray[np.float32]  # (N, F + 1): pooled features, and the log-odds of a bear
    thumbnails: NDArray[np.uint8]  # (N, THUMBNAIL_PX, THUMBNAIL_PX) grey


@dataclass
class _Cache:
    """The cache, by digest and box."""

    features: dict[str, NDArray[np.float16]]
    thumbnails: dict[str, NDArray[np.uint8]]


def largest_box(picture: Picture) -> BoxXYWH:
    """Return a picture's largest box, by which its label is checked; without boxes the whole."""
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
    """Compute every picture's features by ``net`` at ``size`` pixels; broken pictures are skipped with one warning.

    ``cache``: a file to keep them in, valid only for the network with the digest ``network``.
    """
    cached = _read(cache, network) if cache else _Cache({}, {})
    rows, digests, broken, waiting = list[Picture](), list[str](), list[str](), list[tuple[str, Image, BoxXYWH]]()
    known = len(cached.features)
    for picture in track(list(pictures), "reading the pictures"):
        try:
            digest = digest_of(picture.file)
            key = _key(digest, largest_box(picture))
            if key not in cached.features:
                waiting.append((key, read_picture(picture.file), largest_box(picture)))
        except (OSError, PictureError):
            broken.append(picture.file.name)
            continue
        rows.append(picture)
        digests.append(digest)
        if len(waiting) >= BATCH:
            _embed_waiting(waiting, net, backbone, size, cached)
    _embed_waiting(waiting, net, backbone, size, cached)
    if broken:
        log.warning("%d pictures are damaged or empty and are skipped (%s …)", len(broken), ", ".join(broken[:3]))
    if cache and len(cached.features) > known:
        _write(cache, network, cached)
    keys = [_key(digest, largest_box(row)) for digest, row in zip(digests, rows, strict=True)]
    width = net.head.in_features + 1
    return Embedded(
        tuple(rows),
        tuple(digests),
        np.array([cached.features[key] for key in keys], np.float32).reshape(-1, width),
        np.array([cached.thumbnails[key] for key in keys], np.uint8).reshape(-1, THUMBNAIL_PX, THUMBNAIL_PX),
    )


def _embed_waiting(
    waiting: list[tuple[str, Image, BoxXYWH]], net: BearNet, backbone: Backbone, size: int, cached: _Cache
) -> None:
    """Run the network on the waiting pictures, and empty the list."""
    if not waiting:
        return
    crops = np.stack([cut(image, box, size, CONTEXT) for _, image, box in waiting])
    rows = []
    with torch.inference_mode():
        for pooled, raw in answers(net, backbone, crops):
            bear = net.bear_logit(raw)
            rows.append(torch.cat([pooled, bear[:, None].clamp(-50, 50)], dim=1).numpy())
    for (key, _, _), row, crop in zip(waiting, np.concatenate(rows), crops, strict=True):
        cached.features[key] = row.astype(np.float16)
        grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
        cached.thumbnails[key] = np.asarray(
            cv2.resize(grey, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA), np.uint8
        )
    waiting.clear()


def _key(digest: str, box: BoxXYWH) -> str:
    return digest if box == WHOLE else f"{digest} {' '.join(f'{side:.4f}' for side in box)}"


def _read(cache: Path, network: str) -> _Cache:
    """Read the cache; empty if it is missing, damaged, or of another network."""
    try:
        with np.load(cache, allow_pickle=False) as held:
            if str(held["network"]) != f"{VERSION} {network}":
                return _Cache({}, {})
            keys: Sequence[str] = held["keys"].tolist()
            features, tiny = held["features"], held["tiny"]
            return _Cache(dict(zip(keys, features, strict=True)), dict(zip(keys, tiny, strict=True)))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return _Cache({}, {})


def _write(cache: Path, network: str, cached: _Cache) -> None:
    data = io.BytesIO()
    keys = list(cached.features)
    np.savez(
        data,
        network=np.array(f"{VERSION} {network}"),
        keys=np.array(keys),
        features=np.stack([cached.features[key] for key in keys]),
        tiny=np.stack([cached.thumbnails[key] for key in keys]),
    )
    try:
        replace_whole(cache, data.getvalue())
    except OptionError as error:  # a run on a read-only disk is only slower next time
        log.warning("%s", error)


MIN_COSINE = 0.90  # of two embeddings: then the thumbnails are compared
MIN_CORRELATION = 0.90  # of two thumbnails: then they are near duplicates
CHUNK = 1024


@dataclass(frozen=True)
class NearDuplicate:
    """Two pictures, by number, and their similarity."""

    first: int
    second: int
    cosine: float  # of the embeddings
    correlation: float  # of the thumbnails; of a mirrored one if that is higher


def contradict(one: str, other: str) -> bool:
    """Return True if two labels cannot both be right: "bear" is right for every bear."""
    return one != other and not (is_bear(one) and is_bear(other) and BEAR_ANY in (one, other))


def near_duplicates(embedded: Embedded) -> list[NearDuplicate]:
    """Find pairs of near duplicates with contradicting labels, the most similar first."""
    features = embedded.features[:, :-1]  # without the log-odds of a bear
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
    plain, mirrored = _normalised(embedded.thumbnails), _normalised(embedded.thumbnails[:, :, ::-1])
    labels = [picture.label for picture in embedded.pictures]
    found = []
    for start in range(0, len(unit), CHUNK):
        cosines = unit[start : start + CHUNK] @ unit.T
        for row, second in zip(*np.nonzero(cosines >= MIN_COSINE), strict=True):
            first = start + int(row)
            if first >= second or not contradict(labels[first], labels[second]):
                continue
            correlation = float(max(plain[first] @ plain[second], plain[first] @ mirrored[second]))
            if correlation >= MIN_CORRELATION:
                found.append(NearDuplicate(first, int(second), float(cosines[row, second]), correlation))
    return sorted(found, key=lambda pair: -pair.correlation)


def _normalised(thumbnails: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return rows with mean 0 and length 1, (N, THUMBNAIL_PX²); zeros for a picture of one grey."""
    rows = thumbnails.reshape(-1, THUMBNAIL_PX * THUMBNAIL_PX).astype(np.float64)
    rows -= rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    result: NDArray[np.float64] = np.where(length > THUMBNAIL_PX, rows / np.maximum(length, 1e-9), 0)
    return result

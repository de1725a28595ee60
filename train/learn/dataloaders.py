"""Catalogue -> fastai DataLoaders: crops from boxes, random-resized crops, some of them in another place."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from fastai.data.block import CategoryBlock, DataBlock, TransformBlock
from fastai.data.core import DataLoaders, TfmdDL
from fastai.data.transforms import IndexSplitter, IntToFloatTensor, Normalize
from fastai.vision.augment import RandomResizedCrop, aug_transforms
from fastai.vision.core import PILImage
from fasttransform import Transform
from numpy.typing import NDArray

from edge.detect.crops import fit, square
from edge.errors import CatalogError, PictureError
from edge.pictures import read_picture
from edge.schema import WHOLE, BoxXYWH, Picture
from train.data.pictures import TRAINING_LABELS, Catalog, check_trainable, is_bear, table_digest
from train.data.pictures import Picture as Row
from train.data.split import Split, name_of
from train.learn.network import Backbone
from train.learn.recipe import Recipe

log = logging.getLogger(__name__)
T = TypeVar("T")
Track = Callable[[Iterable[T], str], Iterator[T]]  # a progress bar around the items

# How often each kind of picture is drawn in an epoch, whatever its number; the shares of kinds that are there add up.
KIND_SHARES = {
    "bear": 0.25,
    "trail camera's bear": 0.14,
    "teddy_bear": 0.08,
    "no_bear": 0.33,
    "trail camera's no_bear": 0.20,
}


def make_dataloaders(
    train: Sequence[Row],
    tune: Sequence[Row],
    backbone: Backbone,
    recipe: Recipe,
    cache: PictureCache | None = None,
) -> DataLoaders:
    """Make training and tuning DataLoaders; an epoch draws ``recipe.per_epoch`` examples, balanced by kind.

    Everything runs in this process (no workers): the cache of decoded pictures is shared and the
    order of random draws is fixed.
    """
    learn_from, tune_on = examples_of(train, windows=True), examples_of(tune)
    places = [example for example in learn_from if example.label == "no_bear"]
    db = block(backbone, len(learn_from), recipe, cache or PictureCache(), places)
    datasets = db.datasets([*learn_from, *tune_on])
    weights = sampling_weights(train)
    drawing = {"weights": weights, "per_epoch": max(recipe.per_epoch, recipe.batch)}
    dls: DataLoaders = datasets.dataloaders(
        bs=recipe.batch,
        dl_type=BalancedDL,
        dl_kwargs=(drawing, {}),
        num_workers=0,
        device=torch.device("cuda" if recipe.fp16 else "cpu"),
        after_item=db.item_tfms,
        after_batch=db.batch_tfms,
    )
    return dls


def sampling_weights(rows: Sequence[Row]) -> list[float]:
    """Return the weight of each example (``examples_of``), so that the kinds are drawn as ``KIND_SHARES`` says.

    Of cameras' frames without a bear, each group is drawn in proportion to the root of its number: a camera of
    four hundred frames is not all cameras.
    """
    named = [(kind(row), row.unit) for row in rows for _ in row.boxes or (None,)]
    counts = Counter(named)
    raw = [counts[name] ** -0.5 if name[0] == "trail camera's no_bear" else 1.0 for name in named]
    totals: Counter[str] = Counter()
    for (share, _), weight in zip(named, raw, strict=True):
        totals[share] += weight  # type: ignore[assignment]
    there = sum(KIND_SHARES[share] for share in totals)
    return [KIND_SHARES[share] * weight / totals[share] / there for (share, _), weight in zip(named, raw, strict=True)]


def kind(row: Row) -> str:
    """Return the picture's name in ``KIND_SHARES``."""
    name = "bear" if is_bear(row.label) else row.label
    return f"trail camera's {name}" if row.of_trail_camera and name != "teddy_bear" else name


def block(
    backbone: Backbone, split_at: int, recipe: Recipe, cache: PictureCache, places: Sequence[Example]
) -> DataBlock:
    """Return the DataBlock: the first ``split_at`` items train, the rest tune. ``places``: examples without a bear."""

    def after(items: Sequence[Example]) -> tuple[list[int], list[int]]:
        return IndexSplitter(list(range(split_at, len(items))))(items)

    return DataBlock(
        blocks=(
            TransformBlock(type_tfms=[OpenExample(cache)], batch_tfms=[IntToFloatTensor]),
            CategoryBlock(vocab=list(TRAINING_LABELS), sort=False),
        ),
        get_y=get_label,
        splitter=after,
        item_tfms=item_transforms(recipe, cache, places),
        batch_tfms=[
            *batch_transforms(),
            Normalize.from_stats(list(backbone.mean), list(backbone.std), cuda=recipe.fp16),
        ],
    )


def get_label(example: Example) -> str:
    """Return the example's label."""
    return example.label


def item_transforms(recipe: Recipe, cache: PictureCache, places: Sequence[Example] = ()) -> list[Transform]:
    """Return the transforms of each picture by itself: it becomes a square, and a share goes to another place."""
    away = [ZoomOut(recipe.zoom_out, cache, places)] if recipe.zoom_out else []
    return [RandomResizedCrop(recipe.size, min_scale=0.35, ratio=(0.6, 1.67)), *away]


def batch_transforms() -> list[Transform]:
    """Return the transforms of a whole batch: flips, small turns, light."""
    return list(
        aug_transforms(max_rotate=10.0, max_zoom=1.15, max_lighting=0.3, max_warp=0.15, p_affine=0.5, p_lighting=0.6)
    )


class BalancedDL(TfmdDL):
    """Draws ``per_epoch`` examples an epoch, with replacement, by weight (numpy's seeded generator)."""

    def __init__(self, dataset: Any = None, weights: Sequence[float] = (), per_epoch: int = 0, **kwargs: Any):
        self.weights, self.per_epoch = np.asarray(weights, float), per_epoch
        super().__init__(dataset=dataset, **kwargs)

    def get_idxs(self) -> list[int]:
        """Draw positions in the set; without weights (tuning) each comes once, in order."""
        if not self.per_epoch:
            order: list[int] = super().get_idxs()
            return order
        return list(np.random.choice(len(self.weights), self.per_epoch, p=self.weights / self.weights.sum()))

    def __len__(self) -> int:
        # The last, partial training batch is dropped.
        return self.per_epoch // self.bs if self.per_epoch else super().__len__()


# The pictures: each is decoded once before training starts, and what is broken is left out with a warning. What the
# learner needs of a picture is kept from then on, for decoding does not change.

# A box is cut this much wider than the bear; the random-resized crop then takes 35-100 % of that, so
# that training crops are shifted and partial as motion regions are.
BOX_CONTEXT = 1.5
# Kept no larger than this on the shorter side, twice the network's input: 35 % of its area are 265 pixels square.
ENOUGH_PX = 448
CACHE_BYTES = 3 << 30
MAX_BROKEN_SHARE = 0.10  # above it the card or the copy is broken, not a picture here and there
MAX_NAMED = 3  # broken pictures in the sentence; the rest is counted


@dataclass(frozen=True)
class Example:
    """One thing to learn from: a picture or one box of it."""

    file: Path
    label: str
    box_xywh: BoxXYWH
    # A part of it, another each time: what lies about in a camera's frame. The cache keeps the same pixels for both.
    window: bool = field(default=False, compare=False)


def examples_of(rows: Sequence[Row], windows: bool = False) -> list[Example]:
    """Return one example a box where there are boxes, else the whole picture.

    ``windows``: of cameras' frames without a bear, parts of any size.
    """
    return [
        Example(row.file, row.label, box, windows and row.label == "no_bear" and row.of_trail_camera)
        for row in rows
        for box in (row.boxes or (WHOLE,))
    ]


class PictureCache:
    """The pixels of examples, kept while they fit into ``limit`` bytes (3 GiB, or half of a small memory)."""

    def __init__(self, limit: int | None = None):
        self.limit, self.held = cache_bytes() if limit is None else limit, 0
        self._kept: dict[Example, Picture] = {}

    def __call__(self, example: Example) -> Picture:
        """Return the example, uint8 (H, W, 3) BGR: the whole picture, or a square ``BOX_CONTEXT`` times its box."""
        kept = self._kept.get(example)
        return self._keep(example, read_picture(example.file)) if kept is None else kept

    def fill(self, row: Row) -> None:
        """Decode one picture and keep its examples. Raises PictureError when it is broken."""
        image = read_picture(row.file)
        for example in examples_of([row]):
            self._keep(example, image)

    def _keep(self, example: Example, image: Picture) -> Picture:
        pixels = cut_example(image, example.box_xywh)
        if example not in self._kept and self.held + pixels.nbytes <= self.limit:
            self._kept[example] = pixels
            self.held += pixels.nbytes
        return pixels

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return PictureCache, (self.limit,)  # a Learner that is exported leaves the pictures behind


def cut_example(image: Picture, box_xywh: BoxXYWH) -> Picture:
    """Cut what the learner sees of a picture, uint8 BGR, at most ``ENOUGH_PX`` on the shorter side."""
    if box_xywh != WHOLE:
        x, y, w, h = square(box_xywh, (image.shape[1], image.shape[0]), BOX_CONTEXT)
        image = image[y : y + h, x : x + w].copy()  # a view would hold the whole picture
    scale = ENOUGH_PX / min(image.shape[:2])
    if scale < 1:
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    return image


def cache_bytes() -> int:
    """Return how much memory kept crops may take: half of the machine's, at most 3 GiB."""
    try:
        return min(CACHE_BYTES, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
    except (AttributeError, ValueError, OSError):  # Windows, and systems that do not say
        return CACHE_BYTES // 2


def leave_out_broken(
    catalog: Catalog, split: Split, cache: PictureCache, track: Track[tuple[str, Row]]
) -> tuple[Catalog, Split]:
    """Leave the pictures that cannot be decoded out of the catalogue and its parts; they join its ``left_out``.

    Decodes every picture of the three parts once; training and tuning examples stay in ``cache``. A few broken
    pictures are left out with one warning that names them. Raises CatalogError when more than
    ``MAX_BROKEN_SHARE`` of all are broken, or too few are left to train on.
    """
    rows = [(part, row) for part, some in split.items() for row in some]
    broken: list[Row] = []
    for part, row in track(rows, "reading the pictures"):
        try:
            if part == "test":
                read_picture(row.file)
            else:
                cache.fill(row)
        except PictureError:
            broken.append(row)
    if not broken:
        return catalog, split
    out = set(broken)
    names = sorted(name_of(row, catalog.root) for row in broken)
    named = ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")
    what = f"{len(names)} of {len(rows)} pictures are damaged or empty ({named})"
    if len(names) > MAX_BROKEN_SHARE * len(rows):
        raise CatalogError(f"{catalog.root}: {what}, too many to go on without; copy the pictures again")
    log.warning("%s: %s; training goes on without them: copy them again, or delete them", catalog.root, what)
    kept = tuple(row for row in catalog.pictures if row not in out)
    left = replace(
        catalog, pictures=kept, digest=table_digest(kept, catalog.root), left_out=(*catalog.left_out, *broken)
    )
    check_trainable(left)
    return left, {part: [row for row in some if row not in out] for part, some in split.items()}


# Frames of trail cameras without a bear are learned by parts of any size: what moves there is small.

MIN_WINDOW_PX = 12  # of such a part's side
WINDOW = 0.12, 1.0  # of the shorter side of a frame without a bear: the part that is shown
WHOLE_FRAMES = 0.2  # share of these frames that are shown whole


class OpenExample(Transform):
    """Example -> PILImage."""

    def __init__(self, cache: PictureCache):
        super().__init__()
        self.read = cache

    def encodes(self, example: Example) -> PILImage:
        """Return the example's pixels, RGB, or some window of them; draws from numpy's seeded generator."""
        pixels = self.read(example)
        if example.window and np.random.random() >= WHOLE_FRAMES:
            pixels = some_window(pixels)
        return PILImage.create(np.ascontiguousarray(pixels[..., ::-1]))


def some_window(image: Picture) -> Picture:
    """Return a square part of an image, of any size that shows anything."""
    height, width = image.shape[:2]
    side = max(MIN_WINDOW_PX, int(min(height, width) * np.exp(np.random.uniform(*np.log(WINDOW)))))
    side = min(side, height, width)
    top, left = np.random.randint(height - side + 1), np.random.randint(width - side + 1)
    return image[top : top + side, left : left + side]


# A training crop shown smaller, in another place: the bear of a photograph fills it, that of a camera does not.
#
# SSD's "expand" (Liu et al. 2016) with real surroundings in place of one colour, as Dwibedi et al. 2017 ("Cut, paste
# and learn") have them. Whatever is in the crop is treated alike, bear or not, so that a rim tells nothing. The places
# are parts of pictures without a bear, each picture as often as any other.

SIDES = (0.5, 0.95)  # of the square, the side the crop is shrunk to
SQUASH = 0.7, 1.0  # one side is so much shorter: subjects are seldom square
PLACE_MIN_PX = 32  # of a place's shorter side
DRAWS = 8  # of a place, until one is large enough


class ZoomOut(Transform):
    """Shrinks a share of the training crops and puts each somewhere into a part of a picture without a bear."""

    order = 2  # RandomResizedCrop is 1, the field's look comes after
    split_idx = 0  # training only

    def __init__(self, share: float, read: PictureCache, places: Sequence[Example]):
        super().__init__()
        self.share, self.read, self.places = share, read, list(places)

    def encodes(self, image: PILImage) -> PILImage:
        """Show the picture in another place with probability ``share``; draws from numpy's seeded generator."""
        rng = np.random.default_rng(np.random.randint(2**31))
        if rng.random() >= self.share or not self.places:
            return image
        subject = np.asarray(image)
        for _ in range(DRAWS):
            place = self.read(self.places[int(rng.integers(len(self.places)))])[..., ::-1]
            if min(place.shape[:2]) >= PLACE_MIN_PX:
                return PILImage.create(put(subject, surroundings(place, subject.shape[0], rng), rng))
        return image


def surroundings(place: NDArray[np.uint8], side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cut some square out of a picture, (side, side, 3)."""
    height, width = place.shape[:2]
    part = max(PLACE_MIN_PX, round(min(height, width) * rng.uniform(0.4, 1.0)))
    x, y = int(rng.integers(width - part + 1)), int(rng.integers(height - part + 1))
    return fit(np.ascontiguousarray(place[y : y + part, x : x + part]), side)


def put(subject: NDArray[np.uint8], place: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Shrink the subject and lay it on the place (side, side, 3), its rim sharp or soft."""
    side = place.shape[0]
    long = max(2, round(side * rng.uniform(*SIDES)))
    width, height = long, max(2, round(long * rng.uniform(*SQUASH)))
    if rng.random() < 0.5:
        width, height = height, width
    x, y = int(rng.integers(side - width + 1)), int(rng.integers(side - height + 1))
    small = cv2.resize(np.ascontiguousarray(subject), (width, height), interpolation=cv2.INTER_AREA)
    soft = rng.uniform(0.0, 0.12) * min(width, height)
    alpha = np.zeros((height, width), np.float32)
    edge = round(soft)
    alpha[edge : height - edge, edge : width - edge] = 1
    if edge:
        alpha = cv2.GaussianBlur(alpha, (0, 0), soft / 2, borderType=cv2.BORDER_CONSTANT)
    shown = place.astype(np.float32)
    under = shown[y : y + height, x : x + width]
    shown[y : y + height, x : x + width] = under + alpha[..., None] * (small.astype(np.float32) - under)
    return np.clip(shown, 0, 255).round().astype(np.uint8)


# How the field degrades a picture: far, dark, grey, infrared, blurred, noisy, compressed.
#
# Used for training (``train.learn.learner.FieldLook``) and, seeded, for int8 calibration and the
# export parity check. Recipe: a bear 40 pixels wide is what real trail cameras show, and training
# on such copies is what moved recall there.

FAR_PX = (20, 90)  # the crop's side after shrinking
FLASH = 0.07  # share of the degraded pictures that are dark, with a flash
FLASH_LIGHT = 0.05, 0.35  # of the daylight picture


def degrade(image: Picture, rng: np.random.Generator) -> Picture:
    """Degrade a copy of a crop as a field camera would, same shape, uint8 BGR."""
    side = image.shape[0]
    far = int(np.exp(rng.uniform(*np.log(FAR_PX))))
    small = cv2.resize(image, (far, far), interpolation=cv2.INTER_AREA).astype(np.float32)
    shown = np.clip(field_look(small, rng), 0, 255).astype(np.uint8)
    if rng.random() < 0.7:
        shown = jpeg(shown, int(rng.integers(25, 90)))
    return fit(shown, side)


def field_look(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Make a picture (H, W, 3), float32 BGR, infrared or grey, dim, blurred, foggy, noisy: each a share of them."""
    if rng.random() < FLASH:
        return flash(image, rng)
    look = rng.random()
    if look < 0.22:
        image = infrared(image, rng)
    elif look < 0.38:
        image = grey(image)
    if rng.random() < 0.33:
        image = dim(image, rng)
    if rng.random() < 0.28:
        image = blur(image, rng)
    if rng.random() < 0.18:  # fog, dirty lens
        veil = rng.uniform(0.15, 0.55)
        image = image * (1 - veil) + 255 * rng.uniform(0.5, 0.9) * veil
    return np.asarray(image + rng.normal(0, rng.uniform(0, 9), image.shape), np.float32)


def grey(image: np.ndarray) -> np.ndarray:
    """Take the colour from a picture, which keeps three channels."""
    return np.repeat(image @ np.array([0.114, 0.587, 0.299], np.float32)[:, None], 3, axis=2)


def infrared(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give the near-infrared look of night: grey, foliage and fur lighter, a lamp's bright centre, dark corners."""
    weights = np.array([rng.uniform(-0.2, 0.1), rng.uniform(0.4, 0.8), rng.uniform(0.3, 0.6)], np.float32)
    mono = (image @ (weights / weights.sum()))[..., None]
    mono = 255 * (np.clip(mono, 0, 255) / 255) ** rng.uniform(0.45, 1.2)
    return np.repeat(mono * lamp(image, rng) * rng.uniform(0.5, 1.1), 3, axis=2)


def flash(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Light a picture by a weak flash at night: nearly black, lighter where it reaches, with the sensor's noise."""
    tint = np.array([rng.uniform(0.5, 1.1), 1.0, rng.uniform(0.7, 1.15)], np.float32)
    shown = image * lamp(image, rng) * np.exp(rng.uniform(*np.log(FLASH_LIGHT))) * tint + rng.uniform(0, 8)
    return np.asarray(shown + rng.normal(0, rng.uniform(0.5, 4), image.shape), np.float32)


def lamp(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return how much of a camera's lamp reaches each pixel (H, W, 1): bright somewhere, dark in the corners."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    centre = rng.uniform(0.2, 0.8, 2)
    distance = np.hypot(x / width - centre[0], y / height - centre[1])
    return np.asarray(np.clip(1.15 - rng.uniform(0.4, 1.4) * distance, 0.1, 1.2)[..., None], np.float32)


def dim(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Darken a picture as dusk does: flatter, a little blue or orange."""
    tint = np.array([rng.uniform(0.85, 1.15), 1.0, rng.uniform(0.85, 1.15)], np.float32)
    darker = 255 * (np.clip(image, 0, 255) / 255) ** rng.uniform(1.0, 2.0) * rng.uniform(0.25, 0.8)
    return darker * tint + rng.uniform(0, 12)


def blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur a picture: out of focus, or smeared along a line by the animal's own motion."""
    side = image.shape[0]
    if rng.random() < 0.5:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, max(0.6, side / 40)))
    length = max(2, int(side * rng.uniform(0.03, 0.12)))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    middle = (length - 1) / 2
    for step in np.linspace(-middle, middle, 2 * length):
        kernel[round(middle + step * np.sin(angle)), round(middle + step * np.cos(angle))] = 1
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def jpeg(image: Picture, quality: int) -> Picture:
    """Compress a picture as JPEG at ``quality`` (1 to 100), and decode it."""
    _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)

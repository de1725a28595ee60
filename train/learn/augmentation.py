"""Augmentation of crops: degraded as a field camera does, or shown smaller in another place.

``degrade`` is for training (``train.learn.callbacks.DegradeCrops``) and, seeded, for int8 calibration and the export's
parity check. A bear 40 pixels wide is what real trail cameras show, and training on such crops is what moved recall
there. ``ZoomOut`` is for training: a photograph's bear fills it, a trail camera's bear does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from fastai.vision.core import PILImage
from fasttransform import Transform
from numpy.typing import NDArray

from edge.detect.crops import fit
from edge.schema import Picture
from train.learn.examples import Example, PictureCache

FAR_PX = (20, 90)  # range of the crop's side after shrinking
FLASH = 0.07  # share of pictures at night, with a weak flash
FLASH_LIGHT = 0.05, 0.35  # range of their light, as a share of the daylight picture's


def degrade(image: Picture, rng: np.random.Generator) -> Picture:
    """Degrade a copy of a crop as a field camera would, same shape, uint8 BGR."""
    side = image.shape[0]
    far = int(np.exp(rng.uniform(*np.log(FAR_PX))))
    small = cv2.resize(image, (far, far), interpolation=cv2.INTER_AREA).astype(np.float32)
    shown = np.clip(field_conditions(small, rng), 0, 255).astype(np.uint8)
    if rng.random() < 0.7:
        shown = jpeg(shown, int(rng.integers(25, 90)))
    return fit(shown, side)


def field_conditions(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Make a picture (H, W, 3), float32 BGR, infrared, grey, dim, blurred, foggy or noisy, each with a probability."""
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
    """Remove the colour of a picture; it keeps three channels."""
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
    """Return the light of a camera's lamp at each pixel (H, W, 1): one bright spot, dark corners."""
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
    """Compress a picture as JPEG at ``quality`` (1 to 100), and decode it again."""
    _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)


SIDES = (0.5, 0.95)  # range of the shrunk crop's side, as a share of the square's
SQUASH = 0.7, 1.0  # range of the shorter side, as a share of the longer: few subjects are square
PLACE_MIN_PX = 32  # of a place's shorter side
DRAWS = 8  # attempts to find a place that is large enough


class ZoomOut(Transform):
    """Shrinks a share of the training crops, and puts each into a part of a picture without a bear.

    SSD's "expand" (Liu et al. 2016) with real surroundings in place of one colour, as in Dwibedi et al. 2017 ("Cut,
    paste and learn"). Crops with and without a bear are treated alike, so that the rim gives nothing away. The places
    are parts of pictures without a bear, each picture as often as any other.
    """

    order = 2  # RandomResizedCrop is 1; DegradeCrops comes after
    split_idx = 0  # training only

    def __init__(self, share: float, read: PictureCache, places: Sequence[Example]):
        super().__init__()
        self.share, self.read, self.places = share, read, list(places)

    def encodes(self, image: PILImage) -> PILImage:
        """Show the picture in another place with probability ``share`` (numpy's seeded generator)."""
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
    """Cut a random square out of a picture, (side, side, 3)."""
    height, width = place.shape[:2]
    part = max(PLACE_MIN_PX, round(min(height, width) * rng.uniform(0.4, 1.0)))
    x, y = int(rng.integers(width - part + 1)), int(rng.integers(height - part + 1))
    return fit(np.ascontiguousarray(place[y : y + part, x : x + part]), side)


def put(subject: NDArray[np.uint8], place: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Shrink the subject and paste it onto the place (side, side, 3), its rim sharp or soft."""
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

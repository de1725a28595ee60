"""How the field degrades a picture: far, dark, grey, infrared, blurred, noisy, compressed.

Used for training (fastai transform in ``train.learning.dataloaders``) and, seeded, for int8 calibration and the
export parity check. Recipe: a bear 40 pixels wide is what real trail cameras show, and training
on such copies is what moved recall there.
"""

from __future__ import annotations

import cv2
import numpy as np

from edge.crops import fit
from edge.schema import Picture

FAR_PX = (20, 90)  # the crop's side after shrinking


def degrade(image: Picture, rng: np.random.Generator) -> Picture:
    """A copy of a crop as a field camera would give it, same shape, uint8 BGR."""
    side = image.shape[0]
    far = int(np.exp(rng.uniform(*np.log(FAR_PX))))
    small = cv2.resize(image, (far, far), interpolation=cv2.INTER_AREA).astype(np.float32)
    look = rng.random()
    if look < 0.18:
        small = infrared(small, rng)
    elif look < 0.35:
        small = grey(small)
    if rng.random() < 0.35:
        small = dim(small, rng)
    if rng.random() < 0.30:
        small = blur(small, rng)
    if rng.random() < 0.20:  # fog, dirty lens
        veil = rng.uniform(0.2, 0.6)
        small = small * (1 - veil) + 255 * rng.uniform(0.5, 0.9) * veil
    small = small + rng.normal(0, rng.uniform(0, 10), small.shape)
    shown = np.clip(small, 0, 255).astype(np.uint8)
    if rng.random() < 0.7:
        shown = jpeg(shown, int(rng.integers(25, 90)))
    return fit(shown, side)


def grey(image: np.ndarray) -> np.ndarray:
    """The picture without colour, still three channels."""
    return np.repeat(image @ np.array([0.114, 0.587, 0.299], np.float32)[:, None], 3, axis=2)


def infrared(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Near-infrared night look: grey, foliage and fur lighter, a lamp's bright centre, dark corners."""
    weights = np.array([rng.uniform(-0.2, 0.1), rng.uniform(0.4, 0.8), rng.uniform(0.3, 0.6)], np.float32)
    mono = (image @ (weights / weights.sum()))[..., None]
    mono = 255 * (np.clip(mono, 0, 255) / 255) ** rng.uniform(0.45, 1.2)
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    centre = rng.uniform(0.2, 0.8, 2)
    distance = np.hypot(x / width - centre[0], y / height - centre[1])
    lamp = np.clip(1.15 - rng.uniform(0.4, 1.4) * distance, 0.1, 1.2)[..., None]
    return np.repeat(mono * lamp * rng.uniform(0.5, 1.1), 3, axis=2)


def dim(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dusk: darker, flatter, a little blue or orange."""
    tint = np.array([rng.uniform(0.85, 1.15), 1.0, rng.uniform(0.85, 1.15)], np.float32)
    darker = 255 * (np.clip(image, 0, 255) / 255) ** rng.uniform(1.0, 2.0) * rng.uniform(0.25, 0.8)
    return darker * tint + rng.uniform(0, 12)


def blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Out of focus, or smeared along a line by the animal's own motion."""
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
    """The picture after JPEG compression at ``quality`` (1 to 100)."""
    _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)

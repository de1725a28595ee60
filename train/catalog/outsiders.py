"""Pictures of what the camera is not meant to see: the outsiders that out-of-domain scores are compared on.

Three origins: pictures of the catalogue whose note names such a thing, folders of one's own (one a kind), and
covered lenses, which are made from in-domain pictures. Needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge.errors import OptionError
from edge.pictures import SUFFIXES
from edge.schema import Picture
from train.catalog.picture import Picture as Row

# What a table's notes call them. Livestock, pets, birds, boar, deer, foxes, wolves, cars, streets and landscapes are
# what a camera in the field does see: in-domain.
NOTES = {
    "thermal": re.compile(r"thermal"),
    "other continents' animals": re.compile(
        r"african|kangaroo|wallaby|koala|wombat|echidna|platypus|lion\b|tiger\b|cheetah|hyena|meerkat|mongoose|zebra|"
        r"elephant|giraffe|hippopotamus|warthog|impala|gazelle|camel|llama|armadillo|sloth\b|leopard|jaguar|"
        r"\bape\b|gorilla|chimpanzee|orangutan|gibbon|siamang|guenon|patas|baboon|macaque|langur|colobus|monkey|"
        r"marmoset|capuchin|titi\b|indri|madagascar_cat|ostrich|water_buffalo"
    ),
    "under water": re.compile(
        r"shark|ray\b|hammerhead|tench|goldfish|coral|anemone|jellyfish|starfish|sea_urchin|sea_cucumber|lionfish|"
        r"puffer|rock_beauty|coho|sturgeon|\bgar\b|\beel\b|barracouta|lobster|\w+_crab|crayfish|chiton|nautilus|"
        r"sea_slug|conch|whale|dugong"
    ),
    "indoor": re.compile(r"indoor|\broom\b|kitchen|office"),
    "drawings": re.compile(r"drawing|cartoon|comic|sketch|clip ?art"),
}
COVERED = "covered lens"


@dataclass(frozen=True)
class Outsider:
    """One picture of a kind of outsider."""

    kind: str
    file: Path
    seen: bool  # whether the network was trained on it


def kind_of(row: Row) -> str | None:
    """Which kind of outsider a catalogue's picture is; None of one that belongs to the domain, as every bear does."""
    if row.label != "no_bear":
        return None
    note = f"{row.note} {row.named}".lower()
    return next((kind for kind, words in NOTES.items() if words.search(note)), None)


def in_domain(rows: Iterable[Row]) -> list[Row]:
    """The pictures that are no outsiders."""
    return [row for row in rows if kind_of(row) is None]


def of_catalog(trained: Sequence[Row], others: Sequence[Row]) -> list[Outsider]:
    """The outsiders among a run's pictures: those it was trained on, and those it was not."""
    return [
        Outsider(kind, row.file, seen)
        for rows, seen in ((trained, True), (others, False))
        for row in rows
        if (kind := kind_of(row)) is not None
    ]


def of_folder(folder: Path) -> list[Outsider]:
    """The outsiders in a folder with one sub-folder a kind (indoor, drawings, …). Raises OptionError."""
    if not folder.is_dir():
        raise OptionError(f"{folder}: no such folder; --outsiders takes a folder with one sub-folder a kind")
    found = [
        Outsider(inside.name.replace("_", " "), file, False)
        for inside in sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        for file in sorted(inside.rglob("*"))
        if file.suffix.lower() in SUFFIXES and file.is_file() and not file.name.startswith(".")
    ]
    if not found:
        raise OptionError(f"{folder}: no pictures in its sub-folders; make one a kind, such as {folder / 'indoor'}")
    return found


def cover_lens(image: Picture, rng: np.random.Generator) -> Picture:
    """A crop (H, W, 3) as a covered lens would give it: cap, finger, drop, mud, glare or frost. Same shape, uint8."""
    how = COVERS[int(rng.integers(len(COVERS)))]
    shown = how(image.astype(np.float32), rng)
    noisy = shown + rng.normal(0, rng.uniform(0.5, 4), shown.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def cap(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """No light at all: a dark level, and the little that leaks in at a side."""
    height, width = image.shape[:2]
    leak = np.linspace(0, rng.uniform(0, 12), width, dtype=np.float32)[None, :, None]
    return np.zeros_like(image) + rng.uniform(0, 14) + np.broadcast_to(leak, (height, width, 1))


def finger(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Skin close to the lens: red and out of focus, over 70 to 100 % of the picture."""
    colour = np.array([60, 70, 150], np.float32) * rng.uniform(0.3, 1.3)
    return _behind(image, colour, rng.uniform(0.7, 1.3), 0.12, rng)


def drop(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Water on the lens: nothing is in focus, and light gathers where the drop bends it."""
    side = image.shape[0]
    soft = cv2.GaussianBlur(image, (0, 0), side * rng.uniform(0.08, 0.2))
    light = cv2.GaussianBlur(rng.normal(0, 1, image.shape[:2]).astype(np.float32), (0, 0), side / 10)
    return soft + (light / max(float(np.abs(light).max()), 1e-6))[..., None] * rng.uniform(10, 50)


def mud(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dirt or a leaf on the glass: brown to green, over 80 to 100 %."""
    colour = np.array([rng.uniform(15, 50), rng.uniform(40, 90), rng.uniform(40, 90)], np.float32)
    return _behind(image, colour, rng.uniform(0.85, 1.4), 0.06, rng)


def glare(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The sun in the lens: almost all is white."""
    side = image.shape[0]
    soft = cv2.GaussianBlur(image, (0, 0), side * 0.04)
    return soft + (255 - soft) * rng.uniform(0.85, 1.0)


def frost(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ice or dew: a grey veil with a grain, and hardly a shape behind it."""
    side = image.shape[0]
    soft = cv2.GaussianBlur(image, (0, 0), side * rng.uniform(0.06, 0.15))
    grain = cv2.GaussianBlur(rng.normal(0, 40, image.shape[:2]).astype(np.float32), (0, 0), side / 60)
    return soft * 0.25 + rng.uniform(110, 180) + grain[..., None]


def _behind(
    image: np.ndarray, colour: np.ndarray, radius: float, softness: float, rng: np.random.Generator
) -> np.ndarray:
    """The picture behind a soft-edged disc of one colour, ``radius`` in half diagonals."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    middle = rng.uniform(0.3, 0.7, 2)
    away = np.hypot(x / width - middle[0], y / height - middle[1]) / 0.7071
    hidden = 1 / (1 + np.exp((away - radius) / softness))
    shade = colour * (1 + 0.15 * np.cos(3 * away))[..., None]
    return image * (1 - hidden[..., None]) + shade * hidden[..., None]


COVERS: tuple[Callable[[np.ndarray, np.random.Generator], np.ndarray], ...] = (cap, finger, drop, mud, glare, frost)

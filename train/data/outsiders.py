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
from train.data.pictures import Picture as Row

# What a table's notes call them, whole words, "_" and "-" read as spaces. Livestock, pets, birds, boar, deer, foxes,
# wolves, cougars, cars, streets and landscapes are what a camera in the field does see: in-domain.
NOTES = {
    kind: re.compile(rf"\b(?:{words})\b")
    for kind, words in {
        "thermal": r"thermal(?! (?:spring|pool|bath)s?\b)",
        "other continents' animals": (
            r"african|madagascar cat|(?<!mountain )(?<!sea )lions?|water buffalo(?:e?s)?|ostrich(?:es)?|"
            r"tigers?(?! (?:cat|shark|beetle|moth|salamander|snake|swallowtail|trout)s?\b)|"
            r"leopards?(?! (?:frog|lizard|moth|seal|shark|slug)s?\b)|zebras?(?! (?:finch|mussel|swallowtail|tailed))|"
            r"elephants?(?! (?:seal|hawk|hawkmoth)s?\b)|camels?(?! (?:cricket|spider)s?\b)|sloths?(?! bears?\b)|"
            r"(?<!nine banded )armadillos?|"
            r"(?:kangaroo|wallaby|koala|wombat|echidna|cheetah|hyena|meerkat|mongoose|giraffe|warthog|impala|gazelle|"
            r"llama|jaguar|ape|gorilla|chimpanzee|orangutan|gibbon|siamang|guenon|baboon|macaque|langur|monkey|marmoset|"
            r"capuchin|titi|indri)s?|wallabies|patas|colobus|platypus(?:es)?|hippopotamus(?:es)?"
        ),
        "under water": (
            r"(?m:^rays?$)|(?:bat|cownose|devil|eagle|electric|manta|spotted|sting) rays?|stingrays?|hammerheads?|"
            r"tench|goldfish|corals?(?! (?:bean|honeysuckle|root|snake)s?\b)|sea anemones?|anemone ?fish|jellyfish|"
            r"starfish|lionfish|sea (?:urchin|cucumber|slug)s?|puffer ?fish|puffers?(?! (?:coat|jacket)s?\b)|"
            r"rock beauty|coho|barracouta|nautilus|crayfish|\w+ crabs?(?! (?:apple|spider|eating)s?\b)|conch(?:es)?|"
            r"(?:shark|sturgeon|gar|eel|lobster|chiton|whale|dugong)s?"
        ),
        "indoor": r"indoors?|rooms?|kitchens?(?! gardens?\b)|offices?",
        "drawings": r"drawings?|cartoons?|comics?|sketch(?:es)?|clip ?arts?",
    }.items()
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
    called = re.sub(r"[_-]", " ", f"{words_of(row.note)}\n{row.named}".lower())
    return next((kind for kind, words in NOTES.items() if words.search(called)), None)


def words_of(note: str) -> str:
    """What a note calls that which is on the picture: what stands before its first ``;``. Facts come behind it."""
    return note.partition(";")[0].strip()


def in_domain(rows: Iterable[Row]) -> list[Row]:
    """Return the pictures that are no outsiders."""
    return [row for row in rows if kind_of(row) is None]


def of_catalog(trained: Sequence[Row], others: Sequence[Row]) -> list[Outsider]:
    """Return the outsiders among a run's pictures: those it was trained on, and those it was not."""
    return [
        Outsider(kind, row.file, seen)
        for rows, seen in ((trained, True), (others, False))
        for row in rows
        if (kind := kind_of(row)) is not None
    ]


def of_folder(folder: Path) -> list[Outsider]:
    """Return the outsiders in a folder with one sub-folder a kind (indoor, drawings, …). Raises OptionError."""
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
    """Return the sun in the lens: almost all is white."""
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
    """Return the picture behind a soft-edged disc of one colour, ``radius`` in half diagonals."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    middle = rng.uniform(0.3, 0.7, 2)
    away = np.hypot(x / width - middle[0], y / height - middle[1]) / 0.7071
    hidden = 1 / (1 + np.exp((away - radius) / softness))
    shade = colour * (1 + 0.15 * np.cos(3 * away))[..., None]
    return image * (1 - hidden[..., None]) + shade * hidden[..., None]


COVERS: tuple[Callable[[np.ndarray, np.random.Generator], np.ndarray], ...] = (cap, finger, drop, mud, glare, frost)

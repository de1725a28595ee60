"""Held-out pictures by use (subjects, places behind them, bears of a trail camera), and sizes and scores of crops."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.detect.classifier import Classifier
from edge.errors import CatalogError
from edge.pictures import decode_picture
from edge.record.clip import jpeg
from edge.schema import BoxXYWH
from edge.schema import Picture as Image
from train.data.feedback_pictures import RANDOM_NEGATIVE, is_cut, part_of
from train.data.pictures import Picture, is_bear, words_of

TRAIL = re.compile(r"\b(?:trail|game|wildlife|fixed)[ -]?cam(?:era)?s?\b|camera.?trap", re.IGNORECASE)
SCENE = re.compile(r"^COCO:|scene|^street", re.IGNORECASE)
# COCO's animals and its toy: the place behind a subject must not show another one.
ALIVE = re.compile(r"\b(bird|cat|dog|horse|sheep|cow|elephant|bear|zebra|giraffe)\b", re.IGNORECASE)
# Names of folders and of trail-camera sets' categories: empty, Empty place, no_animals, blank …
EMPTY = re.compile(r"(empty|blank|backgrounds?|nothing|scenes?|places?|landscapes?|no animals?)\b", re.IGNORECASE)
TOY = "toy"


@dataclass(frozen=True)
class Subjects:
    """Held-out pictures by use."""

    bears: tuple[Picture, ...]  # web photographs and close stills
    others: tuple[Picture, ...]  # other animals and toys that fill the frame
    places: tuple[Picture, ...]  # places to put behind them
    real: tuple[Picture, ...]  # boxed bears of a trail camera


def is_trail(picture: Picture) -> bool:
    """Return True for a trail camera's picture: by table or note, or a whole frame of an alarm.

    For an alarm's picture (``train.data.feedback``) the facts in its note decide, never the reviewer's words.
    """
    if picture.of_trail_camera:
        return True
    part = part_of(picture.note)
    if part is None:
        return bool(TRAIL.search(picture.note))
    return words_of(picture.note) == RANDOM_NEGATIVE or not is_cut(part)


def is_scene(picture: Picture) -> bool:
    """Return True if a picture without a bear shows a place, not an animal that fills the frame."""
    words = words_of(picture.note)
    return is_trail(picture) or bool(SCENE.search(words)) or any(map(_is_empty, (words, picture.named)))


def kind_of(picture: Picture) -> str:
    """Return the animal by the note's first words (up to a ``;``), ``toy`` for a teddy bear, else the label."""
    if picture.label == "teddy_bear":
        return TOY
    return words_of(picture.note) or picture.named or picture.label


def sort_out(pictures: Iterable[Picture]) -> Subjects:
    """Sort the pictures by use. Raises CatalogError if there are no subjects to compare.

    A trail camera's picture, by its note, is never a subject: its bears are for benchmark B. A whole frame of an alarm
    in which a person saw something is no place, because it shows that. Frames of trail cameras by the table have a
    benchmark of their own (``train.evaluate.trail_cameras``).
    """
    pictures = [picture for picture in pictures if not picture.of_trail_camera]
    bears = tuple(p for p in pictures if is_bear(p.label) and not is_trail(p))
    others = tuple(p for p in pictures if not is_bear(p.label) and not is_scene(p))
    scenes = [p for p in pictures if not is_bear(p.label) and is_scene(p)]
    places = tuple(p for p in scenes if not _holds_another(p)) or tuple(scenes) or others
    if not bears or not others:
        lacking = "bears that fill the frame" if not bears else "other animals that fill the frame"
        raise CatalogError(
            f"the benchmark finds no {lacking} among these {len(pictures)} pictures; give held-out web photographs "
            "of both bears and other animals (trail-camera pictures and scenes do not count)"
        )
    return Subjects(bears, others, places, tuple(p for p in pictures if is_bear(p.label) and is_trail(p) and p.boxes))


def _is_empty(words: str) -> bool:
    return bool(EMPTY.match(words.strip().replace("_", " ").replace("-", " ")))


def _holds_another(scene: Picture) -> bool:
    words = words_of(scene.note)
    return bool(ALIVE.search(words)) or (part_of(scene.note) is not None and words != RANDOM_NEGATIVE)


Score = Callable[[NDArray[np.uint8]], NDArray[np.floating]]  # crops (N, size, size, 3) BGR -> p(bear) (N,)


def longer_side(box: BoxXYWH, image: Image) -> float:
    """Return the box's longer side in pixels of the picture."""
    height, width = image.shape[:2]
    return max(box[2] * width, box[3] * height)


def as_jpeg(image: Image, quality: int) -> Image:
    """Compress a picture as a camera's JPEG of this quality, and decode it again."""
    return decode_picture(jpeg(image, quality), "a JPEG")


def bear_score(classifier: Classifier) -> Score:
    """Make a function from crops to bear probabilities of the classifier."""
    columns = list(classifier.card.alarm_columns)

    def score(crops: NDArray[np.uint8]) -> NDArray[np.floating]:
        return bear_of(classifier(crops)[0], columns)

    return score


def bear_of(probabilities: NDArray[np.floating], columns: list[int]) -> NDArray[np.floating]:
    """Sum the probabilities of the alarm labels of rows (N, L), at most 1: (N,)."""
    return np.minimum(probabilities[:, columns].sum(axis=1), 1.0)

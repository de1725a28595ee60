"""Which held-out pictures give the subjects, which the places behind them, and which are of a real trail camera."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from edge.errors import CatalogError
from train.catalog.picture import Picture, is_bear

TRAIL = re.compile(r"trail camera|camera.trap", re.IGNORECASE)
SCENE = re.compile(r"^COCO:|scene|^street", re.IGNORECASE)
# The animals among COCO's 80 classes, and its toy: a place behind a subject must not hold another one.
ALIVE = re.compile(r"\b(bird|cat|dog|horse|sheep|cow|elephant|bear|zebra|giraffe)\b", re.IGNORECASE)
EMPTY = frozenset({"background", "empty", "nothing", "scene", "place"})  # folders that people name so
TOY = "toy"


@dataclass(frozen=True)
class Subjects:
    """Held-out pictures by what they are good for."""

    bears: tuple[Picture, ...]  # web photographs and close stills
    others: tuple[Picture, ...]  # other animals and toys that fill the frame as those bears do
    places: tuple[Picture, ...]  # what stands behind them
    real: tuple[Picture, ...]  # boxed bears of a trail camera


def is_trail(picture: Picture) -> bool:
    """Whether a trail camera took it: its note says so."""
    return bool(TRAIL.search(picture.note))


def is_scene(picture: Picture) -> bool:
    """Whether a picture without a bear shows a place rather than one animal that fills the frame."""
    return is_trail(picture) or bool(SCENE.search(picture.note)) or picture.named.strip().lower() in EMPTY


def kind_of(picture: Picture) -> str:
    """The animal as the note names it, ``toy`` for a teddy bear, else the label."""
    if picture.label == "teddy_bear":
        return TOY
    return picture.note or picture.named or picture.label


def sort_out(pictures: Iterable[Picture]) -> Subjects:
    """The pictures by their use. Raises CatalogError where there are no subjects to compare.

    A picture known by its note to be of a trail camera never is a subject: its bears are benchmark B's.
    """
    pictures = list(pictures)
    bears = tuple(p for p in pictures if is_bear(p.label) and not is_trail(p))
    others = tuple(p for p in pictures if not is_bear(p.label) and not is_scene(p))
    scenes = [p for p in pictures if not is_bear(p.label) and is_scene(p)]
    places = tuple(p for p in scenes if not ALIVE.search(p.note)) or tuple(scenes) or others
    if not bears or not others:
        lacking = "bears that fill the frame" if not bears else "other animals that fill the frame"
        raise CatalogError(
            f"the benchmark finds no {lacking} among these {len(pictures)} pictures; give held-out web photographs "
            "of both bears and other animals (trail-camera pictures and scenes do not count)"
        )
    return Subjects(bears, others, places, tuple(p for p in pictures if is_bear(p.label) and is_trail(p) and p.boxes))

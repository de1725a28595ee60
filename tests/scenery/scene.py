"""The plot of the demo clip: a clearing, its cast and the truth of what is where, from one seed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from edge.schema import BoxXYWH, Picture
from tests.scenery.cast import Animal, Path2D
from tests.scenery.light import Grain, Light
from tests.scenery.scenery import MOODS, clearing, fractal, paste

FPS = 10  # as many as the alarm looks at
SIZE_WH = (1280, 720)
SALT = 58  # chosen so that seed 0, the bundled clip, is a clear picture
TINTS = {  # what the light of the place does to an animal's colours: BGR gains
    "noon": (0.9, 0.98, 1.0),
    "overcast": (0.92, 0.93, 0.92),
    "evening": (0.8, 0.93, 1.04),
    "autumn": (0.88, 0.98, 1.02),
}


class Shot(NamedTuple):
    """One frame of a scene: when, the picture, and the box of each animal in view."""

    time_s: float
    image: Picture  # (H, W, 3) BGR
    boxes: dict[str, BoxXYWH]  # fox, boar, toy, bear


@dataclass(frozen=True)
class Truth:
    """What happens in a scene; times are those of the first frame for which it holds."""

    seed: int
    fps: int
    size_wh: tuple[int, int]
    duration_s: float
    mood: str
    light_jump_s: float
    bear_stamp: str
    bear_length_px: float
    bear_in_view_s: float  # the first part of it is seen
    bear_fully_in_view_s: float
    bear_gone_s: float  # nothing of it is seen any more
    intervals_s: dict[str, tuple[float, float]]  # in view from, until
    boxes: list[dict[str, BoxXYWH]]  # one a frame


class Scene:
    """A clearing, its light and its cast, drawn from one seed; ``frames`` renders them."""

    def __init__(self, seed: int, *, fps: int = FPS, size_wh: tuple[int, int] = SIZE_WH) -> None:
        self.seed, self.fps, self.size_wh = seed, fps, size_wh
        # Streams of their own, so that a change to the scenery leaves the plot of a seed as it was.
        plot, paint, self._noise_seed = np.random.SeedSequence([SALT, seed]).spawn(3)
        rng = np.random.default_rng(plot)
        self.mood = str(rng.choice(list(MOODS)))
        self.animals = self._cast(rng)
        self._light = Light(rng, self.duration_s)
        self._noise = float(rng.uniform(1.0, 3.5))  # standard deviation of the sensor's noise, grey levels
        self._paint_seed = paint
        self.truth = self._truth()

    def frames(self) -> Iterator[Shot]:
        """Every frame in order; each call renders the same ones anew."""
        still, plants = clearing(np.random.default_rng(self._paint_seed), self.size_wh, self.mood)
        rng = np.random.default_rng(self._noise_seed)
        grain = Grain(rng, self.size_wh, self._noise)
        for index, boxes in enumerate(self.truth.boxes):
            time_s = index / self.fps
            image = still.copy()
            layers = [(plant.foot_y, plant) for plant in plants] + [(a.foot_y, a) for a in self.animals.values()]
            for _, layer in sorted(layers, key=lambda pair: pair[0]):
                if isinstance(layer, Animal):
                    layer.draw(image, time_s)
                else:
                    paste(image, layer.at(time_s), layer.left, layer.top)
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.7), np.uint8)  # no lens is as sharp as a drawing
            yield Shot(time_s, grain(self._light(image, time_s)), boxes)

    def _cast(self, rng: np.random.Generator) -> dict[str, Animal]:
        """Who comes when, how large, on which path; sets the length of the clip on the way."""
        width, height = self.size_wh
        scale = width / 1280
        tint = TINTS[self.mood]
        blades = np.clip(fractal(rng, (width, 1), 5, 2)[0] * 1.6 - 0.3, 0, 1).astype(np.float32)

        def animal(stamp: str, path: Path2D, length: float, nearness: float, turn: float = 0.0) -> Animal:
            foot_y = height * (0.56 + 0.36 * min(max(nearness + rng.uniform(-0.1, 0.1), 0), 1))
            return Animal(stamp, path, length * scale, foot_y, tint, turn, blades)

        toy_x = width * rng.uniform(0.15, 0.85)
        toy_length = rng.uniform(40, 85)
        toy_turn = float(rng.choice((-1, 1)) * rng.uniform(62, 108))
        toy = animal("edward_bear", Path2D((0.0,), (toy_x,)), toy_length, (toy_length - 40) / 45, toy_turn)

        fox_length, boar_length, bear_length = rng.uniform(70, 170), rng.uniform(80, 190), rng.uniform(90, 260)
        clock = rng.uniform(1.2, 2.0)
        fox_path = _through(rng, clock, rng.uniform(4.5, 6.0), width, fox_length * scale)
        clock = fox_path.times_s[-1] + rng.uniform(0.4, 1.2)
        boar_path = _through(rng, clock, rng.uniform(5.0, 6.5), width, boar_length * scale)
        clock = boar_path.times_s[-1] + rng.uniform(0.6, 1.5)
        bear_path = _visit(rng, clock, width, bear_length * scale)
        self.duration_s = math.ceil(bear_path.times_s[-1] + 6.5)
        # The smaller picture is no larger animal's: the softer cut-out stays below its own resolution.
        bear_stamp = "bear" if bear_length < 200 and rng.random() < 0.5 else "european-bear"
        return {
            "toy": toy,
            "fox": animal("fox", fox_path, fox_length, (fox_length - 70) / 100),
            "boar": animal("wildboar", boar_path, boar_length, (boar_length - 80) / 110),
            "bear": animal(bear_stamp, bear_path, bear_length, (bear_length - 90) / 170),
        }

    def _truth(self) -> Truth:
        times = [index / self.fps for index in range(round(self.duration_s * self.fps))]
        boxes: list[dict[str, BoxXYWH]] = []
        for time_s in times:
            seen = {name: animal.box(time_s, self.size_wh) for name, animal in self.animals.items()}
            boxes.append({name: box for name, box in seen.items() if box is not None})
        shown: dict[str, tuple[float, float]] = {}
        for name in self.animals:
            seen_in = [index for index, found in enumerate(boxes) if name in found]
            shown[name] = times[seen_in[0]], (seen_in[-1] + 1) / self.fps
        bear = self.animals["bear"]
        return Truth(
            seed=self.seed,
            fps=self.fps,
            size_wh=self.size_wh,
            duration_s=len(times) / self.fps,
            mood=self.mood,
            light_jump_s=round(self._light.jump_s, 3),
            bear_stamp=bear.stamp,
            bear_length_px=round(bear.length_px, 1),
            bear_in_view_s=shown["bear"][0],
            bear_fully_in_view_s=next(time_s for time_s in times if bear.whole(time_s, self.size_wh)),
            bear_gone_s=shown["bear"][-1],
            intervals_s=shown,
            boxes=boxes,
        )


def _through(rng: np.random.Generator, begin_s: float, takes_s: float, width: int, length: float) -> Path2D:
    ends = (-length / 2 - 2, width + length / 2 + 2)
    return Path2D((begin_s, begin_s + takes_s), ends if rng.random() < 0.5 else ends[::-1])


def _visit(rng: np.random.Generator, begin_s: float, width: int, length: float) -> Path2D:
    """In from one side, a few seconds' stand, out on the same side or the other."""
    ends = (-length / 2 - 2, width + length / 2 + 2)
    came, left = (int(side) for side in rng.integers(0, 2, 2))
    stop = width * float(rng.uniform(0.25, 0.5))
    stop = stop if came == 0 else width - stop
    walk_in = rng.uniform(2.2, 3.4)
    walk_out = max(abs(ends[left] - stop) / (abs(ends[came] - stop) / walk_in), 2.2)
    stand = rng.uniform(2.5, 4.0)
    times = np.cumsum([begin_s, walk_in, stand, walk_out])
    return Path2D(tuple(float(time_s) for time_s in times), (ends[came], stop, stop, ends[left]))

"""Measure the growth of a frame's cost with its size and its crops: ratios to one 1280x720 frame, in one run.

    python tests/proofs/prove_growth.py [SECONDS]

Films of a clearing with a sensor's noise, read through our sources. "Idle" is decoding, motion and the loop, with no
look at the whole; "colours" is what making the full picture adds, once something is scored; crops are scored without
anything else. Medians of CPU time, one thread, the sizes by turns.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import cv2

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.alert.events import EventPublisher
from edge.camera import open_source
from edge.decide.evidence import Rule
from edge.detect.classifier import BUNDLED, Classifier
from edge.detect.frame_scan import FrameScanner
from edge.schema import Region
from edge.watch import Watcher
from tests.helpers import stage
from tests.proofs.prove_decode import FILMS, FPS, timed, write

SIZES_WH = ((640, 360), (1280, 720), (1920, 1080), (2560, 1440))
CROPS = (1, 3, 12)
BASE_WH = (1280, 720)


class Film:
    """A film in one size and codec, watched frame by frame; milliseconds by what was done."""

    def __init__(self, path: Path, classifier: Classifier) -> None:
        self.took: dict[str, list[float]] = {}
        self.classifier = classifier
        self.scanner = FrameScanner(classifier)
        self.watcher = Watcher(classifier, Rule.from_card(classifier.card), EventPublisher())
        self.watcher.scan_timer.due = lambda *_, **__: False  # type: ignore[method-assign]
        self.source = open_source(str(path), fps=FPS)
        self.frames = iter(self.source)

    def step(self) -> bool:
        """Take one frame; False at the end."""
        started = time.process_time_ns()
        frame = next(self.frames, None)
        if frame is None:
            return False
        self.watcher(iter([frame]))
        self.note("idle", (time.process_time_ns() - started) / 1e6)
        self.note("colours", timed(lambda: frame.image))
        for count in CROPS:
            self.note(f"{count} crops", timed(lambda: self.classifier.score(frame.image, self.regions(count))))  # noqa: B023
        self.note("scan", timed(lambda: self.scanner(frame.image)))
        return True

    def note(self, name: str, ms: float) -> None:
        """Note what one took."""
        self.took.setdefault(name, []).append(ms)

    @staticmethod
    def regions(count: int) -> list[Region]:
        """Return so many regions, a tenth of the frame each."""
        return [Region((0.05 + 0.07 * n, 0.4, 0.1, 0.1), "motion") for n in range(count)]


def films(folder: Path, seconds: float, classifier: Classifier) -> Iterator[tuple[str, tuple[int, int], Film]]:
    """Write and open a film of each codec and size."""
    for name in ("MJPEG 4:2:0", "H.264"):
        codec, form, end = FILMS[name]
        for size_wh in SIZES_WH:
            pictures: Any = (
                cv2.resize(frame.image, size_wh, interpolation=cv2.INTER_CUBIC) for frame in stage.film(seconds, [])
            )
            path = write(folder / f"{size_wh[0]}.{end}", pictures, codec, form, size_wh)
            yield name, size_wh, Film(path, classifier)


def main() -> None:
    """Print a table, in Markdown."""
    cv2.setNumThreads(1)
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 12.0
    with tempfile.TemporaryDirectory() as folder:
        found = list(films(Path(folder), seconds, Classifier(BUNDLED)))
        while sum(film.step() for _, _, film in found):  # by turns
            pass
        base = {name: film for name, size_wh, film in found if size_wh == BASE_WH}
        print("| codec, frame | " + " | ".join(base["H.264"].took) + " |\n|---|" + "---|" * len(base["H.264"].took))
        for name, size_wh, film in found:
            with closing(film.source):
                cells = [
                    f"{median(each):.2f} ms ({median(each) / median(base[name].took[what]):.2f})"
                    for what, each in film.took.items()
                ]
            print(f"| {name}, {size_wh[0]}x{size_wh[1]} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()

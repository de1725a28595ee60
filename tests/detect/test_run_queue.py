"""The model's runs of several threads: how many at a time, whose rows go together, and whom an error reaches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

from edge.alert.events import EventPublisher
from edge.background import call_in_thread
from edge.decide.evidence import Rule
from edge.detect.classifier import BATCH, BUNDLED, Classifier
from edge.detect.frame_rate import MIN_CROPS, CropBudget
from edge.detect.frame_scan import FrameScanner
from edge.detect.run_queue import RunQueue
from edge.schema import Region
from edge.watch import Watcher
from tests.helpers import stage

WAIT_S = 30


def rows(*numbers: int, side: int = 2) -> np.ndarray:
    """Rows (N, side, side, 3) that carry a number each."""
    return np.stack([np.full((side, side, 3), number, np.uint8) for number in numbers])


class Runs:
    """Stands where the model's session stands: keeps the rows of each run, and holds the runs while ``held``."""

    def __init__(self, at_once: int = 1) -> None:
        self.queue = RunQueue(at_once)
        self.seen: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self._open = threading.Event()
        self._open.set()

    def run(self, given: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return each row's number, and its double."""
        numbers = [int(row[0, 0, 0]) for row in given]
        self.seen.append(numbers)
        self.begun.release()
        assert self._open.wait(WAIT_S)
        if 66 in numbers:
            raise MemoryError("too little memory")
        if 99 in numbers:
            raise SystemExit
        found = np.array(numbers, np.float32)
        return found, found * 2

    def scan(self, given: np.ndarray) -> tuple[np.ndarray, ...]:
        """Do another kind of run."""
        return self.run(given)

    @contextmanager
    def held(self, number: int = 0) -> Iterator[None]:
        """Hold a run of one row until the end of the block; what is asked for in the block waits."""
        self._open.clear()
        first = call_in_thread(partial(self.queue, self.run, rows(number), BATCH), "first")
        assert self.begun.acquire(timeout=WAIT_S)
        try:
            yield
        finally:
            self._open.set()
            assert first.exception(WAIT_S) is None

    def ask(self, given: np.ndarray, run: Callable | None = None, most: int = BATCH):
        """Call from a thread of its own, and return once it waits."""
        return self.waits(partial(self.queue, run or self.run, given, most))

    def waits(self, work: Callable):
        """Do the work in a thread of its own, and return once it waits in the queue."""
        before = len(self.queue._waiting)
        future = call_in_thread(work, "caller")
        until = time.monotonic() + WAIT_S
        while len(self.queue._waiting) == before:
            assert time.monotonic() < until
            time.sleep(0.001)
        return future


def test_one_caller_does_its_run_itself_at_once_and_nothing_is_copied():
    seen = []

    def run(given):
        seen.append((threading.current_thread(), given))
        return (given[:, 0, 0, 0].astype(np.float32),)

    given = rows(1, 2, 3, 4)
    (found,) = RunQueue(1)(run, given, BATCH)
    assert found.tolist() == [1, 2, 3, 4]
    assert len(seen) == 1
    assert seen[0][0] is threading.current_thread()
    assert seen[0][1] is given


def test_calls_that_wait_go_together_whole_while_they_fit_and_the_first_is_never_passed_over():
    runs = Runs()
    with runs.held():
        asked = [runs.ask(rows(*numbers)) for numbers in ((10, 11, 12), (20, 21, 22), (30,), (40,), (50, 51, 52, 53))]
    assert [each.result(WAIT_S)[1].tolist() for each in asked[:3]] == [[20, 22, 24], [40, 42, 44], [60]]
    assert [each.result(WAIT_S)[0].tolist() for each in asked[3:]] == [[40], [50, 51, 52, 53]]
    assert runs.seen == [[0], [10, 11, 12, 30], [20, 21, 22, 40], [50, 51, 52, 53]]


def test_scans_and_crops_of_other_sizes_run_alone_and_wait_their_turn():
    runs = Runs()
    with runs.held():
        first, scan = runs.ask(rows(10, 11)), runs.ask(rows(50), runs.scan, most=1)
        small, last = runs.ask(rows(60, side=1)), runs.ask(rows(20))
    for future in (first, scan, small, last):
        future.result(WAIT_S)
    assert runs.seen == [[0], [10, 11, 20], [50], [60]]


def test_twelve_crops_go_in_fours_and_do_not_keep_out_one():
    classifier, runs = Classifier(BUNDLED), Runs()
    classifier._runs, classifier._run_crops = runs.queue, runs.run  # type: ignore[method-assign, assignment]
    with runs.held():
        busy, quiet = runs.waits(partial(classifier, rows(*range(10, 22)))), runs.ask(rows(30))
    assert busy.result(WAIT_S)[1].tolist() == [2 * number for number in range(10, 22)]
    assert quiet.result(WAIT_S)[0].tolist() == [30]
    assert runs.seen[:2] == [[0], [10, 11, 12, 13]]
    assert sorted(map(len, runs.seen[2:])) == [1, 4, 4]
    assert runs.seen.index([30]) < 4


def test_as_many_runs_as_there_are_places_and_none_more():
    runs = Runs(at_once=2)
    with runs.held(1):
        second = call_in_thread(partial(runs.queue, runs.run, rows(2), BATCH), "second")
        assert runs.begun.acquire(timeout=WAIT_S)  # beside the first
        others = [runs.ask(rows(number)) for number in (3, 4, 5)]
        assert runs.seen == [[1], [2]]
    assert [future.result(WAIT_S)[0].tolist() for future in (second, *others)] == [[2], [3], [4], [5]]
    assert sorted(map(len, runs.seen)) in ([1, 1, 3], [1, 1, 1, 2])


@pytest.mark.parametrize(("number", "error"), [(66, MemoryError), (99, SystemExit)])
def test_an_error_reaches_those_whose_rows_were_in_the_run_and_no_one_else(number, error):
    runs = Runs()
    with runs.held():
        bad, beside = runs.ask(rows(number, 1)), runs.ask(rows(10))
        scan, other = runs.ask(rows(50), runs.scan, most=1), runs.ask(rows(70, side=1))
    for future in (bad, beside):
        with pytest.raises(error):
            future.result(WAIT_S)
    assert scan.result(WAIT_S)[0].tolist() == [50]
    assert other.result(WAIT_S)[0].tolist() == [70]
    assert runs.seen == [[0], [number, 1, 10], [50], [70]]
    assert runs.queue(runs.run, rows(7), BATCH)[0].tolist() == [7]


def test_a_camera_that_waits_for_others_takes_fewer_crops_until_they_are_gone():
    runs = Runs()
    frame = next(stage.film(0.1))
    region = Region((0.4, 0.4, 0.1, 0.1), "motion")

    class Scorer:
        def score(self, _image, regions):
            runs.queue(runs.run, rows(*range(len(regions))), BATCH)
            return []

    card = Classifier(BUNDLED).card
    watcher = Watcher(Scorer(), Rule.from_card(card), EventPublisher([]), budget=CropBudget(0.25))
    assert watcher.budget.crops == 12
    with runs.held():
        waiting = runs.waits(partial(watcher.score, frame, [region]))
        time.sleep(0.3)  # longer than the whole frame may take
    waiting.result(WAIT_S)
    assert watcher.budget.crops == MIN_CROPS
    for _ in range(60):
        watcher.score(frame, [region] * MIN_CROPS)
    assert watcher.budget.crops == 12


def test_the_real_model_gives_cameras_together_what_it_gives_each_alone():
    classifier = Classifier(BUNDLED)
    frames = [frame.image for frame in stage.film(0.6, [stage.bear(-4.0, 9.0)])]
    boxes = [Region((x / 10, 0.5, 0.15, 0.3), "motion") for x in (2, 6)]

    def look(image):
        return classifier.score(image, boxes), FrameScanner(classifier)(image)

    alone, sizes, run = list(map(look, frames)), list[int](), classifier._run_crops

    def counted(crops):
        sizes.append(len(crops))
        while len(sizes) == 1 and len(classifier._runs._waiting) < len(frames) - 1:
            time.sleep(0.001)
        return run(crops)

    classifier._runs, classifier._run_crops = RunQueue(1), counted  # type: ignore[method-assign]
    cameras = [call_in_thread(partial(look, image), "camera") for image in frames]
    for (crops, bears), (crops_alone, bears_alone) in zip(
        (camera.result(WAIT_S) for camera in cameras), alone, strict=True
    ):
        assert [score.region for score in crops] == boxes
        assert [score.bear for score in crops] == pytest.approx([score.bear for score in crops_alone], abs=1e-6)
        assert bears == bears_alone  # a scan is never put together with another: the same to the last bit
    assert sizes == [2, 4, 4, 2]

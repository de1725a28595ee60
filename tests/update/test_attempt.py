"""A new model is tried as the memory allows; what is short of it ends the trial beside the model in use."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from edge.device.sensors import Memory
from edge.errors import ModelError
from edge.update import attempt as trying
from edge.update.attempt import Attempt
from edge.update.trial import TrialCounts
from tests.helpers.broker import PATIENCE_S, until

NONE = TrialCounts()
SEEN = TrialCounts(frames=7, hours=1.0)
KEPT = TrialCounts(frames=9, kept=True, right_lost=1)
BOTH = replace(SEEN, right_lost=1)  # beside, after kept pictures


class Beside:
    """A trial beside the model in use."""

    counts = SEEN
    closed = 0

    def problem(self):
        return None

    def close(self, within_s):
        self.closed += 1


class World:
    """One new model on a board with so much memory."""

    def __init__(self, folder, *, kept=True, free_mb=2000.0, held=NONE):
        self.free_mb = free_mb
        self.beside: list[Beside] = []
        self.compared = 0
        self.held = held
        compare = self.compare if kept else None
        self.attempt = Attempt("new@1", folder / "new.onnx", self.begin, compare, lambda: self.held, self.save)

    def save(self, counts):
        self.held = counts

    def begin(self):
        self.beside.append(Beside())
        return self.beside[-1]

    def compare(self, stop: threading.Event):
        assert all(each.closed for each in self.beside), "never both in memory"
        self.compared += 1
        assert until(lambda: "attempt" in vars(self))
        self.how = self.attempt.how
        return KEPT


@pytest.fixture
def make(tmp_path, monkeypatch):
    made: list[World] = []
    free = [0.0]
    monkeypatch.setattr(trying, "need_mb", lambda model, stop: 40.0)
    monkeypatch.setattr(trying, "room", lambda: Memory(2000.0, made[0].free_mb if made else free[0]))
    monkeypatch.setattr(trying, "WATCH_S", 0.02)
    monkeypatch.setattr(trying, "RETRY_S", 0.02)

    def make(free_mb, **more):
        free[0] = free_mb
        made.append(World(tmp_path, free_mb=free_mb, **more))
        return made[0]

    yield make
    for each in made:
        each.attempt.close(5.0)


def test_with_much_memory_it_is_tried_beside_until_memory_is_short(make):
    world = make(2000.0)
    assert until(lambda: world.attempt.counts == BOTH)
    assert (world.attempt.how, world.compared, world.attempt.problem()) == ("beside", 1, None)
    assert (world.how, world.held) == ("before", TrialCounts(right_lost=1, compared=True))
    world.free_mb = 60.0
    assert until(lambda: "cannot be compared" in (world.attempt.problem() or ""))
    assert (world.attempt.how, world.beside[0].closed, world.compared) == ("none", 1, 1)
    with pytest.raises(ModelError, match="needs 40 MB of memory and 60 MB are free"):
        world.attempt.check()
    world.free_mb = 400.0  # beside it, it would be short again
    assert until(lambda: world.attempt.counts == KEPT and world.attempt.problem() is None)
    assert (world.attempt.how, world.compared) == ("kept", 2)
    assert not world.held.kept, "what was counted beside it stays"


def test_with_little_memory_the_two_look_at_kept_pictures(make):
    world = make(200.0)
    assert until(lambda: world.attempt.counts == world.held == KEPT)
    assert (world.attempt.how, world.beside) == ("kept", [])
    world.attempt.check()


@pytest.mark.parametrize("held", [replace(SEEN, right_lost=1, compared=True), KEPT])
def test_after_a_restart_kept_pictures_are_not_compared_again_before_a_trial(make, held):
    world = make(2000.0, held=held)
    assert until(lambda: world.beside and world.attempt.counts.right_lost == 1)
    assert (world.compared, world.held.kept) == (0, False)


def test_an_error_of_the_comparison_is_no_end_of_it(make, monkeypatch):
    compare, errors = World.compare, [OSError("no room"), ModelError("it took longer than 3600 s")]
    seen = threading.Event()

    def fails(world, stop):
        if errors:
            raise errors.pop()
        assert seen.wait(PATIENCE_S)
        return compare(world, stop)

    monkeypatch.setattr(World, "compare", fails)
    world = make(200.0, held=replace(KEPT, frames=2))
    assert until(lambda: world.attempt.problem() is not None)
    assert world.attempt.counts.frames, "what was found before the restart stands meanwhile"
    seen.set()
    assert until(lambda: world.attempt.counts == KEPT and world.attempt.problem() is None)


@pytest.mark.parametrize(
    ("free_mb", "kept", "words"),
    [
        (100.0, True, "cannot be compared"),
        (200.0, False, "too short for both, and no pictures are kept; turn on record: in the config, or choose"),
    ],
)
def test_where_neither_is_possible_it_is_a_problem(make, free_mb, kept, words):
    world = make(free_mb, kept=kept)
    assert until(lambda: words in (world.attempt.problem() or ""))
    assert world.attempt.how == "none"


def test_its_end_ends_the_trial(make):
    world = make(2000.0)
    assert until(lambda: world.beside)
    world.attempt.close(5.0)
    assert (world.beside[0].closed, world.attempt.counts) == (1, BOTH)
    world.free_mb = 90.0
    with pytest.raises(ModelError, match="needs 40 MB of memory and 90 MB are free"):
        world.attempt.check()


def test_kept_pictures_that_cannot_be_compared_keep_nothing_from_being_tried_beside(make, monkeypatch):
    def fails(world, stop):
        raise ModelError("the folder cannot be read")

    monkeypatch.setattr(World, "compare", fails)
    world = make(2000.0)
    assert until(lambda: world.attempt.counts == SEEN)
    assert world.attempt.problem() is None


def test_a_model_that_cannot_be_measured_is_a_problem(make, monkeypatch):
    def fails(model, stop):
        raise ModelError("the system ended it (signal 9)")

    monkeypatch.setattr(trying, "need_mb", fails)
    world = make(2000.0)
    assert until(lambda: world.attempt.problem() == "the system ended it (signal 9)")

"""A new model beside the one in use: real models, real watchers, and films that show each exactly one animal."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from edge.alert.events import EventPublisher
from edge.camera import Source
from edge.camera.video import VideoSource
from edge.camera_thread import CameraThread, Shared, make_decider, make_watcher
from edge.detect.classifier import BUNDLED, Classifier
from edge.model_store import Entry, ModelStore
from edge.schema import Event, Frame
from edge.settings import Camera, CameraSettings
from edge.update import trial as module
from edge.update.trial import COUNTS, WAITING, Trial, TrialCounts, read_counts, verdict, write_counts
from edge.watch import Watcher
from tests.alarm.test_watch import walk
from tests.helpers import stage
from tests.helpers.tiny import BEAR_COLOUR, LABELS, TEDDY_COLOUR, tiny_card, write_tiny_model

DEMO = Path(module.__file__).parents[1] / "demo" / "demo.mp4"
LONG_S = 60.0  # on a machine that has much else to do
TEDDIES = ("teddy_bear",)  # what another model calls a bear: blue things, where the old one means red ones
ANYTHING = ("brown_bear", "black_bear", "polar_bear", "no_bear")
RED = (3.0, 7.0, BEAR_COLOUR, 100, 60)


def model_file(folder: Path, alarm_labels: tuple[str, ...] = LABELS[:3]) -> Path:
    """A tiny model that alarms for these labels."""
    card = tiny_card()
    columns = [LABELS.index(label) for label in alarm_labels]
    golden = tuple(
        replace(each, bear=sum(vector.probabilities[column] for column in columns))
        for each, vector in zip(card.golden_frames, card.golden, strict=False)
    )
    name = f"tiny-{'-'.join(alarm_labels)}"
    card = replace(card, name=name, alarm_labels=alarm_labels, golden_frames=golden)
    return write_tiny_model(folder / f"{name}.onnx", card)


def installed(folder: Path, model: Path) -> tuple[ModelStore, Entry]:
    """A store in which a model waits."""
    store = ModelStore(folder / "models")
    store.folder.mkdir(exist_ok=True)
    entry = Entry(sha256(model.read_bytes()).hexdigest(), f"{model.stem}@new")
    store.slot(entry).write_bytes(model.read_bytes())
    store.change(lambda before: replace(before, waiting=entry))
    return store, entry


class Film(Source):
    """A camera that shows a film; ``between`` is called after each frame has been looked at."""

    live = True

    def __init__(self, frames: Iterable[Frame], between: Callable[[], object], *, single_images: bool = False) -> None:
        self.name, self.fps, self.problems = "yard", 10.0, []
        self.frames, self.between, self.single_images = frames, between, single_images

    def __iter__(self) -> Iterator[Frame]:
        for frame in self.frames:
            yield frame
            del frame
            self.between()

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Beside:
    """One camera with the model in use, and a new one that is tried beside it."""

    folder: Path
    old: Path
    new: Path | None
    share: Callable[[], float] = lambda: 1.0
    events: list[Event] = field(default_factory=list)
    trial: Trial | None = None
    watcher: Watcher | None = None

    def in_step(self) -> None:
        """Wait until the new model has looked at all frames so far."""
        until = time.monotonic() + LONG_S
        while self.trial and self.trial.behind and not self.trial.problem():
            assert time.monotonic() < until
            time.sleep(0.0002)

    def watch(
        self,
        frames: Iterable[Frame],
        settings: CameraSettings | None = None,
        *,
        between: Callable[[], object] | None = None,
        single_images: bool = False,
        first: Callable[[], object] | None = None,
    ) -> TrialCounts:
        """Watch a film; return the counts of the trial."""
        settings = settings or CameraSettings()
        classifier = Classifier(self.old)
        film = Film(frames, between or self.in_step, single_images=single_images)
        camera = Camera("yard", "film", settings=settings)
        publisher = EventPublisher([self.events.append])
        decider = make_decider(classifier, settings, single_images=single_images)
        # As for a file, so that each run gives the same events.
        watcher = Watcher(classifier, decider.rule, publisher, settings, decider=decider, single_images=single_images)
        self.watcher = watcher
        thread = CameraThread(camera, film, watcher)
        if self.new:
            store, entry = installed(self.folder, self.new)
            self.trial = Trial([thread], store, entry, classifier, share=self.share)
        (first or self.in_step)()
        watcher(film)
        if self.trial is None:
            return TrialCounts()
        counts = self.trial.counts
        self.trial.close(1.0)
        return counts


@pytest.fixture
def beside(tmp_path: Path) -> Callable[..., Beside]:
    def make(new: tuple[str, ...] | None = LABELS[:3]) -> Beside:
        return Beside(tmp_path, model_file(tmp_path), model_file(tmp_path, new) if new else None)

    return make


@contextmanager
def new_model(monkeypatch: pytest.MonkeyPatch, **answers: Callable[..., object]) -> Iterator[None]:
    """Have the new model, and no other, answer so."""
    made = type("Other", (Classifier,), answers)
    with monkeypatch.context() as patch:
        patch.setattr(module, "Classifier", made)
        yield


def plain(events: Iterable[Event]) -> list[Event]:
    """Events without what is another in each run."""
    numbers = count()
    ids: dict[str, str] = {}
    return [
        replace(event, id=ids.setdefault(event.id, str(next(numbers))), boot_id="", latency_ms=None, captured_at="")
        for event in events
    ]


@pytest.mark.slow
def test_the_same_model_alarms_as_itself_on_the_demo_clip(tmp_path: Path) -> None:
    with VideoSource(DEMO, name="demo", fps=10.0) as clip:
        watched = Beside(tmp_path, BUNDLED, BUNDLED)
        counts = watched.watch(clip)
    alarms = [event for event in watched.events if event.alarms]
    assert (counts.both, counts.different) == (len(alarms), 0)
    assert counts.both > 0
    assert counts.frames > 1


@pytest.mark.slow
def test_the_same_model_alarms_as_itself_on_a_film_of_two_bears(tmp_path: Path) -> None:
    film = stage.film(50.0, [stage.bear(5.0, 18.0), stage.bear(30.0, 45.0, x=300.0)], [stage.shake(from_s=20.0)])
    watched = Beside(tmp_path, BUNDLED, BUNDLED)
    counts = watched.watch(film)
    assert (counts.both, counts.different) == (len([event for event in watched.events if event.alarms]), 0)


@pytest.mark.parametrize(
    ("new", "film", "found"),
    [
        (LABELS[:3], [RED], (1, 0, 0)),
        (TEDDIES, [RED], (0, 1, 0)),  # it is blind
        (TEDDIES, [(3.0, 7.0, TEDDY_COLOUR, 100, 60)], (0, 0, 1)),
        (ANYTHING, [], (0, 0, 1)),  # bears everywhere, of which a frame shows one
        (TEDDIES, [RED, (3.0, 7.0, TEDDY_COLOUR, 500, 0)], (0, 1, 1)),  # at the same time elsewhere
        (TEDDIES, [(3.0, 6.0, BEAR_COLOUR, 300, 0), (6.0, 9.0, TEDDY_COLOUR, 300, 0)], (1, 0, 0)),  # a little later
    ],
)
def test_alarms_are_alike_where_they_are_near_in_time_and_place(
    beside: Callable[..., Beside], new: tuple[str, ...], film: list[tuple], found: tuple[int, int, int]
) -> None:
    counts = beside(new).watch(walk(45, *film))
    assert (counts.both, counts.only_old, counts.only_new) == found


def test_a_bear_that_one_model_sees_much_later_is_one_difference(beside: Callable[..., Beside]) -> None:
    first, then = (3.0, 40.0, BEAR_COLOUR, 300, 0), (38.0, 45.0, TEDDY_COLOUR, 300, 0)
    counts = beside(TEDDIES).watch(walk(90, first, then))
    assert (counts.both, counts.only_old, counts.only_new) == (0, 1, 0)


def test_single_pictures_hours_apart_are_compared_each_alone(beside: Callable[..., Beside]) -> None:
    hourly = [replace(frame, time=3600.0 * frame.index) for frame in walk(0.4)]
    for index, colour in ((1, BEAR_COLOUR), (2, TEDDY_COLOUR)):
        hourly[index] = replace(next(walk(0.1, (0.0, 1.0, colour, 300, 0))), time=3600.0 * index, index=index)
    counts = beside(TEDDIES).watch(hourly, single_images=True)
    assert (counts.both, counts.only_old, counts.only_new) == (0, 1, 1)


@pytest.mark.parametrize("answer", ["hangs", "raises", "answers garbage", "is no model"])
def test_whatever_the_new_model_does_the_events_stay_the_same(
    beside: Callable[..., Beside], monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    alone = beside(None)
    alone.watch(walk(15, RED))
    go = threading.Event()
    real = Classifier.score

    def score(self: Classifier, image: object, regions: object) -> object:
        if answer == "hangs":
            go.wait(LONG_S)
        if answer == "raises":
            raise ZeroDivisionError("of the new model")
        scores = real(self, image, regions)  # type: ignore[arg-type]
        return [replace(each, bear=float("nan")) for each in scores] if answer == "answers garbage" else scores

    tried = beside(TEDDIES)
    if answer == "is no model":
        assert tried.new
        tried.new.write_bytes(b"no model")
    monkeypatch.setattr(module, "HANGS_S", 0.05)
    with new_model(monkeypatch, score=score):
        tried.watch(walk(15, RED), between=lambda: None if answer == "hangs" else tried.in_step())
    assert plain(tried.events) == plain(alone.events)
    assert {event.type for event in tried.events} == {"new", "end"}
    assert tried.trial
    said = tried.trial.problem()
    left_behind = [thread.name for thread in threading.enumerate() if thread.name == "trial"]
    go.set()
    assert left_behind == (["trial"] if answer == "hangs" else [])  # closing has not waited for it
    assert said is not None
    words = {"hangs": "not answered", "raises": "ZeroDivisionError", "answers garbage": "no probabilities"}
    assert words.get(answer, "tried") in said


def test_events_of_a_film_are_the_same_with_a_trial_and_without(beside: Callable[..., Beside]) -> None:
    alone, tried = beside(None), beside(ANYTHING)
    alone.watch(walk(15, RED))
    tried.watch(walk(15, RED), between=lambda: None)
    lines = [[event.to_json() for event in plain(each.events)] for each in (alone, tried)]
    assert lines[0] == lines[1] != []


def test_what_the_new_model_has_no_time_for_is_missed_by_both_and_not_kept(
    beside: Callable[..., Beside], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, tried, go, held = beside(None), beside(), threading.Event(), list[int]()
    go.set()  # while it is loaded

    def windows(self: Classifier, frames: np.ndarray) -> object:
        go.wait(LONG_S)
        return Classifier.windows(self, frames)

    def first() -> None:
        tried.in_step()
        go.clear()

    def hold() -> None:
        held.append(sum(isinstance(each, Frame) for each in gc.get_objects()))

    alone.watch(walk(5, RED), between=hold)
    most, alone.watcher = max(held), None
    held.clear()
    with new_model(monkeypatch, windows=windows):
        counts = tried.watch(walk(15, RED), first=first, between=hold)
        go.set()
    assert tried.trial
    assert (counts.both, counts.different) == (0, 0)
    assert tried.trial.missed > 30
    assert max(held) == most + WAITING + 1  # which is looked at


def test_counts_outlive_a_restart_and_begin_again_with_another_pair(beside: Callable[..., Beside]) -> None:
    first = beside(TEDDIES).watch(walk(45, RED))
    again = beside(TEDDIES)
    counts = again.watch(walk(45, RED))
    assert (first.only_old, counts.only_old, counts.frames) == (1, 2, 2 * first.frames)
    assert counts.hours > first.hours > 0
    assert beside(ANYTHING).watch(walk(1)).only_old == 0


def test_saved_counts_are_of_their_two_models_and_a_damaged_file_is_none(tmp_path: Path) -> None:
    store, counts = ModelStore(tmp_path), TrialCounts(7, 1.5, 1, 2, 3, kept=True)
    write_counts(store, "new", "old", counts)
    assert read_counts(store, "new", "old") == counts
    assert read_counts(store, "new", "older") == read_counts(store, "newer", "old") == TrialCounts()
    for damaged in (b"", b"[]", b'{"new": "new", "old": "old", "counts": {"more": 1}}', b"\xff"):
        (tmp_path / COUNTS).write_bytes(damaged)
        assert read_counts(store, "new", "old") == TrialCounts()


def test_in_heat_the_trial_pauses_and_goes_on_when_it_is_cooler(
    beside: Callable[..., Beside], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, shares = beside(), [0.5]
    tried.share = lambda: shares[-1]
    monkeypatch.setattr(module, "PAUSED_S", 0.001)

    def paused() -> None:
        until = time.monotonic() + LONG_S
        while not (tried.trial and tried.trial.paused):
            assert time.monotonic() < until
            time.sleep(0.001)

    def cooler() -> Iterator[Frame]:
        yield from walk(15, RED)
        hot.append(tried.trial.counts if tried.trial else None)
        shares.append(1.0)
        until = time.monotonic() + LONG_S
        while tried.trial and tried.trial.paused:
            assert time.monotonic() < until
            time.sleep(0.001)
        for frame in walk(15, RED):
            yield replace(frame, time=frame.time + 100.0)

    def between() -> None:
        if shares[-1] == 1.0:
            tried.in_step()

    hot: list[TrialCounts | None] = []
    counts = tried.watch(cooler(), first=paused, between=between)
    assert hot == [TrialCounts()]
    assert (counts.both, counts.different) == (1, 0)


def test_the_new_model_never_sees_what_a_mask_hides(
    beside: Callable[..., Beside], monkeypatch: pytest.MonkeyPatch
) -> None:
    left, seen = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)), dict[str, set[int]]()

    def noted(name: str) -> Callable[..., object]:
        def look(self: Classifier, image: np.ndarray, *more: object) -> object:
            hidden = image[..., : int(0.45 * image.shape[-2]), :]
            seen.setdefault(name, set()).update(np.unique(hidden).tolist())
            return getattr(Classifier, name)(self, image, *more)

        return look

    tried = beside()

    def first() -> None:
        tried.in_step()
        seen.clear()  # golden frames

    with new_model(monkeypatch, score=noted("score"), windows=noted("windows")):
        walks = (1.0, 7.0, BEAR_COLOUR, 100, 80)
        tried.watch(walk(8, walks), CameraSettings(masks=(left,)), first=first)
    assert seen == {"score": {114}, "windows": {114}}


def test_a_clip_is_not_tried_on(tmp_path: Path, beside: Callable[..., Beside]) -> None:
    tried = beside()
    classifier = Classifier(tried.old)
    with VideoSource(DEMO, name="demo", fps=10.0) as clip:
        watcher = make_watcher(clip, Camera("demo", "demo"), Shared(classifier, EventPublisher().run), [])
        assert tried.new
        store, entry = installed(tmp_path, tried.new)
        trial = Trial([CameraThread(Camera("demo", "demo"), clip, watcher)], store, entry, classifier)
        assert watcher.trial is None
        trial.close(5.0)


def test_a_trial_that_ends_late_takes_nothing_from_the_next(beside: Callable[..., Beside]) -> None:
    tried = beside()
    tried.watch(walk(1))
    assert tried.watcher
    assert tried.watcher.trial is None
    assert tried.trial
    following = lambda look: None  # noqa: E731
    tried.watcher.trial = following
    tried.trial.close(1.0)
    assert tried.watcher.trial is following


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (TrialCounts(), "wait"),
        (TrialCounts(frames=299, hours=71.9), "wait"),
        (TrialCounts(frames=300), "pass"),
        (TrialCounts(frames=300, only_new=2, only_old=1), "pass"),
        (TrialCounts(frames=5, only_new=2, only_old=2), "differs"),
        (TrialCounts(frames=400, hours=100, only_new=4), "differs"),
        (TrialCounts(frames=299, hours=72.0, both=9), "nothing"),
        (TrialCounts(frames=20, kept=True), "nothing"),
        (TrialCounts(frames=300, kept=True), "pass"),
    ],
)
def test_the_counts_decide(counts: TrialCounts, said: str) -> None:
    assert verdict(counts, 300, 3, 72.0) == said


def test_counts_are_words_for_people() -> None:
    same, other = TrialCounts(1, 5.2, both=1), TrialCounts(20, only_new=3, only_old=1, both=2, kept=True)
    assert same.words == "in 5 h (1 frame with something to see) it would have alarmed as the old one did, 1 time"
    assert other.words == (
        "on kept pictures (20 frames with something to see) it would have alarmed 3 times more, and 1 time less, "
        "than the old one; the same: 2 alarms"
    )

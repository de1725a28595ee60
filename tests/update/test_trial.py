"""A new model beside the one in use: real models, real watchers, and films that show each exactly one animal."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from edge.alert.events import EventPublisher
from edge.camera import Source
from edge.camera.video import VideoSource
from edge.camera_thread import CameraThread, Shared, make_decider, make_watcher
from edge.decide.alarms import Decider
from edge.detect.classifier import BUNDLED, Classifier, file_digest
from edge.detect.frame_rate import CropBudget
from edge.model_store import Entry, ModelStore
from edge.schema import Event, Frame, Picture, Region, Score
from edge.settings import Camera, CameraSettings
from edge.update import trial as module
from edge.update.trial import COUNTS, WAITING, Trial, TrialCounts, read_counts, verdict, write_counts
from edge.watch import Watcher
from tests.alarm.test_watch import walk
from tests.helpers.signed_models import put
from tests.helpers.tiny import BEAR_COLOUR, LABELS, TEDDY_COLOUR, tiny_card, write_tiny_model
from tests.helpers.trials import LONG_S, in_step

DEMO = Path(module.__file__).parents[1] / "demo" / "demo.mp4"
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
    store, entry = ModelStore(folder / "models"), Entry(file_digest(model), f"{model.stem}@new")
    put(store, model.read_bytes(), lambda held: replace(held, waiting=entry), entry)
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
    most: int = 12  # crops a frame
    events: list[Event] = field(default_factory=list)
    trial: Trial | None = None
    watcher: Watcher | None = None
    end_s: float = LONG_S  # what the trial may take to end

    def in_step(self) -> None:
        """Wait until the new model has looked at all frames so far."""
        if self.trial:
            in_step(self.trial)

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
        watcher = Watcher(
            classifier,
            decider.rule,
            publisher,
            settings,
            budget=CropBudget(most=self.most),
            decider=decider,
            single_images=single_images,
        )
        self.watcher = watcher
        thread = CameraThread(camera, film, watcher)
        if self.new:
            store, entry = installed(self.folder, self.new)
            self.trial = Trial([thread], store, entry, classifier, share=self.share)
        (first or self.in_step)()
        watcher(film)
        if self.trial is None:
            return TrialCounts()
        self.trial.close(self.end_s)
        return self.trial.counts


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


@pytest.mark.parametrize("later", [12.0, 27.0, 40.0])
def test_a_bear_that_one_model_sees_much_later_is_one_difference(beside: Callable[..., Beside], later: float) -> None:
    first, then = (3.0, later, BEAR_COLOUR, 300, 0), (later, later + 7.0, TEDDY_COLOUR, 300, 0)
    counts = beside(TEDDIES).watch(walk(later + 20.0, first, then))
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
    go, hangs = threading.Event(), threading.Event()
    real = Classifier.score

    def score(self: Classifier, image: object, regions: object) -> object:
        if answer == "hangs":
            hangs.set()
            go.wait(LONG_S)
        if answer == "raises":
            raise ZeroDivisionError("of the new model")
        scores = real(self, image, regions)  # type: ignore[arg-type]
        return [replace(each, bear=float("nan")) for each in scores] if answer == "answers garbage" else scores

    def film() -> Iterator[Frame]:
        yield from walk(15, RED)
        if answer == "hangs":  # on a busy machine the film would be over first
            assert hangs.wait(LONG_S)
            time.sleep(0.1)  # twice HANGS_S

    tried = beside(TEDDIES)
    if answer == "is no model":
        assert tried.new
        tried.new.write_bytes(b"no model")
    if answer == "hangs":
        monkeypatch.setattr(module, "HANGS_S", 0.05)
        tried.end_s = 1.0
    with new_model(monkeypatch, score=score):
        tried.watch(film(), between=lambda: None if answer == "hangs" else tried.in_step())
    assert plain(tried.events) == plain(alone.events)
    assert {event.type for event in tried.events} == {"new", "end"}
    assert tried.trial
    said = tried.trial.problem()
    left_behind = [thread.name for thread in threading.enumerate() if thread.name == "trial"]
    go.set()
    tried.trial.close(LONG_S)  # it holds frames, which another test counts
    assert left_behind == (["trial"] if answer == "hangs" else [])  # closing has not waited for it
    assert said is not None
    words = {"hangs": "not answered", "raises": "ZeroDivisionError", "answers garbage": "no probabilities"}
    assert words.get(answer, "tried") in said


def test_what_the_new_model_has_no_time_for_is_missed_by_both_and_not_kept(
    beside: Callable[..., Beside], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    alone, tried, go, held = beside(None), beside(), threading.Event(), list[int]()

    def film() -> Iterator[Frame]:
        yield from walk(15, RED)
        go.set()
        tried.in_step()

    go.set()  # while it is loaded

    def held_up(name: str) -> Callable[..., object]:
        def look(*each: object) -> object:
            assert go.wait(LONG_S)
            return getattr(Classifier, name)(*each)

        return look

    def first() -> None:
        tried.in_step()
        go.clear()

    def hold() -> None:
        held.append(sum(type(each) is Frame for each in gc.get_objects()))

    gc.freeze()  # counting among the objects of all tests would take longer than the new model is held
    request.addfinalizer(gc.unfreeze)
    alone.watch(walk(5, RED), between=hold)
    most, alone.watcher = max(held), None
    held.clear()
    with new_model(monkeypatch, windows=held_up("windows"), score=held_up("score")):
        counts = tried.watch(film(), first=first, between=hold)
    assert (counts.both, counts.different) == (0, 0)
    assert counts.missed > 30
    assert counts.slow
    assert max(held) == most + WAITING + 1  # which is looked at


def test_counts_outlive_a_restart_and_begin_again_with_another_pair(beside: Callable[..., Beside]) -> None:
    first = beside(TEDDIES).watch(walk(45, RED))
    again = beside(TEDDIES)
    counts = again.watch(walk(45, RED))
    assert (first.only_old, counts.only_old, counts.frames) == (1, 2, 2 * first.frames)
    assert counts.hours > first.hours > 0
    assert beside(TEDDIES).watch(walk(1), CameraSettings(night_threshold=0.4)).only_old == 0
    assert beside(ANYTHING).watch(walk(1)).only_old == 0


def test_saved_counts_are_of_their_two_models_and_a_damaged_file_is_none(tmp_path: Path) -> None:
    store, counts = ModelStore(tmp_path), TrialCounts(7, 1.5, looked=9, only_new=3)
    write_counts(store, "new", "old", "these", counts)
    assert read_counts(store, "new", "old") == read_counts(store, "new", "old", "these") == counts
    assert read_counts(store, "new", "older") == read_counts(store, "newer", "old") == TrialCounts()
    for damaged in (b"", b"[]", b'{"new": "new", "old": "old", "counts": {"more": 1}}', b"\xff"):
        (tmp_path / COUNTS).write_bytes(damaged)
        assert read_counts(store, "new", "old") == TrialCounts()


class Heat:
    """Share that is asked of the frame rates; ``set`` waits until the trial goes by it."""

    def __init__(self, share: float) -> None:
        self.share, self.asked = share, 0

    def __call__(self) -> float:
        """Return it, as the alarm's condition does."""
        self.asked += 1
        return self.share

    def set(self, share: float) -> None:
        """Make it hot, below 1, or cool."""
        self.share, seen, until = share, self.asked + 2, time.monotonic() + LONG_S
        while self.asked < seen:
            assert time.monotonic() < until
            time.sleep(0.001)


def test_in_heat_the_trial_pauses_and_goes_on_when_it_is_cooler(
    beside: Callable[..., Beside], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, heat, hot = beside(), Heat(0.5), list[TrialCounts]()
    tried.share = heat
    monkeypatch.setattr(module, "PAUSED_S", 0.001)
    pairs = Trial._pairs

    def slowly(trial: Trial, new: Classifier) -> object:
        time.sleep(0.002)  # a frame comes after those that waited are dropped
        return pairs(trial, new)

    monkeypatch.setattr(Trial, "_pairs", slowly)

    def film() -> Iterator[Frame]:
        yield from walk(15, RED)
        heat.set(0.5)
        assert tried.trial
        hot.append(tried.trial.counts)
        heat.set(1.0)
        for frame in walk(15, RED):
            yield replace(frame, time=frame.time + 100.0)

    counts = tried.watch(film())
    assert replace(hot[0], paused_h=0.0) == TrialCounts()
    assert hot[0].paused_h > 0
    assert (counts.both, counts.different) == (1, 0)
    assert counts.hours > 0


@pytest.mark.parametrize("why", ["it is closed", "heat"])
def test_an_alarm_of_one_model_alone_counts_though_the_trial_pauses_or_ends_soon_after(
    beside: Callable[..., Beside], monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    tried, heat = beside(TEDDIES), Heat(1.0)
    tried.share = heat
    monkeypatch.setattr(module, "PAUSED_S", 0.001)

    def film() -> Iterator[Frame]:
        yield from walk(6, (3.0, 5.5, BEAR_COLOUR, 100, 60))
        if why == "heat":
            heat.set(0.5)
            heat.set(1.0)
            for frame in walk(20):
                yield replace(frame, time=frame.time + 6.0)

    assert tried.watch(film()).only_old == 1


def test_a_track_of_the_new_model_keeps_one_crop_where_leaves_sway(
    beside: Callable[..., Beside], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, found = beside(TEDDIES), list[list[str]]()
    tried.most = 2

    def score(self: Classifier, image: Picture, regions: Sequence[Region]) -> list[Score]:
        found.append([each.kind for each in regions])
        return Classifier.score(self, image, regions)

    leaves = [(3.0, 30.0, (90, 90, 90), left, 20) for left in (20, 180)]
    with new_model(monkeypatch, score=score):
        tried.watch(walk(12, (1.0, 12.0, TEDDY_COLOUR, 560, 0), *leaves))
    assert ["motion", "track"] in found


def test_what_people_call_wrong_needs_twice_the_evidence_of_both(
    beside: Callable[..., Beside], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, made, wrong = beside(), list[Decider](), list[object]()

    def make(classifier: Classifier, settings: CameraSettings, *, single_images: bool) -> Decider:
        made.append(make_decider(classifier, settings, single_images=single_images))
        return made[-1]

    monkeypatch.setattr(module, "make_decider", make)

    def film() -> Iterator[Frame]:
        for frame in walk(3):
            if frame.index in (10, 20):
                assert tried.watcher
                people = tried.watcher.decider.repeat_alarms
                assert people
                people.reviewed("e1", (0.2, 0.5, 0.1, 0.1), frame.time - 5.0, frame.time, wrong=frame.index == 10)
            yield frame
            wrong.append([each.repeat_alarms.wrong for each in made if each.repeat_alarms])

    tried.watch(film())
    there = {"e1": ((0.2, 0.5, 0.1, 0.1), -4.0)}
    assert (wrong[9], wrong[15], wrong[25]) == ([{}, {}], [there, there], [{}, {}])


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


DAY = TrialCounts(frames=300, hours=24.0, both=9)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (TrialCounts(), "wait"),
        (TrialCounts(frames=299, hours=71.9), "wait"),
        (DAY, "pass"),
        (replace(DAY, both=0), "pass"),
        (replace(DAY, hours=23.9), "wait"),
        (replace(DAY, only_new=2, only_old=1), "pass"),
        (TrialCounts(frames=5, only_new=2, only_old=2), "differs"),
        (replace(DAY, only_new=4), "differs"),
        (replace(DAY, only_old=2, both=1), "differs"),
        (replace(DAY, only_old=2, both=1, wrong_gone=1), "pass"),
        (TrialCounts(frames=5, only_old=2), "wait"),  # not yet
        (TrialCounts(right_lost=1), "differs"),
        (replace(DAY, looked=100, missed=100), "pass"),
        (replace(DAY, looked=100, missed=101), "differs"),
        (TrialCounts(frames=299, hours=72.0, both=9), "nothing"),
        (TrialCounts(frames=9, hours=30.0, paused_h=42.0), "nothing"),
        (replace(DAY, hours=20.0, paused_h=20.0), "wait"),
        (TrialCounts(frames=20, kept=True), "nothing"),
        (TrialCounts(frames=300, kept=True), "pass"),
    ],
)
def test_the_counts_decide(counts: TrialCounts, said: str) -> None:
    assert verdict(counts, 300, 24.0, 3, 72.0) == said


SEEN = "in 9 h (9 frames with something to see) "
MORE = SEEN + "it would have alarmed 3 times more, and 1 time less, than the old one; the same: 2 alarms"
NONE = SEEN + "neither would have alarmed"
ONCE = "in less than 1 h (1 frame with something to see) it would have alarmed as the old one did, 1 time"
REVIEWED = "; of the alarms that people reviewed, 1 with a bear would be missed, and 0 without one would be gone"
SLOW = "; it is too slow for this device: it could look at 4 of 9 frames"
PAUSED = "; for 72 h the trial paused, for heat or low voltage"
KEPT = "of 300 kept pictures "
KEPT_MORE = KEPT + "it would call 3 more and 1 fewer a bear than the old one; the same: 2"


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (TrialCounts(1, both=1), ONCE),
        (TrialCounts(9, 9.2), NONE),
        (TrialCounts(9, 9.2, only_new=3, only_old=1, both=2), MORE),
        (TrialCounts(9, 9.2, right_lost=1), NONE + REVIEWED),
        (TrialCounts(9, 9.2, looked=4, missed=5, paused_h=72.0), NONE + SLOW + PAUSED),
        (TrialCounts(300, only_new=3, only_old=1, both=2, kept=True), KEPT_MORE),
        (TrialCounts(300, both=2, kept=True), f"{KEPT}it would call the same 2 a bear"),
        (TrialCounts(300, kept=True), f"{KEPT}neither would call one a bear"),
    ],
)
def test_counts_are_words_for_people(counts: TrialCounts, words: str) -> None:
    assert counts.words == words

"""A camera with a life of faults through the whole alarm: what is told of it, when, and that it sees again."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from edge import settings
from edge.alert.events import ENDED_WORDS, EventPublisher
from edge.camera import Source
from edge.camera.reconnect import ReconnectingSource
from edge.camera_thread import MAX_RESTART_S, RESTART_S, CameraThread, end_all
from edge.decide.alarms import Decider
from edge.detect.camera_check import CameraCheck
from edge.schema import CameraFault, Event, Frame
from edge.watch import FAILED_WORDS, Watcher
from tests.alarm.test_watch import RULE, Colours, scene, walk
from tests.helpers.kept_world import NOW, Camera, Connection, World, opens
from tests.helpers.tiny import BEAR_COLOUR

NOTICED_S, RECOVERED_S = 10.0, 15.0
FAILS_S, RETURNS_S, LASTS_S = 20.0, 60.0, 100.0


class Diary:
    """The events of a life, each with the second in which it was told; and how many crops each frame was given."""

    def __init__(self, *life: tuple[float, str], seconds: float = LASTS_S) -> None:
        world = World()
        camera = Camera(world, *life)
        began = world.now
        self.told: list[tuple[float, Event]] = []
        self.scorer = Colours()
        kept = ReconnectingSource(
            opens(Connection(camera), camera.open),
            name="yard",
            fps=camera.fps,
            clock=world.clock,
            sleep=world.sleep,
        )
        publisher = EventPublisher([lambda event: self.told.append((world.now - began, event))])
        watcher = Watcher(self.scorer, RULE, publisher)  # plain pictures are none for the lens check
        kept.report = lambda trouble, at: watcher.report(trouble, at, "yard")
        self.looks: list[tuple[float, bool, int]] = []  # second, first after a gap, crops

        def frames() -> Any:
            for frame in kept:
                before = sum(self.scorer.calls)
                yield frame
                self.looks.append((world.now - began, frame.discontinuity, sum(self.scorer.calls) - before))
                if world.now - began >= seconds:
                    kept.close()

        watcher(frames())

    def of(self, kind: str) -> list[tuple[float, str]]:
        """(second, type) of the events of a kind."""
        return [(at, event.type) for at, event in self.told if event.kind == kind]


@pytest.mark.parametrize("fault", ["silent", "broken", "away", "garbage", "deaf", "stuck", "frozen"])
def test_a_fault_is_noticed_and_its_end_too_and_no_bear_is_reported(fault):
    diary = Diary((FAILS_S, fault), (RETURNS_S, "live"))
    (noticed_s, new), (over_s, end) = diary.of("camera")
    assert (new, end) == ("new", "end")
    assert FAILS_S < noticed_s <= FAILS_S + NOTICED_S
    assert RETURNS_S < over_s <= RETURNS_S + RECOVERED_S
    assert diary.of("bear") == []
    assert {event.label for _, event in diary.told} == {"frozen" if fault == "frozen" else "gone"}
    assert all(event.detail and event.camera == "yard" for _, event in diary.told)


@pytest.mark.parametrize("fault", ["silent", "away", "deaf"])
def test_the_first_picture_after_a_gap_is_looked_at_whole(fault):
    diary = Diary((FAILS_S, fault), (RETURNS_S, "live"), seconds=RETURNS_S + 20.0)
    (crops,) = [crops for at, again, crops in diary.looks if again and at >= RETURNS_S]
    assert crops == 1  # nothing moves in it


def test_a_camera_that_is_well_tells_nothing():
    diary = Diary()
    assert diary.told == []
    assert np.median([crops for _, _, crops in diary.looks]) <= 2


def bears_and_troubles(diary: Diary) -> list[str]:
    return [f"{event.kind} {event.type}" for _, event in diary.told]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("away", "gives no picture any more"), ("frozen", "the same picture"), ("stare", "the same picture")],
)
def test_a_camera_that_fails_is_reported_before_the_bear_it_loses_and_the_bear_did_not_leave(fault, reason):
    diary = Diary((10.0, "bear"), (FAILS_S, fault), (RETURNS_S, "live"))
    assert bears_and_troubles(diary) == ["bear new", "camera new", "bear end", "camera end"]
    (gone_s, _), (end_s, end) = diary.told[1:3]
    assert end_s == pytest.approx(gone_s, abs=0.1)
    assert end.detail
    assert reason in end.detail
    assert end.detail.endswith("so nothing is known of the bear")
    assert "new" not in [event.type for at, event in diary.told if event.kind == "bear" and at > FAILS_S]


@pytest.mark.parametrize("fault", ["away", "frozen", "stare"])
def test_a_bear_that_is_still_there_when_the_camera_is_back_is_no_second_alarm(fault):
    diary = Diary((10.0, "bear"), (FAILS_S, fault), (35.0, "bear"), seconds=60.0)
    told = bears_and_troubles(diary)
    assert told[:3] == ["bear new", "camera new", "bear end"]
    assert sorted(told[3:]) == ["bear end", "bear update", "camera end"]  # and over with the watch
    assert diary.told[-1][1].detail == ENDED_WORDS


@pytest.mark.parametrize("fault", ["away", "frozen", "stare"])
def test_a_bear_that_is_there_after_a_long_fault_is_an_alarm(fault):
    diary = Diary((10.0, "bear"), (FAILS_S, fault), (620.0, "bear"), seconds=650.0)
    assert bears_and_troubles(diary)[:4] == ["bear new", "camera new", "bear end", "bear new"]
    (_, first), (again_s, again) = [(at, event) for at, event in diary.told if event.alarms]
    assert first.id != again.id
    assert 620.0 < again_s <= 620.0 + RECOVERED_S


def test_the_old_picture_of_a_freeze_is_not_looked_at_and_the_first_new_one_whole():
    scorer, looks = Colours(), {}
    watcher = Watcher(scorer, RULE, EventPublisher())

    def frames():
        for i in range(200):
            before, frozen_s = sum(scorer.calls), i / 10 - 5.0 if 50 < i < 150 else 0.0
            frozen = CameraFault("frozen", "yard: the same picture again and again") if frozen_s >= 5.0 else None
            watcher.report(frozen, 1000.0 + i / 10, "yard")
            yield Frame(scene(), i / 10, NOW, "yard", i, 1000.0 + i / 10, frozen_s=frozen_s)
            looks[i] = sum(scorer.calls) - before

    watcher(frames())
    assert sum(looks[i] for i in range(135, 150)) == 0
    assert [looks[i] for i in (150, 151, 152)] == [looks[i] for i in (0, 1, 2)] == [1, 0, 0]


def test_a_second_freeze_is_reported_as_soon_as_the_first():
    diary = Diary((20.0, "frozen"), (50.0, "live"), (200.0, "frozen"), seconds=230.0)
    told = [at for at, event in diary.told if event.type == "new"]
    assert [at - since for at, since in zip(told, (20.0, 200.0), strict=True)] == pytest.approx([9.0, 9.0], abs=1.0)


def test_a_bear_is_not_reported_to_have_left_in_a_short_gap():
    diary = Diary((10.0, "bear"), (20.0, "deaf"), (25.5, "bear"), (40.0, "live"), seconds=60.0)
    assert bears_and_troubles(diary) == ["bear new", "bear update", "bear end"]
    left_s, end = diary.told[-1]
    assert 44.0 <= left_s <= 50.0
    assert end.detail is None


def test_a_camera_that_comes_and_goes_is_reported_within_minutes_and_once():
    life = [(11.0 * i + late, state) for i in range(120) for late, state in ((6.0, "deaf"), (10.9, "live"))]
    diary = Diary(*life, seconds=1200.0)
    assert [(event.type, event.label) for _, event in diary.told] == [("new", "unsteady"), ("end", "unsteady")]
    assert 60.0 <= diary.told[0][0] <= 150.0
    assert "the picture comes and goes" in (diary.told[0][1].detail or "")
    assert diary.told[1][0] >= 1199.0  # with the watch


def test_a_short_drop_now_and_then_is_not_reported():
    life = [(60.0 * i + late, state) for i in range(1, 10) for late, state in ((0.0, "deaf"), (4.5, "live"))]
    assert Diary(*life, seconds=620.0).told == []


@pytest.mark.parametrize("fps", [5, 10])
@pytest.mark.parametrize("shade", [3, 120, 252])
def test_a_picture_that_shows_nothing_is_reported_in_time(fps, shade):
    for late_s in (0.0, 0.3, 0.5, 0.9):
        told: list[tuple[float, Event]] = []
        at_s = [0.0]

        def tell(event, told=told, at_s=at_s):
            told.append((at_s[0], event))

        publisher = EventPublisher([tell])

        def frames(at_s=at_s, began=5.0 + late_s):
            noise = np.random.default_rng(0)
            for i in range(20 * fps):
                at_s[0] = i / fps
                picture = np.full((90, 160, 3), shade) if at_s[0] >= began else scene(160, 90).astype(int)
                picture = np.clip(picture + noise.integers(-2, 3, picture.shape), 0, 255).astype(np.uint8)
                yield Frame(picture, at_s[0], NOW + timedelta(seconds=at_s[0]), "yard", i, 1000.0 + at_s[0])

        Watcher(Colours(), RULE, publisher, camera_check=CameraCheck())(frames())
        assert [event.type for _, event in told] == ["new", "end"]
        assert 5.0 + late_s < told[0][0] <= 5.0 + late_s + NOTICED_S


class Failing(Colours):
    """A scorer that fails in so many calls, from the first after the bear was told on."""

    def __init__(self, told: list[Event], times: int) -> None:
        super().__init__()
        self.told, self.left = told, times

    def score(self, image: Any, regions: Any) -> Any:
        if self.told and self.left:
            self.left -= 1
            raise MemoryError("no memory left")
        return super().score(image, regions)


class Bears(Source):
    """A live camera before which a bear walks; its clock goes on by what is waited, too."""

    live = True

    def __init__(self, seconds: int) -> None:
        self.name, self.fps = "yard", 10.0
        self.problems: list[str] = []
        self.row = (
            replace(frame, media_time_s=None, handed_over=time.monotonic() + frame.time)
            for frame in walk(seconds, (2.0, seconds, BEAR_COLOUR, 100, 50))
        )

    def __iter__(self) -> Any:
        for number, frame in enumerate(self.row):
            yield replace(frame, discontinuity=not number)

    def close(self) -> None:
        pass


def watched(source: Any, watcher: Watcher, wait: Any = lambda seconds: None) -> CameraThread:
    """A camera thread that has ended by itself."""
    thread = CameraThread(settings.Camera("yard", "0"), source, watcher, wait=wait)
    thread.start()
    thread.join(60.0)
    assert not thread.alive
    return thread


def test_a_lasting_fault_of_ours_is_one_trouble_reported_before_the_bear_it_loses_and_the_camera_is_not_given_up():
    told: list[Event] = []
    waits: list[float] = []
    watcher = Watcher(Failing(told, 8), RULE, EventPublisher([told.append]))
    assert watched(Bears(11), watcher, waits.append).failed is None
    assert waits == [RESTART_S, 2.0, 4.0, 8.0, 16.0, *[MAX_RESTART_S] * 3]
    assert [f"{event.kind} {event.type}" for event in told] == [
        "bear new", "camera new", "bear end", "bear update", "camera end", "bear end",
    ]  # fmt: skip
    assert "the alarm itself failed (MemoryError)" in (told[1].detail or "")
    assert told[2].detail == FAILED_WORDS
    assert (told[4].detail or "").startswith("over after")


def test_a_fault_of_ours_in_the_telling_does_not_end_the_watching():
    def sink(event: Event) -> None:
        told.append(event)
        if len(told) <= 3:
            raise OSError("no room")

    told: list[Event] = []
    watcher = Watcher(Colours(), RULE, EventPublisher([sink]))
    assert watched(Bears(11), watcher).failed is None
    assert watcher.stats.frames > 80
    assert told[-1].type == "end"


def test_cameras_are_closed_side_by_side():
    all_four = threading.Barrier(4)
    threads = [watched(Bears(1), Watcher(Colours(), RULE, EventPublisher())) for _ in range(4)]
    for thread in threads:
        thread.source.close = lambda: all_four.wait(20)  # type: ignore[method-assign, assignment, return-value]
    end_all(threads)
    assert not all_four.broken
    assert all_four.n_waiting == 0


def test_what_a_frozen_camera_does_not_show_has_not_gone():
    asked: list[bool] = []

    class Asked(Decider):
        def __call__(self, *given: Any, seeing: bool = True, **more: Any) -> Any:
            asked.append(seeing)
            return super().__call__(*given, seeing=seeing, **more)

    frozen_s = (0.0, 0.0, 0.5, 1.0, 9.0, 0.0)
    frames = [replace(frame, discontinuity=i == 1, frozen_s=frozen_s[i]) for i, frame in enumerate(walk(0.6))]
    Watcher(Colours(), RULE, EventPublisher(), decider=Asked(RULE))(frames)
    assert asked == [True, False, True, False, False, True]

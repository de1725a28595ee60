"""The camera check on a painted clearing: faults are reported, and day, night, weather and animals are not."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.camera import open_source
from edge.detect import camera_check
from edge.detect.camera_check import (
    GRACE_S,
    MAX_CLEAR_S,
    CameraCheck,
    CameraCheckSettings,
    FaultDebouncer,
    Night,
    View,
    is_night,
    likeness,
)
from edge.detect.motion import small_grey
from edge.schema import CameraFault
from tests.scenery.scene import Scene
from tests.scenery.scenery import clearing, fractal, paste

PLACE_WH = (480, 270)
VIEW_WH = (320, 180)  # what the lens check is given; pictures of this size cost the tests least
QUICK = CameraCheckSettings(settle_s=5.0)  # a clip is over before a place would count as known
Plane = NDArray[np.float32]  # brightness, 0 to 255
Change = Callable[[float, Plane], Plane]  # seconds since it began, picture -> picture

RNG = np.random.default_rng(7)
NOISE = RNG.normal(0, 1.5, (220, 360)).astype(np.float32)

GONE = CameraFault("gone", "yard: no frame for 5 s; check its cable and its power")
BLACK = CameraFault("black", "yard: the picture is black; is the lens covered?")


def painted(seed: int) -> tuple[Plane, Plane]:
    """A clearing larger than the view, so that the camera can be turned: by day, and as infrared shows its colours."""
    still, plants = clearing(np.random.default_rng(seed), (2 * PLACE_WH[0], 2 * PLACE_WH[1]), "overcast")
    for plant in plants:
        paste(still, plant.at(0.0), plant.left, plant.top)
    blue, green, red = cv2.split(cv2.resize(still, PLACE_WH, interpolation=cv2.INTER_AREA).astype(np.float32))
    return 0.114 * blue + 0.587 * green + 0.299 * red, 1.6 * green + 0.6 * red - 0.9 * blue


@pytest.fixture(scope="module")
def paintings() -> tuple[Plane, Plane]:
    return painted(3)


@pytest.fixture(scope="module")
def place(paintings) -> Plane:
    return paintings[0]


@pytest.fixture(scope="module")
def night(paintings) -> Plane:
    """Leaves bright, sky black, lit from the camera: what an infrared lamp makes of the view."""
    y, x = np.mgrid[-1 : 1 : VIEW_WH[1] * 1j, -1 : 1 : VIEW_WH[0] * 1j]
    return np.clip(view(paintings[1]) * np.exp(-(x**2 + y**2)), 0, 255).astype(np.float32)


def view(place: Plane, right: int = 80, down: int = 45) -> Plane:
    return place[down : down + VIEW_WH[1], right : right + VIEW_WH[0]]


def grey(picture: Plane) -> Plane:
    """As motion hands it on, with what is left of a sensor's noise."""
    y, x = (int(at) for at in RNG.integers(0, 40, 2))
    return small_grey(
        np.clip(picture + NOISE[y : y + picture.shape[0], x : x + picture.shape[1]], 0, 255).astype(np.uint8)
    )


def told(check: CameraCheck, views: Iterable[tuple[float, Plane]]) -> dict[str, list[float]]:
    """When each kind of trouble was told."""
    found: dict[str, list[float]] = {}
    for time, picture in views:
        for trouble in check(grey(picture), time):
            found.setdefault(trouble.kind, []).append(time)
            assert trouble.detail == trouble.detail.strip()
            assert "(" in trouble.detail
            assert ": " in trouble.detail
    return found


def then(
    picture: Plane, change: Change, known_s: int = 90, lasts_s: int = 120, step_s: int = 1
) -> Iterator[tuple[float, Plane]]:
    """A known place, and from ``known_s`` on something else."""
    for second in range(0, known_s):
        yield float(second), picture
    for second in range(0, lasts_s, step_s):
        yield float(known_s + second), change(float(second), picture)


def blurred(picture: Plane, sigma: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32) if sigma > 0 else picture


def foggy(picture: Plane, through: float) -> Plane:
    return picture * through + 185 * (1 - through)


def nothing(level: float) -> Change:
    return lambda _, picture: np.full_like(picture, level)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("black", nothing(2)),
        ("black", lambda _, picture: picture * 0.04),
        ("white", nothing(254)),
        ("white", lambda _, picture: picture * 0.2 + 250),
        ("covered", nothing(90)),
        # A hand: smooth, lighter to one side.
        (
            "covered",
            lambda _, picture: np.zeros_like(picture) + np.linspace(40, 130, picture.shape[1], dtype=np.float32),
        ),
        ("covered", lambda _, picture: foggy(blurred(picture, 20), 0.3)),
    ],
)
def test_a_picture_in_which_nothing_can_be_made_out_is_reported_within_ten_seconds_and_no_longer_than_it_lasts(
    place, kind, change
):
    views = [*then(view(place), change, lasts_s=30), *((120.0 + i, view(place)) for i in range(30))]
    found = told(CameraCheck(), views)
    assert set(found) == {kind}
    assert 92 <= min(found[kind]) <= 95
    assert max(found[kind]) < 120


@pytest.mark.parametrize("level", [2, 90, 254])
def test_nothing_to_see_is_reported_of_a_camera_that_never_saw_anything(level, place):
    found = told(CameraCheck(), ((float(i), np.full_like(view(place), level)) for i in range(10)))
    assert len(found) == 1


def test_a_flash_and_a_hand_passing_by_are_not_reported(place):
    views = [(float(i), np.full_like(view(place), 255) if i in (70, 90, 91) else view(place)) for i in range(120)]
    assert not told(CameraCheck(), views)


def test_the_clock_a_camera_writes_into_a_black_picture_does_not_hide_that_it_is_black(place):
    def capped(_, picture):
        dark = np.full(picture.shape, 3, np.uint8)
        cv2.putText(dark, "2026-11-24 03:12:44  CAM 1", (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1)
        cv2.putText(dark, "21 C", (270, 175), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1)
        return dark.astype(np.float32)

    assert set(told(CameraCheck(), then(view(place), capped, lasts_s=30))) == {"black"}


def test_a_lens_out_of_focus_is_reported(place):
    found = told(CameraCheck(), then(view(place), lambda _, picture: blurred(picture, 2.5), lasts_s=90))
    assert set(found) == {"blurred"}
    assert 150 <= min(found["blurred"]) <= 155


def test_dew_that_comes_within_two_hours_is_reported_until_it_is_gone(place):
    picture = view(place)
    states = [blurred(picture, sigma / 2) for sigma in range(9)]
    views = [*then(picture, lambda t, _: states[min(int(t // 900), 8)], lasts_s=9000, step_s=15)]
    views += [(9100.0 + 15 * i, picture) for i in range(20)]
    found = told(CameraCheck(), views)
    assert set(found) == {"blurred"}
    assert max(found["blurred"]) <= 9100


def test_fog_is_reported_and_light_mist_is_not(place):
    thick = told(
        CameraCheck(), then(view(place), lambda t, picture: foggy(picture, max(1 - t / 600, 0.12)), lasts_s=900)
    )
    assert set(thick) == {"blurred"}
    assert not told(CameraCheck(), then(view(place), lambda t, picture: foggy(picture, max(1 - t / 600, 0.6))))


def test_a_scene_that_was_always_smooth_is_not_blurred(place):
    smooth = blurred(view(place), 2)
    assert not told(CameraCheck(), ((float(i), smooth) for i in range(300)))


@pytest.mark.parametrize(("right", "down"), [(92, 45), (65, 55), (160, 90), (0, 0)])
def test_a_turned_camera_is_reported_after_twenty_seconds_for_a_minute_and_its_new_view_is_the_place(
    place, right, down
):
    check = CameraCheck()
    found = told(check, then(view(place), lambda *_: view(place, right, down), lasts_s=300))
    assert set(found) == {"moved"}
    assert 110 <= min(found["moved"]) <= 112
    assert max(found["moved"]) - min(found["moved"]) == pytest.approx(59, abs=1)
    # Turned back it is another view again.
    assert set(told(check, ((390.0 + i, view(place)) for i in range(60)))) == {"moved"}


def test_a_camera_put_elsewhere_is_reported(place):
    other = view(painted(8)[0])
    assert set(told(CameraCheck(), then(view(place), lambda *_: other))) == {"moved"}


def test_turning_it_while_it_is_being_mounted_is_not_reported(place):
    views = [(float(i), view(place, 10 * (i // 2), 45) if i < 24 else view(place)) for i in range(200)]
    assert not told(CameraCheck(), views)


def test_night_and_day_are_not_reported(place, night):
    day = view(place)
    views = [(30.0 * i, day) for i in range(200)]
    views += [(6000.0 + i, day * max(1 - i / 700, 0.3)) for i in range(0, 600, 10)]  # dusk
    views += [(6600.0 + 30 * i, night) for i in range(900)]
    views += [(33600.0 + 5 * i, day * min(0.3 + i / 100, 1)) for i in range(200)]
    assert not told(CameraCheck(), views)
    alike = likeness(View.at(grey(night)).edges, View.at(grey(day)).edges)
    assert alike is not None
    assert alike > 0.5


def test_a_camera_without_infrared_is_black_at_night_and_knows_its_place_in_the_morning(place):
    day = view(place)
    rng = np.random.default_rng(1)
    shadows = np.where(fractal(rng, VIEW_WH, 40, 2) > 0.5, 1.0, 0.5).astype(np.float32)
    check = CameraCheck()
    told(check, ((30.0 * i, day) for i in range(100)))
    assert set(told(check, ((3000.0 + 30 * i, day * 0.01) for i in range(800)))) == {"black"}
    assert not told(check, ((27000.0 + i, day * shadows) for i in range(120)))


def test_a_pole_that_sways_is_not_reported(place):
    rng = np.random.default_rng(2)
    picture = view(place)

    def swaying(_, __):
        right, down = rng.normal(0, 2, 2).round().astype(int)
        return view(place, 80 + int(right), 45 + int(down))

    assert not told(CameraCheck(), then(picture, swaying, lasts_s=300))


def test_a_camera_in_the_hand_is_not_reported(place):
    def walking(t, _):
        return view(place, int(80 + 75 * np.sin(t / 3)), int(45 + 40 * np.sin(t / 2)))

    assert not told(CameraCheck(), then(view(place), walking, lasts_s=300))


def test_a_large_animal_in_front_is_not_reported(place):
    fur = fractal(np.random.default_rng(4), VIEW_WH, 15, 4) * 120

    def bear(t, picture):
        at = (int(160 + 60 * np.sin(t / 9)), int(110 + 15 * np.sin(t / 5)))
        body = cv2.ellipse(np.zeros(picture.shape[:2], np.uint8), at, (115, 85), 0, 0, 360, 1, -1)
        return np.where(body, fur, picture)

    assert not told(CameraCheck(), then(view(place), bear, lasts_s=300))


def test_another_frame_size_is_another_place(place):
    check = CameraCheck()
    told(check, ((float(i), view(place)) for i in range(90)))
    assert not told(check, ((90.0 + i, view(place)[:150]) for i in range(60)))


def test_looks_too_seldom_or_out_of_order_do_no_harm(place):
    check = CameraCheck()
    assert not told(check, ((at, view(place)) for at in (0.0, 1e6, 5.0, 5.0, 1e7)))


@pytest.mark.parametrize("shape", [(6, 320), (180, 320), (1280, 320), (9, 16)])
def test_any_small_picture_will_do(shape):
    check = CameraCheck()
    for i in range(3):
        assert check(np.random.default_rng(i).uniform(0, 255, shape).astype(np.float32), float(i)) == ()


def test_the_demo_scenes_are_in_order():
    for seed in (0, 2):
        check = CameraCheck(QUICK)
        shots = (shot for i, shot in enumerate(Scene(seed, size_wh=(640, 360)).frames()) if i % 10 == 0)
        assert not [trouble for shot in shots for trouble in check(small_grey(shot.image), shot.time_s)]


@pytest.mark.slow
def test_real_clips_are_in_order(pictures):
    found: Counter[str] = Counter()
    for clip in sorted((pictures / "videos").glob("*.mp4")):
        check = CameraCheck(QUICK)
        with open_source(str(clip), fps=1.0) as source:
            for frame in source:
                found.update(f"{clip.name}: {trouble.kind}" for trouble in check(small_grey(frame.image), frame.time))
    assert not found


def play(watch, spans, until, step=1.0):
    """Reports of faults that are there during (fault, from, to), as (seconds, type, kind, number).

    The number is of the id: 1, 2, 3 … in the order of the first report.
    """
    told, time = [], 0.0
    ids: dict[str, int] = {}
    while time <= until:
        now = [trouble for trouble, start, end in spans if start <= time < end]
        told += [(time, r.type, r.trouble.kind, ids.setdefault(r.id, len(ids) + 1)) for r in watch(now, time)]
        time += step
    return told


def test_a_camera_that_goes_and_returns_is_reported_twice_with_one_id():
    told = play(FaultDebouncer(), [(GONE, 10, 70)], 200)
    assert told == [(13.0, "new", "gone", 1), (72.0, "end", "gone", 1)]


def test_what_lasts_shorter_than_its_grace_is_never_reported():
    spans = [(GONE, start, start + 2) for start in range(10, 600, 10)]
    assert play(FaultDebouncer(), spans, 700) == []


def test_what_is_sure_needs_no_grace_and_does_not_flood_either():
    watch = FaultDebouncer()
    told = [(at, each.type) for at in range(60) for each in watch([GONE] if at < 40 else [], at, at_once=["gone"])]
    assert told == [(0, "new"), (42, "end")]
    assert watch([BLACK], 60, at_once=["gone"]) == []


def test_two_kinds_have_lives_of_their_own():
    told = play(FaultDebouncer(), [(GONE, 10, 20), (BLACK, 12, 40)], 100)
    assert [(kind, type_) for _, type_, kind, _ in told] == [
        ("gone", "new"), ("black", "new"), ("gone", "end"), ("black", "end"),
    ]  # fmt: skip
    assert len({number for *_, number in told}) == 2


def test_a_camera_that_flickers_for_a_day_does_not_flood():
    watch = FaultDebouncer()
    told = [each.type for at in range(86_500) for each in watch([GONE] if at < 86_400 and at % 16 < 6 else [], at)]
    # One that is gone more than a third of the time is, after a few rounds, one trouble.
    assert len(told) <= 12
    assert told[-1] == "end"


def test_a_trouble_that_returns_the_next_day_is_reported_at_once_again():
    told = play(FaultDebouncer(), [(GONE, 0, 30), (GONE, 5000, 5030)], 6000)
    assert [(at, type_) for at, type_, _, _ in told] == [(3.0, "new"), (32.0, "end"), (5003.0, "new"), (5032.0, "end")]


def test_while_the_camera_is_gone_nothing_else_is_over():
    told = play(FaultDebouncer(), [(BLACK, 0, 20), (GONE, 20, 60)], 100)
    assert [(at, type_, kind) for at, type_, kind, _ in told] == [
        (5.0, "new", "black"), (23.0, "new", "gone"), (60.0, "end", "black"), (62.0, "end", "gone"),
    ]  # fmt: skip


def test_closing_ends_what_was_reported():
    watch = FaultDebouncer()
    play(watch, [(GONE, 0, 100)], 20)
    assert watch.now == (GONE,)
    assert [report.type for report in watch.close(21.0)] == ["end"]
    assert not watch.now


@given(st.lists(st.tuples(st.sampled_from([GONE, BLACK]), st.integers(0, 700), st.integers(1, 150)), max_size=8))
def test_new_and_end_alternate_and_everything_ends(spans):
    told = play(FaultDebouncer(), [(trouble, start, start + length) for trouble, start, length in spans], 1300)
    for kind in ("gone", "black"):
        types = [type_ for _, type_, of, _ in told if of == kind]
        assert types == ["new", "end"] * (len(types) // 2)
    longest = max((start + length for _, start, length in spans), default=0)
    assert all(at <= longest + MAX_CLEAR_S + max(GRACE_S.values()) for at, *_ in told)


@pytest.fixture(scope="module")
def day() -> np.ndarray:
    """A clearing by day (360, 640, 3)."""
    return next(Scene(1, size_wh=(640, 360)).frames()).image


@pytest.fixture(scope="module")
def infrared(day) -> np.ndarray:
    return cv2.cvtColor(cv2.cvtColor(day, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def night_after(night: Night, pictures) -> list[bool]:
    return [night(picture, float(i)) for i, picture in enumerate(pictures)]


def test_a_clearing_by_day_is_no_night_and_infrared_or_dark_is(day, infrared):
    assert not is_night(day)
    assert is_night(infrared)
    assert is_night(day // 6)


def test_grey_alone_tells_only_whether_it_is_dark(infrared):
    grey = infrared[..., 0]
    assert not is_night(grey)
    assert is_night(grey // 6)
    assert is_night((grey // 6).astype(np.float32))


def test_what_a_camera_writes_in_colour_makes_no_day(infrared):
    written = infrared.copy()
    cv2.putText(written, "2026-11-24 03:12:44", (8, 340), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (0, 255, 255), 3)
    assert is_night(written)


@pytest.mark.parametrize("quality", [40, 75, 95])
def test_a_compressed_infrared_picture_with_a_cast_is_still_infrared(infrared, quality):
    cast = np.clip(infrared.astype(int) + np.array((1, 0, 0)), 0, 255).astype(np.uint8)
    data = cv2.imencode(".jpg", cast, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    assert is_night(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8))


def test_the_first_picture_decides(day, infrared):
    assert Night()(infrared, 0.0)
    assert not Night()(day, 0.0)


def test_night_comes_when_it_has_lasted(day, infrared):
    told = night_after(Night(), [day] * 20 + [infrared] * 20 + [day] * 20)
    assert told.index(True) == 30
    assert told.index(False, 30) == 50


def test_headlights_and_shadows_change_nothing(day, infrared):
    assert all(night_after(Night(), [infrared] * 5 + [day] * 9 + [infrared] * 20))
    assert not any(night_after(Night(), [day] * 5 + [day // 8] * 9 + [day] * 20))


def test_dusk_flickers_neither_way(day, monkeypatch):
    monkeypatch.setattr(camera_check, "LASTS_S", 0.0)
    between = [np.full_like(day, (60, 40, 30)) + (i % 2) * np.uint8(8) for i in range(200)]  # brightness 39 and 47
    told = night_after(Night(), between)
    assert sum(one != two for one, two in pairwise(told)) <= 1


def test_grey_pictures_in_between_leave_infrared_as_it_was(day, infrared, monkeypatch):
    monkeypatch.setattr(camera_check, "LASTS_S", 0.0)
    night = Night()
    assert night(infrared, 0.0)
    assert night(infrared[..., 0], 1.0)
    assert not night(day, 2.0)
    assert not night(day[..., 1], 3.0)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1), (3, 4000, 3), (4000, 3), (44, 45, 3)])
def test_any_size_will_do(shape):
    assert is_night(np.zeros(shape, np.uint8))
    assert Night()(np.zeros(shape, np.uint8), 0.0)


def test_real_pictures_are_told_apart(pictures):
    found: dict[str, list[bool]] = {"0": [], "1": []}
    with (pictures / "MANIFEST.csv").open(encoding="utf-8", newline="") as table:
        # The newer rows, which have a condition, go by colour alone: fog is grey by day too.
        rows = [row for row in csv.DictReader(table) if row["file"].endswith(".jpg") and not row.get("condition")]
    rows = [row for row in rows if row["grey_or_ir"] == "1"] + rows[::20]
    for row in rows:
        image = cv2.imread(str(pictures / row["file"]))
        # What is dark is night, colour or not; and some toys on white have next to no colour.
        if image is not None and 60 < image.mean() < 180:
            found[row["grey_or_ir"]].append(is_night(np.asarray(image, np.uint8)))
    assert len(found["0"]) > 100
    assert len(found["1"]) > 30
    assert np.mean(found["1"]) > 0.9
    assert np.mean(found["0"]) < 0.02

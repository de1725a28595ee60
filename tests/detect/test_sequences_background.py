"""What closer looks and bursts add to a picture's score, and what differs between pictures that arrive."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import numpy as np
import pytest

from edge.camera.folder import FolderSource
from edge.camera_thread import Shared, make_watcher
from edge.detect.card import logit, sigmoid
from edge.detect.classifier import Classifier
from edge.detect.sequences import MAX_PLACES, MIN_OTHERS, MIN_PX, ArrivingMotion, Small, _sorted, apart, small
from edge.detect.stills import SURER, FileResult, in_burst, look, look_closer, support
from edge.record.run import EventFactory
from edge.schema import Event, Frame
from edge.settings import Camera
from tests.helpers.tiny import NO_BEAR_COLOUR, plain, tiny_card, write_tiny_model
from tests.helpers.trail_card import BEAR_PX, BEGIN, SIZE_WH, place, shown

AT = (100, 100)
BOX = (AT[0] / SIZE_WH[0], AT[1] / SIZE_WH[1], BEAR_PX / SIZE_WH[0], BEAR_PX / SIZE_WH[1])
ELSEWHERE = (0.7, 0.1, 0.1, 0.1)
LIMIT = tiny_card().thresholds["frame"].value


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return Classifier(write_tiny_model(tmp_path_factory.mktemp("model") / "m.onnx", tiny_card()))


@pytest.fixture(scope="module")
def nothing(classifier):
    """Return what is seen in a picture without a bear."""
    return look(classifier, plain(NO_BEAR_COLOUR))


def test_a_closer_look_counts_where_it_shows_more(classifier):
    picture = shown(place(), AT)
    whole = look(classifier, picture)
    closer = look_closer(classifier, picture, whole, [ELSEWHERE, BOX])
    assert (whole.verdict, closer.verdict, closer.box_xywh, closer.label) == ("none", "bear", BOX, "brown_bear")
    assert look_closer(classifier, picture, whole, [ELSEWHERE]).bear == pytest.approx(whole.bear, abs=0.05)
    assert look_closer(classifier, picture, whole, []) is whole
    assert look_closer(classifier, picture, closer, [ELSEWHERE]) is closer


@pytest.mark.parametrize(("more", "verdict"), [(SURER + 0.01, "bear"), (SURER - 0.01, "maybe")])
def test_a_crop_at_its_own_threshold_and_a_little_more_is_a_still_at_its_threshold(
    classifier, nothing, monkeypatch, more, verdict
):
    limit = logit(classifier.card.thresholds["crop"].value) + more
    score = classifier.score

    def at_the_limit(image, regions):
        return [replace(each, bear=sigmoid(limit)) for each in score(image, regions)]

    monkeypatch.setattr(classifier, "score", at_the_limit)
    assert look_closer(classifier, shown(place(), AT), nothing, [BOX]).verdict == verdict


def burst(nothing, *shares):
    """Pictures whose scores are these shares of the threshold."""
    return [
        replace(nothing, bear=share * LIMIT, verdict="bear" if share >= 1 else "maybe" if share >= 0.5 else "none")
        for share in shares
    ]


@pytest.mark.parametrize(
    ("shares", "verdicts"),
    [
        ((0.9, 0.9, 0.9), "bbb"),
        ((0.9, 0.1, 0.9, 0.9, 0.1), "bnbbn"),  # what shows nothing stays nothing
        ((1.3, 0.8, 0.8), "bbb"),
        ((0.9, 0.9), "mm"),
        ((0.9, 0.9, 0.9, *[0.02] * 4), "mmmnnnn"),  # fewer than half of it
        ((0.51, 0.51, 0.51), "mmm"),  # black cows come in bursts, too
        ((1.4, *[0.02] * 8), "bnnnnnnnn"),
        ((1.4, 0.6, *[0.02] * 7), "bmnnnnnnn"),
    ],
)
def test_three_pictures_of_a_burst_support_one_another(nothing, shares, verdicts):
    seen = burst(nothing, *shares)
    after = in_burst(tiny_card(), seen)
    assert "".join(one.verdict[0] for one in after) == verdicts
    assert all(one.bear >= before.bear for one, before in zip(after, seen, strict=True))
    assert all(one.alarm == (one.bear >= LIMIT) for one in after)
    assert [one.box_xywh for one in after] == [one.box_xywh for one in seen]


def test_only_what_is_of_one_burst_is_taken_together_and_the_order_stays(nothing):
    seen = iter(burst(nothing, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9))
    names = ["a1", "a2", "gone", "a3", "b1", "alone", "b2", "b3"]
    found = [
        FileResult(Path(name), failure="cut") if name == "gone" else FileResult(Path(name), seen=next(seen), ms=1.0)
        for name in names[:-1]
    ]
    bursts = {"a": 1, "g": 1, "b": 2}
    after = list(support(found, lambda file: bursts.get(file.name[0]) if file.name != "alone" else None, tiny_card()))
    assert [finding.file.name for finding in after] == names[:-1]
    assert [finding.file.name for finding in after if finding.seen and finding.seen.alarm] == ["a1", "a2", "a3"]


def test_a_burst_is_handed_on_as_soon_as_the_next_begins(nothing):
    taken = []

    def found():
        for number, seen in enumerate(burst(nothing, *[0.1] * 9)):
            taken.append(number)
            yield FileResult(Path(str(number)), seen=seen)

    results = support(found(), lambda file: int(file.name) // 3, tiny_card())
    assert [next(results).file.name for _ in range(3)] == ["0", "1", "2"]
    assert taken == [0, 1, 2, 3]


def test_others_are_of_as_many_bursts_as_there_are():
    one = small(shown(place()))
    times = [0, 1, 2, 20, 21, 22, 40, 60, 80]
    others = {seconds: Small(one.grey, one.night) for seconds in times}
    nearest = [(BEGIN + timedelta(seconds=seconds), other) for seconds, other in others.items()]
    chosen = apart(nearest, BEGIN + timedelta(seconds=1))
    assert [seconds for seconds in times for other in chosen if other is others[seconds]] == [
        0,
        1,
        2,
        20,
        21,
        40,
        60,
        80,
    ]
    assert chosen[:4] == [others[seconds] for seconds in (20, 40, 60, 80)]


def arrived(picture, after_s, number=0, folder="yard"):
    """A picture of a visit of its own."""
    wall = BEGIN.replace(tzinfo=UTC) + timedelta(seconds=after_s)
    return Frame(picture, float(after_s), wall, "c", number, discontinuity=True, file=f"{folder}/{number}.jpg")


class Uploads:
    """Pictures of cameras that arrive, some seconds after the first."""

    def __init__(self, **how):
        self.motion, self.count = ArrivingMotion(**how), 0

    def __call__(self, picture, after_s, folder="yard"):
        self.count += 1
        frame = arrived(picture, after_s, self.count, folder)
        return [region.box_xywh for region in self.motion(frame).regions]


@pytest.mark.parametrize("count", range(1, 10))
def test_pictures_are_sorted_pixel_by_pixel_to_the_last_bit(count):
    random = np.random.default_rng(count)
    pictures = random.normal(100.0, 40.0, (count, 9, 13)).round(1).astype(np.float32)  # some are the same
    assert np.array_equal(_sorted(list(pictures)), np.sort(pictures, axis=0))


def test_what_arrives_is_held_against_the_bursts_before():
    upload = Uploads()
    for number in range(MIN_OTHERS):
        assert upload(shown(place(), light=1 - number / 100), 600 * number) == []
    (box,) = upload(shown(place(), AT), 6000)
    x, y, w, h = box
    assert x <= BOX[0] + BOX[2] / 2 <= x + w
    assert y <= BOX[1] + BOX[3] / 2 <= y + h
    assert w * SIZE_WH[0] >= MIN_PX - 1e-6
    assert len(upload(shown(place(), AT), 6001)) == 1  # of the same burst: it is not yet the background
    assert upload(shown(place()), 6600) == []


def test_bursts_count_once_and_folders_are_cameras():
    upload = Uploads()
    for number in range(3 * (MIN_OTHERS - 1)):
        assert upload(shown(place(), light=1 - number / 100), 600 * (number // 3) + number % 3) == []
    assert upload(shown(place(), AT), 6000, "yard") == []  # three bursts are too few
    assert upload(shown(place(), light=0.9), 7000, "gate") == []
    assert len(upload(shown(place(), (200, 60)), 8000, "yard")) == 1


def test_what_masks_hide_differs_never():
    upload = Uploads(masks=[((0.2, 0.2), (0.6, 0.2), (0.6, 0.8), (0.2, 0.8))])
    for number in range(MIN_OTHERS):
        upload(shown(place(), light=1 - number / 100), 600 * number)
    assert upload(shown(place(), AT), 6000) == []
    assert len(upload(shown(place(), (250, 20)), 6600)) == 1


def test_only_so_many_places_are_kept():
    upload = Uploads()
    for number in range(MAX_PLACES + 5):
        upload(plain(NO_BEAR_COLOUR), number, f"camera {number}")
    assert len(upload.motion._places) == MAX_PLACES


@pytest.mark.parametrize(("visits", "alarms"), [(MIN_OTHERS, ["new"]), (MIN_OTHERS - 1, [])])
def test_a_followed_folder_alarms_of_a_far_bear_once_its_place_is_known(tmp_path, classifier, visits, alarms):
    told: list[Event] = []
    with FolderSource(tmp_path, name="yard") as source:
        watcher = make_watcher(
            source, Camera("yard", str(tmp_path), follow=True), Shared(classifier, EventFactory()), [told.append]
        )
    quiet = [arrived(shown(place(), light=1 - number / 100), 600 * number, number) for number in range(visits)]
    watcher([*quiet, arrived(shown(place(), AT), 6000, 9)])
    assert [(event.file, event.type) for event in told if event.alarms] == [("yard/9.jpg", each) for each in alarms]

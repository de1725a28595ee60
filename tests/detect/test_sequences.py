"""A card of pictures is a camera: which pictures are of one, what they differ in, and what ``classify`` makes of it."""

from __future__ import annotations

import csv
import json
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import pytest

from edge.background import in_order
from edge.detect.classifier import Classifier
from edge.detect.sequences import KEPT, MAX_IN_BURST, MAX_REGIONS, WIDTH_PX, CardPictures, Head, read_head
from edge.detect.stills import find_in
from tests.helpers.card import classified, results_of
from tests.helpers.tiny import BEAR_COLOUR, tiny_card, write_tiny_model
from tests.helpers.trail_card import BEAR_PX, BEGIN, SIZE_WH, infrared, place, shown, written

AT = (150, 110)  # left top of a bear, pixels
WALK = {3: (40, 60), 5: (200, 150)}  # number of the picture: where the bear is


@pytest.fixture
def model(tmp_path):
    return write_tiny_model(tmp_path / "m.onnx", tiny_card())


def regions(files):
    """Return where each picture differs, by its name."""
    card = CardPictures(map(read_head, files))
    return {file.name: card.regions(file, SIZE_WH) for file in files}


def hourly(folder, count=8, where=None, **how):
    """A picture each hour, of a place where something walks at times."""
    return [
        written(
            folder / f"{n}.jpg",
            shown(place() if where is None else where, WALK.get(n), light=0.8 + 0.05 * n),
            3600 * n,
            **how,
        )
        for n in range(count)
    ]


def holds(box, xy):
    """Return whether the middle of the bear at ``xy`` lies in the box, and that is not three times as long."""
    x, y = ((at + BEAR_PX / 2) / side for at, side in zip(xy, SIZE_WH, strict=True))
    inside = box[0] <= x <= box[0] + box[2] and box[1] <= y <= box[1] + box[3]
    return inside and box[2] * SIZE_WH[0] <= 3 * BEAR_PX


def test_what_walks_is_a_region_and_light_is_none(tmp_path):
    found = regions(hourly(tmp_path))
    for number in range(8):
        boxes = found[f"{number}.jpg"]
        assert len(boxes) == (number in WALK), (number, boxes)
        assert all(holds(box, WALK[number]) for box in boxes)


def test_pictures_are_in_order_of_their_time_and_not_of_their_name(tmp_path):
    """In the afternoon the camera hangs elsewhere, and the names begin anew."""
    morning = [written(tmp_path / f"{2 * n}.jpg", shown(place(1), light=1 - n / 100), 60 * n) for n in range(9)]
    later = [
        written(tmp_path / f"{2 * n + 1}.jpg", shown(place(2), light=1 - n / 100), 36_000 + 60 * n) for n in range(9)
    ]
    by_name = sorted(morning + later, key=lambda file: int(file.stem))
    card = CardPictures(map(read_head, by_name))
    assert card.in_turn(by_name) == morning + later
    assert not any(regions(by_name).values())


def test_without_times_pictures_are_in_order_of_their_names(tmp_path):
    files = [written(tmp_path / f"{n}.jpg", shown(place(), WALK.get(n), light=1 - n / 100)) for n in range(8)]
    found = regions(files)
    assert {int(name.removesuffix(".jpg")) for name, boxes in found.items() if boxes} == set(WALK)
    assert CardPictures(map(read_head, files)).burst(files[0]) is None


def test_a_clock_that_is_still_makes_no_burst():
    """Its pictures would wait for one another until the last of the card."""
    for count, bursts in ((MAX_IN_BURST, 1), (MAX_IN_BURST + 1, 0)):
        card = CardPictures(Head(Path(f"{n}.jpg"), SIZE_WH, "A1", BEGIN) for n in range(count))
        assert len({card.burst(Path(f"{n}.jpg")) for n in range(count)} - {None}) == bursts


def test_cameras_in_one_folder_are_kept_apart(tmp_path):
    one = hourly(tmp_path / "card", serial="A1")
    other = [
        written(tmp_path / "card" / f"b{n}.jpg", shown(place(2), light=1 - n / 100), 3600 * n + 5, serial="B2")
        for n in range(8)
    ]
    mixed = [file for pair in zip(one, other, strict=True) for file in pair]
    card = CardPictures(map(read_head, mixed))
    assert [len(camera) for camera in card.cameras] == [8, 8]
    assert card.in_turn(mixed) == one + other
    assert card.burst(one[0]) != card.burst(other[0])
    assert {name for name, boxes in regions(mixed).items() if boxes} == {"3.jpg", "5.jpg"}


def test_day_and_infrared_are_not_mixed(tmp_path):
    """In either a bear differs from its own light."""
    files = []
    for number in range(16):
        where = infrared() if number % 2 else place()
        colour = (10, 10, 10) if number % 2 else BEAR_COLOUR
        bear = AT if number in (6, 9) else None
        picture = shown(where, bear, light=1 - number / 100, colour=colour)
        files.append(written(tmp_path / f"{number}.jpg", picture, 600 * number))
    found = regions(files)
    assert {name for name, boxes in found.items() if boxes} == {"6.jpg", "9.jpg"}
    assert all(holds(box, AT) for boxes in found.values() for box in boxes)


def test_a_bear_that_is_still_for_a_burst_is_not_its_own_background(tmp_path):
    before = [written(tmp_path / f"{n}.jpg", shown(place(), light=1 - n / 100), 600 * n) for n in range(6)]
    burst = [written(tmp_path / f"b{n}.jpg", shown(place(), (100, 100), light=1 - n / 100), 6000 + n) for n in range(9)]
    found = regions(before + burst)
    assert all(any(holds(box, (100, 100)) for box in found[file.name]) for file in burst)


def test_what_cannot_be_read_is_left_out_and_changes_nothing_else(tmp_path, model):
    files = hourly(tmp_path / "card")
    whole = regions(files)
    cut = written(tmp_path / "card" / "4b.jpg", shown(place()), 3600 * 4 + 60)
    cut.write_bytes(cut.read_bytes()[:-300])
    with_it = CardPictures(map(read_head, [*files, cut]))
    assert len(with_it.cameras[0]) == len(files) + 1
    assert {file.name: with_it.regions(file, SIZE_WH) for file in files} == whole
    code, _, err = classified("--model", model, tmp_path / "card")
    assert (code, "4b.jpg: truncated JPEG" in err) == (0, True)


def test_a_picture_of_another_place_or_size_has_no_regions(tmp_path):
    files = hourly(tmp_path, 6)
    strange = written(tmp_path / "x.jpg", shown(place(5)), 3600 * 7)
    large = written(tmp_path / "y.jpg", shown(place())[:200], 3600 * 8)
    found = regions([*files, strange, large])
    assert (found["x.jpg"], found["y.jpg"]) == ([], [])


def test_classify_finds_a_far_bear_and_says_where(tmp_path, model):
    folder, out, table = tmp_path / "card", tmp_path / "results.json", tmp_path / "bears.csv"
    hourly(folder)
    code, printed, err = classified("--model", model, folder, "--out", out, "--csv", table)
    assert code == 0
    assert "8 pictures look like those of one camera" in err
    rows = {row["file"]: row for row in csv.DictReader(table.read_text().splitlines())}
    assert {name for name, row in rows.items() if row["verdict"] == "bear"} == {"3.jpg", "5.jpg"}
    for number, xy in WALK.items():
        (detection,) = results_of(out)[f"{number}.jpg"]["detections"]
        assert holds(detection["bbox"], xy)
        assert [float(side) for side in rows[f"{number}.jpg"]["box"].split()] == pytest.approx(
            detection["bbox"], abs=1e-4
        )
    assert [line.split()[0].rsplit("/", 1)[1] for line in printed.splitlines()[1:]] == [f"{n}.jpg" for n in range(8)]


def test_too_few_pictures_are_looked_at_each_by_itself(tmp_path, model):
    files = hourly(tmp_path / "card")
    for file in (0, 1, 2, 7):
        files[file].unlink()
    code, printed, err = classified("--model", model, tmp_path / "card", "--jsonl")
    assert (code, "camera" in err) == (0, False)
    assert [json.loads(line)["verdict"] for line in printed.splitlines()] == ["none"] * 4


def test_a_run_that_goes_on_sees_what_one_run_sees(tmp_path, model):
    """What is in the results already is still what the others are held against."""
    folder, out = tmp_path / "card", tmp_path / "results.json"
    files = hourly(folder)
    classified("--model", model, folder, "--out", out)
    whole, held = results_of(out), json.loads(out.read_bytes())
    held["images"] = [image for image in held["images"] if image["file"] in ("0.jpg", "2.jpg", "6.jpg")]
    out.write_text(json.dumps(held))
    classified("--model", model, folder, "--out", out)
    assert results_of(out) == whole
    assert len(whole) == len(files)


def test_the_results_are_the_same_for_any_number_of_threads(tmp_path, model):
    files, classifier = hourly(tmp_path / "card", 16), Classifier(model)

    def seen(threads):
        card = CardPictures(map(read_head, files))
        work = partial(find_in, classifier, fps=1.0, stop=Event(), regions=card.regions)
        return [finding.seen for finding in in_order(work, files, threads)]

    assert seen(1) == seen(2) == seen(5)


def test_memory_is_bound_by_small_grey_pictures_of_which_few_are_kept(tmp_path):
    """However large the card and its pictures are."""
    data = written(tmp_path / "first.jpg", shown(place())).read_bytes()
    files = [tmp_path / "card" / f"{n:03d}.jpg" for n in range(KEPT + 5)]
    (tmp_path / "card").mkdir()
    for file in files:
        file.write_bytes(data)
    card = CardPictures(map(read_head, files))
    for file in files:
        card.regions(file, SIZE_WH)
    assert card._small.cache_info().currsize == KEPT
    kept = card._small(read_head(files[-1]))
    assert kept.grey.dtype == "uint8"
    assert kept.grey.shape[1] <= WIDTH_PX
    assert card._small.cache_info().misses == len(files)  # and each is made small once


def test_a_large_picture_is_made_small_as_it_is_read(tmp_path, monkeypatch):
    file = written(tmp_path / "large.jpg", np.asarray(cv2.resize(shown(place()), (2600, 1950)), np.uint8), 0)
    sizes = []
    monkeypatch.setattr("edge.detect.sequences.small", lambda picture: sizes.append(picture.shape))
    CardPictures([])._small(read_head(file))
    assert sizes == [(488, 650, 3)]


def test_no_more_than_a_few_places_of_a_picture_are_looked_at(tmp_path):
    files = hourly(tmp_path)
    busy = shown(place())
    for x in range(20, 300, 60):
        busy[100 : 100 + BEAR_PX, x : x + BEAR_PX] = (20, 20, 230)
    files.append(written(tmp_path / "busy.jpg", busy, 3600 * 9))
    assert len(regions(files)["busy.jpg"]) == MAX_REGIONS


def test_the_head_of_a_file_is_read_and_not_more(tmp_path):
    file = written(tmp_path / "a.jpg", shown(place()), 60, serial="Z9")
    head = read_head(file)
    assert (head.size_wh, head.camera) == (SIZE_WH, "RECONYX HYPERFIRE Z9")
    assert head.taken == BEGIN + timedelta(minutes=1)
    assert read_head(Path(tmp_path / "gone.jpg")).size_wh is None
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    assert read_head(tmp_path / "b.jpg").size_wh is None

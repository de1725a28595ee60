"""``bench``: every step is measured by turns, with the real model, and what is printed follows from the figures."""

from __future__ import annotations

import json
import math
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.cli.bench import bench_text, report, what_follows
from edge.cli.bench_measure import MANY, Bench, Cost, Steps, Way, by_turns, measure, peak_mb, precisions, rounds
from edge.detect.classifier import BUNDLED, Classifier
from edge.errors import ModelError
from tests.cli.test_command import sentence
from tests.helpers.command import bear_alarm as run
from tests.helpers.tiny import tiny_card, write_tiny_model


def cost(milliseconds, slowed=1.0):
    return Cost(milliseconds, milliseconds * 0.9, milliseconds * 1.2, slowed)


def board(int8=20.0, in_float=40.0, *, cores=4, **more):
    """A made-up board on which a crop takes so many milliseconds."""
    ways = (
        Way("bear@12", "int8", 1, 1, cost(int8)),
        Way("bear@12", "int8", 1, MANY, cost(int8 * MANY)),
        Way("bear@12", "float", 1, 1, cost(in_float)),
    )
    memory = {"int8": 178.0, "float": None}
    known = Bench(
        "Raspberry Pi 5", cores, True, ways, cost(8.0), cost(2.0), cost(3.0), cost(50.0), memory, 51.2, 60.0, 40, 20.0
    )
    return replace(known, **more)


@pytest.mark.slow
def test_the_real_model_is_measured_both_ways_on_this_machine(tmp_path):
    found = measure([BUNDLED], 0.0)
    named = {(way.precision, way.threads, way.crops) for way in found.ways}
    threads = {1, found.cores}
    assert named == {(how, many, crops) for how in ("int8", "float") for many in threads for crops in (1, MANY)}
    assert (found.ways[0].precision, found.ways[0].threads, found.ways[0].crops) == ("int8", 1, 1)
    assert found.rounds == 5
    for each in (*(way.cost for way in found.ways), found.read, found.motion, found.jpeg, found.scan):
        assert 0.0 < each.low_ms <= each.median_ms <= each.high_ms
    one, whole = found.ways[:2]
    assert (one.crops, whole.crops) == (1, MANY)
    assert one.cost.low_ms < whole.cost.low_ms  # of five rounds on a busy machine the median may be one that waited
    assert all(mb and mb > 50 for mb in found.memory_mb.values())
    assert list(found.memory_mb) == ["int8", "float"]
    assert json.loads(json.dumps(report(found)))["follows"]["crops_in_a_frame"] >= 3
    assert found.ways[0].model in bench_text(found)


def test_an_int8_file_may_be_run_in_float_from_the_beginning():
    as_it_is, in_float = Classifier(BUNDLED), Classifier(BUNDLED, in_float=True)
    crops = np.random.default_rng(5).integers(0, 255, (3, in_float.size, in_float.size, 3), np.uint8)
    one, two = as_it_is(crops)[0], in_float(crops)[0]
    assert 0.0 < np.abs(one - two).max() < 0.1  # another arithmetic, the same answer
    assert in_float.golden_error <= in_float.card.golden_tolerance
    assert not in_float.fallback


def test_a_file_that_is_no_int8_has_one_way(tmp_path):
    path = write_tiny_model(tmp_path / "m.onnx", tiny_card())
    assert precisions(path) == [("fp32", False)]
    assert precisions(BUNDLED) == [("int8", False), ("float", True)]
    with pytest.raises(ModelError):
        measure([tmp_path / "gone.onnx"], 1.0)


def test_where_int8_is_computed_wrongly_only_float_is_measured(tmp_path, monkeypatch):
    """As on a processor with AVX2 and no VNNI: the int8 session answers nonsense."""
    whole = Classifier._golden_error
    monkeypatch.setattr(Classifier, "_golden_error", lambda self: whole(self) if self.fallback else 0.9)
    assert precisions(BUNDLED) == [("float", True)]
    first = replace(board().ways[2], crops=1)
    assert "computes int8 wrongly" in what_follows(board(ways=(first,)))[0]


def test_nothing_moves_in_the_frames_for_motion_and_the_clip_begins_again():
    with closing(Steps()) as steps:
        assert not any(steps.motion() for _ in range(60))
        assert steps.jpeg() > 5000
        seen = [steps.read() for _ in range(330)]
        assert {frame.size_wh for frame in seen} == {(1280, 720)}
        assert sum(frame.index == 0 for frame in seen) == 1
        crops = steps.crops(64, 30)
        assert crops.shape == (30, 64, 64, 3)


def test_every_piece_of_work_has_its_turn_in_each_round():
    done: list[str] = []
    took = by_turns([lambda: done.append("a"), lambda: done.append("b")], range(7))
    assert [len(each) for each in took] == [6, 6]  # the first round only warms up
    assert [sorted(done[at : at + 2]) for at in range(0, 14, 2)] == [["a", "b"]] * 7
    assert list(rounds(0.0)) == list(range(6))


def test_what_is_computed_of_the_measurements():
    found = Cost.of([0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008, 0.009])
    assert (found.median_ms, found.low_ms, found.high_ms) == pytest.approx((5.0, 1.8, 8.2))
    assert found.slowed == 4.0
    assert Way("m", "int8", 1, 12, cost(60.0)).crop_ms == 5.0
    known = board(int8=20.0)
    assert (known.crops_within(0.25), known.crops_within(0.01), known.crops_within(9.0)) == (12, 3, 12)
    # Quiet: ten frames of 10 ms, half a look of 50 ms, one picture of 3 ms a second; moving: 30 crops, five pictures.
    assert known.cameras() == pytest.approx(0.7 * 4 * 1000 / (100 + 25 + 3))
    assert known.cameras(3) == pytest.approx(0.7 * 4 * 1000 / (100 + 30 * 20 + 25 + 15))
    assert known.cameras(12) == pytest.approx(0.7 * 4 * 1000 / (100 + 120 * 20 + 25 + 15))
    # Looking at the whole frame takes a tenth of the time at most, however slow it is.
    assert board(int8=20.0, scan=cost(900.0)).cameras() == pytest.approx(0.7 * 4 * 1000 / (100 + 100 + 3))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (board(20.0, 38.0), "int8 is 1.9 x as fast as the same file in float."),
        (board(20.0, 20.5), "int8 is as fast as the same file in float."),
        (board(30.0, 20.0), "1.5 x as fast in float as in int8: export it with `--precision fp32`"),
        (board(27.0), "0.25 s for a frame leave room for 9 crops."),
        (board(200.0), "A frame is given 3 crops in any case, which take 0.60 s here"),
        (board(20.0), "it can watch 21 quiet cameras, 3 with 3 crops in every frame (one animal), 1 with 12 (rain)."),
        (board(100.0, scan=cost(900.0)), "13 quiet cameras, none with 3 crops in every frame"),
        (board(2000.0, cores=1, read=cost(90.0), scan=cost(9000.0)), "it cannot watch one camera"),
        (board(ways=(Way("bear@12", "int8", 1, 1, cost(20.0, 1.6)),)), "At the end all took 1.6 times as long"),
        (
            board(ways=(*board().ways, Way("b@9", "fp32", 1, 1, cost(30.0)))),
            "b@9 (fp32) takes 1.50 x as long for a crop",
        ),
    ],
)
def test_what_follows(found, words):
    assert words in "\n".join(what_follows(found))


def test_the_table_is_for_a_person():
    text = bench_text(board())
    assert "bear@12 on Raspberry Pi 5, 4 cores" in text
    assert "score 1 crop, int8, 1 thread (as the alarm runs)    20.0 ms  18.0 to 24.0" in text
    assert "Memory at the most: 178 MB in int8." in text
    assert "Temperature: 51 °C before, 60 °C after." in text
    assert "Temperature" not in bench_text(board(before_c=None))
    assert not math.isnan(board().slowed)
    assert max(map(len, text.splitlines())) <= 120


def test_memory_that_cannot_be_measured_is_not_known(tmp_path):
    assert peak_mb(tmp_path / "gone.onnx", False) is None


def test_as_a_user_types_it(tmp_path):
    model = write_tiny_model(tmp_path / "m.onnx", tiny_card())
    other = write_tiny_model(tmp_path / "o.onnx", replace(tiny_card(), name="other"))
    ran = run("bench", "--seconds", 1, "--model", model, "--against", other, "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    told = json.loads(ran.stdout)
    assert {way["model"].partition("@")[0] for way in told["ways"]} == {"tiny", "other"}
    assert told["follows"]["words"][0].startswith("other@")
    text = run("bench", "--seconds", 1, "--model", model).stdout
    assert text.startswith("tiny@")
    assert "read a frame of H.264" in text
    assert "no such model file" in sentence("bench", "--model", Path("gone.onnx"))
    assert "seconds" in sentence("bench", "--seconds", 0)

"""Our motion stage and one in plain numpy (tests/helpers/plain_motion.py), held to the same vectors."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edge.detect.motion import MotionFinder, MotionSettings, small_grey
from edge.schema import Frame
from tests.helpers.make_motion_vectors import FILE, SIZE_WH, WALL, coloured, expected, picture, vectors
from tests.helpers.plain_motion import PlainMotion, plain_grey

VECTORS = json.loads(FILE.read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}
TOLERANCE = {"regions": 0.002, "background": 0.05, "deviation": 0.05}


def settings_of(case):
    return replace(MotionSettings(), width_px=VECTORS["settings"]["width_px"], **case.get("settings", {}))


def agree(said, told, step):
    """Whether what was said of a step is what the vectors tell."""
    flags = {name: told.get(name, False) for name in ("reset", "moving", "large")}
    assert {name: said.get(name, False) for name in flags} == flags, step
    for name, tolerance in TOLERANCE.items():
        assert np.shape(said[name]) == np.shape(told[name]), (name, step)
        assert np.allclose(said[name], told[name], rtol=0, atol=tolerance), (name, step)


@pytest.mark.parametrize("name", CASES)
def test_ours_keeps_to_the_vectors(name):
    case = CASES[name]
    finder = MotionFinder(settings_of(case), [tuple(map(tuple, mask)) for mask in case.get("masks", ())])
    for index, step in enumerate(case["steps"]):
        luma = picture(step, index)
        assert int(luma.sum()) == step["sum"]
        frame = Frame(np.zeros((36, 64, 3), np.uint8), step["time"], WALL, "vectors", index, luma=luma)
        agree(expected(finder, replace(frame, discontinuity=step.get("again", False))), step["expect"], index)


@pytest.mark.parametrize("name", CASES)
def test_plain_numpy_keeps_to_the_vectors(name):
    case = CASES[name]
    plain = PlainMotion(settings_of(case), case.get("masks", ()))
    for index, step in enumerate(case["steps"]):
        said = plain(picture(step, index), step["time"], step.get("again", False))
        for kept in ("background", "deviation"):
            said[kept] = [getattr(plain.place, kept)[y, x] for x, y in VECTORS["probes"]]
        agree(said, step["expect"], index)


@pytest.mark.parametrize("grey", VECTORS["small_grey"], ids=lambda grey: "x".join(map(str, grey["size_wh"])))
@pytest.mark.parametrize("make", [small_grey, plain_grey])
def test_the_small_grey_picture_is_the_same_within_a_level(grey, make):
    small = make(coloured(grey["size_wh"]), SIZE_WH[0])
    assert small.shape == (grey["height"], SIZE_WH[0])
    assert [small[y, x] for x, y in grey["probes"]] == pytest.approx(grey["values"], abs=1.0)


def test_the_vectors_tell_of_everything_that_can_happen():
    told = [step["expect"] for case in CASES.values() for step in case["steps"]]
    assert {name for one in told for name in one} >= {"reset", "moving", "large"}
    assert {len(one["regions"]) for one in told} >= {0, 1, 2}


def test_the_file_is_what_the_script_writes():
    fresh = vectors()
    assert [case["name"] for case in fresh["cases"]] == list(CASES)
    for case in fresh["cases"]:
        inputs = [{key: value for key, value in step.items() if key != "expect"} for step in case["steps"]]
        stored = [{k: v for k, v in step.items() if k != "expect"} for step in CASES[case["name"]]["steps"]]
        assert json.loads(json.dumps(inputs)) == stored

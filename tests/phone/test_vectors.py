"""The vectors that the phone's tests read are what the Python side gives."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from tests.helpers.make_phone_vectors import FILES, FOLDER, vectors

STORED = {name: json.loads((FOLDER / name).read_text(encoding="utf-8")) for name in FILES}


@pytest.fixture(scope="module")
def fresh():
    """The answers of Python today."""
    return json.loads(json.dumps(vectors()))


def without(items, *names):
    return [{key: value for key, value in item.items() if key not in names} for item in items]


def test_the_rectangles_are_the_same(fresh):
    assert STORED["crops.json"]["squares"] == fresh["crops.json"]["squares"]


@pytest.mark.parametrize("kind", ["crops", "fits"])
def test_the_crops_are_the_same_within_a_level(fresh, kind):
    stored, made = STORED["crops.json"][kind], fresh["crops.json"][kind]
    assert without(stored, "bytes", "sum") == without(made, "bytes", "sum")
    for one, other in zip(stored, made, strict=True):
        # OpenCV may round otherwise on another processor.
        levels = [np.frombuffer(base64.b64decode(each["bytes"]), np.uint8).astype(int) for each in (one, other)]
        assert np.abs(levels[0] - levels[1]).max() <= 1, one
        assert one["sum"] == pytest.approx(other["sum"], rel=0.002)


def test_the_motion_is_the_same(fresh):
    for one, other in zip(STORED["motion.json"]["cases"], fresh["motion.json"]["cases"], strict=True):
        assert without([one], "steps") == without([other], "steps")
        assert without(one["steps"], "expect") == without(other["steps"], "expect")
        for said, told in zip(one["steps"], other["steps"], strict=True):
            found, wanted = said["expect"], told["expect"]
            assert without([found], "regions") == without([wanted], "regions"), one["name"]
            assert np.shape(found["regions"]) == np.shape(wanted["regions"]), one["name"]
            assert np.allclose(found["regions"], wanted["regions"], rtol=0, atol=0.002), one["name"]


def test_the_measures_are_the_same(fresh):
    stored, made = STORED["camera_check.json"]["views"], fresh["camera_check.json"]["views"]
    measures = ("mean", "structure", "contrast", "sharpness", "edges")
    assert without(stored, *measures) == without(made, *measures)
    for one, other in zip(stored, made, strict=True):
        for each in measures:
            assert np.allclose(one[each], other[each], rtol=0, atol=1e-3), (one["scene"], each)


@pytest.mark.parametrize("part", ["sequences", "debounced", "probes", "size_wh"])
def test_the_faults_and_their_reports_are_the_same(fresh, part):
    assert STORED["camera_check.json"][part] == fresh["camera_check.json"][part]


def test_the_files_stay_small():
    assert sum((FOLDER / name).stat().st_size for name in FILES) < 150_000

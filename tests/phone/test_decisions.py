"""The web app decides as Python does: the scenes that its own tests replay are what Python says today."""

from __future__ import annotations

import json

import pytest

from tests.helpers.make_phone_decisions import FILE, vectors

STORED = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def today():
    """The answers of Python today."""
    return json.loads(json.dumps(vectors()))


def test_the_file_is_what_the_script_writes(today):
    assert {key: value for key, value in today.items() if key not in INEXACT} == {
        key: value for key, value in STORED.items() if key not in INEXACT
    }
    for fresh, stored in zip(today["scenes"], STORED["scenes"], strict=True):
        assert {**fresh, "frames": without_sums(fresh)} == {**stored, "frames": without_sums(stored)}


# Logarithms and exponentials, whose last digit another machine may round otherwise.
INEXACT = ("scenes", "rules", "logits", "thumbnails")


def without_sums(scene):
    return [[*frame[:4], *frame[5:]] for frame in scene["frames"]]


def test_evidence_and_thumbnails_are_what_the_script_writes_but_for_rounding(today):
    for fresh, stored in zip(today["scenes"], STORED["scenes"], strict=True):
        for one, other in zip(fresh["frames"], stored["frames"], strict=True):
            assert close(one[4], other[4], 1), stored["name"]
    for name, tolerance in (("rules", 1e-9), ("logits", 1e-9), ("thumbnails", 1)):
        assert close(today[name], STORED[name], tolerance), name


def close(one, other, tolerance):
    """Return whether two trees of JSON are the same, but for so much in their numbers."""
    if isinstance(one, list):
        return len(one) == len(other) and all(close(a, b, tolerance) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key], tolerance) for key in one)
    return one == other if one is None or other is None else abs(one - other) <= tolerance


def test_the_file_is_small_and_much_happens_in_it():
    assert FILE.stat().st_size < 300_000
    assert len(STORED["scenes"]) >= 40
    assert all(len(scene["frames"]) >= 100 for scene in STORED["scenes"])

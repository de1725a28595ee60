"""The frame scan's vectors for the browser are what the Python side says today."""

from __future__ import annotations

import json

import numpy as np

from tests.helpers.make_phone_scan import FILE, as_text, vectors


def leaves(value):
    """Every number and word of a JSON value, with where it stands."""
    if isinstance(value, dict):
        return [(f"{name}.{where}", leaf) for name, each in value.items() for where, leaf in leaves(each)]
    if isinstance(value, list):
        return [(f"{index}.{where}", leaf) for index, each in enumerate(value) for where, leaf in leaves(each)]
    return [("", value)]


def test_the_file_is_current():
    told, made = leaves(json.loads(FILE.read_text(encoding="utf-8"))), leaves(json.loads(as_text(vectors())))
    assert [where for where, _ in told] == [where for where, _ in made]
    for (where, one), (_, other) in zip(told, made, strict=True):
        same = one == other if isinstance(one, str) else np.isclose(one, other, rtol=0, atol=1e-7)
        assert same, where


def test_the_vectors_hold_what_matters():
    found = json.loads(FILE.read_text(encoding="utf-8"))
    counts = {len(scan["scores"]) for scan in found["scans"]}
    assert 1 in counts
    assert max(counts) > 1
    assert len({scan["scores"][0]["label"] for scan in found["scans"]}) > 1
    shorter = [min(each["picture"]) * each["side"] / max(each["picture"]) for each in found["frames"]]
    assert any(side % 32 == 16 for side in shorter)  # where Python's rounding to even matters

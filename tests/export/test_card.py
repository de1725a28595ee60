"""The card binds its labels to its golden answers; cards from before it did load as they did."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from edge.detect.card import Card, DriftReference, FrameRule, Spread, card_type, golden_digest, read_card
from edge.detect.drift import spread
from edge.errors import ModelError
from tests.helpers.tiny import older_card, tiny_card


def bound() -> Card:
    """The tiny card as an export writes it now."""
    card = tiny_card()
    return replace(card, golden_sha256=golden_digest(card.labels, card.alarm_labels, card.golden))


def test_a_card_survives_its_way_through_the_file() -> None:
    assert read_card(bound().to_json(), "m.onnx") == bound()


@pytest.mark.parametrize(
    "change",
    [
        {"labels": tiny_card().labels[::-1]},
        {"labels": (*tiny_card().labels[:-1], "yeti")},
        {"alarm_labels": ("brown_bear", "teddy_bear")},
        {"golden": tiny_card().golden[::-1]},
    ],
)
def test_labels_that_no_longer_belong_to_the_golden_answers_are_refused(change: dict) -> None:
    with pytest.raises(ModelError, match="not those it was exported with"):
        read_card(replace(bound(), **change).to_json(), "m.onnx")


def test_an_older_card_loads_as_before() -> None:
    older = asdict(replace(older_card(), labels=tiny_card().labels[::-1]))
    later = {"golden_sha256", "drift", "input_format", "frame", "golden_frames"}
    older = {name: value for name, value in older.items() if name not in later}
    for limit in older["thresholds"].values():
        del limit["bear_pictures"], limit["no_bear_pictures"]
    for name in ("fp32_threshold", "int8_threshold", "fp32_false_positive_rate", "int8_false_positive_rate"):
        del older["parity"][name]
    del older["parity"]["frame"], older["parity"]["note"]
    older["thresholds"]["still"] = older["thresholds"].pop("frame")
    for name in ("crops", "pictures", "sources"):
        del older["ood"][name]
    card = read_card(json.dumps(older), "m.onnx")
    assert card.golden_sha256 is None
    assert card.parity.int8_false_positive_rate is None
    assert card.thresholds["crop"].bear_pictures is None
    assert (card.drift, card.ood.pictures, card.ood.sources) == (None, None, None)
    assert (card.card_version, card.frame, card.golden_frames) == (1, None, ())
    assert card.thresholds["frame"].value == 0.7  # what version 1 called "still"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"card_version": 1}, "version 1 with a rule for whole frames"),
        ({"frame": None}, "version 2 without a rule for whole frames"),
        ({"golden_frames": ()}, "no golden frame"),
        ({"frame": FrameRule((450,), (7,), 1.0)}, "are not multiples of 32"),
        ({"frame": FrameRule((448,), (15,), 1.0)}, "do not fit into frames"),
        ({"frame": FrameRule((), (7,), 1.0)}, "are not multiples of 32"),
    ],
)
def test_a_frame_rule_that_cannot_be_is_refused(change: dict, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        read_card(replace(tiny_card(), **change).to_json(), "m.onnx")


def test_what_came_later_is_optional_in_the_schema() -> None:
    schema = card_type().json_schema()
    assert not {"golden_sha256", "drift", "input_format"} & set(schema["required"])
    assert not {"crops", "pictures", "sources"} & set(schema["$defs"]["OutOfDomain"]["required"])
    assert not {"bear_pictures", "no_bear_pictures"} & set(schema["$defs"]["Threshold"]["required"])
    assert "int8_false_positive_rate" not in schema["$defs"]["Parity"]["required"]


def drifting(ood: Spread) -> Card:
    """The tiny card with a drift reference."""
    flat = spread([n / 100 for n in range(100)])
    return replace(tiny_card(), drift=DriftReference(ood, flat, flat, crops=300, pictures=100))


def test_a_drift_reference_survives_its_way_through_the_file() -> None:
    card = drifting(spread([-3.0, -2.5, -1.0, 0.5, 0.5, 2.0] * 20))
    assert read_card(card.to_json(), "m.onnx") == card

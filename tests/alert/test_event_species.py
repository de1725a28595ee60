"""The likely species in an event: from the model's probabilities to every place that shows it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import create_autospec

import numpy as np
import pytest

from edge.alert.events import EventPublisher
from edge.alert.mqtt import CameraState
from edge.alert.notify import title_and_body
from edge.cli.watch.terminal import alert
from edge.decide.alarms import Decision
from edge.detect.classifier import scored
from edge.detect.zones import PrivacyMask
from edge.errors import OptionError
from edge.local_time import clock
from edge.record.outbox import Message
from edge.record.recorder import CameraRecorder, still
from edge.record.review_queue import read_unit
from edge.schema import WHOLE, Event, Frame, Region
from tests.helpers.command import bear_alarm
from tests.helpers.meadow import WALL
from tests.helpers.state_folder import StateFolder, events_of
from tests.helpers.tiny import tiny_card
from tests.helpers.yard import yard_clip, yard_model

UNUSUAL = "brown bears are unusual in US-GA; American black bears live there"
FRAME = Frame(np.zeros((36, 64, 3), np.uint8), 1.0, WALL, "yard", 1)
ALARM = Decision("new", "a1" * 16, 1, "brown_bear", 0.91, 0.91, WHOLE)


def published(country: str, decision: Decision = ALARM) -> Event:
    return EventPublisher(country=country).bear(FRAME, decision)


def test_a_score_has_its_labels_part_of_all_bears() -> None:
    card = tiny_card()
    row = np.zeros(len(card.labels), np.float32)
    assert scored(card, Region(WHOLE, "scan"), row, 0.0).share == 1.0
    brown, black = (card.labels.index(label) for label in ("brown_bear", "black_bear"))
    row[[brown, black]] = 0.6, 0.2
    score = scored(card, Region(WHOLE, "scan"), row, 0.0)
    assert score.label == "brown_bear"
    assert (score.bear, score.share) == pytest.approx((0.8, 0.75))


@pytest.mark.parametrize(
    ("country", "share", "species"),
    [
        ("", 1.0, None),
        ("", 0.5, "bear"),
        ("SI", 1.0, "brown bear"),
        ("SI", 0.5, "bear"),
        ("US-GA", 1.0, f"bear ({UNUSUAL})"),
        ("SL", 1.0, "bear (brown bears are unusual in SL)"),
    ],
)
def test_where_a_bear_is_changes_its_words_and_no_alarm(country: str, share: float, species: str | None) -> None:
    plain, event = published(""), published(country, replace(ALARM, share=share))
    assert event.alarms
    assert event.species == species
    assert replace(event, species=None, boot_id="", latency_ms=None) == replace(plain, boot_id="", latency_ms=None)


def test_a_label_that_names_no_species_gets_none() -> None:
    assert published("SI", replace(ALARM, label="wolf")).species is None


def test_a_wrong_code_is_an_error_at_the_start_not_at_the_alarm() -> None:
    with pytest.raises(OptionError, match="no country's code"):
        EventPublisher(country="Slovenia")


def test_all_who_are_notified_read_the_species() -> None:
    event, sure = published("US-GA"), published("US-MT", replace(ALARM, label="black_bear"))
    _, body = title_and_body(Message((event,), "word"), WALL, WALL.tzinfo)
    assert body.startswith(f"Bear ({UNUSUAL}), 91% sure, at yard")
    _, body = title_and_body(Message((sure,), "word"), WALL, WALL.tzinfo)
    assert body.startswith("American black bear, 91% sure, at yard")
    assert f"yard at {clock(WALL, date=False)}: bear ({UNUSUAL}) 0.91" in alert(event)
    assert alert(replace(event, type="end")).endswith(": bear no longer in view (highest score 0.91)")
    state = CameraState("yard")
    first = json.loads(state(event) or b"")
    assert [found["species"] for found in (first, json.loads(state.attributes))] == [f"bear ({UNUSUAL})"] * 2
    assert json.loads(state.attributes)["label"] == "brown_bear"


def test_its_pictures_and_its_review_call_a_bear_what_lists_call_it(tmp_path: Path) -> None:
    recorder = create_autospec(CameraRecorder, instance=True)
    recorder.place.return_value = None
    event = EventPublisher(country="US-GA", evidence=recorder).bear(FRAME, ALARM)
    _, _, marks, _ = recorder.add.call_args.args
    assert "bear 0.91" in {mark.words for mark in marks}
    assert still(FRAME.image, (), event, PrivacyMask(())) == still(
        FRAME.image, (), replace(event, label="bear", species=None), PrivacyMask(())
    )
    (tmp_path / "event.json").write_text(event.to_json())
    (tmp_path / "full.jpg").touch()
    unit = read_unit(tmp_path)
    assert unit
    assert unit.said == "bear 0.91"


def test_lists_name_the_species_and_beside_it_what_is_unusual(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = StateFolder(tmp_path / "state")
    ask = partial(events_of, state, capsys)
    state.bear("a1" * 16, species=f"bear ({UNUSUAL})")
    state.bear("b2" * 16, 60.0, label="black_bear", species="American black bear")
    text = " ".join(ask().split())
    assert f"a1a1a1a1 bear 0.98 42 s {UNUSUAL}" in text
    assert "b2b2b2b2 American black bear 0.98 42 s" in text
    shown = " ".join(ask("show", "a1").split())
    assert f"what bear 0.98 species {UNUSUAL}" in shown
    assert shown.count(UNUSUAL) == 1
    assert "species" not in ask("show", "b2")


def test_the_country_of_a_config_reaches_its_events(tmp_path: Path) -> None:
    yard_clip(tmp_path / "yard.avi")
    yard_model(tmp_path / "tiny.onnx")
    config = tmp_path / "bear-alarm.yml"
    config.write_text("cameras: {yard: yard.avi}\nmodel: tiny.onnx\nbell: no\nsite: {country: sl}\n")
    ran = bear_alarm("watch", "--config", config, "--events", "-", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    species = {Event.from_json(line).species for line in ran.stdout.splitlines()}
    assert species == {"bear (brown bears are unusual in SL)"}
    checked = bear_alarm("config", "check", config, cwd=tmp_path)
    assert "site.country: the table knows no bears in SL; if the code is right, nothing" in checked.stderr

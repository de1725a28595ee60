"""A picture whose name is no UTF-8, as old cameras and cards have them: it is told of like any other."""

from __future__ import annotations

import codecs
import json
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.alert.notify import title_and_body
from edge.cli.main import escaped
from edge.record.outbox import Message
from edge.record.run import EventFactory
from edge.schema import Event
from tests.helpers.command import bear_alarm
from tests.scenery.scene import Scene

ODD = os.fsdecode(b"B\xe4r.jpg")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")


def odd_event() -> Event:
    """An alarm about it."""
    return replace(EventFactory().event("bear", "new", "id1", "yard"), file=ODD)


def test_an_event_is_text_and_keeps_the_name() -> None:
    line = odd_event().to_json()
    assert line.encode().decode() == line
    assert Event.from_json(line).file == ODD


def test_people_are_notified_in_words_that_are_text() -> None:
    _, body = title_and_body(Message((odd_event(),), "word", None), datetime.now(UTC))
    assert r"picture B\udce4r.jpg" in body
    assert body.encode()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the alarm has looked at a card with such names."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "card").mkdir()
    scene = Scene(0)
    seen_s = scene.truth.bear_fully_in_view_s + 1
    shots = [shot for shot in scene.frames() if seen_s < shot.time_s < seen_s + 2][::3]
    for number, shot in enumerate(shots):
        data = cv2.imencode(".jpg", shot.image)[1].tobytes()
        (folder / "card" / os.fsdecode(b"B\xe4r%02d.jpg" % number)).write_bytes(data)
    words = ["--events", folder / "events.jsonl", "--on-alarm", f"cat > {folder / 'got.json'}"]
    done = bear_alarm("watch", folder / "card", "--state", folder / "state", "--evidence", folder / "evidence", *words)
    assert done.returncode == 0, done.stderr
    assert "codec" not in done.stderr
    return folder


@pytest.mark.slow
def test_everyone_is_notified_and_the_evidence_is_whole(watched: Path) -> None:
    events = [json.loads(line) for line in (watched / "events.jsonl").read_text().splitlines()]
    [alarm] = [event for event in events if event["type"] == "new" and event["kind"] == "bear"]
    assert os.fsencode(alarm["file"]).startswith(b"B\xe4r")
    assert json.loads((watched / "got.json").read_text())["id"] == alarm["id"]
    kept = Path(alarm["evidence"]) if alarm["evidence"] else next((watched / "evidence").rglob("alarm.jpg"))
    beside = {file.name for file in kept.parent.iterdir()}
    assert {"alarm.jpg", "event.json"} <= beside
    last = json.loads((kept.parent / "event.json").read_text())["file"]
    assert os.fsencode(last).startswith(b"B\xe4r")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["utf-8:strict", "latin-1", "ascii"])
@pytest.mark.parametrize("words", [("events",), ("events", "show", "last"), ("events", "show", "last", "--json")])
def test_it_can_be_shown_on_any_terminal(watched: Path, how: str, words: tuple[str, ...]) -> None:
    done = bear_alarm(*words, "--state", watched / "state", PYTHONIOENCODING=how)
    assert done.returncode == 0, done.stderr
    if "--json" in words:
        assert json.loads(done.stdout)


@pytest.mark.parametrize("how", ["latin-1", "ascii"])
def test_help_can_be_read_on_any_terminal(how: str) -> None:
    assert "--on-alarm" in bear_alarm("watch", "--help", PYTHONIOENCODING=how).stdout


@given(st.text(st.characters(exclude_categories=())))
def test_what_a_terminal_has_no_letters_for_is_still_the_same_json(words: str) -> None:
    codecs.register_error("escape", escaped)
    for how in ("ascii", "latin-1", "utf-8"):
        line = json.dumps(words, ensure_ascii=False).encode(how, "escape")
        assert json.loads(line.decode(how)) == json.loads(json.dumps(words))

"""What `watch` says to people: alerts by their own clock, and the sum of it all at the end."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.alert.events import ENDED_WORDS, UNKNOWN, EventPublisher
from edge.alert.mqtt_settings import settings_from_url
from edge.camera.reconnect import ReconnectingSource
from edge.cli.watch.terminal import OVER, alert, answered, next_steps, sum_up
from edge.detect.camera_check import FaultReport
from edge.detect.frame_rate import LoopStats
from edge.local_time import lasting
from edge.schema import CameraFault, Event
from edge.settings import AlertSettings, PageSettings, Settings


def event(kind="bear", type_="new", **more):
    bear: dict[str, Any] = {"label": "brown_bear", "score": 0.948, "top_score": 0.991, "latency_ms": 13.7}
    captured_at = "2026-11-24T02:12:07.250Z"
    return Event(kind, type_, "ab12" * 8, 1, "run", "yard", captured_at, **((bear if kind == "bear" else {}) | more))


def test_an_alert_is_dated_by_the_clock_of_the_place_and_in_utc(time_zone):
    time_zone("Europe/Berlin")
    assert alert(event(onset_s=0.6, evidence="e.jpg")) == (
        "BEAR  yard at 03:12:07 (02:12:07Z): brown bear 0.95, first seen 0.6 s before, e.jpg"
    )
    time_zone("UTC")
    assert alert(event()) == "BEAR  yard at 02:12:07Z: brown bear 0.95"
    assert alert(event(media_time_s=14.4)).startswith("BEAR  yard at 14.4 s: ")


GONE = "the camera gives no picture any more, so nothing is known of the bear"
WORDS = [
    (event(type_="update", onset_s=0.6), "yard at T: same bear, still there (0.95)"),
    (event(type_="update", escalated="zone a", zones=("a",)), "BEAR again (zone a)  yard at T: brown bear 0.95, in a"),
    (event(quiet="outside the schedule"), "BEAR  yard at T: brown bear 0.95, no noise: outside the schedule"),
    (event(detail="unknown: unlike it all"), "BEAR  yard at T: brown bear 0.95, unknown: unlike it all"),
    (event(type_="end", evidence="e.jpg"), "yard at T: brown bear no longer in view (highest score 0.99)"),
    (event(type_="end", detail=UNKNOWN), "yard at T: brown bear no longer in view (highest score 0.99)"),
    (
        event(type_="end", detail=ENDED_WORDS),
        "yard at T: stopped while the bear was still in view (highest score 0.99)",
    ),
    (event(type_="end", detail=GONE), f"yard at T: {GONE} (highest score 0.99)"),
    (event("camera", detail="yard: no frame for 8 s; check it"), "CAMERA  yard at T: no frame for 8 s; check it"),
    (event("camera", "end", detail="it lasted until (x)"), "camera  yard at T: it lasted until (x)"),
    (event("health", detail="mqtt: it is away"), "PROBLEM  the alarm itself at T: mqtt: it is away"),
    (event("health", "end", detail="mqtt: all is well"), "well again  the alarm itself at T: mqtt: all is well"),
    (event(stage="shadow"), "BEAR  yard at T: brown bear 0.95, in shadow: nobody is notified"),
    (event("notice", detail="camera yard is supervised now."), "NOTICE  yard at T: is supervised now"),
    (event("notice", detail="since 12 October darker: dirty?"), "NOTICE  yard at T: since 12 October darker: dirty?"),
    (event("test"), "TEST  at T: this is only a test"),
    (event("test", detail="a test, asked for."), "TEST  at T: a test, asked for"),
]


@pytest.mark.parametrize(("told", "says"), WORDS)
def test_every_kind_of_event_has_its_words(told, says, time_zone):
    time_zone("UTC")
    assert alert(told) == says.replace(" T:", " 02:12:07Z:")


@pytest.mark.parametrize(
    ("page", "mqtt", "says"),
    [
        (None, "mqtt://broker", "nobody can answer: see docs/notifications.md"),
        ("127.0.0.1:8470", None, "answer on the page (http://127.0.0.1:8470)"),
        ("127.0.0.1:8470", "mqtt://bees:x@broker", "answer on the page (http://127.0.0.1:8470) or over MQTT"),
    ],
)
def test_where_a_supervised_alarm_is_answered(page, mqtt, says):
    alerts = AlertSettings(mqtt=settings_from_url(mqtt) if mqtt else None)
    assert answered(Settings(alerts=alerts, page=PageSettings(page))) == says


def test_a_camera_that_is_back_is_shown_to_be_well(time_zone):
    time_zone("UTC")
    told: list[Event] = []
    publisher = EventPublisher([told.append])
    trouble = CameraFault("gone", "yard: no frame for 8 s; check its plug")
    publisher.trouble("yard", FaultReport("new", "id1", trouble, 8.0))
    publisher.trouble("yard", FaultReport("end", "id1", trouble, 40.0))
    publisher.trouble("yard", FaultReport("new", "id2", trouble, 8.0))
    publisher.trouble("yard", FaultReport("end", "id2", trouble, 40.0), stopped=True)
    assert [alert(each).split("  ")[0] for each in told] == ["CAMERA", "camera well again", "CAMERA", "camera"]
    assert (told[1].detail or "").startswith(OVER)


def test_on_a_terminal_what_alarms_is_red(monkeypatch, time_zone):
    time_zone("UTC")
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: True))
    assert alert(event()).startswith("\033[1;31mBEAR\033[0m  yard")
    assert "\033" not in alert(event(quiet="outside the schedule"))
    assert "\033" not in alert(event("camera", detail="black"))
    assert "\033" in alert(event("test"))


def summed(*cameras, taken_s=5.2, events=None, writer: Any = None, pictures=(), verbose=False, single_images=False):
    """Return what is printed at the end of (name, frames, seconds, told) cameras."""
    printed: list[str] = []
    posts = []
    for name, frames, seconds, told in cameras:
        source = SimpleNamespace(name=name, live=single_images, lost_s=0.0, reopened=0)
        source.primary = source
        tally = LoopStats(frames, 2 * frames, seconds)
        tally.frame_ms.extend([12.0] * frames)
        watcher = SimpleNamespace(
            stats=tally, publisher=SimpleNamespace(counts=Counter(told)), single_images=single_images
        )
        posts.append(SimpleNamespace(source=source, watcher=watcher))
    settings = Settings(alerts=AlertSettings(events=events))
    alarm: Any = SimpleNamespace(threads=posts, writer=writer, settings=settings)
    sum_up(alarm, taken_s, lambda words, *more: printed.append(words % more), pictures, verbose=verbose)
    return printed


def test_the_sum_begins_with_what_matters():
    writer = SimpleNamespace(folder=Path("evidence"))
    printed = summed(("demo", 320, 31.9, {"new": 2, "end": 2}), events="e.jsonl", writer=writer, pictures=["a", "b"])
    assert printed == ["2 alarms in 31.9 s of footage: 320 frames.", "Pictures: evidence", "Events: e.jsonl"]
    one = summed(("demo", 320, 31.9, {"new": 1, "end": 1}), writer=writer, pictures=["evidence/a/alarm.jpg"])
    assert one[1:] == ["Picture of the alarm: evidence/a/alarm.jpg"]
    assert summed(("demo", 320, 31.9, {}))[0].startswith("No alarm in 31.9 s of footage: ")
    assert summed(("yard", 1_000_000, 100_000.0, {"new": 2}))[0] == "2 alarms in 28 h of footage: 1,000,000 frames."


def test_only_verbose_shows_what_it_cost():
    cameras = [("demo", 320, 31.9, {"new": 1}), ("yard", 50, 5.0, {})]
    brief, whole = summed(*cameras), summed(*cameras, verbose=True)
    cost = [line for line in whole if line not in brief]
    assert len(cost) == 1
    for words in ("5.2 s", "71 frames a second", "740 places", "12.0 ms", "MB"):
        assert words in cost[0]
    assert not any(" ms" in line or "MB" in line or "places" in line for line in brief)


def test_the_next_command_can_be_typed_where_the_program_is_on_no_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [".venv-demo/bin/bear-alarm", "watch", "demo"])
    assert [line.split(":", 1)[1].strip() for line in next_steps()] == [
        ".venv-demo/bin/bear-alarm snapshot 0",
        ".venv-demo/bin/bear-alarm watch 0",
    ]
    (tmp_path / "bear-alarm").write_text("#!/bin/sh\n")
    (tmp_path / "bear-alarm").chmod(0o755)
    assert next_steps()[0].split(":", 1)[1].strip() == "bear-alarm snapshot 0"
    (tmp_path / "bear-alarm.yml").touch()
    assert next_steps()[1].endswith("bear-alarm watch  (with your camera in bear-alarm.yml)")


def test_one_picture_is_no_proof_and_has_no_rate():
    printed = summed(("one", 1, 0.0, {}), taken_s=0.1)
    assert printed[0].startswith("one: one picture alone raises no alarm, whatever it shows; look at single ones with ")
    assert printed[1] == "No alarm: 1 frame."
    both = summed(("demo", 320, 31.9, {"new": 1}), ("one", 1, 0.0, {}))
    assert "  demo: 1 alarm, 320 frames (10.0 a second)." in both
    assert "  one: no alarm, 1 frame." in both
    assert not any("000000" in line for line in both)


def test_pictures_that_arrive_are_no_footage():
    (printed, *_) = summed(("cards", 2, 66.0, {"new": 3}), taken_s=23.0, single_images=True)
    assert "3 alarms in 2 pictures" in printed
    assert "23 s" in printed
    assert "66" not in printed
    assert "footage" not in printed


def test_a_source_without_a_frame_and_one_in_trouble_are_named():
    printed = summed(("yard", 0, 0.0, {}), ("bin", 50, 5.0, {"trouble": 1}))
    assert printed[0] == "yard: no frame came, so nothing is known of bears there."
    assert "1 camera problem." in printed
    assert not any(line.startswith("  yard") for line in printed)
    assert summed(("yard", 0, 0.0, {})) == printed[:1]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0 s"),
        (31.94, "31.9 s"),
        (119.0, "119 s"),
        (720.0, "12 min"),
        (11_520.0, "3.2 h"),
        (700_000.0, "8.1 days"),
    ],
)
def test_lengths_of_time(seconds, words):
    assert lasting(seconds) == words


def test_the_sum_up_shows_how_long_a_camera_gave_no_picture():
    kept = ReconnectingSource(lambda: None, name="yard")  # type: ignore[arg-type, return-value]
    kept._lost.total_s, kept.reopened = 41.2, 3
    watcher = SimpleNamespace(
        stats=LoopStats(frames=9, footage_s=60.0), publisher=SimpleNamespace(counts=Counter()), single_images=False
    )
    alarm: Any = SimpleNamespace(
        threads=[SimpleNamespace(source=kept, watcher=watcher)], writer=None, settings=Settings()
    )
    printed: list[str] = []
    sum_up(alarm, 60.0, lambda words, *more: printed.append(words % more))
    assert "yard: 41.2 s without a picture, reopened 3 times" in printed
    kept._lost.total_s = 0.4
    printed.clear()
    sum_up(alarm, 60.0, lambda words, *more: printed.append(words % more))
    assert not any("without a picture" in line for line in printed)

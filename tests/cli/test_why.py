"""`bear-alarm why`: what it says of alarms, near alarms and quiet moments, of clips and of live cameras."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from edge.alert.events import EventPublisher
from edge.cli.app import as_command
from edge.cli.why import why
from edge.errors import BearAlarmError
from edge.record.explanation import place
from edge.record.trace import Moment, Trace
from edge.schema import Event, EvidenceState
from edge.watch import Watcher
from tests.alarm.test_watch import RULE, Colours, walk
from tests.helpers.tiny import BEAR_COLOUR
from tests.record.test_trace import LEFT, WALL, look, moment, told


@pytest.fixture(autouse=True)
def berlin(time_zone, monkeypatch):
    """A place whose clock is not UTC, long after all that is told here."""
    time_zone("Europe/Berlin")
    monkeypatch.setattr("edge.cli.why._now", lambda: WALL + timedelta(days=30))


def record(path, frames):
    """The loop over frames with its moments in a trace; the events that were told."""
    events: list[Event] = []
    trace = Trace(path)
    Watcher(Colours(), RULE, EventPublisher([events.append]), trace=trace)(frames)
    assert trace.close(5.0)
    return events


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A trace of a clip in which a bear walks in at 3 s, and its events."""
    path = tmp_path_factory.mktemp("clip") / "t.jsonl"
    return path, record(path, walk(15, (3.0, 7.0, BEAR_COLOUR, 100, 60)))


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A trace of an hour of a live camera: quiet, but for a bear at 03:30:00Z and a near one at 03:50:00Z."""
    path = tmp_path_factory.mktemp("night") / "t.jsonl"
    trace = Trace(path)
    for index in range(36_000):
        more: dict[str, Any] = {"scored": (look(0.1 + (index % 100) / 1000),)} if index % 10 == 0 else {}
        grown = index - 17_990 if 17_990 <= index < 18_050 else index - 30_000 if 30_000 <= index < 30_004 else None
        if grown is not None:
            more["scored"] = (look(0.9, "motion"), look(0.2))
            more["evidence_states"] = (EvidenceState(1, LEFT, 0.9, 0.4, 2.0, 0.2 * (grown + 1), 1.8),)
        if index in (18_000, 18_100):
            more["events"] = (told("new" if index == 18_000 else "end"),)
        trace(moment(index, **more))
    assert trace.close(5.0)
    return path


def ask(capsys, *words):
    """Return what `bear-alarm why WORDS` prints, as one line."""
    as_command("why", why).main(args=list(map(str, words)), standalone_mode=False)
    return " ".join(capsys.readouterr().out.split())


def refused(*words):
    """The sentence with which it refuses."""
    with pytest.raises(BearAlarmError) as error:
        as_command("why", why).main(args=list(map(str, words)), standalone_mode=False)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_alarm_is_explained_with_how_its_evidence_grew(clip, capsys):
    path, events = clip
    new, end = events
    printed = ask(capsys, "--trace", path)
    assert printed == ask(capsys, new.id, "--trace", path) == ask(capsys, new.id[:6], "--trace", path)
    assert printed == ask(capsys, "last", "--trace", path)
    assert "yard at 14.9 s " in ask(capsys, "end", "--trace", path)
    assert f"yard at {new.media_time_s:.1f} s " in printed
    assert "motion regions 1 largest" in printed
    assert "best score 0.93 0.50 brown bear" in printed
    assert "published already" not in printed  # by this very alarm
    assert "track 1 score threshold logits S h" in printed
    assert f"Afterwards: ended at {end.media_time_s:.1f} s." in printed
    assert f"ALARM, event {new.id[:8]}: track 1, evidence S" in printed
    assert printed.endswith(" ≥ h 1.80 (111 %).")


def test_the_moment_before_an_alarm_shows_how_much_was_missing(clip, capsys):
    path, events = clip
    printed = ask(capsys, f"{events[0].media_time_s - 0.2:.1f}", "--trace", path)
    assert f"It alarmed 0.2 s later (event {events[0].id[:8]})." in printed
    assert re.search(r"No alarm: evidence S 1\.\d\d < h 1\.80 \(\d\d %\)\.$", printed)


def test_a_quiet_moment_of_a_clip_is_explained_too(clip, capsys):
    path, _ = clip
    printed = ask(capsys, "0:01.5", "--trace", path)
    assert printed.startswith("yard at 1.5 s ")
    assert "motion regions 0 " in printed
    assert "No alarm: nothing was scored" in printed
    first = ask(capsys, "0", "--trace", path)
    assert "new background" in first
    assert "best score 0.01 0.50 brown bear, in the whole picture" in first
    assert first.endswith("No alarm: best score 0.01 < threshold 0.50; no evidence.")
    new = clip[1][0]
    during = ask(capsys, f"{new.media_time_s + 1:.1f}", "--trace", path)
    assert during.endswith(f"No new alarm: event {new.id[:8]}, since {new.media_time_s:.1f} s, is still open.")


def test_what_held_an_alarm_back_is_named(tmp_path, capsys):
    trace = Trace(tmp_path / "t.jsonl")
    outside = EvidenceState(4, LEFT, 0.9, 0.4, 2.0, 2.7, 1.8, ("outside the zones", "needs twice the evidence"))
    quiet = told(quiet="outside the schedule")
    dark = "the picture is black, brightness 3 of 255; look at the lens."
    trace(moment(0, live=False, scored=(look(0.9),), evidence_states=(outside,), troubles=(dark,)))
    trace(moment(1, live=False, moving=True, scored=(look(0.9),), events=(quiet,)))
    trace(
        moment(2, live=False, evidence_states=(replace(outside, bear=None, sum=1.2, held=()),), events=(told("end"),))
    )
    trace(moment(3, live=False, events=(told(id_="cd34" * 8, stage="shadow"),)))
    assert trace.close(5.0)
    printed = ask(capsys, "0", "--trace", trace.path)
    assert "evidence S 2.70 1.80 150 %" in printed
    assert f"camera trouble {dark}" in printed
    assert printed.endswith("held back by outside the zones; needs twice the evidence.")
    printed = ask(capsys, "0.1", "--trace", trace.path)
    assert "the picture as a whole moved" in printed
    assert printed.endswith("event ab12cd34, without noise: outside the schedule.")
    printed = ask(capsys, "0.2", "--trace", trace.path)
    assert "evidence S 1.20 1.80 67 %" in printed
    assert printed.endswith("event ab12cd34 ended here.")
    assert "ALARM, event cd34cd34, in shadow (nobody was notified)" in ask(capsys, "end", "--trace", trace.path)


def test_without_an_event_the_moment_of_most_evidence_is_explained(tmp_path, capsys):
    trace = Trace(tmp_path / "t.jsonl")
    for index, grown in enumerate((0.6, 1.2, 1.4, 1.1)):
        near = EvidenceState(3, LEFT, 0.9, 0.4, 3.0, grown, 1.8)
        trace(moment(index, live=False, scored=(look(0.9),), evidence_states=(near,)))
    assert trace.close(5.0)
    printed = ask(capsys, "--trace", trace.path)
    assert printed.startswith("yard at 0.2 s")
    assert printed.endswith("No alarm: evidence S 1.40 < h 1.80 (78 %).")
    assert "last: this trace has no event; leave `last` out" in refused("last", "--trace", trace.path)


def test_times_of_day_are_local_unless_they_have_a_zone(night, capsys):
    printed = ask(capsys, "04:30", "--trace", night)
    assert "yard at 2026-11-24 04:30:00 (03:30:00Z)" in printed
    assert "ALARM, event ab12cd34" in printed
    for word in ("03:30Z", "2026-11-24T03:30:00Z", "2026-11-24 04:30:00", "03:30:00.02Z", "ab12cd", "05:30+02:00"):
        assert ask(capsys, word, "--trace", night) == printed
    assert "04:29:59 (03:29:59Z)" in ask(capsys, "04:29:59.5", "--trace", night)


def test_a_quiet_hour_is_explained_by_its_summary(night, capsys):
    printed = ask(capsys, "04:10:30", "--trace", night)
    assert "at 2026-11-24 04:10:30 (03:10:30Z). No moment was kept" in printed
    assert "Summary of 2026-11-24 04:10:00 (03:10:00Z) to 04:19:59" in printed
    assert "frames 6,000 motion in 0 places scored 600" in printed
    assert "best score 0.19 0.40 at the left edge, at" in printed
    assert "events 0" in printed
    assert "Nearest moment that was kept: 2026-11-24 04:10:09 (03:10:09Z)." in printed
    assert printed.endswith("No alarm: no evidence.")
    near = ask(capsys, "04:52", "--trace", night)
    assert "most evidence 44 % 100 % at the left edge, at 04:50:00 (03:50:00Z)" in near
    assert near.endswith("No alarm: the evidence never sufficed.")
    kept = ask(capsys, "04:50", "--trace", night)  # the most notable moment of that minute was kept
    assert "evidence S 0.80 1.80 44 %" in kept
    assert "logits S h" not in kept  # of what was not kept nothing is printed
    told_of = ask(capsys, "04:32", "--trace", night)
    assert told_of.endswith("name one of them or its time.")


def test_json_carries_the_records(clip, night, capsys):
    path, events = clip
    ask_json = ["--json", "--trace"]
    as_command("why", why).main(args=[*ask_json, str(path)], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["camera"], found["event"]) == ("why", "yard", events[0].id)
    assert Moment.from_json(json.dumps(found["moment"])).events[0].id == events[0].id
    assert found["summary"] is None
    assert found["so"] == found["words"][-1]
    as_command("why", why).main(args=["04:10:30", *ask_json, str(night)], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert found["moment"] is None
    assert found["summary"]["frames"] == 6000


def test_every_mistake_is_one_sentence(clip, night, tmp_path):
    path, events = clip
    near = events[0].id[:6] + ("0" if events[0].id[6] != "0" else "1")
    assert "give --trace FILE" in refused()
    assert "no such trace; `bear-alarm watch" in refused("--trace", tmp_path / "gone.jsonl")
    assert "is a folder" in refused("--trace", tmp_path)
    assert f"did you mean {events[0].id[:8]} (yard at" in refused(near, "--trace", path)
    assert "give 6 characters or more" in refused("abc", "--trace", path)
    assert "99 s lies outside the trace, which has yard from 0 s to 14.9 s" in refused("99", "--trace", path)
    assert "'soon' is no moment; give an event's id" in refused("soon", "--trace", path)
    assert "is no moment" in refused("25:99", "--trace", night)
    assert "give a time of day instead, yard from 2026-11-24 04:00:00" in refused("12.5", "--trace", night)
    assert "(2026-11-24 01:00:00 (00:00:00Z)) lies outside the trace" in refused("2026-11-24T00:00Z", "--trace", night)
    assert "no such camera in this trace; did you mean 'yard'?" in refused("--camera", "yarn", "--trace", night)
    assert "name it a.svg" in refused("--plot", "a.png", "--trace", path)
    assert "nothing to draw" in refused("04:10:30", "--plot", tmp_path / "a.svg", "--trace", night)
    assert not (tmp_path / "a.svg").exists()
    for name, text, says in (
        ("a.jsonl", '{"kind":"bear","id":"x"}\n', "is no trace"),
        ("b.jsonl", '{"schema_version":2,"kind":"moment"}\n', "schema version 2"),
        ("c.jsonl", '{"schema_version":1,"kind":"start","run":"x"}\n', "no moment yet"),
        ("d.jsonl", "", "no moment yet"),
    ):
        (tmp_path / name).write_text(text)
        assert says in refused("--trace", tmp_path / name)


def test_a_time_when_nothing_was_written_is_a_mistake_that_names_the_range(tmp_path):
    trace = Trace(tmp_path / "t.jsonl")
    for index in (0, 1, 2):
        trace(moment(index, events=(told(),)))
    assert trace.close(5.0)
    trace = Trace(tmp_path / "t.jsonl")
    for index in (36_000, 36_001):
        trace(moment(index, events=(told(id_="ff00ff00"),)))
    assert trace.close(5.0)
    printed = refused("04:20", "--trace", tmp_path / "t.jsonl")
    assert (
        "the alarm did not run or could not write from 2026-11-24 04:00:00 (03:00:00Z) to 2026-11-24 05:00:00"
        in printed
    )
    assert "yard from 2026-11-24 04:00:00 (03:00:00Z) to 2026-11-24 05:00:00 (04:00:00Z)" in printed
    both = refused("aabbcc", "--trace", tmp_path / "t.jsonl")
    assert "no such event" in both


def test_of_several_cameras_the_most_notable_answers_and_the_others_are_named(tmp_path, capsys):
    trace = Trace(tmp_path / "t.jsonl")
    for index in range(20):
        for camera, bear in (("yard", 0.1), ("bin", 0.7), ("hives", 0.2)):
            trace(moment(index, live=False, camera=camera, scored=(look(bear),)))
    assert trace.close(5.0)
    printed = ask(capsys, "1.0", "--trace", trace.path)
    assert printed.startswith("bin at 1.0 s ")
    assert "--camera yard or hives." in printed
    assert ask(capsys, "1.0", "--camera", "hives", "--trace", trace.path).startswith("hives at 1.0 s ")


@pytest.mark.parametrize(
    ("box", "where"),
    [
        ((0.0, 0.0, 1.0, 1.0), "in the whole picture"),
        ((0.0, 0.4, 0.1, 0.2), "at the left edge"),
        ((0.05, 0.4, 0.1, 0.2), "on the left"),
        ((0.4, 0.4, 0.2, 0.2), "in the middle"),
        ((0.8, 0.8, 0.2, 0.2), "at the bottom right"),
        ((0.4, 0.0, 0.2, 0.1), "at the top edge"),
        ((0.4, 0.85, 0.2, 0.1), "at the bottom"),
    ],
)
def test_places_have_words(box, where):
    assert place(box) == where

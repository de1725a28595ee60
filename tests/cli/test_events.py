"""`bear-alarm events`: what it lists, shows, locks and hands out, and what it says where there is nothing."""

from __future__ import annotations

import json
import os
import zipfile
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from edge.errors import BearAlarmError
from edge.record.run import RunLock
from edge.schema import Event
from tests.helpers.command import bear_alarm
from tests.helpers.state_folder import NIGHT, StateFolder, events_of

A, B, C = "a1" * 16, "b2" * 16, "b3" * 16
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def berlin(time_zone, monkeypatch):
    """A place whose clock is not UTC, and a terminal of 80 columns."""
    time_zone("Europe/Berlin")
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def state(tmp_path):
    return StateFolder(tmp_path / "state")


@pytest.fixture
def ask(state, capsys):
    """Return what `bear-alarm events WORDS --state …` prints."""
    return partial(events_of, state, capsys)


@pytest.fixture
def refused(ask):
    """The sentence with which it refuses."""

    def run(*words):
        with pytest.raises(BearAlarmError) as error:
            ask(*words)
        assert "\n" not in str(error.value)
        return str(error.value)

    return run


def test_a_happening_is_one_line_with_all_there_is_to_show(state, ask):
    row = state.bear(A, zones=("hives",), evidence=state.evidence(A))
    for channel, how in (("mqtt", "done"), ("ntfy", "waiting"), ("sms", "parked")):
        state.delivery(row, channel, state=how)
    state.delivery(row, "mqtt", part="picture", state="waiting")  # is no reason to say that nothing was delivered
    printed = ask()
    assert printed.splitlines() == [
        "Tuesday 2026-11-24, yard",
        "  03:12:07  a1a1a1a1  brown bear 0.98  42 s",
        "            in hives, pictures, 1 delivered, 1 waiting, 1 refused",
    ]


def test_the_newest_comes_last_below_its_day_with_the_cameras_in_columns(state, ask):
    state.bear(A)
    state.event(B, "new", 3600.0, kind="camera", camera="by the old bridge", label="gone", detail="no picture")
    state.event(B, "end", 3 * 86_400.0, kind="camera", camera="by the old bridge", label="gone")
    state.event(C, "new", 86_400.0, kind="health", camera="alarm", label="mqtt")
    state.event(C, "end", 86_405.0, kind="health", camera="alarm", label="mqtt")
    assert ask().splitlines() == [
        "Tuesday 2026-11-24",
        "  03:12:07  a1a1a1a1  yard              brown bear 0.98      42 s",
        "  04:12:07  b2b2b2b2  by the old brid…  camera gone      3.0 days",
        "",
        "Wednesday 2026-11-25",
        "  03:12:07  b3b3b3b3  alarm             health mqtt           5 s",
    ]


def test_only_what_is_asked_for_is_listed(state, ask, refused, caplog):
    caplog.set_level("INFO")
    state.bear(A)
    state.event(B, "new", 3600.0, kind="camera", camera="gate", label="gone")
    assert "a1a1a1a1" in ask("--kind", "bear")
    assert "b2b2b2b2" not in ask("--kind", "bear")
    assert "b2b2b2b2" in ask("--camera", "gate")
    assert "a1a1a1a1" not in ask("--camera", "gate")
    assert "a1a1a1a1" not in ask("--since", "2026-11-24 03:30")
    assert "a1a1a1a1" in ask("--since", "2026-11-24 03:00")  # local time: 02:00 in UTC
    assert "a1a1a1a1" not in ask("--since", "2026-11-24T03:00Z")
    assert "did you mean 'gate'" in refused("--camera", "gates")
    assert "give 30m, 12h, 2d" in refused("--since", "yesterday")
    assert "put options behind the command they belong to: events show" in refused("--kind", "bear", "show", "last")
    caplog.clear()
    assert ask("--kind", "health") == ""
    assert "No event of kind health; the last one of all was on 2026-11-24 at 04:12 (camera)." in caplog.text
    caplog.clear()
    assert "a1a1a1a1" not in ask("--limit", 1)
    assert "earlier ones: --limit 0" in caplog.text
    assert "a1a1a1a1" in ask("--limit", 0)


def test_so_long_ago_is_counted_from_now(state, ask):
    ago = (datetime.now(UTC) - NIGHT).total_seconds()
    state.bear(A, ago - 3 * 3600)
    assert "a1a1a1a1" not in ask("--since", "2h")
    assert "a1a1a1a1" in ask("--since", "4h")
    assert "a1a1a1a1" in ask("--since", "1d")


def test_times_from_before_the_clock_was_set_are_corrected_and_marked(state, ask):
    year = 365 * 86_400.0
    state.run("set", offset_s=year, synced_at="2026-11-24T02:30:00.000Z")
    state.run("never")
    state.bear(A, -year, boot_id="set", clock_synced=False)
    state.bear(B, 60.0, boot_id="never", clock_synced=False)
    printed = ask()
    assert "2025" not in printed
    assert "03:12:07~  a1a1a1a1" in printed
    assert "03:13:07?  b2b2b2b2" in printed
    assert "~ the clock was set only later" in printed
    assert "? the clock was not synchronised" in printed
    assert "a1a1a1a1" in ask("--since", "2026-11-24")  # by the corrected time
    found = json.loads(ask("--json"))["happenings"]
    assert [(one["began_at"], one["clock"]) for one in found] == [
        ("2026-11-24T02:12:07.000Z", "corrected"),
        ("2026-11-24T02:13:07.000Z", "doubtful"),
    ]


def test_a_happening_without_its_end_goes_on_or_was_cut_off(state, ask):
    now = datetime.now(UTC)
    state.event(A, "new", label="brown_bear", score=0.9)
    assert "cut off" in ask()
    state.run("newest", alive_at=now.isoformat())
    state.event(B, "new", (now - NIGHT).total_seconds(), boot_id="newest", label="brown_bear", score=0.9)
    assert "going on" in ask("--limit", 1)
    with closing(RunLock(state.folder, "newest")) as lock:
        assert lock.take()
        assert "going on" in ask("--limit", 1)
    assert "cut off" in ask("--limit", 1)  # it was killed a moment ago
    lock.path.unlink()
    state.sql("UPDATE runs SET ended_at = ? WHERE boot_id = 'newest'", now.isoformat())
    assert "cut off" in ask("--limit", 1)


def test_show_prints_everything_of_one(state, ask, refused):
    way = json.dumps({"path": [[0.0, 0.0, 0.1, 0.2, 0.2, 0.9], [40.0, 0.7, 0.6, 0.2, 0.2, None]]}).encode()
    row = state.bear(A, zones=("hives",), model="bear@1", evidence=state.evidence(A, **{"event.json": way}))
    state.delivery(row, "mqtt 10.0.0.7:1883", part="picture", state="waiting", attempts=3, error="connection refused")
    state.delivery(row, "ntfy", state="parked", error="HTTP 403")
    printed = " ".join(ask("show", "a1a1").split())
    assert printed == " ".join(ask("show", "last").split())
    for words in (
        f"{A} bear, yard when 2026-11-24 03:12:07+01:00, lasted 42 s what brown bear 0.98, by bear@1",
        "alarm.jpg, 0.1 kB clip.mp4, 0.1 kB event.json, 0.1 kB",
        "path at the top left, then at the bottom right; 40 s",
        "03:12:07+01:00 new seq 1, score 0.91, box 30 x 40 % at 10, 20 %, in hives",
        "picture waiting since 2026-11-24 03:12:07+01:00, 3 attempts: connection refused",
        "REFUSED 2026-11-24 03:12:07+01:00, 1 attempt, tried no more: HTTP 403",
    ):
        assert words in printed, printed
    found = json.loads(ask("show", "last", "--json"))
    assert [Event.from_json(json.dumps(event)).type for event in found["events"]] == ["new", "end"]
    assert found["evidence"][0]["files"] == ["alarm.jpg", "clip.mp4", "event.json"]
    assert [each["state"] for each in found["deliveries"]] == ["waiting", "parked"]
    state.bear(B)
    state.bear(C)
    assert "b2b2b2b2, b3b3b3b3); give more of the id" in refused("show", "b")
    assert "did you mean a1a1a1a1?" in refused("show", "a1a1b1")
    assert "`bear-alarm events` lists them" in refused("show", "ffff")


def test_locking_keeps_the_evidence_and_unlocking_ends_that(state, ask, refused):
    state.bear(A, evidence=state.evidence(A))
    state.bear(B)
    kept = next((state.folder / "evidence").rglob("alarm.jpg")).with_name("keep")
    assert "locked" in ask("lock", "a1")
    assert kept.exists()
    assert "locked" in ask()
    assert "keep" not in ask("show", "a1", "--json").split('"files"')[1].split("]")[0]
    assert "no longer locked" in ask("unlock", "a1")
    assert not kept.exists()
    assert "has no evidence" in refused("lock", "b2")


def test_an_export_is_one_zip_with_events_pictures_and_a_page(state, ask, refused, tmp_path):
    state.bear(A, evidence=state.evidence(A))
    state.bear(B, 60.0)
    state.bear(C, 120.0, evidence=str(state.folder / "evidence" / "gone" / "alarm.jpg"))
    clip = next(state.folder.rglob("clip.mp4"))
    os.utime(clip, (0, 0))  # 1970, as a board without a clock stamps it; a zip begins in 1980
    out = tmp_path / "night.zip"
    ask("export", "a1", "b2", "--out", out)
    with zipfile.ZipFile(out) as made:
        assert made.testzip() is None
        assert [Event.from_json(line).id for line in made.read("events.jsonl").decode().splitlines()] == [A, A, B, B]
        folder = "evidence/2026-11-24-021207-yard-a1a1a1a1"
        assert set(made.namelist()) == {"events.jsonl", "README.txt", f"{folder}/alarm.jpg", f"{folder}/clip.mp4"}
        assert "brown bear 0.98" in made.read("README.txt").decode()
    was = out.read_bytes()
    assert "is there already" in refused("export", "a1", "--out", out)
    assert out.read_bytes() == was
    ask("export", "--since", "2026-11-24", "--out", out, "--force")
    with zipfile.ZipFile(out) as made:
        assert len(made.read("events.jsonl").splitlines()) == 6
    assert "one of the two" in refused("export", "--out", out, "--force")
    assert "go with --since" in refused("export", "a1", "--kind", "bear", "--out", out, "--force")
    assert "is a folder" in refused("export", "a1", "--out", tmp_path)
    assert "cannot be written" in refused("export", "a1", "--out", tmp_path / "no" / "n.zip")


def test_an_export_that_fails_half_way_leaves_nothing_new(state, ask, refused, tmp_path, monkeypatch):
    state.bear(A, evidence=state.evidence(A))
    out = tmp_path / "night.zip"
    out.write_bytes(b"the old one")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "cannot be written (No space left on device)" in refused("export", "a1", "--out", out, "--force")
    assert out.read_bytes() == b"the old one"
    assert {path.name for path in tmp_path.iterdir()} == {"state", "night.zip"}


def test_evidence_is_found_on_a_card_that_is_read_in_another_machine(state, ask):
    here = Path(state.evidence(A))
    state.bear(A, evidence=str(Path("/var/lib/bear-alarm-of-old") / here.relative_to(state.folder)))
    assert "pictures" in ask()
    assert "gone" not in ask()
    assert str(here.parent) in ask("show", "last")


def typed(*words, cwd):
    """The command as a user types it, in a home of its own."""
    return bear_alarm("events", *words, cwd=cwd, HOME=str(cwd), XDG_STATE_HOME="")


def test_before_anything_was_ever_watched_it_shows_so(tmp_path):
    ran = typed(cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, "")
    assert ran.stderr.startswith("Nothing was recorded yet: ")
    assert "`bear-alarm watch`" in ran.stderr
    assert not list(tmp_path.iterdir()), "asking leaves no trace"
    ran = typed("--json", cwd=tmp_path)
    assert json.loads(ran.stdout)["happenings"] == []
    for words in (["show", "last"], ["lock", "last"], ["export", "--since", "2d", "--out", "x.zip"]):
        ran = typed(*words, cwd=tmp_path)
        assert ran.returncode == 2
        assert "nothing was recorded yet" in ran.stderr
        assert "Traceback" not in ran.stderr
    StateFolder(tmp_path / ".local" / "state" / "bear-alarm")
    ran = typed(cwd=tmp_path)
    assert ran.returncode == 0
    assert "Nothing has happened yet" in ran.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--state", "nowhere"], "--state nowhere: no such folder"),
        (["--state", "file"], "--state file: is no folder"),
        (["--state", "empty"], "name the folder of an alarm that has run"),
        (["--limit", "-1"], "limit"),
        (["a1a1a1a1"], "No such command 'a1a1a1a1'"),
        (["show"], "ID"),
        (["export", "a1"], "--out"),
    ],
)
def test_a_mistake_is_one_sentence(words, says, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    ran = typed(*words, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, ""), ran.stderr
    assert says in ran.stderr
    assert len(ran.stderr.splitlines()) == 1

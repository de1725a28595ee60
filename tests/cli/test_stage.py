"""`bear-alarm stage`: what it shows of each camera, and a stage that a person sets."""

from __future__ import annotations

import getpass
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from edge.decide.stages import StageEntry
from edge.record import database
from edge.record.review import Review, pass_on
from edge.record.stage_log import read_stages, write_stage
from edge.schema import utc_text
from tests.cli.test_command import sentence
from tests.helpers.command import bear_alarm
from tests.helpers.state_folder import StateFolder

MODEL = "bear@4d4257797d7a"
CONFIG = """
cameras:
  yard: {source: demo, stage: shadow}
  bins: {source: clip.mp4, stage_lock: yes}
  hives: {source: clip.mp4, stage: supervised}
state: state
"""


@pytest.fixture
def place(tmp_path, time_zone):
    """A config of three cameras, of which one was not watched yet, and the journal of the other two."""
    time_zone("UTC")
    (tmp_path / "bear-alarm.yml").write_text(CONFIG)
    (tmp_path / "clip.mp4").write_text("")
    state = StateFolder(tmp_path / "state")
    began = datetime.now(UTC) - timedelta(days=3)
    clip = str(tmp_path / "clip.mp4")
    bins = StageEntry("bins", "autonomous", began, 0, "as its config says", "", MODEL, clip, "")
    moved = replace(bins, stage="supervised", at=began + timedelta(days=1), why="the camera was moved")
    for entry in (replace(bins, camera="yard", stage="shadow", source="demo", configured="shadow"), bins, moved):
        write_stage(state.folder, entry)
    return state


def ask(place, *words):
    ran = bear_alarm("stage", *words, cwd=place.folder.parent)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout, ran.stderr


def reviewed(place, *verdicts):
    """An alarm of the yard with the review of each."""
    for number, verdict in enumerate(verdicts):
        place.event(f"{number:032x}", "new", label="brown_bear", model=MODEL)
        if verdict:
            review = Review(verdict, utc_text(datetime.now(UTC)))
            assert pass_on(place.folder, [f"{number:032x}"], review) is None


def test_each_camera_has_its_stage_what_it_means_and_what_the_next_one_needs(place):
    shown, said = ask(place)
    flat = " ".join(shown.split())
    began = read_stages(place.folder)["yard"][0].at
    reminds = f"{began + timedelta(days=7):%B %Y}"
    assert f"yard shadow since {began:%Y-%m-%d %H:%M}, as its config says SHADOW: no bear alarm will" in flat
    assert f"{reminds} for supervised: 51 more reviews (" in flat
    assert "16 more alarms reviewed as right, if none is wrong and no bear is missed; 35 more random frames" in flat
    assert (
        "the camera was moved people are notified, and noises wait for a yes; without an answer it sounds after 30 s"
        in flat
    )
    assert flat.count("stage_lock") == 1
    assert said.splitlines() == [
        "Camera hives was not watched yet; it begins as supervised.",
        "bear-alarm events --unreviewed lists what to review; about 4 random frames come a day, of each camera.",
    ]


def test_a_camera_shows_its_reviews_and_its_history_the_newest_first(place):
    reviewed(place, "confirmed", "wrong", "unsure", None)
    shown, _ = ask(place, "yard")
    assert "Alarms: 1 right, 1 wrong, 1 unsure, 1 not reviewed\n" in shown
    assert "bins" not in shown
    shown, _ = ask(place, "bins")
    assert [line.split()[2] for line in shown.splitlines()[-2:]] == ["supervised", "autonomous"]


def test_programs_get_the_same_as_json(place):
    reviewed(place, *["confirmed"] * 4)
    (yard, bins) = json.loads(ask(place, "--json")[0])["cameras"]
    assert (yard["stage"], yard["reviewed"]["right"], yard["progress"]["reviews"]) == ("shadow", 4, 47)
    assert yard["from_next_start"] is False
    assert (yard["progress"]["next"], yard["progress"]["ready"], bins["locked"]) == ("supervised", False, True)
    assert datetime.fromisoformat(yard["reminds_at"]) > datetime.now(UTC)
    (bins,) = json.loads(ask(place, "bins", "--json")[0])["cameras"]
    assert [each["stage"] for each in bins["history"]] == ["autonomous", "supervised"]


def test_a_person_sets_a_stage_and_is_warned_where_it_is_not_earned(place):
    row = place.event("ab" * 16, "new")
    shown, said = ask(place, "yard", "supervised")
    assert shown == ""
    assert (
        "Camera yard is now supervised: people are notified, and noises wait for a yes. A running alarm uses it" in said
    )
    assert "It has not earned that: supervised needs 51 more reviews (16 more alarms" in said
    last = read_stages(place.folder)["yard"][-1]
    assert (last.stage, last.by, last.after, last.model) == ("supervised", getpass.getuser(), row, MODEL)
    said = ask(place, "yard", "shadow")[1]
    assert "Camera yard is now in SHADOW: no bear alarm will reach anyone; you are reminded on" in said
    assert "earned" not in said
    assert "is shadow already; nothing was changed" in ask(place, "YARD", "Shadow")[1]
    assert len(read_stages(place.folder)["yard"]) == 3


def test_a_model_that_cannot_be_read_keeps_nobody_from_setting_a_stage(place, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no model")
    config = tmp_path / "bear-alarm.yml"
    config.write_text(f"{CONFIG}model: m.onnx\n")
    reviewed(place, "confirmed")
    shown, said = ask(place, "yard", "supervised")
    assert read_stages(place.folder)["yard"][-1].stage == "supervised"
    assert said.startswith("Reviews are not counted, because the model cannot be read: ")
    assert len(said.splitlines()) == 2
    shown, said = ask(place, "yard")
    assert "supervised  since" in shown
    assert "review" not in shown
    (found,) = json.loads(ask(place, "yard", "--json")[0])["cameras"]
    assert (found["stage"], found["reviewed"], found["progress"]) == ("supervised", None, None)


def test_a_new_name_or_a_new_line_in_the_config_counts_from_the_next_start(place, tmp_path):
    config = tmp_path / "bear-alarm.yml"
    config.write_text(CONFIG.replace("yard: {source: demo, stage: shadow}", "garden: {source: demo, stage: shadow}"))
    reviewed(place, "confirmed")
    shown = " ".join(ask(place)[0].split())
    assert "garden shadow since" in shown
    assert "it was called yard SHADOW" in shown
    assert "from the alarm's next start on for supervised: 51 more reviews" in shown
    config.write_text(CONFIG.replace("source: demo, stage: shadow", "source: demo, stage: autonomous"))
    shown, _ = ask(place, "yard")
    assert "autonomous  since" in shown
    assert "set in the config\n" in shown
    assert "from the alarm's next start on" in shown
    ask(place, "yard", "autonomous")
    last = read_stages(place.folder)["yard"][-1]
    assert (last.stage, last.configured, last.by) == ("autonomous", "autonomous", getpass.getuser())
    assert "next start" not in ask(place, "yard")[0]


def test_without_a_config_the_cameras_are_those_of_the_journal(place, tmp_path):
    (tmp_path / "bear-alarm.yml").unlink()
    shown, _ = ask(place, "--state", place.folder)
    assert [line.split()[0] for line in shown.splitlines() if not line.startswith(" ")] == ["yard", "bins"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["yrd"], "no camera 'yrd' has a stage; these have: yard, bins, hives"),
        (["yard", "supervise"], "is none of shadow, supervised, autonomous; did you mean supervised?"),
        (["hives", "shadow"], "camera hives was not watched yet; write `stage: shadow` for it in the config"),
        (["Supervised", "yard"], "the camera comes first: bear-alarm stage yard supervised"),
        (["supervised"], "the camera comes first: bear-alarm stage yard supervised"),
        (["--state", "elsewhere"], "there is no journal; start the alarm once, or name yours with --config or --state"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(place, words, says):
    assert sentence("stage", *words, cwd=place.folder.parent).endswith(says)
    assert len(read_stages(place.folder)) == 2


def test_before_the_first_start_the_config_speaks(place, tmp_path):
    place.path.unlink()
    shown, said = ask(place)
    assert shown == ""
    assert [line.rpartition("; ")[2] for line in said.splitlines()] == [
        "it begins as shadow.",
        "it begins as autonomous.",
        "it begins as supervised.",
    ]


def test_the_page_is_where_to_review(place, tmp_path):
    (tmp_path / "bear-alarm.yml").write_text(f"{CONFIG}page: 127.0.0.1:8470\nrecord: {{negatives_per_day: 9}}\n")
    said = ask(place)[1].splitlines()[-1]
    assert said == "Review at http://127.0.0.1:8470/review; about 9 random frames come a day, of each camera."


def test_a_journal_of_another_version_or_a_damaged_one_is_one_sentence(place, tmp_path):
    for version, says in ((database.STAGES - 1, "an older Bear Alarm made this journal"), (99, "is of version 99")):
        place.sql(f"PRAGMA user_version = {version}")
        assert says in sentence("stage", "yard", "supervised", cwd=tmp_path)
    place.path.write_bytes(b"no journal" * 1000)
    assert "is damaged or no journal" in sentence("stage", cwd=tmp_path)

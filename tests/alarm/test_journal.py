"""`watch` and then `events`, as somebody types them: what was told is kept, and its pictures are found."""

import json
from pathlib import Path

import pytest

from tests.helpers.command import bear_alarm
from tests.helpers.webhook_server import PostBox
from tests.helpers.yard import yard_clip, yard_model


@pytest.fixture(scope="module")
def yard(tmp_path_factory):
    folder = tmp_path_factory.mktemp("yard")
    return [yard_clip(folder / "yard.avi"), "--model", yard_model(folder / "tiny.onnx"), "--no-bell"]


def kept(state, cwd):
    done = bear_alarm("events", "--state", state, "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["happenings"]


def test_what_was_reported_is_listed_and_its_pictures_are_found_from_anywhere(yard, tmp_path):
    (tmp_path / "here").mkdir()
    done = bear_alarm("watch", *yard, "--state", tmp_path / "state", "--events", "-", cwd=tmp_path / "here")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["durable"] for line in lines] == [True] * len(lines)
    found = bear_alarm("events", "--state", tmp_path / "state", cwd=tmp_path)
    assert "pictures" in found.stdout
    assert "gone" not in found.stdout
    shown = bear_alarm("events", "show", "last", "--state", tmp_path / "state", cwd=tmp_path)
    assert "alarm.jpg" in shown.stdout
    assert "clip.mp4" in shown.stdout
    evidence = Path(lines[0]["evidence"])
    assert evidence.is_absolute()
    assert evidence.is_relative_to(tmp_path / "here" / "evidence")
    # People are shown the short way.
    assert " evidence/" in next(line for line in done.stderr.splitlines() if line.startswith("BEAR"))


def test_a_clip_that_is_tried_out_is_nothing_that_happened_here(yard, tmp_path):
    home = {"XDG_STATE_HOME": str(tmp_path / "home")}
    assert bear_alarm("watch", *yard, "--no-evidence", cwd=tmp_path, **home).returncode == 0
    assert not (tmp_path / "home").exists()
    nothing = bear_alarm("events", cwd=tmp_path, **home)
    assert nothing.returncode == 0
    assert "Nothing was recorded yet" in nothing.stderr


def test_what_goes_over_a_network_is_kept_and_its_picture_follows_the_word(yard, tmp_path):
    with PostBox() as box:
        url = f"http://127.0.0.1:{box.port}/bears"
        done = bear_alarm("watch", *yard, cwd=tmp_path, XDG_STATE_HOME=str(tmp_path / "home"), BEAR_ALARM_WEBHOOK=url)
        assert done.returncode == 0, done.stderr
        kinds = [each.headers["Content-Type"].partition(";")[0] for each in box.posted]
        events = [json.loads(each.body) for each in box.posted if each.body[:1] == b"{"]
    assert kinds[0] == "application/json"
    assert "image/jpeg" in kinds
    assert [event["type"] for event in events] == ["new", "end"]
    assert (tmp_path / "home" / "bear-alarm" / "journal.db").is_file()


def test_what_nobody_took_is_delivered_by_the_next_run(yard, tmp_path):
    with PostBox(*[500] * 40) as box:
        words = [*yard, "--state", tmp_path / "state", "--webhook", f"http://127.0.0.1:{box.port}/bears"]
        first = bear_alarm("watch", *words, cwd=tmp_path)
        assert first.returncode == 0, first.stderr
        assert "kept for the next time" in first.stderr
        before = len(box.posted)
        box.answers.clear()
        assert bear_alarm("watch", *words, cwd=tmp_path).returncode == 0
        events = [json.loads(each.body) for each in box.posted[before:] if each.body[:1] == b"{"]
    assert [event["type"] for event in events] == ["new", "end", "new", "end"]
    assert len({(event["boot_id"], event["seq"]) for event in events}) == 4
    assert {incident["state"] for incident in kept(tmp_path / "state", tmp_path)} == {"over"}

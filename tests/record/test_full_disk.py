"""The whole command on a disk that is full, or read-only: whoever should be told is told, here and over a network."""

import json
from pathlib import Path

import pytest

from tests.helpers.command import bear_alarm
from tests.helpers.small_disk import fill, remount, there
from tests.helpers.webhook_server import PostBox
from tests.helpers.yard import yard_clip, yard_model


@pytest.fixture
def place(tmp_path):
    """A clip with one bear, a model that knows it, and where the disk will be."""
    yard_clip(tmp_path / "yard.avi")
    yard_model(tmp_path / "tiny.onnx")
    return tmp_path / "disk"


def watched(disk):
    """`watch` with its journal, its evidence and its lines on that disk; who was told, and what it said."""
    beside = Path(disk).parent
    heard = beside / "heard.json"
    with PostBox() as box:
        words = [
            "watch", beside / "yard.avi", "--model", beside / "tiny.onnx", "--no-bell",
            "--state", f"{disk}/state", "--evidence", f"{disk}/evidence",
            "--on-alarm", f"cat >> {heard}", "--webhook", f"http://127.0.0.1:{box.port}/bears", "--events", "-",
        ]  # fmt: skip
        done = bear_alarm(*words)
        posted = [json.loads(each.body) for each in box.posted if each.body[:1] == b"{"]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {
        "code": done.returncode,
        "said": done.stderr,
        "here": [json.loads(line)["type"] for line in heard.read_text().splitlines()],
        "printed": [(line["type"], line["durable"]) for line in lines if line["kind"] == "bear"],
        "posted": [event["type"] for event in posted if event["kind"] == "bear"],
        "health": sorted({event["label"] for event in posted if event["kind"] == "health"}),
    }


def on_a_full_disk(disk):
    Path(disk, "evidence").mkdir()
    fill(disk)
    return watched(disk)


def on_a_read_only_disk(disk):
    Path(disk, "evidence").mkdir()
    remount(disk, "ro")
    return watched(disk)


def with_room(disk):
    return watched(disk)


@pytest.mark.needs_tool("unshare")
@pytest.mark.parametrize("how", [on_a_full_disk, on_a_read_only_disk])
def test_the_alarm_goes_on_here_and_over_the_network(place, how):
    found = there(how, place, 8192)
    assert found["code"] == 0, found["said"]
    assert found["here"] == ["new"]
    assert found["posted"] == ["new", "end"]
    assert found["printed"] == [["new", False], ["end", False]]  # nothing is called durable that is not
    assert "the journal" in found["health"]
    assert "Traceback" not in found["said"]
    assert "PROBLEM" in found["said"]


@pytest.mark.needs_tool("unshare")
def test_with_room_the_same_is_durable(place):
    found = there(with_room, place, 65536)
    assert found["printed"] == [["new", True], ["end", True]]
    assert found["here"] == ["new"]
    assert found["posted"] == ["new", "end"]
    assert "the journal" not in found["health"]

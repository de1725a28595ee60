"""`bear-alarm events` in words: troubles, tests taken back, deliveries, and a journal not yet written."""

from __future__ import annotations

import json
from functools import partial

import pytest

from edge.record.event_words import path_text
from edge.record.outbox import WITHDRAWN
from tests.helpers.state_folder import StateFolder, events_of

A, B, C = "a1" * 16, "b2" * 16, "c3" * 16


@pytest.fixture(autouse=True)
def berlin(time_zone, monkeypatch):
    time_zone("Europe/Berlin")
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def state(tmp_path):
    return StateFolder(tmp_path / "state")


@pytest.fixture
def ask(state, capsys):
    return partial(events_of, state, capsys)


def test_a_picture_that_did_not_come_is_withdrawn_and_not_refused(state, ask):
    row = state.event(A, "new")
    state.delivery(row, "mqtt")
    state.delivery(row, "ntfy")
    state.delivery(row, "ntfy", part="picture", state="parked", attempts=3, error=WITHDRAWN)
    state.delivery(row, "sms", state="parked", error="HTTP 403")
    assert ask().splitlines()[1].endswith("2 delivered, 1 refused")
    printed = " ".join(ask("show", "last").split())
    assert f"withdrawn 2026-11-24 03:12:07+01:00, 3 attempts: {WITHDRAWN}" in printed
    assert printed.count("REFUSED") == 1


def test_what_was_delivered_at_once_is_one_line_a_channel(state, ask):
    rows = [state.event(A, "new" if n == 0 else "update", n * 60.0) for n in range(12)]
    for number, row in enumerate(rows):
        state.delivery(row, "mqtt", settled_at=f"2026-11-24T02:{12 + number}:09.000Z")
    for row in rows[:2]:
        state.delivery(row, "mqtt", part="picture", settled_at="2026-11-24T02:12:10.000Z")
    state.delivery(rows[0], "ntfy", attempts=2)
    state.delivery(rows[1], "ntfy", state="waiting", attempts=0)
    told = ask("show", "last").split("Deliveries\n")[1].splitlines()
    assert told == [
        "  mqtt  12 words and 2 pictures delivered at the first attempt, the last 2026-11-24 03:23:09+01:00",
        "  ntfy",
        "    2026-11-24 03:12:07+01:00 new    word     delivered 2026-11-24 03:12:07+01:00, 2 attempts",
        "    2026-11-24 03:13:07+01:00 update word     waiting since 2026-11-24 03:12:07+01:00, 0 attempts",
    ]
    assert len(json.loads(ask("show", "last", "--json"))["deliveries"]) == 16


def test_a_trouble_shows_what_it_is_and_that_it_was_open_when_the_alarm_ended(state, ask):
    state.event(
        A, "new", kind="health", camera="alarm", label="mqtt 127.0.0.1:1883",
        detail="mqtt 127.0.0.1:1883: not reached (nothing listens there); messages wait and are sent later",
    )  # fmt: skip
    state.event(B, "new", 60.0, kind="camera", label="gone", detail="no picture")
    state.event(C, "new", 120.0, label="brown_bear", score=0.9)
    health, camera, bear = (" ".join(line.split()) for line in ask().splitlines()[1:])
    assert health == "03:12:07 a1a1a1a1 alarm health mqtt 127.0.0.1:1883 not reached, still open at the end"
    assert camera.endswith("yard camera gone still open at the end")
    assert bear.endswith("cut off")
    assert "still open at the end" in ask("show", "a1")
    assert json.loads(ask("show", "a1", "--json"))["state"] == "cut off"


def test_a_notice_is_whole_and_over_and_a_bear_in_shadow_is_marked(state, ask):
    state.event(A, "new", kind="notice", label="stage", detail="camera yard is supervised now, because it was moved")
    state.bear(B, 60.0, stage="shadow")
    notice, bear = (" ".join(line.split()) for line in ask().splitlines()[1:])
    assert notice == "03:12:07 a1a1a1a1 notice stage camera yard is supervised now, because it was moved"
    assert bear.endswith("42 s in shadow")
    assert " ".join(ask("show", "b2").split()).count("in shadow: nobody is notified") == 1
    (found,) = json.loads(ask("--kind", "notice", "--json"))["happenings"]
    assert (found["kind"], found["state"], found["lasted_s"]) == ("notice", "over", None)


@pytest.mark.parametrize(
    ("label", "detail", "short"),
    [
        ("bell", "bell failed: no such file; check it", "failed: no such file"),
        ("the journal", "/a: the disk has not answered for 10 s; 5 events", "/a: the disk has not answered for 10 s"),
        ("evidence", "evidence " + "very " * 20 + "long", "very very very very very very very very very …"),
        ("mqtt", None, ""),
    ],
)  # fmt: skip
def test_a_trouble_in_short(label, detail, short, state, ask):
    state.event(A, "new", kind="health", label=label, detail=detail)
    state.event(A, "end", 5.0, kind="health", label=label, detail="well again")
    assert ask().splitlines()[1].split("5 s")[1].strip() == short


def test_locking_shows_which_one_it_was(state, ask):
    state.bear(A, evidence=state.evidence(A))
    which = "a1a1a1a1 (brown bear 0.98 at yard, 2026-11-24 03:12:07): "
    assert ask("lock", "last") == f"{which}locked, and never deleted to make room\n"
    assert ask("unlock", "last") == f"{which}no longer locked\n"


def test_the_path_is_shown_in_places():
    there = [[float(t), 0.1 * t, 0.6, 0.1, 0.3, 0.9] for t in range(9)]
    assert path_text(there) == "at the bottom left, then at the bottom, then at the bottom right; 8 s"
    assert path_text(there[:1]) == "at the bottom left all the while; 0 s"

"""Rules of the stages: what moves a camera, and what never does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

pytest.importorskip("hypothesis", reason="hypothesis is not installed")

from hypothesis import given
from hypothesis import strategies as st

from edge.decide.stages import (
    MOVED,
    NOT_YET,
    STAGES,
    Goal,
    Place,
    StageEntry,
    Tally,
    begin,
    chosen,
    clock_ahead,
    history_of,
    moved_camera,
    progress,
    reminds_at,
    since,
    wilson,
    wrong_alarms,
)
from edge.schema import Stage

NOW = datetime(2026, 5, 4, 3, 0, tzinfo=UTC)
DAY = timedelta(days=1)
FIRST = StageEntry("yard", "autonomous", NOW, 0, "as its config says", "", "bear@1", "src", "")
HERE = Place("yard", "src", model="bear@1")
stages = st.sampled_from(STAGES)


def in_stage(stage: Stage, at: datetime = NOW, **more: Any) -> StageEntry:
    return replace(FIRST, stage=stage, at=at, **more)


# Shares and what is still needed


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [(0, 0, 0.0, 1.0), (0, 10, 0.0, 0.2775), (9, 10, 0.5958, 0.9821), (81, 263, 0.2553, 0.3662)],  # Newcombe 1998
)
def test_the_interval_is_wilsons(part: int, whole: int, low: float, high: float) -> None:
    assert wilson(part, whole) == pytest.approx((low, high), abs=5e-4)


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_interval_holds_the_share_and_narrows(part: int, more: int) -> None:
    low, high = wilson(part, part + more)
    assert 0.0 <= low <= high <= 1.0
    if part + more:
        assert low - 1e-9 <= part / (part + more) <= high + 1e-9
        tighter = wilson(2 * part, 2 * (part + more))
        assert tighter[1] - tighter[0] < high - low


tallies = st.builds(
    Tally,
    right=st.integers(0, 60), wrong=st.integers(0, 6), unsure=st.integers(0, 9), frames=st.integers(0, 60),
    missed=st.just(0), reported=st.integers(0, 4),
)  # fmt: skip


@given(stages, tallies)
def test_what_is_needed_is_enough_and_one_less_is_not(stage: Stage, tally: Tally) -> None:
    way = progress(stage, tally, Goal())
    if stage == "autonomous":
        assert (way.next, way.needs, way.ready) == (None, (), False)
        return
    frames = next((int(need.split()[0]) for need in way.needs if "frame" in need), 0)
    right = way.reviews - frames
    done = replace(tally, right=tally.right + right, frames=tally.frames + frames)
    assert progress(stage, done, Goal()).ready
    if right:
        assert not progress(stage, replace(done, right=done.right - 1), Goal()).ready
    if frames:
        assert not progress(stage, replace(done, frames=done.frames - 1), Goal()).ready


@pytest.mark.parametrize("tally", [Tally(wrong=60), Tally(right=10, reported=60), Tally(frames=60, missed=20)])
def test_what_hundreds_of_reviews_would_be_needed_for_is_said_in_words(tally: Tally) -> None:
    (need,) = progress("shadow", tally, Goal()).needs
    assert need.startswith("too many wrong alarms or missed bears in this stage; choose by hand")
    assert progress("shadow", Tally(), Goal(precision=0.99)).needs[0].startswith("381 more alarms")


def test_unsure_counts_neither_way() -> None:
    assert progress("shadow", Tally(right=20, unsure=50), Goal()) == progress("shadow", Tally(right=20), Goal())


# The start


def test_a_camera_without_a_stage_is_autonomous_and_one_with_has_it() -> None:
    for stage in ("", *STAGES):
        move = begin([], replace(HERE, configured=stage), NOW, 0)
        assert move
        assert (move.entry.stage, move.notice) == (stage or "autonomous", "")


def test_one_that_was_watched_before_there_were_stages_goes_on_and_people_are_notified() -> None:
    move = begin([], HERE, NOW, 7, watched_before=True)
    assert move
    assert move.entry.stage == "autonomous"
    assert "stages are new" in move.notice
    assert begin([move.entry], HERE, NOW + DAY, 9, watched_before=True) is None


def test_the_line_of_the_config_holds_when_it_changes_and_only_then() -> None:
    first = begin([], replace(HERE, configured="shadow"), NOW, 0)
    assert first
    by_person = chosen(first.entry, "autonomous", "anna", NOW, 1).entry
    history = [first.entry, by_person]
    assert begin(history, replace(HERE, configured="shadow"), NOW, 2) is None
    without = begin(history, HERE, NOW, 2)
    assert without
    assert (without.entry.stage, without.entry.by, without.entry.after, without.notice) == ("autonomous", "anna", 1, "")
    again = begin([*history, without.entry], replace(HERE, configured="shadow"), NOW, 2)
    assert again
    assert (again.entry.stage, again.entry.by) == ("shadow", "config")
    assert "shadow now" in again.notice


def test_a_new_model_ends_autonomous_unless_it_was_tried_here() -> None:
    new = replace(HERE, model="bear@2")
    move = begin([FIRST], new, NOW + DAY, 5)
    assert move
    assert (move.entry.stage, move.entry.by, move.entry.after) == ("supervised", "", 5)
    assert "bear@2" in move.notice
    assert begin([FIRST, move.entry], new, NOW + 2 * DAY, 6) is None
    again = chosen(move.entry, "autonomous", "anna", NOW + 2 * DAY, 6).entry
    before = begin([FIRST, move.entry, again], HERE, NOW + 3 * DAY, 7)
    assert before
    assert (before.entry.stage, before.notice) == ("autonomous", "")
    in_shadow = in_stage("shadow", model="bear@2")
    back = chosen(in_shadow, "autonomous", "anna", NOW + DAY, 1).entry
    on_1 = replace(back, model="bear@1", by="", at=NOW + 2 * DAY)
    tried = begin([in_shadow, back, on_1], new, NOW + 3 * DAY, 9)
    assert tried
    assert (tried.entry.stage, tried.notice) == ("autonomous", "")


def test_a_new_model_that_was_tried_beside_the_one_before_leaves_a_camera_autonomous() -> None:
    move = begin([FIRST], replace(HERE, model="bear@2", tested=True), NOW + DAY, 5)
    assert move
    assert (move.entry.stage, move.entry.model, move.entry.after, move.notice) == ("autonomous", "bear@2", 5, "")


def test_some_minutes_in_shadow_that_no_person_ended_are_no_trial() -> None:
    short = in_stage("shadow", model="bear@2")
    other = in_stage("shadow", NOW + timedelta(minutes=5), model="bear@1")
    history = [short, other, chosen(other, "autonomous", "anna", NOW + DAY, 1).entry]
    move = begin(history, replace(HERE, model="bear@2"), NOW + 2 * DAY, 1)
    assert move
    assert move.entry.stage == "supervised"
    long = [short, replace(other, at=NOW + 8 * DAY), history[2]]
    kept = begin(long, replace(HERE, model="bear@2"), NOW + 9 * DAY, 1)
    assert kept
    assert kept.entry.stage == "autonomous"


# Another name, another source


def test_a_camera_is_known_by_its_source_under_a_new_name() -> None:
    gate = replace(HERE, name="gate")
    history = history_of(gate, {"yard": [in_stage("shadow")]}, {"gate"})
    move = begin(history, gate, NOW, 3)
    assert move
    assert (move.entry.camera, move.entry.stage) == ("gate", "shadow")
    assert "was called yard" in move.notice
    new_model = begin(history, replace(gate, model="bear@2"), NOW, 3)
    assert new_model
    assert new_model.entry.stage == "shadow"


def test_a_camera_with_entries_of_its_own_takes_over_no_others() -> None:
    found = {"yard": [in_stage("autonomous", source="old")], "test": [in_stage("shadow", camera="test")]}
    assert history_of(HERE, found, {"yard"}) == found["yard"]
    assert history_of(replace(HERE, name="new"), found, {"new", "test"}) == ()  # both are watched


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("model", ["bear@1", "bear@2"])
def test_another_source_is_another_view(stage: Stage, model: str) -> None:
    move = begin([in_stage(stage)], replace(HERE, source="new", model=model), NOW + DAY, 9)
    assert move
    assert move.entry.stage == ("supervised" if stage == "autonomous" else stage)
    assert (move.entry.source, move.entry.model, move.entry.after) == ("new", model, 9)
    assert move.entry.why == "its source is another one"
    assert bool(move.notice) == (stage == "autonomous")
    locked = begin([in_stage(stage)], replace(HERE, source="new", locked=True), NOW + DAY, 9)
    assert locked
    assert (locked.entry.stage, bool(locked.notice)) == (stage, stage == "autonomous")


# What the alarm takes away


@pytest.mark.parametrize("stage", STAGES)
def test_a_moved_camera_begins_again_and_is_never_autonomous(stage: Stage) -> None:
    move = moved_camera(in_stage(stage), NOW + DAY, NOT_YET, locked=False)
    assert move.entry.stage == ("supervised" if stage == "autonomous" else stage)
    assert (move.entry.why, move.entry.after) == (MOVED, NOT_YET)
    assert bool(move.notice) == (stage == "autonomous")


def test_a_locked_one_stays_and_one_that_moves_each_day_says_so_once() -> None:
    entry, said = FIRST, 0
    for day in range(1, 30):
        move = moved_camera(entry, NOW + day * DAY, NOT_YET, locked=True)
        entry, said = move.entry, said + bool(move.notice)
        assert entry.stage == "autonomous"
    assert said == 1
    assert moved_camera(entry, NOW + 40 * DAY, NOT_YET, locked=True).notice


@given(stages, st.integers(0, 9), st.booleans())
def test_wrong_alarms_in_a_row_end_autonomous_alone(stage: Stage, wrong: int, locked: bool) -> None:
    move = wrong_alarms(in_stage(stage), Tally(wrong=wrong, wrong_in_a_row=wrong), Goal(), NOW, 1, locked=locked)
    assert (move is not None) == (stage == "autonomous" and wrong >= 3)
    if move:
        assert move.notice
        assert move.entry.stage == ("autonomous" if locked else "supervised")


# Time


def test_people_are_reminded_of_shadow_after_a_week_then_less_and_less() -> None:
    history = [in_stage("shadow"), in_stage("shadow", NOW + 3 * DAY, why=MOVED)]
    assert since(history) == NOW
    for days, week in ((0, 1), (6.9, 1), (7, 2), (13, 2), (14.5, 4), (28, 8)):
        assert reminds_at(history, NOW + days * DAY) == NOW + 7 * week * DAY
    assert reminds_at([in_stage("supervised")], NOW) is None
    assert reminds_at(history, NOW - 400 * DAY) == NOW - 393 * DAY  # the clock was set back


def test_an_entry_of_a_clock_that_was_ahead_begins_now() -> None:
    ahead = in_stage("shadow", NOW + 900 * DAY, by="anna")
    move = clock_ahead(ahead, NOW)
    assert move
    assert move.entry == replace(ahead, at=NOW)
    assert clock_ahead(move.entry, NOW) is None

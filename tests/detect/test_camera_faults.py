"""Troubles of a camera: told after a grace time, told to be over, and never a flood."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.detect.camera_check import GRACE_S, MAX_CLEAR_S, FaultDebouncer
from edge.schema import CameraFault

GONE = CameraFault("gone", "yard: no frame for 5 s; check its cable and its power")
BLACK = CameraFault("black", "yard: the picture is black; is the lens covered?")


def play(watch, spans, until, step=1.0):
    """Reports of faults that are there during (fault, from, to), as (seconds, type, kind, number).

    The number is of the id: 1, 2, 3 … in the order of the first report.
    """
    told, time = [], 0.0
    ids: dict[str, int] = {}
    while time <= until:
        now = [trouble for trouble, start, end in spans if start <= time < end]
        told += [(time, r.type, r.trouble.kind, ids.setdefault(r.id, len(ids) + 1)) for r in watch(now, time)]
        time += step
    return told


def test_a_camera_that_goes_and_returns_is_told_twice_with_one_id():
    told = play(FaultDebouncer(), [(GONE, 10, 70)], 200)
    assert told == [(13.0, "new", "gone", 1), (72.0, "end", "gone", 1)]


def test_what_lasts_shorter_than_its_grace_is_never_told():
    spans = [(GONE, start, start + 2) for start in range(10, 600, 10)]
    assert play(FaultDebouncer(), spans, 700) == []


def test_what_is_sure_needs_no_grace_and_does_not_flood_either():
    watch = FaultDebouncer()
    told = [(at, each.type) for at in range(60) for each in watch([GONE] if at < 40 else [], at, at_once=["gone"])]
    assert told == [(0, "new"), (42, "end")]
    assert watch([BLACK], 60, at_once=["gone"]) == []


def test_two_kinds_have_lives_of_their_own():
    told = play(FaultDebouncer(), [(GONE, 10, 20), (BLACK, 12, 40)], 100)
    assert [(kind, type_) for _, type_, kind, _ in told] == [
        ("gone", "new"), ("black", "new"), ("gone", "end"), ("black", "end"),
    ]  # fmt: skip
    assert len({number for *_, number in told}) == 2


def test_a_camera_that_flickers_for_a_day_does_not_flood():
    watch = FaultDebouncer()
    told = [each.type for at in range(86_500) for each in watch([GONE] if at < 86_400 and at % 16 < 6 else [], at)]
    # One that is gone more than a third of the time is, after a few rounds, one trouble.
    assert len(told) <= 12
    assert told[-1] == "end"


def test_a_trouble_that_returns_the_next_day_is_told_at_once_again():
    told = play(FaultDebouncer(), [(GONE, 0, 30), (GONE, 5000, 5030)], 6000)
    assert [(at, type_) for at, type_, _, _ in told] == [(3.0, "new"), (32.0, "end"), (5003.0, "new"), (5032.0, "end")]


def test_while_the_camera_is_gone_nothing_else_is_over():
    told = play(FaultDebouncer(), [(BLACK, 0, 20), (GONE, 20, 60)], 100)
    assert [(at, type_, kind) for at, type_, kind, _ in told] == [
        (5.0, "new", "black"), (23.0, "new", "gone"), (60.0, "end", "black"), (62.0, "end", "gone"),
    ]  # fmt: skip


def test_closing_ends_what_was_told():
    watch = FaultDebouncer()
    play(watch, [(GONE, 0, 100)], 20)
    assert watch.now == (GONE,)
    assert [report.type for report in watch.close(21.0)] == ["end"]
    assert not watch.now


@given(st.lists(st.tuples(st.sampled_from([GONE, BLACK]), st.integers(0, 700), st.integers(1, 150)), max_size=8))
def test_new_and_end_alternate_and_everything_ends(spans):
    told = play(FaultDebouncer(), [(trouble, start, start + length) for trouble, start, length in spans], 1300)
    for kind in ("gone", "black"):
        types = [type_ for _, type_, of, _ in told if of == kind]
        assert types == ["new", "end"] * (len(types) // 2)
    longest = max((start + length for _, start, length in spans), default=0)
    assert all(at <= longest + MAX_CLEAR_S + max(GRACE_S.values()) for at, *_ in told)

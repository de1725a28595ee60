"""A part that fails is reported once, and once more when it works again."""

from __future__ import annotations

import pytest

from edge.record.run import EventFactory
from edge.status import Health


class Part:
    """Something that may be broken."""

    def __init__(self) -> None:
        self.problem: str | None = None

    def __call__(self) -> str | None:
        return self.problem


def reported(health: Health, *times: float) -> list[tuple[float, str, str | None]]:
    return [(now, event.type, event.label) for now in times for event in health(now)]


def test_a_problem_is_reported_after_the_grace_time_once_and_its_end_once() -> None:
    part = Part()
    health = Health(EventFactory(), {"mqtt": part})
    assert reported(health, 0.0) == []
    part.problem = "mqtt 127.0.0.1: nobody answers"
    assert reported(health, *range(10, 200, 5)) == [(70, "new", "mqtt")]
    assert health.problems == {"mqtt": "mqtt 127.0.0.1: nobody answers"}
    part.problem = None
    assert reported(health, *range(200, 400, 5)) == [(225, "end", "mqtt")]  # 30 s after it was last there
    assert health.problems == {}


def test_what_is_over_before_its_grace_is_not_reported() -> None:
    part = Part()
    health = Health(EventFactory(), {"mqtt": part})
    for start in range(0, 1000, 100):
        part.problem = "away"
        assert reported(health, start, start + 50) == []
        part.problem = None
        assert reported(health, start + 55) == []


def test_one_that_flickers_within_the_clearing_time_is_one_problem() -> None:
    part = Part()
    health = Health(EventFactory(), {"disk": part}, at_once=["disk"])
    events = []
    for now in range(0, 300, 5):
        part.problem = "full" if now % 20 == 0 else None
        events += reported(health, float(now))
    assert events == [(0.0, "new", "disk")]


def test_parts_at_once_need_no_grace_and_each_part_has_its_own_event() -> None:
    one, two = Part(), Part()
    health = Health(EventFactory(), {"journal": one, "mqtt": two}, at_once=["journal"])
    one.problem, two.problem = "the disk is full", "nobody answers"
    first = health(0.0)
    second = health(60.0)
    assert [(event.label, event.detail) for event in (*first, *second)] == [
        ("journal", "the disk is full"),
        ("mqtt", "nobody answers"),
    ]
    assert all(event.kind == "health" and not event.alarms for event in (*first, *second))
    assert first[0].id != second[0].id
    assert (first[0].seq, second[0].seq) == (1, 2)


def test_new_and_end_of_one_problem_share_an_id() -> None:
    part = Part()
    health = Health(EventFactory(), {"journal": part}, at_once=["journal"])
    part.problem = "full"
    (new,) = health(0.0)
    part.problem = None
    assert health(10.0) == []
    (end,) = health(30.0)
    assert (end.id, end.type) == (new.id, "end")
    assert end.detail is not None
    assert "well again" in end.detail
    part.problem = "full again"
    (again,) = health(40.0)
    assert again.id != new.id
    assert again.detail == "full again"


@pytest.mark.parametrize("seconds", [1.0, 59.0])
def test_grace_counts_from_when_it_began(seconds: float) -> None:
    part = Part()
    part.problem = "away"
    health = Health(EventFactory(), {"mqtt": part})
    assert reported(health, 1000.0, 1000.0 + seconds) == []
    assert reported(health, 1060.0) == [(1060.0, "new", "mqtt")]


@pytest.mark.parametrize(("lasted_s", "words"), [(40.0, "after 40 s"), (600.0, "after 10 min")])
def test_how_long_it_lasted_is_never_zero_minutes(lasted_s: float, words: str) -> None:
    part = Part()
    part.problem = "full"
    health = Health(EventFactory(), {"journal": part}, at_once=["journal"])
    assert len(health(0.0)) == 1
    assert health(lasted_s) == []
    part.problem = None
    (end,) = health(lasted_s + 60.0)
    assert (end.detail or "").endswith(words)


def test_a_part_that_fails_to_answer_keeps_no_other_from_being_asked() -> None:
    def fails() -> str | None:
        raise RuntimeError("dictionary changed size")

    part = Part()
    part.problem = "no sound"
    health = Health(EventFactory(), {"odd": fails, "sound": part}, at_once=["odd", "sound"])
    assert reported(health, 0.0) == [(0.0, "new", "odd"), (0.0, "new", "sound")]


def test_a_config_that_holds_again_is_well_at_once() -> None:
    printed: list[str | None] = ["it cannot be used", None]
    health = Health(EventFactory(), {"config": lambda: printed.pop(0)}, at_once=["config"])
    assert [event.type for event in health(0.0)] == ["new"]
    assert [event.type for event in health(5.0)] == ["end"]
    assert health.problems == {}

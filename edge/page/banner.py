"""The banner of every page: bears that wait for a yes, and cameras in shadow."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from edge.local_time import lasting

if TYPE_CHECKING:
    from edge.alarm import Alarm
    from edge.alert.confirmation import Question


def banner(alarm: Alarm, *, owner: bool) -> dict[str, object]:
    """Return what every page says at its top; only the owner's has the places to answer at. It waits for nothing."""
    assert alarm.alerting
    gate, now = alarm.alerting.confirmations, time.monotonic()
    there = (gate.of_event(one.id) for thread in alarm.threads for one in thread.watcher.decider.open_incidents)
    questions = [*gate.open, *(each for each in there if each and not each.open)]
    return {
        "shadow": ", ".join(each.camera.name for each in alarm.threads if each.watcher.publisher.stage == "shadow"),
        "questions": [
            {
                "id": each.event.id,
                "camera": each.event.camera,
                "words": words_of(each, now),
                "answer": f"/answer/{each.token}" if owner and each.open else "",
            }
            for each in questions
        ],
    }


def words_of(question: Question, now: float) -> str:
    """Return what happens to a bear's noises; ``now``: time.monotonic()."""
    if question.answer:
        silent = "no more noise" if question.sounded else "the alarm stays silent"
        return f"{question.by} said {question.answer}: {silent if question.answer == 'no' else 'the alarm sounds'}."
    if question.sounded:
        return "Nobody answered: the alarm sounds."
    if question.sounds_at is None:
        return "The alarm stays silent until somebody says yes."
    return f"The alarm sounds in {lasting(max(math.ceil(question.sounds_at - now), 0))}, unless somebody says no."

"""The banner of every page: bears that wait for a yes, and cameras in shadow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

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
                "words": _sentence(each, now),
                "answer": f"/answer/{each.token}" if owner and each.open else "",
            }
            for each in questions
        ],
    }


def _sentence(question: Question, now: float) -> str:
    words = question.words(now)
    return f"{words[:1].upper()}{words[1:]}{f' ({question.by})' if question.by else ''}."

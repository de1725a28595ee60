"""The banner of every page: bears that wait for a yes, cameras in shadow, a new model that is asked about."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.alarm import Alarm
    from edge.alert.confirmation import Question


def banner(alarm: Alarm, *, owner: bool) -> dict[str, object]:
    """Return what every page says at its top; only the owner's has the places to answer at. It waits for nothing."""
    assert alarm.alerting
    now = time.monotonic()
    return {
        "asks": bool(alarm.updates and alarm.updates.standing.asks),
        "shadow": ", ".join(each.camera.name for each in alarm.threads if each.watcher.publisher.stage == "shadow"),
        "questions": [_shown(each, now, owner=owner) for each in alarm.alerting.confirmations.shown],
    }


def _shown(question: Question, now: float, *, owner: bool) -> dict[str, str]:
    open_ = question.open and now < question.until
    words = question.words(now).removeprefix(f"{question.said}: ")
    return {
        "id": question.event.id,
        "camera": question.event.camera,
        "head": question.said or ("Is it a bear?" if open_ else "Nobody answered"),
        "seen": question.seen,
        "words": f"{words[:1].upper()}{words[1:]}.",
        "answer": f"/answer/{question.token}" if owner and open_ else "",
    }

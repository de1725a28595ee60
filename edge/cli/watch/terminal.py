"""Each event as one line on the terminal."""

from __future__ import annotations

import logging
import sys
from datetime import datetime
from pathlib import Path

from edge.alert.events import UNKNOWN
from edge.local_time import clock
from edge.schema import Event

log = logging.getLogger(__name__)

OVER = "over after"  # how the detail of a trouble that is over begins; one that ends with the watching has another


class Terminal:
    """Prints each event as a line; ``pictures`` are those of the first alarms."""

    def __init__(self) -> None:
        self.pictures: list[str] = []

    def __call__(self, event: Event) -> None:
        """Print it, as a warning where somebody is wanted."""
        wrong = event.alarms or (event.kind != "bear" and event.type == "new")
        log.log(logging.WARNING if wrong else logging.INFO, "%s", alert(event))
        if event.alarms and event.evidence and len(self.pictures) < 2:
            self.pictures.append(event.evidence)


def alert(event: Event) -> str:
    """Return one line for people: what, where, when by this place's clock, how sure, and where the picture lies."""
    when = f"{event.media_time_s or 0.0:.1f} s"
    if event.media_time_s is None:
        when = clock(datetime.fromisoformat(event.captured_at), date=False)
    detail = (event.detail or "").rstrip(".")
    if event.kind != "bear":
        # A camera's detail begins with its name, as the line does.
        what = detail.removeprefix(f"{event.camera}: ")
        where = "" if event.kind == "test" else "the alarm itself " if event.kind == "health" else f"{event.camera} "
        what = what or ("this is only a test" if event.kind == "test" else "something is wrong")
        return f"{_head(event)}  {where}at {when}: {what}"
    if event.type == "end":
        unseen = detail and not detail.startswith(UNKNOWN)
        what = detail if unseen else f"{_animal(event)} no longer in view"
        return f"{event.camera} at {when}: {what} (highest score {event.top_score or 0.0:.2f})"
    alarm = event.type == "new" or event.escalated
    score = event.score or 0.0
    words = [f"{_animal(event)} {score:.2f}" if alarm else f"same bear, still there ({score:.2f})"]
    words += [f"first seen {event.onset_s:.1f} s before"] if event.type == "new" and event.onset_s is not None else []
    words += [event.file] if event.file else []
    words += [*(f"in {name}" for name in event.zones), *([f"no noise: {event.quiet}"] if event.quiet else [])]
    words += [detail] if detail else []
    words += [from_here(Path(event.evidence))] if event.evidence else []
    return f"{f'{_head(event)}  ' if alarm else ''}{event.camera} at {when}: {', '.join(words)}"


def _animal(event: Event) -> str:
    return (event.label or "bear").replace("_", " ")


def from_here(path: Path) -> str:
    """Return the path as it is typed here: short where it lies below the working folder."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _head(event: Event) -> str:
    """Return the first words of an alert: capitals where somebody is wanted, red for an alarm."""
    over = (event.detail or "").startswith(OVER)
    ends = {"camera": "camera well again" if over else "camera", "health": "well again"}
    if event.kind == "bear":
        head = f"BEAR again ({event.escalated})" if event.escalated else "BEAR"
    elif event.type == "end":
        head = ends.get(event.kind, event.kind)
    elif event.type == "update":
        head = f"still {event.kind}"
    else:
        head = {"camera": "CAMERA", "health": "PROBLEM", "test": "TEST"}[event.kind]
    if event.alarms and sys.stderr is not None and sys.stderr.isatty():
        return f"\033[1;31m{head}\033[0m"
    return head

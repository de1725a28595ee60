"""What is known of one camera now: is a bear there, can it see, and when did it last alarm."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from edge.schema import Event

ALARM = "alarm"  # the type of an alarm's event in Home Assistant
STILL_SEES = frozenset({"moved"})  # troubles with which bears are found all the same
REMEMBERED = 100  # visits whose alarm is known: a bear may be found again after its visit was over


class Standing:
    """Events of one camera in, its state out. Not for use from two threads."""

    def __init__(self, camera: str) -> None:
        self.camera = camera
        self.last_alarm: bytes | None = None  # JSON
        self._bears: dict[str, tuple[Event, str]] = {}  # by id: the newest event, and when it began
        self._troubles: dict[str, Event] = {}  # by id
        self._alarmed: dict[str, None] = {}  # ids of visits that have alarmed, the newest last

    def __call__(self, event: Event) -> bytes | None:
        """Take one event of kind bear or camera; the JSON of an alarm that is the first of its visit."""
        if event.kind == "camera":
            _follow(self._troubles, event, event)
            return None
        known = event.id in self._bears
        began = self._bears[event.id][1] if known else event.captured_at
        _follow(self._bears, event, (event, began))
        first = event.alarms and event.id not in self._alarmed
        before = not known and event.type == "update" and event.quiet is None  # it alarmed before this began to listen
        if event.alarms or before:
            self._alarmed.pop(event.id, None)
            self._alarmed[event.id] = None
            if len(self._alarmed) > REMEMBERED:
                del self._alarmed[next(iter(self._alarmed))]
        if not event.alarms:
            return None
        told = {"at": event.captured_at, "label": event.label, "score": event.score, "zones": event.zones}
        told |= {"id": event.id}
        self.last_alarm = _json(told | {"again": event.escalated})
        return _json({"event_type": ALARM} | told) if first else None

    @property
    def bear(self) -> bool:
        """Whether a bear is there, also one outside the schedule."""
        return bool(self._bears)

    @property
    def visits(self) -> Collection[str]:
        """Ids of the visits that go on."""
        return self._bears.keys()

    @property
    def troubled(self) -> bool:
        """Return True while the camera has a known fault."""
        return bool(self._troubles)

    @property
    def sees(self) -> bool:
        """Whether the camera can tell: nothing blinds it, or it shows a bear all the same."""
        return self.bear or all(event.label in STILL_SEES for event in self._troubles.values())

    @property
    def attributes(self) -> bytes:
        """JSON of the surest bear that is there, and of what is wrong with the camera."""
        surest, since = max(
            self._bears.values(), key=lambda bear: bear[0].top_score or 0.0, default=(None, None)
        )  # fmt: skip
        trouble = next(reversed(self._troubles.values()), None)
        told: dict[str, Any] = {
            "camera": self.camera,
            "bears": len(self._bears),
            "label": surest and surest.label,
            "score": surest and surest.score,
            "top_score": surest and surest.top_score,
            "zones": surest.zones if surest else (),
            "since": since,
            "quiet": surest and surest.quiet,
            "id": surest and surest.id,
            "trouble": trouble and trouble.label,
            "trouble_detail": trouble and trouble.detail,
        }
        return _json(told)


def _follow(going_on: dict[str, Any], event: Event, known: Any) -> None:
    going_on.pop(event.id, None)
    if event.type != "end":
        going_on[event.id] = known


def _json(told: dict[str, Any]) -> bytes:
    return json.dumps(told, separators=(",", ":")).encode("ascii")

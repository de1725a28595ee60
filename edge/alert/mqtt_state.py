"""State of one camera for MQTT (is a bear there, can it see, its last alarm), and alarms to publish."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from edge.schema import Event

ALARM = "alarm"  # the event type of an alarm in Home Assistant
STILL_SEES = frozenset({"moved"})  # faults with which bears are found all the same
MAX_REMEMBERED = 100  # visits whose alarm is known: a bear may be found again after its visit was over

LOSS_S = 60.0  # a broken connection is noticed within 45 s: what was published before that may be lost
NEWS_S = 60.0  # an alarm that could not be published is news for so long, and while its bear is there


class CameraState:
    """Takes the events of one camera and gives its state. Not for use from two threads."""

    def __init__(self, camera: str) -> None:
        self.camera = camera
        self.last_alarm: bytes | None = None  # JSON
        self._bears: dict[str, tuple[Event, str]] = {}  # by id: the newest event, and when it began
        self._faults: dict[str, Event] = {}  # by id
        self._alarmed: dict[str, None] = {}  # ids of visits that have alarmed, the newest last

    def __call__(self, event: Event) -> bytes | None:
        """Take one event of kind bear or camera; return the JSON of an alarm that is the first of its visit."""
        if event.kind == "camera":
            _follow(self._faults, event, event)
            return None
        known = event.id in self._bears
        began = self._bears[event.id][1] if known else event.captured_at
        _follow(self._bears, event, (event, began))
        first = event.alarms and event.id not in self._alarmed
        before = not known and event.type == "update" and event.quiet is None  # it alarmed before this run began
        if event.alarms or before:
            self._alarmed.pop(event.id, None)
            self._alarmed[event.id] = None
            if len(self._alarmed) > MAX_REMEMBERED:
                del self._alarmed[next(iter(self._alarmed))]
        if not event.alarms:
            return None
        alarm = {"at": event.captured_at, "label": event.label, "score": event.score, "zones": event.zones}
        alarm |= {"id": event.id}
        self.last_alarm = _json(alarm | {"again": event.escalated})
        return _json({"event_type": ALARM} | alarm) if first else None

    @property
    def bear(self) -> bool:
        """Return whether a bear is there, also one outside the schedule."""
        return bool(self._bears)

    @property
    def visits(self) -> Collection[str]:
        """Return the ids of the visits that go on."""
        return self._bears.keys()

    @property
    def faulty(self) -> bool:
        """Return True while the camera has a known fault."""
        return bool(self._faults)

    @property
    def sees(self) -> bool:
        """Return whether the camera can see bears: nothing blinds it, or it shows a bear all the same."""
        return self.bear or all(event.label in STILL_SEES for event in self._faults.values())

    @property
    def attributes(self) -> bytes:
        """Return the JSON of the surest bear that is there, and of what is wrong with the camera."""
        surest, since = max(
            self._bears.values(), key=lambda bear: bear[0].top_score or 0.0, default=(None, None)
        )  # fmt: skip
        fault = next(reversed(self._faults.values()), None)
        attributes: dict[str, Any] = {
            "camera": self.camera,
            "bears": len(self._bears),
            "label": surest and surest.label,
            "score": surest and surest.score,
            "top_score": surest and surest.top_score,
            "zones": surest.zones if surest else (),
            "since": since,
            "quiet": surest and surest.quiet,
            "id": surest and surest.id,
            "trouble": fault and fault.label,
            "trouble_detail": fault and fault.detail,
        }
        return _json(attributes)


def _follow(going_on: dict[str, Any], event: Event, known: Any) -> None:
    going_on.pop(event.id, None)
    if event.type != "end":
        going_on[event.id] = known


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


@dataclass(eq=False)
class _Alarm:
    id: str  # of the visit
    topic: str
    payload: bytes
    made_at: float
    published_at: float | None = None


class Alarms:
    """Takes alarms and gives what to publish now; each once, unless it may have been lost. Not for two threads.

    The broker retains no alarm, so each is published while Home Assistant is connected. Times: time.monotonic().
    ``ready`` is set when Home Assistant has had the time to subscribe to what was announced.
    """

    def __init__(self) -> None:
        self.ready = False
        self._away = False  # Home Assistant has said "offline"
        self._alarms: list[_Alarm] = []

    def add(self, id_: str, topic: str, payload: bytes, now: float) -> None:
        """Take the alarm of one visit."""
        self._alarms.append(_Alarm(id_, topic, payload, now))

    def republish(self) -> None:
        """Publish those of the last minute again: the connection was lost and is back."""
        for alarm in self._alarms:
            alarm.published_at = None

    def home_assistant(self, *, online: bool) -> None:
        """Note that Home Assistant has said "online" or "offline"."""
        if online and not self._away:  # it was away before we connected, so it received nothing
            self.republish()
        self._away = not online

    def due(self, now: float, visits: Collection[str]) -> list[tuple[str, bytes]]:
        """Return topic and payload of each alarm to publish now; ``visits``: ids of those that go on."""
        self._alarms = [alarm for alarm in self._alarms if _counts(alarm, now, visits)]
        if self._away or not self.ready:
            return []
        due = [alarm for alarm in self._alarms if alarm.published_at is None]
        for alarm in due:
            alarm.published_at = now
        return [(alarm.topic, alarm.payload) for alarm in due]


def _counts(alarm: _Alarm, now: float, visits: Collection[str]) -> bool:
    if alarm.published_at is not None:
        return now - alarm.published_at <= LOSS_S
    return alarm.id in visits or now - alarm.made_at <= NEWS_S

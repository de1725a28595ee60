"""Alarms for event entities: the broker keeps none of them, so each must be said while somebody hears it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

SURE_S = 60.0  # a broken connection is noticed within 45 s: what was said before that may be lost
NEWS_S = 60.0  # an alarm that nobody could hear is still news for so long, and while its bear is there


@dataclass(eq=False)
class _Alarm:
    id: str  # of the visit
    topic: str
    payload: bytes
    made_at: float
    said_at: float | None = None


class Alarms:
    """Alarms in, what to publish now out; each once, unless it may have been lost. Not for use from two threads.

    Times: time.monotonic(). ``ready`` is set when what was announced has had the time to be subscribed to.
    """

    def __init__(self) -> None:
        self.ready = False
        self._away = False  # Home Assistant said that it goes
        self._alarms: list[_Alarm] = []

    def add(self, id_: str, topic: str, payload: bytes, now: float) -> None:
        """Take the alarm of one visit."""
        self._alarms.append(_Alarm(id_, topic, payload, now))

    def doubt(self) -> None:
        """Say those of the last minute again: the connection was lost and is back."""
        for alarm in self._alarms:
            alarm.said_at = None

    def heard(self, *, online: bool) -> None:
        """Home Assistant says that it is there, or goes."""
        if online and not self._away:  # it was away before we were here, so it heard nothing
            self.doubt()
        self._away = not online

    def due(self, now: float, there: Collection[str]) -> list[tuple[str, bytes]]:
        """Topic and payload of each alarm to publish now; ``there``: ids of the visits that go on."""
        self._alarms = [alarm for alarm in self._alarms if _counts(alarm, now, there)]
        if self._away or not self.ready:
            return []
        unsaid = [alarm for alarm in self._alarms if alarm.said_at is None]
        for alarm in unsaid:
            alarm.said_at = now
        return [(alarm.topic, alarm.payload) for alarm in unsaid]


def _counts(alarm: _Alarm, now: float, there: Collection[str]) -> bool:
    if alarm.said_at is not None:
        return now - alarm.said_at <= SURE_S
    return alarm.id in there or now - alarm.made_at <= NEWS_S

"""All that is known of each device: its own words, its state and since when, and what is doubtful about it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from edge.fleet.messages import MAX_CAMERAS, Answer, MessageError, Place, Site, place_of, shown, site_of, taken_at

__all__ = ["Camera", "Device", "Known", "Site", "State"]

State = Literal["well", "ill", "offline", "silent"]

EVERY_S = 30.0  # how often a device sends its state where it does not say so
LATE_S = 30.0  # by how much an event may come later than the state that names it
SKIPPED_S = 2.0  # how long to wait for an event whose number was skipped
FIRST_AGAIN_S, LONGEST_AGAIN_S = 15.0, 600.0  # without an answer
TURN_S = 1.0  # between two questions to one device
TWINS_S = 300.0  # two runs that take turns within this time are two devices
DOUBT_S = 86_400.0  # how long a doubt is shown after it was last met

_DOUBTS = {  # of {count}, and {why} the last time
    "large": "{count} of its messages were too large and refused",
    "bad": "{count} of its messages were refused: {why}",
    "picture": "{count} of its pictures were refused: {why}",
    "flood": "it floods: {count} of its messages were dropped",
    "twins": "two devices use this name, and took turns {count} times: give each a prefix of its own",
    "clock": "its clock is wrong ({why}): {count} of its events are shown by the time they were heard",
    "cameras": f"it names {{why}} cameras: the first {MAX_CAMERAS} are shown",
    "lost": "events before {why} are lost: its journal does not have them",
}


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera of a device."""

    name: str
    fresh: bool  # its frames are being looked at
    trouble: str | None  # what the device reports as wrong with it
    stage: str | None  # "shadow", "supervised" or "autonomous"; None: the device has no stages
    since: float  # since when it is fresh and without trouble, or not; time.time()


@dataclass(frozen=True, slots=True)
class Device:
    """One device as it is now. Every text of it comes from the device, and may be hostile. Times: time.time()."""

    name: str  # in the fleet: the last level of its prefix
    state: State
    since: float  # since when it is in this state
    heard_at: float  # when it last said something; 0: never
    reason: str | None  # in words; None while it is well
    version: str | None
    model: str | None
    cameras: tuple[Camera, ...]
    site: Site | None
    clock_ok: bool | None  # None: the device does not know
    doubts: tuple[str, ...]  # a sentence each: refused messages, a wrong clock, lost events, …
    filling: bool  # events are missing, and it is asked for them
    stats: dict[str, Any]  # PREFIX/stats as it came; {}: none yet


class Known:
    """One device as the fleet keeps it: what is in ``fleet.db``, and what holds for this run. Not for two threads.

    ``now``: time.time(); ``mono``: time.monotonic().
    """

    __slots__ = (
        "_previous_run", "_run", "_run_since", "_settled", "ask_at", "asked", "asking", "available", "cursor", "doubts",
        "every_s", "forced", "heard", "heard_at", "hidden", "name", "saved_at", "since", "state", "stats", "target",
        "tries", "urgent", "watched", "well",
    )  # fmt: skip

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.hidden = False  # removed from the view until it speaks
        self.state: State = "well"
        self.since = now
        self.heard_at = 0.0
        self.available: bool | None = None  # as the broker says; None: it has not
        self.cursor: Place | None = None  # up to this event all are there
        self.stats = b""  # the JSON of its state; empty: none yet
        self.watched: dict[str, tuple[bool, float]] = {}  # by camera: all is well with it, since when
        self.doubts: dict[str, tuple[int, float, str]] = {}  # by what it is: how often, when last, details then
        # Of this run.
        self.well = True  # as it says itself
        self.every_s = EVERY_S
        self.heard: float | None = None  # mono; None: not in this run, or not since it is silent
        self.saved_at = -math.inf  # mono; when it was last written
        self.urgent = True  # to be written at once
        self.target: Place | None = None  # its newest event, as far as is known
        self.forced = False  # to be asked, whatever is known
        self.asking = False  # an answer is due
        self.asked: Place | None = None
        self.ask_at: float | None = None  # mono; when to ask; None: nothing is missing
        self.tries = 0  # questions since something was missing
        self._settled: Place | None = None  # a target that it does not have more of than is here
        self._run = self._previous_run = ""
        self._run_since = -math.inf

    # What it says.

    def hear(self, now: float, mono: float) -> None:
        """Note that it spoke just now."""
        self.heard_at, self.heard = now, mono
        if self.hidden:
            self.hidden, self.urgent = False, True

    def take_stats(self, found: Mapping[str, Any], now: float, mono: float) -> None:
        """Take its state. Raises MessageError where it is none."""
        cameras = found.get("cameras", {})
        if not isinstance(found.get("well"), bool) or not isinstance(cameras, dict):
            raise MessageError("it is no state of a device")
        if len(cameras) > MAX_CAMERAS:
            self.doubt("cameras", now, str(len(cameras)))
            cameras = dict(list(cameras.items())[:MAX_CAMERAS])
        watched: dict[str, tuple[bool, float]] = {}
        for name, camera in cameras.items():
            if not isinstance(camera, dict):
                raise MessageError("a camera in it is no object")
            fine = camera.get("fresh") is True and camera.get("trouble") is None
            before = self.watched.get(name)
            watched[name] = before if before and before[0] == fine else (fine, now)
        self.urgent |= watched != self.watched
        self.watched = watched
        self.stats = json.dumps({**found, "cameras": cameras}, separators=(",", ":")).encode()
        self.read_stats(found)
        self.available = True  # "online" may have been lost: it is sent without acknowledgement
        self.hear(now, mono)
        last = place_of(found.get("last"))
        if last is None:  # a version that answers no question
            self.target, self.forced, self.ask_at, self.tries = None, False, None, 0
            return
        self._note_run(last[0], now, mono)
        if self.cursor is None:
            self.cursor, self.urgent = last, True
        self.aim(last, mono, LATE_S)

    def read_stats(self, found: Mapping[str, Any]) -> None:
        """Note what of its state is asked often."""
        every_s = found.get("every_s")
        self.every_s = EVERY_S
        if isinstance(every_s, int | float) and 0.0 < every_s <= 3600.0:
            self.every_s = float(every_s)
        self.well = found.get("well") is not False

    def doubt(self, kind: str, now: float, why: str = "", count: int = 1) -> None:
        """Count something that is not as it should be."""
        before = self.doubts.get(kind, (0, now, ""))
        self.doubts[kind] = (before[0] if now - before[1] < DOUBT_S else 0) + count, now, why

    def _note_run(self, boot_id: str, now: float, mono: float) -> None:
        if boot_id != self._run:
            if boot_id == self._previous_run and mono - self._run_since < TWINS_S:
                self.doubt("twins", now)
            self._previous_run, self._run, self._run_since = self._run, boot_id, mono

    # What is missing of its events.

    @property
    def missing(self) -> bool:
        """Return True if it is to be asked for events."""
        if self.cursor is None:
            return False
        if self.forced:
            return True
        if self.target is None or self.target == self._settled:
            return False
        return self.target[0] != self.cursor[0] or self.target[1] > self.cursor[1]

    def aim(self, target: Place, mono: float, grace_s: float) -> None:
        """Note its newest event; ask, after so many seconds, where not all up to it is there."""
        self.target = target
        self.see(mono, grace_s)

    def see(self, mono: float, grace_s: float) -> None:
        """Plan the next question where events are missing; none where all are there."""
        if not self.missing:
            self.ask_at, self.tries, self.asking = None, 0, False
        elif self.ask_at is None:
            self.ask_at = mono + grace_s
        elif not self.tries:
            self.ask_at = min(self.ask_at, mono + grace_s)

    def question(self, mono: float) -> bytes:
        """Return what to ask now; without an answer it is asked again."""
        self.asking, self.asked, self.tries = True, self.cursor, self.tries + 1
        self.ask_at = mono + min(FIRST_AGAIN_S * 2 ** min(self.tries - 1, 10), LONGEST_AGAIN_S)
        return json.dumps({"after": self.asked}).encode()

    def answered(self, answer: Answer, now: float, mono: float) -> None:
        """Take what an answer says beside its events, which are written; ``cursor`` is where it led to."""
        self.asking, self.tries = False, 0
        if answer.lost:
            first = taken_at(answer.events[0], now)[0] if answer.events else now
            self.doubt("lost", now, f"{datetime.fromtimestamp(first):%d %b %H:%M}")
        self.forced = answer.more and bool(answer.events or answer.upto != answer.after)
        if not answer.more and answer.upto in (None, answer.after):
            self._settled = self.target
        self.ask_at = None
        self.see(mono, TURN_S if answer.more else FIRST_AGAIN_S)

    # Its state.

    def look(self, now: float, mono: float, connected_at: float | None, silent_after_s: float) -> bool:
        """Bring its state up to date; True: it changed. ``connected_at``: mono; None: the fleet has no broker."""
        state: State = "well" if self.well else "ill"
        if self.available is False:
            state = "offline"
        elif connected_at is not None:
            heard = max(connected_at, -math.inf if self.heard is None else self.heard)
            if mono - heard > max(silent_after_s, 4.0 * self.every_s):
                state = "silent"
        if self.state == "silent" and self.heard is None and state != "offline":
            state = "silent"
        if state == self.state:
            return False
        if state == "silent":
            self.heard = None
        self.state, self.since, self.urgent = state, now, True
        return True

    def device(self, now: float) -> Device:
        """Return it as people are shown it."""
        stats: dict[str, Any] = json.loads(self.stats) if self.stats else {}
        reason = {
            "well": None,
            "ill": shown(stats.get("reason")) or "it says that it is not well",
            "offline": "it is not connected to the broker",
            "silent": "nothing is heard from it",
        }[self.state]
        synced = stats.get("clock_synced")
        doubts = tuple(
            f"{_DOUBTS[kind].format(count=count, why=why)} (last {datetime.fromtimestamp(at):%d %b %H:%M})"
            for kind, (count, at, why) in self.doubts.items()
            if now - at < DOUBT_S
        )
        return Device(
            name=self.name,
            state=self.state,
            since=self.since,
            heard_at=self.heard_at,
            reason=reason,
            version=shown(stats.get("version")),
            model=shown(stats.get("model")),
            cameras=tuple(_camera(name, each, self.watched) for name, each in stats.get("cameras", {}).items()),
            site=site_of(stats.get("site")),
            clock_ok=synced if isinstance(synced, bool) else None,
            doubts=doubts,
            filling=self.tries > 0,
            stats=stats,
        )


def _camera(name: str, found: Mapping[str, Any], watched: Mapping[str, tuple[bool, float]]) -> Camera:
    stage = found.get("stage")
    return Camera(
        name=shown(name) or "?",
        fresh=found.get("fresh") is True,
        trouble=shown(found.get("trouble")),
        stage=stage if stage in ("shadow", "supervised", "autonomous") else None,
        since=watched[name][1],
    )

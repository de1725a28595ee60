"""All that is known of each device: its own words, its state and since when, and what is doubtful about it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from edge.fleet.messages import MAX_CAMERAS, Answer, MessageError, Place, Site, place_of, shown, site_of, taken_at
from edge.schema import Stage

State = Literal["well", "ill", "offline", "silent"]
STATES = {"silent": "silent", "offline": "offline", "ill": "not well", "well": "well"}  # the worst first

EVERY_S = 30.0  # how often a device sends its state where it does not say so
LONGEST_SILENCE_S = 1_800.0  # that a device may ask for by how seldom it sends its state
LATE_S = 30.0  # by how much an event may come later than the state that names it
SKIPPED_S = 2.0  # how long to wait for an event whose number was skipped
FIRST_AGAIN_S, LONGEST_AGAIN_S = 15.0, 600.0  # without an answer
TURN_S = 1.0  # between two questions to one device
LEFT_S = 10.0  # a broker that stops first says of every device that it is offline
TWINS_S = 300.0  # two runs that take turns within this time are two devices
DOUBT_S = 86_400.0  # how long a doubt is shown after it was last met

_DOUBTS = {  # of {count}, and {why} the last time
    "large": "{count} of its messages {was} too large and refused",
    "bad": "{count} of its messages {was} refused: {why}",
    "unassured": "{count} of its messages {was} refused: only its state may come with QoS 0",
    "picture": "{count} of its pictures {was} refused: only whole baseline JPEGs of at most 50 megapixels are shown",
    "flood": "it floods: {count} of its messages {was} dropped",
    "twins": "two devices use this name, and took turns (times: {count}): give each a prefix of its own",
    "clock": "its clock is wrong ({why}): {count} of its events {is} shown by the time of arrival",
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


class Known:
    """One device as the fleet keeps it: what is in ``fleet.db``, and what holds for this run. Not for two threads.

    ``now``: time.time(); ``mono``: time.monotonic().
    """

    __slots__ = (
        "_before", "_left_at", "_previous_run", "_run", "_run_since", "_settled", "ask_at", "asked", "asking",
        "available", "cameras", "clock_ok", "cursor", "doubts", "every_s", "forced", "heard", "heard_at", "hidden",
        "model", "name", "quiet_s", "reason", "saved_at", "since", "site", "state", "target", "tries", "urgent",
        "version", "watched", "well",
    )  # fmt: skip

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.hidden = False  # to be removed, unless it speaks first
        self.state: State = "ill"
        self.since = now
        self.heard_at = 0.0
        self.available: bool | None = None  # as the broker says; None: it has not
        self.cursor: Place | None = None  # up to this event all are there
        self.watched: dict[str, tuple[bool, float]] = {}  # by camera: all is well with it, since when
        self.doubts: dict[str, tuple[int, float, str]] = {}  # by what it is: how often, when last, details then
        # Its state, as it says itself.
        self.well: bool | None = None  # None: it has sent none yet
        self.reason: str | None = "it has sent no state yet"
        self.version: str | None = None
        self.model: str | None = None
        self.cameras: tuple[Camera, ...] = ()
        self.site: Site | None = None
        self.clock_ok: bool | None = None
        self.every_s = EVERY_S
        # Of this run.
        self._left_at = -math.inf  # mono; when the broker said that it is offline
        self._before: tuple[State, float] = (self.state, now)  # its state before it was offline, and since when
        self.heard: float | None = None  # mono; None: not in this run, or not since it is silent
        self.quiet_s = 0.0  # for how long the fleet has listened, in sum, since it spoke
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
        self.heard_at, self.heard, self.quiet_s = now, mono, 0.0
        if self.hidden:
            self.hidden, self.urgent = False, True

    def leave(self, mono: float) -> None:
        """Note that the broker says that it is offline."""
        if self.available is not False:
            self._left_at = mono
        self.available = False

    def take_back(self, mono: float) -> bool:
        """Undo the "offline" of the last ``LEFT_S``; False: there was none."""
        if self.available is not False or mono - self._left_at > LEFT_S:
            return False
        self.available = None
        if self.state == "offline":
            (self.state, self.since), self.urgent = self._before, True
        return True

    def take_stats(self, found: Mapping[str, Any], now: float, mono: float) -> None:
        """Take its state. Raises MessageError where it is none."""
        cameras = found.get("cameras", {})
        if not isinstance(found.get("well"), bool) or not isinstance(cameras, dict):
            raise MessageError("it is no state of a device")
        if len(cameras) > MAX_CAMERAS:
            self.doubt("cameras", now, str(len(cameras)))
        cameras = {shown(name) or "?": camera for name, camera in list(cameras.items())[:MAX_CAMERAS]}
        watched: dict[str, tuple[bool, float]] = {}
        for name, camera in cameras.items():
            if not isinstance(camera, dict):
                raise MessageError("a camera in it is no object")
            fine = camera.get("fresh") is True and camera.get("trouble") is None
            before = self.watched.get(name)
            watched[name] = before if before and before[0] == fine else (fine, now)
        self.urgent |= watched != self.watched
        self.watched = watched
        self.read_stats({**found, "cameras": cameras})
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
        """Note what is shown of its state."""
        every_s = found.get("every_s")
        self.every_s = EVERY_S
        if isinstance(every_s, int | float) and 0.0 < every_s <= 3600.0:
            self.every_s = float(every_s)
        self.well, self.site = found.get("well") is not False, site_of(found.get("site"))
        self.reason, self.version, self.model = (shown(found.get(name)) for name in ("reason", "version", "model"))
        synced = found.get("clock_synced")
        self.clock_ok = synced if isinstance(synced, bool) else None
        self.cameras = tuple(
            Camera(
                name=name,
                fresh=camera.get("fresh") is True,
                trouble=shown(camera.get("trouble")),
                stage=stage if (stage := camera.get("stage")) in get_args(Stage) else None,
                since=self.watched[name][1],
            )
            for name, camera in found["cameras"].items()
        )

    @property
    def stats(self) -> bytes:
        """Its state as JSON that ``read_stats`` reads; empty: it has sent none yet."""
        if self.well is None:
            return b""
        site = self.site and asdict(self.site)
        cameras = {
            each.name: {"fresh": each.fresh, "trouble": each.trouble, "stage": each.stage} for each in self.cameras
        }
        names = ("well", "reason", "version", "model", "every_s")
        about = {name: getattr(self, name) for name in names}
        return json.dumps(about | {"clock_synced": self.clock_ok, "site": site, "cameras": cameras}).encode()

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

    def look(self, now: float, listened_s: float, silent_after_s: float) -> bool:
        """Bring its state up to date; True: it changed. ``listened_s``: how long the fleet has listened since."""
        self.quiet_s += listened_s
        state: State = "well" if self.well else "ill"
        if self.available is False:
            state = "offline"
        elif self.quiet(silent_after_s):
            state = "silent"
        if self.state == "silent" and self.heard is None and state != "offline":
            state = "silent"
        if state == self.state:
            return False
        if state == "silent":
            self.heard = None
        elif state == "offline":
            self._before = self.state, self.since
        self.state, self.since, self.urgent = state, now, True
        return True

    def quiet(self, silent_after_s: float) -> bool:
        """Return True if it has said nothing for too long while the fleet listened."""
        return self.quiet_s > max(silent_after_s, min(4.0 * self.every_s, LONGEST_SILENCE_S))

    def device(self, now: float) -> Device:
        """Return it as people are shown it."""
        reason = {
            "well": None,
            "ill": self.reason or "it says that it is not well",
            "offline": "it is not connected to the broker",
            "silent": "nothing is heard from it",
        }[self.state]
        doubts = tuple(
            f"{_sentence(kind, count, why)} (last {datetime.fromtimestamp(at):%d %b %H:%M})"
            for kind, (count, at, why) in self.doubts.items()
            if now - at < DOUBT_S
        )
        return Device(
            name=self.name,
            state=self.state,
            since=self.since,
            heard_at=self.heard_at,
            reason=reason,
            version=self.version,
            model=self.model,
            cameras=self.cameras,
            site=self.site,
            clock_ok=self.clock_ok,
            doubts=doubts,
            filling=self.tries > 0,
        )


def _sentence(kind: str, count: int, why: str) -> str:
    verbs = {"is": "is", "was": "was"} if count == 1 else {"is": "are", "was": "were"}
    return _DOUBTS[kind].format(count=count, why=why, **verbs)

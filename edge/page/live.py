"""Live pictures: what each camera sees and the alarm makes of it, and a stream of how all of it is.

While nobody looks nothing of it runs. A picture is made once for all who look, and never in a thread that
watches.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

import cv2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from edge.detect.zones import BLACK, Polygon, PrivacyMask
from edge.drawing import ALARM, FONT, FOUND, MOVING, Lettering, Mark, annotate
from edge.local_time import clock, lasting
from edge.page.banner import banner
from edge.page.common import Page, page_of, render
from edge.page.guard import Refused, session_cookie
from edge.record.clip import at_most, jpeg
from edge.rollout import SHADOW
from edge.schema import WHOLE
from edge.status import NOT_LOOKED, Status
from edge.version import __version__

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from edge.alarm import Alarm
    from edge.camera_thread import CameraThread
    from edge.schema import Frame, Picture, Score

WIDTH = 800  # of a picture, at most, pixels
QUALITY = 75
LEAST_PX = 45  # a shorter bear is not seen
MIN_WORDS = 0.1  # a place with a lower bear probability is drawn without it
MAX_LIVE = 2  # pictures that are live at once, for all who look
EMPTY_S = 10.0  # a viewer gives its place up for a moment, every half minute
MAX_LISTENERS = 20
POLL_S = 0.5  # how often to see how all of it is
PICTURE_POLL_S = 0.05  # and whether there is a new picture
STILL_S = 5.0  # the same picture is sent again so often: a viewer who is gone without a word is found out
AGAIN_S = 5.0  # and how all of it is: a page that hears nothing knows that the alarm is not reached
OLD_S = 5.0  # an older picture is not what is there now; of a slow camera three pictures
CHECK_S = 10.0  # how often to see whether who looks still may
NEXT = b"--frame\r\n"


@dataclass(frozen=True)
class CameraNow:
    """One camera at one moment, in words."""

    name: str
    state: Literal["bear", "watching", "silent", "off"]
    words: str
    age: str  # of the last picture
    picture: bool  # there is one
    old: bool  # and no newer one comes
    silent: str  # why it makes no noise, or until when; empty where it may
    stage: str  # empty where it has none


@dataclass
class Looking:
    """Viewers of now, and the pictures made for them."""

    live: set[object] = field(default_factory=set)
    listeners: set[object] = field(default_factory=set)
    made: dict[str, tuple[object, bytes]] = field(default_factory=dict)  # by camera: what of, and the JPEG
    # One thread: the other cores are the alarm's, and each thread keeps megabytes of what it once used.
    hand: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "live pictures"))

    def picture(self, thread: CameraThread) -> Future[bytes | None]:
        """Return what will be a camera's newest picture as a JPEG; None before there is one."""
        return self.hand.submit(self._picture, thread)

    def _picture(self, thread: CameraThread) -> bytes | None:
        seen, old = thread.watcher.seen, is_old(thread, time.monotonic())
        if seen is None:
            return None
        name, of = thread.camera.name, (seen[0].time, seen[0].index, old)
        if name not in self.made or self.made[name][0] != of:
            self.made[name] = of, jpeg(drawn(thread, *seen, old=old), QUALITY)
        return self.made[name][1]


class Endless(StreamingResponse):
    """A response that goes on until who looks leaves; it is one of ``seats`` meanwhile.

    ``empty`` is called when nobody has looked for ``EMPTY_S``.
    """

    def __init__(
        self,
        content: AsyncIterator[bytes],
        seats: set[object],
        media_type: str,
        empty: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(content, media_type=media_type)
        self._seats = seats
        self._empty = empty

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        self._seats.add(self)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._seats.discard(self)
            asyncio.get_running_loop().call_later(EMPTY_S, self._left)

    def _left(self) -> None:
        if not self._seats:
            self._empty()


def give_back_memory() -> None:
    """Give the system back what pictures were made in; glibc would keep these megabytes for the next ones."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def looking(page: Page) -> Looking:
    """Return who looks at this page."""
    found: Looking = page.shared.setdefault("live", Looking())
    return found


@lru_cache(maxsize=16)
def hiding(masks: tuple[Polygon, ...]) -> PrivacyMask:
    """Return what hides these masks, made once."""
    return PrivacyMask(masks, BLACK)


def drawn(thread: CameraThread, frame: Frame, scores: Sequence[Score], *, old: bool) -> Picture:
    """Return a frame, at most ``WIDTH`` pixels wide, with what the alarm sees in it; what masks cover is hidden."""
    settings = thread.camera.settings
    small = at_most(hiding(settings.masks)(frame.image), WIDTH)  # what is hidden must not mix with what is beside it
    caption = f"{frame.camera}  {clock(frame.wall)}"
    marks = [] if old else marks_of(thread, scores)
    picture = annotate(small, marks, caption, settings.zones, settings.masks)
    _rule(picture, LEAST_PX * small.shape[1] / frame.size_wh[0])
    if old:
        _say_old(picture)
    return picture


def marks_of(thread: CameraThread, scores: Sequence[Score]) -> list[Mark]:
    """List the marks to draw, the most important last: what a look at the whole found, what moves, what is followed."""
    marks = []
    for score in sorted(scores, key=lambda score: (score.region.kind == "motion", score.bear)):
        if score.region.kind != "track" and score.region.box_xywh != WHOLE:
            words = f"{score.bear:.2f}" if score.bear >= MIN_WORDS else ""
            marks.append(Mark(score.region.box_xywh, words, MOVING if score.region.kind == "motion" else FOUND))
    sure = thread.watcher.tracker.threshold
    bears = {number for incident in thread.watcher.decider.open_incidents for number in tuple(incident.tracks)}
    for track in sorted(thread.watcher.tracker.tracks, key=lambda track: track.number in bears):
        bear, now = track.number in bears, track.now
        # A low score of a bear that alarmed is of its edge, or of where it was.
        words = f"{'BEAR' if bear else 'bear?'}{f' {now.bear:.2f}' if now and (not bear or now.bear >= sure) else ''}"
        marks.append(Mark(track.box_xywh, words, ALARM if bear else MOVING, bold=True))
    return marks


def _say_old(picture: Picture) -> None:
    """Write OLD PICTURE across the middle, in half of the width."""
    height, width = picture.shape[:2]
    lettering = Lettering(picture, 1.0)
    lettering.scale *= width / 2 / lettering.measure("OLD PICTURE")[0]
    wide, tall, base = lettering.measure("OLD PICTURE")
    lettering.band(max(0, (height - tall) // 2 - base), tall + 2 * base)
    lettering.write("OLD PICTURE", ((width - wide) // 2, (height + tall) // 2))


def _rule(picture: Picture, length: float) -> None:
    """Draw at the lower right how long ``LEAST_PX`` of the camera's own picture are, here ``length`` pixels."""
    height, width = picture.shape[:2]
    scale, words = max(0.35, min(width, height) / 1100), f"{LEAST_PX} px"
    (wide, tall), base = cv2.getTextSize(words, FONT, scale, 1)
    right, bottom = width - base, height - base
    left, middle, white = right - wide - base - max(2, round(length)), bottom - tall // 2, (255, 255, 255)
    end = right - wide - base
    cv2.rectangle(picture, (left - base, bottom - tall - base), (width, height), (0, 0, 0), -1)
    cv2.line(picture, (left, middle), (end, middle), white, 1)
    for x in (left, end):
        cv2.line(picture, (x, bottom - tall), (x, bottom), white, 1)
    cv2.putText(picture, words, (end + base, bottom), FONT, scale, white, 1, cv2.LINE_AA)


def camera_now(thread: CameraThread, now: float) -> CameraNow:
    """Return how a camera is; ``now``: time.monotonic()."""
    status, seen = thread.status(now), thread.watcher.seen
    trouble = (status.trouble or "").removeprefix(f"{status.name}: ")
    silent, old = silent_words(thread), is_old(thread, now)
    state: Literal["bear", "watching", "silent", "off"] = "silent" if silent else "watching"
    words = f"Watching, but: {trouble}" if trouble else "Watching"
    if silent:
        words = f"{words}. {silent}"
    if thread.played:
        state, words = "off", "The clip is over"
    elif thread.awaits_frame and not trouble:
        state, words = "off", "Not watching yet: the camera is being opened"
    elif status.blind or old or not status.fresh:
        age = status.frame_age_s or 0.0
        gap = f"no picture for {lasting(age // OLD_S * OLD_S)}" if age >= OLD_S else NOT_LOOKED
        state, words = "off", f"Not watching: {trouble or gap}"
    if thread.watcher.decider.open_incidents:
        words = "A bear" if state == "watching" and not trouble else f"A bear. {words}"
        state = "bear"
    last, stage = age_words(status.frame_age_s), thread.watcher.publisher.stage or ""
    return CameraNow(status.name, state, words, last, seen is not None, old, silent, stage)


def is_old(thread: CameraThread, now: float) -> bool:
    """Return True if a camera's last picture is not what is there now; ``now``: time.monotonic()."""
    if thread.watcher.single_images or not thread.source.live:
        return not thread.fresh(now)
    return not (thread.fresh(now) and thread.watcher.fresh(now, max(OLD_S, 3.0 / thread.source.fps)))


def silent_words(thread: CameraThread) -> str:
    """Return why a camera in shadow makes no noise, or until when its schedule allows none; empty where it may."""
    if thread.watcher.publisher.stage == "shadow":
        return SHADOW
    schedule, now = thread.camera.settings.schedule, datetime.now(UTC)
    if schedule is None or thread.played or schedule.holds(now):
        return ""
    begins = schedule.begins(now)
    day = "" if begins - now < timedelta(days=1) else f"{begins:%A} "
    return f"Silent until {day}{begins:%H:%M} (schedule)"


def age_words(seconds: float | None) -> str:
    """Return an age in words, which change once a second at most."""
    if seconds is None:
        return "none yet"
    return "now" if seconds < 2.0 else f"{lasting(round(seconds))} ago"


def all_now(page: Page, *, owner: bool) -> dict[str, object]:
    """Return how all of it is, as the stream sends it; it waits for nothing."""
    alarm, now = page.alarm(), time.monotonic()
    cameras = [camera_now(thread, now) for thread in alarm.threads]
    bears = [each for each in cameras if each.state == "bear"]
    return banner(alarm, owner=owner) | {
        "cameras": [asdict(each) for each in cameras],
        "alarm": bool(bears),
        "silent": bears[0].silent.removeprefix("SHADOW: ") if bears and all(each.silent for each in bears) else "",
        "events": changes(alarm),
        "well": not ill(alarm, now),
        "place": len(looking(page).live) < MAX_LIVE,
    }


def changes(alarm: Alarm) -> int:
    """Return a number that is another one once there is something new in the journal."""
    return alarm.alerting.journal.changes if alarm.alerting and alarm.alerting.journal else 0


def ill(alarm: Alarm, now: float) -> list[str]:
    """Return why the alarm cannot be relied on, as ``Status.ill``, of what is known without asking anyone."""
    problems = alarm.alerting.problems if alarm.alerting else {}
    cameras = tuple(thread.status(now) for thread in alarm.threads)
    return Status(__version__, alarm.classifier.name, 0.0, cameras, problems=problems).ill


def camera_of(page: Page, name: str) -> CameraThread | None:
    """Return the camera of a name, of the alarm that runs now."""
    return next((each for each in page.alarm().threads if each.camera.name == name), None)


def home(request: Request) -> Response:
    """Show every camera."""
    now: dict[str, Any] = all_now(page_of(request), owner=request.state.access.owner)
    bears = [each["name"] for each in now["cameras"] if each["state"] == "bear"]
    return render(request, "live.html", now=now, bears=bears, silent=now["silent"], least=LEAST_PX)


def still(request: Request) -> Response:
    """Send a camera's newest picture."""
    page = page_of(request)
    thread = camera_of(page, request.path_params["camera"])
    picture = looking(page).picture(thread).result() if thread else None
    if picture is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no picture of such a camera yet")
    return Response(picture, media_type="image/jpeg")


async def video(request: Request) -> Response:
    """Send a camera's pictures as they come, while one of a few places is free."""
    page, name = page_of(request), request.path_params["camera"]
    if camera_of(page, name) is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such camera")
    seats = looking(page).live
    if len(seats) >= MAX_LIVE:
        raise Refused(
            HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_LIVE} live pictures are being looked at, which is the most"
        )
    media_type, pictures = "multipart/x-mixed-replace; boundary=frame", _pictures(request, page, name)
    return Endless(pictures, seats, media_type, partial(looking(page).hand.submit, give_back_memory))


async def stream(request: Request) -> Response:
    """Send how all of it is, at once, whenever it changes, and every few seconds (text/event-stream)."""
    page = page_of(request)
    seats = looking(page).listeners
    if len(seats) >= MAX_LISTENERS:
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_LISTENERS} pages are open, which is the most")
    return Endless(_changes(request, page), seats, "text/event-stream")


async def _pictures(request: Request, page: Page, name: str) -> AsyncIterator[bytes]:
    sent: object = None
    was_old = False
    sent_at = checked_at = time.monotonic()
    yield NEXT
    while thread := camera_of(page, name):
        now = time.monotonic()
        if now - checked_at >= CHECK_S:
            checked_at = now
            if not await run_in_threadpool(may_look, request):
                return
        seen, old = thread.watcher.seen, is_old(thread, now)
        if seen is not sent or old != was_old or now - sent_at >= STILL_S:
            picture = await asyncio.wrap_future(looking(page).picture(thread))
            if picture is not None:
                # A browser shows a picture once it has seen the next one begin.
                yield (
                    b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture) + picture + b"\r\n" + NEXT
                )
            sent, was_old, sent_at = seen, old, now
        await asyncio.sleep(PICTURE_POLL_S)


async def _changes(request: Request, page: Page) -> AsyncIterator[bytes]:
    sent = ""
    sent_at = checked_at = time.monotonic()
    while True:
        text, now = json.dumps(all_now(page, owner=request.state.access.owner)), time.monotonic()
        if text != sent or now - sent_at >= AGAIN_S:
            yield f"data: {text}\n\n".encode()
            sent, sent_at = text, now
        if now - checked_at >= CHECK_S:
            checked_at = now
            if not await run_in_threadpool(may_look, request):
                return
        await asyncio.sleep(POLL_S)


def may_look(request: Request) -> bool:
    """Return True while the session or token that asked is not over."""
    accounts, access = page_of(request).accounts, request.state.access
    if access.token:
        return access.name in accounts.tokens
    return accounts.of_session(session_cookie(request) or "") is not None


ROUTES = [
    Route("/", home),
    Route("/live/{camera}.jpg", still),
    Route("/live/{camera}.mjpeg", video),
    Route("/stream", stream),
]

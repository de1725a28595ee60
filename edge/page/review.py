"""Review: one picture at a time, right or wrong with one key. Alarms and random frames, and nobody sees which is which.

A program may do it too: ``GET /review/next.json?have=KEY,KEY`` gives what waits, ``POST /review`` takes the verdict.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from edge.errors import OptionError
from edge.page.common import back_to, page_of, render
from edge.page.guard import Refused, wants_json
from edge.record.review import MAX_NOTE, Review
from edge.schema import utc_text

if TYPE_CHECKING:
    from edge.record.review_queue import ReviewQueue, Unit

PLACE = "/review"
LABELS = (
    ("fox", "Fox"), ("wild_boar", "Wild boar"), ("deer", "Deer"), ("dog", "Dog"), ("cattle", "Cattle"),
    ("person", "Person"), ("teddy_bear", "Toy bear"), ("other", "Something else"),
    ("brown_bear", "Brown bear"), ("black_bear", "Black bear"),
)  # fmt: skip
SHOWN_MISSES = 5


def show(request: Request) -> Response:
    """Show what to review next."""
    if not request.state.access.may_review:
        return render(request, "review.html", HTTPStatus.FORBIDDEN, may_review=False)
    queue, who, now = _queue(request), _who(request), datetime.now().astimezone()
    from edge.record.misses import read_misses

    session = queue.session(who)
    event = request.query_params.get("event")  # of the link on its page
    asked = queue.of_event(event) if event else None
    (left, today), found = queue.counts(), asked or queue.next(who)
    misses = [(datetime.fromisoformat(each.at).astimezone(), each) for each in read_misses(queue.root)]
    words, session.words = session.words, ""  # said once
    return render(
        request,
        "review.html",
        may_review=True,
        words=words,
        unit=_as_json(*found) if found else None,
        session=session,
        decided=event if not asked else None,
        left=left,
        today=today,
        labels=LABELS,
        cameras=[camera.name for camera in page_of(request).alarm().settings.cameras],
        now=now,
        misses=misses[:SHOWN_MISSES],
        count=len(misses),
    )


def following(request: Request) -> Response:
    """Return what to review next as JSON, beside what the client ``have``s already."""
    queue, who = _queue(request), _who(request)
    have = [key for key in request.query_params.get("have", "").split(",") if key]
    found = queue.next(who, have)
    return _state(queue, unit=_as_json(*found) if found else None)


def picture(request: Request) -> Response:
    """Return the picture of what waits."""
    unit = _queue(request).find(request.path_params["key"])
    if unit is None:
        raise Refused(HTTPStatus.NOT_FOUND, "this was reviewed, or its picture was deleted")
    return FileResponse(unit.picture, media_type="image/jpeg")


def decide(request: Request) -> Response:
    """Write down a verdict, take the last one back (``undo``), or have what looks the same decided one by one."""
    queue, who, form = _queue(request), _who(request), request.state.form
    keys = [form.get("unit", ""), *form.get("alike", "").split()]
    what, unit = form.get("what", ""), None
    if what == "undo":
        found = queue.undo(who)
        unit = _as_json(*found) if found else None
    elif what == "apart":
        queue.apart(keys)
    else:
        queue.decide(who, keys, _review(form, request.state.access.name))
    if not wants_json(request):
        return back_to(PLACE)
    session, (left, _) = queue.session(who), queue.counts()
    words = session.words
    if left:  # else it is said by the page that follows
        session.words = ""
    return _state(queue, unit=unit, words=words, failed=session.failed, undo=len(session.done))


def report_miss(request: Request) -> Response:
    """Write down a bear that a person saw and the alarm missed."""
    from edge.record.misses import Miss, write_miss

    queue, form, now = _queue(request), request.state.form, datetime.now(UTC)
    cameras = [camera.name for camera in page_of(request).alarm().settings.cameras]
    camera, note = form.get("camera", ""), " ".join(form.get("note", "").split())
    if camera not in cameras:
        raise Refused(HTTPStatus.BAD_REQUEST, f"camera {camera!r} is none of {', '.join(cameras)}; choose one of them")
    try:
        at = datetime.fromisoformat(f"{form.get('day', '')}T{form.get('time', '')}").astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        words = f"{form.get('day', '')!r}, {form.get('time', '')!r} is no date and time; give 2026-11-24 and 04:12"
        raise Refused(HTTPStatus.BAD_REQUEST, words) from None
    if at > now + timedelta(minutes=1):
        raise Refused(HTTPStatus.BAD_REQUEST, "this time is still to come by the alarm's clock; give an earlier one")
    if len(note) > MAX_NOTE:
        raise Refused(HTTPStatus.BAD_REQUEST, f"the note has {len(note)} characters; {MAX_NOTE} are the most")
    try:
        write_miss(queue.root, Miss(camera, utc_text(at), utc_text(now), request.state.access.name, note))
    except OptionError as error:
        raise Refused(HTTPStatus.INSUFFICIENT_STORAGE, str(error)) from None
    return JSONResponse({"saved": True}) if wants_json(request) else back_to(f"{PLACE}#misses")


def _queue(request: Request) -> ReviewQueue:
    """Return the queue of the running alarm's evidence, brought up to date. Raises Refused."""
    from edge.record.review_queue import ReviewQueue

    page = page_of(request)
    if not request.state.access.may_review:
        raise Refused(HTTPStatus.FORBIDDEN, "only the owner reviews")
    writer = page.alarm().writer
    if writer is None:
        raise Refused(HTTPStatus.CONFLICT, "no pictures are kept (`record` is off), so there is nothing to review")
    found: ReviewQueue = page.shared.setdefault(f"review {writer.folder}", ReviewQueue(writer.folder, page.state))
    found.open = [one.id for thread in page.alarm().threads for one in thread.watcher.decider.open_incidents]
    try:
        found.counts()
    except OSError as error:
        words = f"{error.filename}: cannot be looked into ({error.strerror}); check this disk"
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, words) from None
    return found


def _who(request: Request) -> str:
    """Return a name of the session: a browser's, or a token's."""
    access = request.state.access
    return access.csrf or f"token {access.name}"


def _review(form: dict[str, str], by: str) -> Review:
    """Return the review of a form. Raises Refused."""
    verdict: Any = form.get("verdict") or ("relabelled" if form.get("label") else "")
    try:
        return Review(verdict, utc_text(datetime.now(UTC)), form.get("label") or None, by)
    except ValueError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f"this review cannot be used: {error}") from None


def _as_json(unit: Unit, same: list[Unit]) -> dict[str, Any]:
    """Return a unit for the page, without a word about what it is."""
    return {"id": unit.key, "region": unit.region, "alike": [each.key for each in same]}


def _state(queue: ReviewQueue, **more: Any) -> Response:
    left, today = queue.counts()
    return JSONResponse({"left": left, "today": today} | more)


ROUTES = [
    Route(PLACE, show, methods=["GET"]),
    Route(PLACE, decide, methods=["POST"]),
    Route(f"{PLACE}/next.json", following),
    Route(f"{PLACE}/miss", report_miss, methods=["POST"]),
    Route(f"{PLACE}/{{key}}.jpg", picture),
]

"""Events on the page: their list, one event with its pictures and clips, and the files of its evidence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, time, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import cv2
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from edge.alert.events import TROUBLE_WORDS
from edge.background import first_to_go
from edge.errors import OptionError, PictureError
from edge.files import JOURNAL
from edge.local_time import lasting
from edge.page.common import FOLDER, BasePage, Page, back_to, page_of, render
from edge.page.guard import Refused
from edge.pictures import decode_picture, picture_bytes
from edge.record.clip import at_most, jpeg
from edge.record.event_folders import EvidenceFolder, check_readable, evidence_of, review_of, set_lock
from edge.record.event_words import (
    LEGEND,
    MARKS,
    REVIEWED,
    clock,
    deliveries,
    delivery_text,
    path_text,
    review_text,
    reviewed_text,
    silent,
    size,
    unfinished,
)
from edge.record.event_zip import zip_events
from edge.record.history import EventRow, JournalReader, JournalReadError, NoJournalError, PastEvent
from edge.record.media_store import PLAIN

SHOWN = 50  # events on one page of the list
KINDS = {"bear": "Bears", "camera": "Camera troubles", "health": "The alarm's own troubles", "notice": "Notices"}
NOTICES = {  # by label
    "answer": "Answer to a question",
    "stage": "Change of stage",
    "drift": "Drift of a camera",
    "model": "New model",
}
TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".mp4": "video/mp4", ".json": "application/json"}
# Evidence does not change, but is deleted: a browser asks each time, and gets it once.
PRIVATE = {"Cache-Control": "private, no-cache"}
THUMB_WIDTH = 320
THUMBS_BYTES = 4_000_000
WHY_S = 60.0  # a full trace takes some seconds to read
SENT = {"done": "delivered", "waiting": "waiting", "parked": "refused"}
STILL = re.compile(r"(?:alarm|clip)-(\d+)\.(?:jpg|mp4)")
ROW = re.compile(r"\d{1,18}")


class Thumbnails:
    """Small pictures, the last used ones kept in memory; for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Path, str], bytes] = OrderedDict()

    def __call__(self, path: Path, version: str) -> bytes:
        """Return a JPEG at most ``THUMB_WIDTH`` pixels wide. Raises PictureError."""
        with self._lock:
            if found := self._kept.get((path, version)):
                self._kept.move_to_end((path, version))
                return found
        image = decode_picture(picture_bytes(path), path, cv2.IMREAD_REDUCED_COLOR_2)
        made = jpeg(at_most(image, THUMB_WIDTH), 80)
        with self._lock:
            self._kept[path, version] = made
            while sum(map(len, self._kept.values())) > THUMBS_BYTES:
                self._kept.popitem(last=False)
        return made


def event_list(request: Request) -> Response:
    """Show the events that are asked for, the newest first."""
    page = page_of(request)
    asked = {name: value for name, value in request.query_params.items() if value}
    found: list[PastEvent] = []
    problem, status, skipped = None, HTTPStatus.OK, 0
    wanted: dict[str, Any] = {}
    try:
        wanted = _wanted(asked)
        with JournalReader(page.state / JOURNAL) as journal:
            found = journal.incidents(**wanted, limit=SHOWN + 1)  # one more, to know whether there are more
            skipped = journal.skipped
    except NoJournalError:
        pass
    except JournalReadError as error:
        problem, status = str(error), HTTPStatus.SERVICE_UNAVAILABLE
    except OptionError as error:
        problem, status = str(error), HTTPStatus.BAD_REQUEST
    forward, newest = "after" in wanted, not {"before", "after"} & set(wanted)
    shown = found[:SHOWN] if forward else found[-SHOWN:]
    more = len(found) > SHOWN
    filters = {name: value for name, value in asked.items() if name not in {"before", "after"}}
    links = {"newest": events_place(filters)}
    if shown and (more if forward else not newest):
        links["newer"] = events_place(filters | {"after": str(shown[-1].first.row)})
    if shown and (more or forward):
        links["older"] = events_place(filters | {"before": str(shown[0].first.row)})
    alarm = page.alarm()
    cameras = [camera.name for camera in alarm.settings.cameras]
    labels = [*alarm.classifier.card.alarm_labels, *sorted({one.label for one in shown if one.label and _bear(one)})]
    return render(
        request,
        "events.html",
        status,
        events=[_summary(one, page.state) for one in reversed(shown)],
        problem=problem,
        skipped=skipped,
        asked=asked,
        filters=filters,
        newest=newest,
        links=links,
        kinds=KINDS.items(),
        cameras=[(name, name) for name in _options(cameras, asked.get("camera"))],
        labels=[(label, label.replace("_", " ")) for label in _options(labels, asked.get("label"))],
        legend=_legend([one.first for one in shown]),
    )


def event_page(request: Request) -> Response:
    """Show one event."""
    page = page_of(request)
    incident = _incident(request)
    folders = evidence_of(incident, page.state)
    files = _files(folders)
    why = why_not = None
    if "why" in request.query_params:
        try:
            why = _why(page, incident.id)
        except OptionError as error:
            why_not = str(error)
    rows = {row.event.seq: row for row in incident.events}
    way = next((way for each in folders if (way := each.path())), [])
    review = review_of(incident, folders)
    return render(
        request,
        "event.html",
        event=_summary(incident, page.state),
        folders=folders,
        pictures=[
            (name, _picture_words(name, rows))
            for name in sorted(files, key=_first)
            if name.endswith(".jpg") and name != PLAIN
        ],
        clips=[
            (name, _clip_words(name, incident.first, rows))
            for name in sorted(files, key=_first)
            if name.endswith(".mp4")
        ],
        files=[(name, size(path)) for name, path in files.items()],
        way=" ".join(f"{1000 * (x + w / 2):.0f},{1000 * (y + h / 2):.0f}" for _, x, y, w, h, *_ in way),
        way_words=path_text(way) if way else "",
        rows=[(clock(row), row.event) for row in incident.events],
        sent=[
            (channel, SENT[state], [f"{row.part}: {delivery_text(row)}" for row in each])
            for channel, (state, each) in deliveries(incident).items()
        ],
        review=reviewed_text(review) if review else None,
        model=incident.first.event.model,
        trace=page.alarm().settings.trace,
        why=why[-1] if why else None,
        why_more=[(words, "\n" in words) for words in why[:-1]] if why else [],
        why_not=why_not,
        legend=_legend(incident.events),
    )


def set_locked(request: Request) -> Response:
    """Lock the evidence of an event, or unlock it."""
    incident = _incident(request)
    try:
        set_lock(incident, page_of(request).state, locked=request.state.form.get("locked") == "yes")
    except OptionError as error:
        raise Refused(HTTPStatus.CONFLICT, str(error)) from None
    return back_to(f"/events/{incident.id}")


def zipped(request: Request) -> Response:
    """Send an event and its evidence as a zip."""
    incident, state = _incident(request), page_of(request).state
    try:
        check_readable(evidence_of(incident, state))
    except OptionError as error:
        raise Refused(HTTPStatus.CONFLICT, str(error)) from None
    name = {"Content-Disposition": f'attachment; filename="bear-alarm-{incident.id[:8]}.zip"'}
    return StreamingResponse(zip_events([incident], state, Counter()), headers=name, media_type="application/zip")


def evidence(request: Request) -> Response:
    """Send one file of an event's evidence, or a range of it."""
    files = _files(evidence_of(_incident(request), page_of(request).state))
    with refused_if_missing():
        return sent_file(request, files[request.path_params["name"]])


def thumbnail(request: Request) -> Response:
    """Send the first picture of an event, small."""
    with refused_if_missing():
        return sent_thumbnail(request, _picture(evidence_of(_incident(request), page_of(request).state)))


def sent_file(request: Request, path: Path) -> Response:
    """Return a file of evidence, or the range of it that is asked for. Raises OSError."""
    response = StaticFiles(directory=path.parent).file_response(path, path.stat(), request.scope)
    response.headers.update(PRIVATE | {"Content-Type": TYPES.get(path.suffix, "application/octet-stream")})
    return response


def sent_thumbnail(request: Request, path: Path) -> Response:
    """Return a picture, small; nothing of it to who has it. Raises PictureError, OSError."""
    page: BasePage = request.state.page
    make: Thumbnails = page.shared.setdefault("thumbnails", Thumbnails())
    found = path.stat()
    version = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
    headers = PRIVATE | {"ETag": version}
    if version in request.headers.get("If-None-Match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(make(path, version), headers=headers, media_type="image/jpeg")


# The journal.


def _wanted(asked: dict[str, str]) -> dict[str, Any]:
    """Return what the journal is to be asked for. Raises OptionError for what cannot be meant."""
    kind, day, reviewed = asked.get("kind"), asked.get("day"), asked.get("reviewed")
    if kind not in (None, *KINDS):
        raise OptionError(f"kind {kind!r} is not known; choose one of the list")
    if reviewed not in (None, "yes", "no"):
        raise OptionError(f"reviewed {reviewed!r} is not known; choose one of the list")
    since = until = None
    if day:
        try:
            begin = date.fromisoformat(day)
            days = begin, begin + timedelta(days=1)
            since, until = (datetime.combine(each, time()).astimezone(UTC) for each in days)
        except (ValueError, OverflowError, OSError):
            raise OptionError(f"day {day!r} is no date; choose one, such as 2026-11-24") from None
    rows = {name: int(asked[name]) for name in ("before", "after") if ROW.fullmatch(asked.get(name, ""))}
    seen = None if reviewed is None else reviewed == "yes"
    chosen = {"kind": kind, "camera": asked.get("camera"), "label": asked.get("label")}
    return chosen | {"reviewed": seen, "since": since, "until": until} | rows


def _incident(request: Request) -> PastEvent:
    """Return the event that is asked for. Raises Refused."""
    try:
        with JournalReader(page_of(request).state / JOURNAL) as journal:
            found = journal.incident(request.path_params["id"])
    except NoJournalError:
        found = None
    except JournalReadError as error:
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None
    if found is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such event in the journal (any more)")
    return found


# Evidence.


@contextmanager
def refused_if_missing() -> Iterator[None]:
    """Turn what is missing, or deleted meanwhile, into Refused."""
    try:
        yield
    except (KeyError, FileNotFoundError):
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such file of this event (any more)") from None
    except (PictureError, OSError) as error:
        raise Refused(HTTPStatus.NOT_FOUND, str(error)) from None


def _files(folders: Sequence[EvidenceFolder]) -> dict[str, Path]:
    """Return the files of an event's evidence by name."""
    found: dict[str, Path] = {}
    for each in reversed(folders):
        with suppress(FileNotFoundError):  # deleted meanwhile
            found |= {path.name: path for path in each.files()}
    return found


def _picture(folders: Sequence[EvidenceFolder]) -> Path:
    """Return the picture that stands for an event. Raises KeyError where there is none."""
    files = _files(folders)
    return files[next((name for name in sorted(files, key=_first) if name.endswith(".jpg")), "")]


def _first(name: str) -> tuple[bool, bool, int, str]:
    """Return a key to sort pictures or clips: the alarm, later ones in order, then the rest."""
    later = STILL.fullmatch(name)
    return name not in {"alarm.jpg", "clip.mp4"}, later is None, int(later[1]) if later else 0, name


def _clip_words(name: str, first: EventRow, rows: dict[int, EventRow]) -> str:
    later = STILL.fullmatch(name)
    row = rows.get(int(later[1])) if later else first
    return f"Clip of {clock(row)}" if row else "A later clip"


def _picture_words(name: str, rows: dict[int, EventRow]) -> str:
    later = STILL.fullmatch(name)
    if later:
        row = rows.get(int(later[1]))
        return f"At {clock(row)}" if row else "Later"
    words = {"alarm.jpg": "At the alarm", "crop.jpg": "The bear, cut out", "full.jpg": "The whole picture, unmarked"}
    return words.get(name, name)


# Words.


def _summary(incident: PastEvent, state: Path) -> dict[str, Any]:
    """Return what the list and the event's own page both show."""
    first, folders = incident.first, evidence_of(incident, state)
    bear = _bear(incident)
    review = review_of(incident, folders)
    picture = any(name.endswith(".jpg") for name in _files(folders))
    sent = Counter(SENT[state] for state, _ in deliveries(incident).values())
    animal, note = incident.labelled.name_and_note
    return {
        "id": incident.id,
        "kind": first.event.kind,
        "name": event_name(first.event.kind, incident.label or "", animal),
        "score": incident.top_score if bear else None,
        "camera": first.event.camera,
        "at": first.at.isoformat(),
        "when": f"{first.at.astimezone():%a %d %b %Y, %H:%M:%S}{MARKS.get(first.clock, '')}",
        "lasted": lasting(incident.lasted_s) if incident.lasted_s is not None else None,
        "state": unfinished(incident),
        "zones": incident.zones,
        "silent": silent(incident),
        "shadow": silent(incident) and first.event.stage == "shadow",
        "detail": note if bear else first.event.detail,
        "sent": [(state, sent[state]) for state in SENT.values() if sent[state]],
        "review": review_text(review).removeprefix(REVIEWED) if review else None,
        "evidence": bool(folders),
        "there": any(each.there for each in folders),
        "locked": any(each.locked for each in folders),
        "picture": picture,
        "reviewable": first.event.kind == "bear" and picture and not review,
    }


def event_name(kind: str, label: str, animal: str) -> str:
    """Return the title of an event."""
    words = label.replace("_", " ")
    names = {
        "bear": f"{animal[:1].upper()}{animal[1:]}",
        "camera": f"Camera: {TROUBLE_WORDS.get(label, words)}",
        "notice": NOTICES.get(label, f"Notice: {words}"),
        "test": "Test",
    }
    return names.get(kind, f"Health: {words}")


def _bear(incident: PastEvent) -> bool:
    return incident.first.event.kind == "bear"


def _legend(rows: Sequence[EventRow]) -> list[str]:
    """Return what the marks behind the times mean, as far as there are any."""
    return [LEGEND[mark] for mark in sorted({MARKS[each.clock] for each in rows if each.clock in MARKS})]


def _options(names: Sequence[str], chosen: str | None) -> list[str]:
    return list(dict.fromkeys([*names, *([chosen] if chosen else [])]))


def events_place(filters: dict[str, str]) -> str:
    """Return the address of the list of events that is filtered so."""
    return f"/events?{urlencode(filters)}" if filters else "/events"


def _why(page: Page, id_: str) -> list[str]:
    """Return what ``bear-alarm why`` says of an event, the conclusion last. Raises OptionError.

    Another process reads the trace, so that this one need not wait for it, and does not grow by it.
    """
    trace = page.alarm().settings.trace
    if trace is None:
        raise OptionError("this alarm keeps no trace")
    alone = page.shared.setdefault("why", threading.Lock())
    if not alone.acquire(blocking=False):
        raise OptionError("another event is being explained; try again in a moment")
    try:
        command = [sys.executable, "-m", "edge", "why", id_, "--trace", str(trace.absolute()), "--json"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=FOLDER.parents[1], stdout=pipe, stderr=pipe, text=True) as child:
            first_to_go(child.pid)
            try:
                said, problem = child.communicate(timeout=WHY_S)
            except subprocess.TimeoutExpired:
                child.kill()
                raise OptionError(f"reading the trace took longer than {WHY_S:g} s") from None
    finally:
        alone.release()
    if child.returncode:
        words = problem.strip().removeprefix("bear-alarm: ")
        raise OptionError(words or f"the explanation ended with exit code {child.returncode}")
    return list(json.loads(said)["words"])


ROUTES = [
    Route("/events", event_list),
    Route("/events/{id}", event_page),
    Route("/events/{id}/lock", set_locked, methods=["POST"]),
    Route("/events/{id}/evidence.zip", zipped),
    Route("/evidence/{id}/{name}", evidence),
    Route("/thumb/{id}.jpg", thumbnail),
]

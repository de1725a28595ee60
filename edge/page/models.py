"""The models of this device: the one in use, the new one that is tried beside it, and the keys that are trusted."""

from __future__ import annotations

import time
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.detect.classifier import left_by_older
from edge.errors import OptionError, SignatureError
from edge.local_time import lasting
from edge.minisign import PublicKey
from edge.model_store import Entry, Installed
from edge.page.common import back_to, page_of, render
from edge.page.guard import Refused
from edge.update.keys import trusted
from edge.update.sources import Looked
from edge.update.updates import CHANGED

PLACE = "/model"
DONE = {
    "use": "The new model was chosen.",
    "remove": "The new model was removed.",
    "back": "The model before was chosen.",
}


def show(request: Request) -> Response:
    """Show what is installed, what is tried, and what is asked."""
    alarm = page_of(request).alarm()
    updates, loaded = alarm.updates, alarm.classifier
    standing = updates.standing if updates else None
    installed = standing.installed if standing else Installed()
    problem, keys = standing.problem if standing else None, tuple[PublicKey, ...]()
    try:
        keys = trusted(installed)
    except SignatureError as error:
        problem = str(error)
    now, before = installed.current, installed.previous
    older = loaded.digest != now.sha256 if now else loaded.digest == digest(before)
    return render(
        request,
        "models.html",
        path="/health",  # where it is found
        loaded=loaded.name,
        older=older,
        reloads=updates is not None and updates.reload is not None,
        ships="the one chosen with an older version" if left_by_older() else "the one that comes with Bear Alarm",
        standing=standing,
        sources=[(each.source, looked(each, time.monotonic())) for each in standing.sources] if standing else [],
        problem=problem,
        keys=keys,
        current=digest(now),
        done=DONE.get(request.query_params.get("done", "")),
    )


def looked(source: Looked, now: float) -> str:
    """Return when a source was last asked, and what came of it, a sentence."""
    if source.asked_at is None:
        return "Nothing to look at came yet."
    answer = source.answer
    ago = f"Looked at {lasting(now - source.asked_at)} ago"
    return f"{ago}: {answer.words}. {f'{answer.then}.' if answer.then else ''}" if answer else f"{ago}."


def act(request: Request) -> Response:
    """Use or remove the new model, or go back to the one before, as the owner wants it."""
    updates, form = page_of(request).alarm().updates, request.state.form
    if updates is None:
        raise Refused(HTTPStatus.CONFLICT, CHANGED)
    acts = {"use": updates.use_now, "remove": updates.remove, "back": updates.roll_back}
    what = form.get("what", "")
    if what not in acts:
        raise Refused(HTTPStatus.BAD_REQUEST, "there is no such button; load the page again")
    try:
        acts[what](request.state.access.name, form.get("model", ""))
    except OptionError as error:
        raise Refused(HTTPStatus.CONFLICT, str(error)) from None
    return back_to(f"{PLACE}?done={what}")


def digest(entry: Entry | None) -> str:
    """Return what tells a model from any other; empty for the one that ships."""
    return entry.sha256 if entry else ""


ROUTES = [Route(PLACE, show, methods=["GET"]), Route(PLACE, act, methods=["POST"])]

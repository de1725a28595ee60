"""Drift: each camera's daily figures, what has changed since when, and the button for who looked after it."""

from __future__ import annotations

from http import HTTPStatus
from itertools import groupby

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.detect.drift import BUDGET, REFERENCE
from edge.drift_watch import FIGURES, DriftWatch, drifts_in_words
from edge.errors import OptionError
from edge.page.common import back_to, page_of, render
from edge.page.guard import Refused
from edge.page.settings import owner_only
from edge.record.database import DiskError


def drift_of(request: Request) -> DriftWatch:
    """Return the alarm's daily figures."""
    found = page_of(request).alarm().drift
    assert found  # a page is only served where there is a journal
    return found


def drift(request: Request) -> Response:
    """Show the figures of each camera."""
    found = drift_of(request)
    cameras = {name: list(each) for name, each in groupby(found.monitors(), lambda monitor: monitor.camera)}
    return render(
        request,
        "drift.html",
        path="/health",  # where it is found
        cameras=cameras,
        figures=FIGURES,
        words=lambda monitor: drifts_in_words([monitor], found.today)[0],
        problem=found.problem(),
        reference=REFERENCE,
        budget=BUDGET,
    )


def looked(request: Request) -> Response:
    """Note that the owner looked after a drift."""
    owner_only(request)
    form = request.state.form
    try:
        drift_of(request).looked(form.get("camera", ""), form.get("figure", ""), night=form.get("night") == "1")
    except OptionError as error:
        raise Refused(HTTPStatus.CONFLICT, str(error)) from None
    except DiskError as error:
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"this could not be kept: {error}; try again") from None
    return back_to("/drift")


ROUTES = [Route("/drift", drift), Route("/drift/looked", looked, methods=["POST"])]
